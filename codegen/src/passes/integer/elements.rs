//! What quantized values are made of: numbers, zero points and scales.

use super::constants::{evaluated, one};
use super::encode::with_other_sign;
use crate::ir::{BinaryOp, DType, Dim, Expr, Literal, Node, Op, Scalar, ScalarId, Tensor, ValueId};
use crate::passes::pattern::compact;
use crate::passes::rewrite::Rewriter;

/// The most operations that move elements between where they are computed and a product.
const MAX_VIEWS: usize = 3;

/// What the elements of an elementwise node are, together with the elementwise nodes before it.
pub(super) struct Elements {
    pub(super) expr: Expr,
    pub(super) inputs: Vec<ValueId>,
    pub(super) shape: Vec<Dim>,
    /// What gives the elements their places, from the last operation to the first.
    views: Vec<Op>,
    origin: Vec<String>,
}

impl Elements {
    pub(super) fn of(rewriter: &Rewriter<'_>, value: ValueId) -> Option<Elements> {
        let mut node = rewriter.definition(value)?;
        let mut views = Vec::new();
        while matches!(node.op, Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. }) && views.len() < MAX_VIEWS
        {
            views.push(node.op.clone());
            node = rewriter.definition(node.inputs[0])?;
        }
        let Op::Elementwise { expr, shape } = &node.op else {
            return None;
        };
        let mut elements = Elements {
            expr: expr.clone(),
            inputs: node.inputs.clone(),
            shape: shape.clone(),
            views,
            origin: node.origin.clone(),
        };
        // A number, its zero point and its scale are no more than a few operations apart.
        for _ in 0..3 {
            elements = elements.extended(rewriter);
        }
        Some(elements)
    }

    /// The same with the nodes before those that it has: of operands that are no bytes, those that are as large or casts.
    fn extended(self, rewriter: &Rewriter<'_>) -> Elements {
        let Elements { expr, shape, .. } = &self;
        let mut inputs: Vec<ValueId> = Vec::new();
        let mut result = Expr::empty();
        let place = |inputs: &mut Vec<ValueId>, value: ValueId| {
            inputs.iter().position(|&input| input == value).unwrap_or_else(|| {
                inputs.push(value);
                inputs.len() - 1
            })
        };
        let id = result.append(expr, expr.result(), &mut |result, index, dtype| {
            let value = self.inputs[index];
            let before = rewriter
                .definition(value)
                .filter(|_| dtype.bits() > 8 && !expr.is_positional());
            match before.as_deref() {
                Some(Node {
                    op: Op::Elementwise { expr: inner, .. },
                    inputs: operands,
                    ..
                }) if !inner.is_positional()
                    && (is_cast(inner) || rewriter.same_shape(rewriter.shape(value), shape)) =>
                {
                    result.append(inner, inner.result(), &mut |result, index, dtype| {
                        let index = place(&mut inputs, operands[index]);
                        result.input(index, dtype)
                    })
                }
                _ => {
                    let index = place(&mut inputs, value);
                    result.input(index, dtype)
                }
            }
        });
        Elements {
            expr: result.finish(id),
            inputs,
            ..self
        }
    }
}

/// Whether an expression is the conversion of its operand.
fn is_cast(expr: &Expr) -> bool {
    matches!(expr.nodes[expr.result()].op, Scalar::Cast(x) if matches!(expr.nodes[x].op, Scalar::Input(_)))
}

/// The difference of an 8-bit number to a zero point, or the number, if there is none.
pub(super) struct Difference {
    pub(super) number: ScalarId,
    pub(super) signed: bool,
    pub(super) zero: Option<ScalarId>,
}

impl Difference {
    pub(super) fn of(expr: &Expr, id: ScalarId) -> Option<Difference> {
        let byte = |id: ScalarId| match (expr.nodes[id].dtype, &expr.nodes[id].op) {
            (DType::U8 | DType::I8, _) => Some(id),
            (_, &Scalar::Cast(x)) if matches!(expr.nodes[x].dtype, DType::U8 | DType::I8) => Some(x),
            _ => None,
        };
        let dtype = expr.nodes[id].dtype;
        let (number, zero) = match expr.nodes[id].op {
            Scalar::Binary(BinaryOp::Sub, x, zero) if dtype == DType::I32 => (byte(x)?, Some(zero)),
            _ if matches!(dtype, DType::I32 | DType::U8 | DType::I8) => (byte(id)?, None),
            _ => return None,
        };
        Some(Difference {
            number,
            signed: expr.nodes[number].dtype == DType::I8,
            zero,
        })
    }
}

