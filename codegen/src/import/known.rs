//! What is known of the elements of small tensors while importing: shape arithmetic, evaluated symbolically.
//!
//! Evaluation is defined per primitive of the core IR, so every operator that lowers to one folds without a rule of its
//! own. Whatever the bounds of the symbols do not decide stays unknown, and the operation is left to run time.

use crate::ir::eval;
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, Bounds, DType, Dim, Expr, Interval, Literal, Op, Scalar, Tensor, UnaryOp};

/// The largest number of elements that are tracked.
pub(super) const LIMIT: usize = 512;

/// One element.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    /// An integer; in a tensor of floats, an integral one that the type represents exactly for all values of the symbols.
    Int(Dim),
    /// A float, rounded to the type of its tensor.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

impl Known {
    /// The integer.
    pub(super) fn as_dim(&self) -> Option<&Dim> {
        match self {
            Known::Int(dim) => Some(dim),
            _ => None,
        }
    }

    /// Whether no symbol occurs.
    fn is_constant(&self) -> bool {
        match self {
            Known::Int(dim) => dim.as_const().is_some(),
            Known::Float(_) | Known::Bool(_) => true,
        }
    }
}

/// The elements of a constant, if they are few and of a type that is tracked.
pub(super) fn elements(tensor: &Tensor) -> Option<Vec<Known>> {
    if tensor.len() > LIMIT {
        return None;
    }
    match tensor.dtype {
        DType::F32 | DType::F64 => Some(tensor.to_floats()?.into_iter().map(Known::Float).collect()),
        dtype if dtype.is_float() => None,
        DType::Bool => Some(tensor.to_vec::<bool>()?.into_iter().map(Known::Bool).collect()),
        _ => Some(
            tensor
                .to_ints()?
                .into_iter()
                .map(|value| Known::Int(Dim::from(value)))
                .collect(),
        ),
    }
}

/// The constant of given elements, if no symbol occurs in them.
pub(super) fn to_tensor(dtype: DType, shape: &[usize], elements: &[Known]) -> Option<Tensor> {
    if !elements.iter().all(Known::is_constant) {
        return None;
    }
    let mut data = Vec::with_capacity(elements.len() * dtype.size());
    for element in elements {
        match (element, dtype) {
            (Known::Bool(value), DType::Bool) => data.push(u8::from(*value)),
            (Known::Float(value), DType::F32) => data.extend((*value as f32).to_le_bytes()),
            (Known::Float(value), DType::F64) => data.extend(value.to_le_bytes()),
            (Known::Int(dim), DType::F32) => data.extend((dim.as_const()? as f32).to_le_bytes()),
            (Known::Int(dim), DType::F64) => data.extend((dim.as_const()? as f64).to_le_bytes()),
            (Known::Int(dim), _) if dtype.is_int() => data.extend(&dim.as_const()?.to_le_bytes()[..dtype.size()]),
            _ => return None,
        }
    }
    Some(Tensor::from_bytes(dtype, shape.to_vec(), data.into()))
}

/// An operand as evaluation sees it.
pub(super) struct Operand {
    /// The size of each dimension.
    pub(super) shape: Vec<usize>,
    /// The elements in row-major order.
    pub(super) elements: Vec<Known>,
}

/// The elements of the result of a primitive with one result of the given type and shape, if they can be told.
pub(super) fn evaluate(
    op: &Op,
    operands: &[Operand],
    dtype: DType,
    shape: &[usize],
    bounds: &Bounds,
) -> Option<Vec<Known>> {
    let each = |element: &dyn Fn(&[usize]) -> Option<Known>| {
        let count: usize = shape.iter().product();
        (0..count).map(|i| element(&unravel(i, shape))).collect()
    };
    match op {
        Op::Elementwise { expr, .. } => each(&|index| scalar(expr, index, operands, bounds)),
        Op::Reduce { kind, axes, keep_dims } => {
            each(&|index| reduce(*kind, axes, *keep_dims, operands.first()?, index, dtype, bounds))
        }
        _ => {
            let indices = match (op, operands) {
                (Op::Gather { .. } | Op::GatherElements { .. }, [_, indices]) => {
                    let index = |known: &Known| known.as_dim()?.as_const();
                    indices.elements.iter().map(index).collect::<Option<Vec<_>>>()?
                }
                _ => Vec::new(),
            };
            let shapes: Vec<_> = operands.iter().map(|operand| operand.shape.as_slice()).collect();
            let elements: Vec<_> = operands.iter().map(|operand| operand.elements.as_slice()).collect();
            Some(eval::movement(op, &shapes, &elements, &indices)?.1)
        }
    }
}

fn reduce(
    kind: ReduceKind,
    axes: &[usize],
    keep_dims: bool,
    x: &Operand,
    index: &[usize],
    dtype: DType,
    bounds: &Bounds,
) -> Option<Known> {
    let op = match kind {
        ReduceKind::Sum => BinaryOp::Add,
        ReduceKind::Prod => BinaryOp::Mul,
        ReduceKind::Max => BinaryOp::Max,
        ReduceKind::Min => BinaryOp::Min,
        _ => return None,
    };
    let mut total = None;
    for (i, element) in x.elements.iter().enumerate() {
        let mut source = unravel(i, &x.shape);
        for axis in axes.iter().rev() {
            if keep_dims {
                source[*axis] = 0;
            } else {
                source.remove(*axis);
            }
        }
        if source == index {
            total = Some(match total {
                None => element.clone(),
                Some(total) => normalize(binary(op, &total, element, dtype, bounds)?, dtype, bounds)?,
            });
        }
    }
    total
}

fn unravel(mut linear: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (place, size) in index.iter_mut().zip(shape).rev() {
        *place = linear % size;
        linear /= size;
    }
    index
}

/// The element that numpy's rule pairs with an index of the result.
fn at_broadcast(operand: &Operand, index: &[usize]) -> Known {
    let index = &index[index.len() - operand.shape.len()..];
    let linear = index
        .iter()
        .zip(&operand.shape)
        .fold(0, |linear, (place, size)| linear * size + place.min(&(size - 1)));
    operand.elements[linear].clone()
}

/// The value of an expression at an index.
fn scalar(expr: &Expr, index: &[usize], operands: &[Operand], bounds: &Bounds) -> Option<Known> {
    let mut values: Vec<Option<Known>> = Vec::with_capacity(expr.nodes.len());
    for node in &expr.nodes {
        let get = |id: usize| values[id].clone();
        let operand_type = |id: usize| expr.nodes[id].dtype;
        let value = match &node.op {
            Scalar::Input(number) => operands.get(*number).map(|operand| at_broadcast(operand, index)),
            Scalar::At(number, place) => get(*place).and_then(|place| {
                let elements = &operands.get(*number)?.elements;
                let place = usize::try_from(place.as_dim()?.as_const()?).ok()?;
                elements.get(place).cloned()
            }),
            Scalar::Const(Literal::Float(value)) => Some(Known::Float(*value)),
            Scalar::Const(Literal::Int(value)) => i64::try_from(*value).ok().map(|value| Known::Int(Dim::from(value))),
            Scalar::Const(Literal::Bool(value)) => Some(Known::Bool(*value)),
            Scalar::Dim(dim) => Some(Known::Int(dim.clone())),
            Scalar::Index(axis) => Some(Known::Int(Dim::from(index[*axis]))),
            Scalar::Unary(op, x) => get(*x).and_then(|x| unary(*op, &x, bounds)),
            Scalar::Binary(op, a, b) => get(*a)
                .zip(get(*b))
                .and_then(|(x, y)| binary(*op, &x, &y, operand_type(*a), bounds)),
            Scalar::Select(c, a, b) => match (get(*c), get(*a), get(*b)) {
                (Some(Known::Bool(true)), a, _) => a,
                (Some(Known::Bool(false)), _, b) => b,
                (_, a, b) if a == b => a,
                _ => None,
            },
            Scalar::Cast(x) => get(*x).and_then(|value| cast(value, node.dtype, bounds)),
            Scalar::Bits(_) => None,
        };
        values.push(value.and_then(|value| normalize(value, node.dtype, bounds)));
    }
    values.pop().flatten()
}