/// An integer and what it is multiplied by in `f32`.
pub(super) fn scaled(expr: &Expr) -> Option<(ScalarId, ScalarId)> {
    let Scalar::Binary(BinaryOp::Mul, a, b) = expr.nodes[expr.result()].op else {
        return None;
    };
    let integer = |id: ScalarId| match expr.nodes[id].op {
        Scalar::Cast(x) if expr.nodes[id].dtype == DType::F32 => {
            let from = expr.nodes[x].dtype;
            (from.is_int() && from != DType::U64).then_some(x)
        }
        _ => None,
    };
    integer(a)
        .map(|number| (number, b))
        .or_else(|| integer(b).map(|number| (number, a)))
}

/// Whether a value is one of 8 bits, with a sign or without, whatever its type is.
pub(super) fn is_byte(expr: &Expr, id: ScalarId, signed: bool) -> bool {
    let (dtype, range) = match signed {
        true => (DType::I8, -128..128),
        false => (DType::U8, 0..256),
    };
    match expr.nodes[id].op {
        Scalar::Cast(x) => expr.nodes[x].dtype == dtype,
        Scalar::Const(Literal::Int(value)) => range.contains(&value),
        _ => false,
    }
}

/// The number of a difference as a value of type `u8`.
pub(super) fn unsigned(rewriter: &mut Rewriter<'_>, left: &Elements, difference: &Difference) -> Option<ValueId> {
    let mut value = in_place(rewriter, left, difference)?;
    for view in left.views.iter().rev() {
        value = rewriter.emit(view.clone(), vec![value], &left.origin)?;
    }
    Some(value)
}

fn in_place(rewriter: &mut Rewriter<'_>, left: &Elements, difference: &Difference) -> Option<ValueId> {
    let mut number = left.expr.with_result(difference.number);
    if difference.signed {
        let mut result = number.result();
        result = number.bits(result, DType::U8);
        result = with_other_sign(&mut number, result);
        number = number.finish(result);
    }
    if let Scalar::Input(index) = number.nodes[number.result()].op
        && rewriter.same_shape(rewriter.shape(left.inputs[index]), &left.shape)
    {
        return Some(left.inputs[index]);
    }
    let (number, inputs) = compact(&number, &left.inputs);
    rewriter.elementwise(number, inputs, left.shape.clone(), &left.origin)
}

/// A part of an expression that is the same along the last axes.
pub(super) struct Part {
    expr: Expr,
    inputs: Vec<ValueId>,
    /// The last axes have size 1.
    shape: Vec<Dim>,
    origin: Vec<String>,
}

impl Part {
    /// `None` if the part differs along one of so many last axes.
    pub(super) fn of(rewriter: &Rewriter<'_>, elements: &Elements, id: ScalarId, axes: usize) -> Option<Part> {
        let (expr, inputs) = compact(&elements.expr.with_result(id), &elements.inputs);
        // Elements that have been moved have left the axes along which the part differs.
        let axes = if elements.views.is_empty() { axes } else { usize::MAX };
        let shapes: Vec<&[Dim]> = inputs.iter().map(|&input| rewriter.shape(input)).collect();
        let is_constant = |shape: &&[Dim]| shape.iter().rev().take(axes).all(|size| size.is(1));
        if expr.is_positional() || !shapes.iter().all(is_constant) {
            return None;
        }
        let (shape, equalities) = crate::ir::infer::broadcast(rewriter.graph, &shapes).ok()?;
        equalities.is_empty().then(|| Part {
            expr,
            inputs,
            shape,
            origin: elements.origin.clone(),
        })
    }

    /// The part as a value of its own.
    pub(super) fn emit(self, rewriter: &mut Rewriter<'_>) -> Option<ValueId> {
        let is_one = self.shape.iter().all(|size| size.is(1));
        let value = rewriter.elementwise(self.expr, self.inputs, self.shape, &self.origin)?;
        // One number for all elements may have more axes than what it is used for.
        match is_one {
            true => rewriter.reshaped(value, Vec::new(), &self.origin),
            false => Some(value),
        }
    }

    /// The number that the part is, if it is known.
    pub(super) fn number(&self, rewriter: &Rewriter<'_>) -> Option<i64> {
        match self.value(rewriter)?.to_ints()?[..] {
            [number] => Some(number),
            _ => None,
        }
    }

    /// Whether the part is known to be a positive number.
    pub(super) fn is_positive(&self, rewriter: &Rewriter<'_>) -> bool {
        let value = self.value(rewriter).and_then(|value| value.to_vec::<f32>());
        matches!(value.as_deref(), Some(&[number]) if number > 0.0 && number.is_finite())
    }

    fn value(&self, rewriter: &Rewriter<'_>) -> Option<Tensor> {
        let inputs = self.inputs.iter().map(|&input| evaluated(rewriter, input));
        let inputs = inputs.collect::<Option<Vec<Tensor>>>()?;
        let op = Op::Elementwise {
            expr: self.expr.clone(),
            shape: self.shape.clone(),
        };
        (inputs.iter().all(|input| input.len() == 1)).then(|| one(&op, &inputs))?
    }
}