/// The value as its type stores it: integers wrap, floats round. A symbolic value must fit for all values of its symbols.
fn normalize(value: Known, dtype: DType, bounds: &Bounds) -> Option<Known> {
    match (value, dtype) {
        (Known::Bool(value), DType::Bool) => Some(Known::Bool(value)),
        (Known::Float(value), DType::F32) => Some(Known::Float(f64::from(value as f32))),
        (Known::Float(value), DType::F64) => Some(Known::Float(value)),
        (Known::Int(dim), DType::F32 | DType::F64) => match dim.as_const() {
            Some(value) => normalize(Known::Float(value as f64), dtype, bounds),
            None => {
                let exact = if dtype == DType::F32 { 1 << 24 } else { 1 << 53 };
                let range = dim.range(bounds);
                (range.low >= -exact && range.high <= exact).then_some(Known::Int(dim))
            }
        },
        (Known::Int(dim), _) if dtype.is_int() => match dim.as_const() {
            Some(value) => Some(Known::Int(Dim::from(wrap(value, dtype)?))),
            None => {
                let (range, limits) = (dim.range(bounds), limits(dtype));
                (range.low >= limits.low && range.high <= limits.high).then_some(Known::Int(dim))
            }
        },
        _ => None,
    }
}

fn limits(dtype: DType) -> Interval {
    let bits = dtype.bits().min(64) as u32;
    let (low, high) = if dtype.is_unsigned_int() {
        (0, (u64::MAX >> (64 - bits)).try_into().unwrap_or(i64::MAX))
    } else {
        (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits))
    };
    Interval { low, high }
}

fn wrap(value: i64, dtype: DType) -> Option<i64> {
    let unused = 64 - dtype.bits() as u32;
    if dtype.is_signed_int() {
        Some(value << unused >> unused)
    } else {
        i64::try_from((value as u64) << unused >> unused).ok()
    }
}

fn cast(value: Known, to: DType, bounds: &Bounds) -> Option<Known> {
    Some(match value {
        Known::Bool(value) if to == DType::Bool => Known::Bool(value),
        Known::Bool(value) => Known::Int(Dim::from(i64::from(value))),
        Known::Float(value) if to == DType::Bool => Known::Bool(value != 0.0),
        Known::Float(value) if to.is_float() => Known::Float(value),
        Known::Float(value) if value.abs() < 9.0e18 => Known::Int(Dim::from(value.trunc() as i64)),
        Known::Float(_) => return None,
        Known::Int(dim) if to == DType::Bool => Known::Bool(!equal(&dim, &Dim::from(0i64), bounds)?),
        Known::Int(dim) => Known::Int(dim),
    })
}

fn unary(op: UnaryOp, x: &Known, bounds: &Bounds) -> Option<Known> {
    let zero = Dim::from(0i64);
    Some(match x {
        Known::Bool(value) => match op {
            UnaryOp::Not => Known::Bool(!value),
            _ => return None,
        },
        Known::Int(dim) => Known::Int(match op {
            UnaryOp::Neg => zero - dim.clone(),
            UnaryOp::Abs => dim.maximum(&(zero - dim.clone()), bounds),
            UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round => dim.clone(),
            UnaryOp::Sign => {
                let range = dim.range(bounds);
                match (range.low.signum(), range.high.signum()) {
                    (low, high) if low == high => Dim::from(low),
                    _ => return None,
                }
            }
            _ => return None,
        }),
        Known::Float(value) => match op {
            UnaryOp::IsNan => Known::Bool(value.is_nan()),
            UnaryOp::IsInf => Known::Bool(value.is_infinite()),
            _ => Known::Float(match op {
                UnaryOp::Neg => -value,
                UnaryOp::Abs => value.abs(),
                UnaryOp::Sqrt => value.sqrt(),
                UnaryOp::Recip => 1.0 / value,
                UnaryOp::Floor => value.floor(),
                UnaryOp::Ceil => value.ceil(),
                UnaryOp::Round => value.round_ties_even(),
                UnaryOp::Exp => value.exp(),
                UnaryOp::Ln => value.ln(),
                _ => return None,
            }),
        },
    })
}

fn binary(op: BinaryOp, a: &Known, b: &Known, dtype: DType, bounds: &Bounds) -> Option<Known> {
    match (a, b) {
        (Known::Bool(a), Known::Bool(b)) => Some(Known::Bool(match op {
            BinaryOp::And => a & b,
            BinaryOp::Or => a | b,
            BinaryOp::Xor | BinaryOp::Ne => a ^ b,
            BinaryOp::Eq => a == b,
            _ => return None,
        })),
        (Known::Float(a), Known::Float(b)) => float(op, *a, *b),
        (Known::Int(a), Known::Int(b)) => int(op, a, b, dtype, bounds),
        // One side is a symbolic float, which is integral.
        (Known::Int(a), Known::Float(b)) => int(op, a, &integral(*b)?, dtype, bounds),
        (Known::Float(a), Known::Int(b)) => int(op, &integral(*a)?, b, dtype, bounds),
        _ => None,
    }
}

fn integral(value: f64) -> Option<Dim> {
    (value.fract() == 0.0 && value.abs() < 9.0e15).then(|| Dim::from(value as i64))
}

fn float(op: BinaryOp, a: f64, b: f64) -> Option<Known> {
    let nan = a.is_nan() || b.is_nan();
    Some(match op {
        BinaryOp::Add => Known::Float(a + b),
        BinaryOp::Sub => Known::Float(a - b),
        BinaryOp::Mul => Known::Float(a * b),
        BinaryOp::Div => Known::Float(a / b),
        BinaryOp::Pow => Known::Float(a.powf(b)),
        BinaryOp::Max => Known::Float(if nan { f64::NAN } else { a.max(b) }),
        BinaryOp::Min => Known::Float(if nan { f64::NAN } else { a.min(b) }),
        BinaryOp::Eq => Known::Bool(a == b),
        BinaryOp::Ne => Known::Bool(a != b),
        BinaryOp::Lt => Known::Bool(a < b),
        BinaryOp::Le => Known::Bool(a <= b),
        BinaryOp::Gt => Known::Bool(a > b),
        BinaryOp::Ge => Known::Bool(a >= b),
        _ => return None,
    })
}

fn int(op: BinaryOp, a: &Dim, b: &Dim, dtype: DType, bounds: &Bounds) -> Option<Known> {
    let difference = || (a.clone() - b.clone()).range(bounds);
    Some(match op {
        BinaryOp::Add => Known::Int(a.clone() + b.clone()),
        BinaryOp::Sub => Known::Int(a.clone() - b.clone()),
        BinaryOp::Mul => Known::Int(a.clone() * b.clone()),
        BinaryOp::Div if dtype.is_float() => Known::Int(a.exact_div(b)?),
        BinaryOp::Div => Known::Int(match (a.as_const(), b.as_const()) {
            (Some(_), Some(0)) => Dim::from(0i64),
            (Some(a), Some(b)) => Dim::from(a.wrapping_div(b)),
            _ if b.range(bounds).low <= 0 => return None,
            _ => match a.exact_div(b) {
                Some(exact) => exact,
                // Truncation is the floor of what is not negative.
                None if a.range(bounds).low >= 0 => a.floor_div(b),
                None => return None,
            },
        }),
        BinaryOp::Mod if !dtype.is_float() && b.range(bounds).low > 0 => {
            Known::Int(a.clone() - a.floor_div(b) * b.clone())
        }
        BinaryOp::Rem if !dtype.is_float() && b.range(bounds).low > 0 && a.range(bounds).low >= 0 => {
            Known::Int(a.clone() - a.floor_div(b) * b.clone())
        }
        BinaryOp::Pow => {
            let power = u32::try_from(b.as_const()?).ok().filter(|power| *power <= 8)?;
            Known::Int((0..power).map(|_| a.clone()).product())
        }
        BinaryOp::Max => Known::Int(a.maximum(b, bounds)),
        BinaryOp::Min => Known::Int(a.minimum(b, bounds)),
        BinaryOp::Eq => Known::Bool(equal(a, b, bounds)?),
        BinaryOp::Ne => Known::Bool(!equal(a, b, bounds)?),
        BinaryOp::Lt => Known::Bool(decide(difference().high < 0, difference().low >= 0)?),
        BinaryOp::Le => Known::Bool(decide(difference().high <= 0, difference().low > 0)?),
        BinaryOp::Gt => Known::Bool(decide(difference().low > 0, difference().high <= 0)?),
        BinaryOp::Ge => Known::Bool(decide(difference().low >= 0, difference().high < 0)?),
        _ => return None,
    })
}

fn equal(a: &Dim, b: &Dim, bounds: &Bounds) -> Option<bool> {
    let difference = (a.clone() - b.clone()).range(bounds);
    let never = difference.low > 0 || difference.high < 0;
    decide(difference == Interval::exactly(0), never)
}

fn decide(yes: bool, no: bool) -> Option<bool> {
    (yes || no).then_some(yes)
}
