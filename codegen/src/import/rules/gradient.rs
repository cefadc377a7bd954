//! Gradients by reverse accumulation over the primitives that a part of the model became.

use std::collections::{HashMap, HashSet};

use super::{Rules, TRAINING};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::graph::Node;
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, Dim, Expr, Op, Scalar, ScalarId, UnaryOp, ValueId};

pub(super) const RULES: Rules = &[(TRAINING, "Gradient", gradient)];

/// The derivatives of the sum of the elements of `y` by the elements of each of `xs`. The operands are the values of
/// `xs`, then of what else `y` depends on, at which the derivatives are taken: those that the model computed with.
fn gradient(cx: &mut Call) -> Result<Vec<ValueId>, Fault> {
    let xs = cx
        .strings("xs")?
        .ok_or_else(|| Fault::new("attribute `xs` is missing"))?;
    let zs = cx.strings("zs")?.unwrap_or_default();
    let y = cx.string("y", "")?;
    let named = |cx: &Call, name: &str| {
        let found = cx.importer.tensor_named(name);
        found.ok_or_else(|| Fault::new(format!("nothing before this node defines `{name}`")))
    };
    let operands = cx.inputs()?;
    for (index, name) in xs.iter().chain(&zs).enumerate() {
        if operands.get(index) != Some(&named(cx, name)?) {
            let fault = Fault::new(format!(
                "the gradient at another value of `{name}` than the model computed with"
            ));
            return Err(fault.help("give the operator the values that `xs` and `zs` name"));
        }
    }
    let (y, sources) = (named(cx, y)?, &operands[..xs.len()]);
    let nodes = cx.open_nodes().to_vec();
    let mut depends: HashSet<ValueId> = sources.iter().copied().collect();
    for node in &nodes {
        if node.inputs.iter().any(|input| depends.contains(input)) {
            depends.extend(&node.outputs);
        }
    }
    let mut adjoints: HashMap<ValueId, ValueId> = HashMap::new();
    let (dtype, shape) = (cx.dtype(y), cx.shape(y));
    if !dtype.is_float() {
        return Err(Fault::new(format!("the gradient of a tensor of {dtype}")));
    }
    adjoints.insert(y, cx.filled(1.0, dtype, shape)?);
    for node in nodes.iter().rev() {
        let Some(&adjoint) = node.outputs.first().and_then(|output| adjoints.get(output)) else {
            continue;
        };
        for (place, &input) in node.inputs.iter().enumerate() {
            if !depends.contains(&input) || !cx.dtype(input).is_float() {
                continue;
            }
            let part = backward(cx, node, place, adjoint)?;
            let sum = match adjoints.get(&input) {
                Some(&other) => cx.binary(BinaryOp::Add, other, part)?,
                None => part,
            };
            adjoints.insert(input, sum);
        }
    }
    let of = |&x: &ValueId| match adjoints.get(&x) {
        Some(&adjoint) => Ok(adjoint),
        None => {
            let (dtype, shape) = (cx.dtype(x), cx.shape(x));
            cx.filled(0.0, dtype, shape)
        }
    };
    sources.iter().map(of).collect()
}

/// What an operand of a node contributes, given the derivative by the result of the node.
fn backward(cx: &mut Call, node: &Node, place: usize, adjoint: ValueId) -> Result<ValueId, Fault> {
    let shape = cx.shape(node.inputs[place]);
    match &node.op {
        Op::Elementwise { expr, .. } if !expr.is_positional() => {
            let derivative = derivative(expr, place, node.inputs.len(), cx.dtype(adjoint))?;
            let operands: Vec<_> = node.inputs.iter().copied().chain([adjoint]).collect();
            let whole = cx.elementwise(derivative, &operands)?;
            summed_to(cx, whole, shape)
        }
        Op::Broadcast { .. } => summed_to(cx, adjoint, shape),
        Op::Reshape { .. } => cx.reshape(adjoint, shape),
        Op::Transpose { permutation } => {
            let mut inverse = vec![0; permutation.len()];
            permutation
                .iter()
                .enumerate()
                .for_each(|(to, &from)| inverse[from] = to);
            cx.transpose(adjoint, inverse)
        }
        Op::Reduce {
            kind: ReduceKind::Sum | ReduceKind::Mean,
            axes,
            ..
        } => {
            let mut kept = shape.clone();
            axes.iter().for_each(|&axis| kept[axis] = Dim::from(1i64));
            let column = cx.reshape(adjoint, kept)?;
            let whole = cx.emit(Op::Broadcast { shape: shape.clone() }, &[column])?;
            if matches!(
                node.op,
                Op::Reduce {
                    kind: ReduceKind::Sum,
                    ..
                }
            ) {
                return Ok(whole);
            }
            let count: Dim = axes.iter().map(|&axis| shape[axis].clone()).product();
            cx.over(&[whole], |f| f.operand(0) / f.dim(&count).cast(f.operand(0).dtype()))
        }
        Op::MatMul { epilogue: None } => {
            let other = node.inputs[1 - place];
            let rank = cx.rank(other);
            if rank < 2 {
                return Err(Fault::new("the gradient of a product with a vector is not supported"));
            }
            let mut permutation: Vec<_> = (0..rank).collect();
            permutation.swap(rank - 2, rank - 1);
            let other = cx.transpose(other, permutation)?;
            let factors = if place == 0 { [adjoint, other] } else { [other, adjoint] };
            let whole = super::linear::matmul(cx, factors[0], factors[1])?;
            summed_to(cx, whole, shape)
        }
        op => Err(Fault::new(format!(
            "the gradient of the primitive `{}` is not supported",
            op.name()
        ))),
    }
}

/// Sums over what a shape was broadcast along.
fn summed_to(cx: &mut Call, x: ValueId, shape: Vec<Dim>) -> Result<ValueId, Fault> {
    let from = cx.shape(x);
    let outer = from.len() - shape.len();
    let stays = |axis: usize| axis >= outer && (from[axis].is(1) || !shape[axis - outer].is(1));
    let axes: Vec<_> = (0..from.len()).filter(|&axis| !stays(axis)).collect();
    if axes.is_empty() {
        return Ok(x);
    }
    let sum = Op::Reduce {
        kind: ReduceKind::Sum,
        axes,
        keep_dims: true,
    };
    let sum = cx.emit(sum, &[x])?;
    cx.reshape(sum, shape)
}

/// The derivative of an expression by an operand, times a further operand, the one after the `count` that it has.
fn derivative(expr: &Expr, by: usize, count: usize, dtype: crate::ir::DType) -> Result<Expr, Fault> {
    let mut e = expr.clone();
    let mut adjoints: Vec<Option<ScalarId>> = vec![None; expr.nodes.len()];
    adjoints[expr.result()] = Some(e.input(count, dtype));
    for (id, node) in expr.nodes.iter().enumerate().rev() {
        let Some(g) = adjoints[id].filter(|_| node.dtype.is_float()) else {
            continue;
        };
        let parts = match node.op {
            Scalar::Unary(op, x) => vec![(x, unary(&mut e, op, x, id, g)?)],
            Scalar::Binary(op, a, b) => binary(&mut e, op, [a, b], id, g)?,
            Scalar::Select(condition, a, b) => {
                let zero = e.float(0.0, node.dtype);
                vec![(a, e.select(condition, g, zero)), (b, e.select(condition, zero, g))]
            }
            Scalar::Cast(x) => vec![(x, e.convert(g, expr.nodes[x].dtype))],
            _ => Vec::new(),
        };
        for (operand, part) in parts {
            adjoints[operand] = Some(match adjoints[operand] {
                Some(other) => e.apply2(BinaryOp::Add, other, part),
                None => part,
            });
        }
    }
    let place = expr.nodes.iter().position(|node| node.op == Scalar::Input(by));
    let result = match place.and_then(|place| adjoints[place]) {
        Some(result) => result,
        None => e.float(0.0, dtype),
    };
    Ok(e.with_result(result))
}

/// `g` times the derivative of a function at `x`, where it has the value `y`.
fn unary(e: &mut Expr, op: UnaryOp, x: ScalarId, y: ScalarId, g: ScalarId) -> Result<ScalarId, Fault> {
    use BinaryOp::{Div, Mul, Sub};
    let one = e.float(1.0, e.nodes[x].dtype);
    let factor = match op {
        UnaryOp::Neg => return Ok(e.apply1(UnaryOp::Neg, g)),
        UnaryOp::Abs => e.apply1(UnaryOp::Sign, x),
        UnaryOp::Exp => y,
        UnaryOp::Sin => e.apply1(UnaryOp::Cos, x),
        UnaryOp::Cos => {
            let sin = e.apply1(UnaryOp::Sin, x);
            e.apply1(UnaryOp::Neg, sin)
        }
        UnaryOp::Ln => return Ok(e.apply2(Div, g, x)),
        UnaryOp::Sqrt => {
            let twice = e.apply2(BinaryOp::Add, y, y);
            return Ok(e.apply2(Div, g, twice));
        }
        UnaryOp::Recip => {
            let square = e.apply2(Mul, y, y);
            e.apply1(UnaryOp::Neg, square)
        }
        UnaryOp::Tanh => {
            let square = e.apply2(Mul, y, y);
            e.apply2(Sub, one, square)
        }
        UnaryOp::Sigmoid => {
            let rest = e.apply2(Sub, one, y);
            e.apply2(Mul, y, rest)
        }
        UnaryOp::Softplus => e.apply1(UnaryOp::Sigmoid, x),
        UnaryOp::Sign | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round => return Ok(e.float(0.0, e.nodes[x].dtype)),
        other => {
            return Err(Fault::new(format!(
                "the derivative of `{}` is not supported",
                other.name()
            )));
        }
    };
    Ok(e.apply2(Mul, g, factor))
}

/// The operands with `g` times the derivatives by them of a function that has the value `y`.
fn binary(
    e: &mut Expr,
    op: BinaryOp,
    [a, b]: [ScalarId; 2],
    y: ScalarId,
    g: ScalarId,
) -> Result<Vec<(ScalarId, ScalarId)>, Fault> {
    use BinaryOp::{Div, Ge, Le, Mul, Pow, Sub};
    let zero = e.float(0.0, e.nodes[a].dtype);
    Ok(match op {
        BinaryOp::Add => vec![(a, g), (b, g)],
        Sub => vec![(a, g), (b, e.apply1(UnaryOp::Neg, g))],
        Mul => vec![(a, e.apply2(Mul, g, b)), (b, e.apply2(Mul, g, a))],
        Div => {
            let by_a = e.apply2(Div, g, b);
            let scaled = e.apply2(Mul, by_a, y);
            vec![(a, by_a), (b, e.apply1(UnaryOp::Neg, scaled))]
        }
        BinaryOp::Max | BinaryOp::Min => {
            let first = e.apply2(if op == BinaryOp::Max { Ge } else { Le }, a, b);
            vec![(a, e.select(first, g, zero)), (b, e.select(first, zero, g))]
        }
        Pow => {
            let one = e.float(1.0, e.nodes[a].dtype);
            let less = e.apply2(Sub, b, one);
            let lower = e.apply2(Pow, a, less);
            let (scaled, logarithm) = (e.apply2(Mul, b, lower), e.apply1(UnaryOp::Ln, a));
            let by_exponent = e.apply2(Mul, y, logarithm);
            vec![(a, e.apply2(Mul, g, scaled)), (b, e.apply2(Mul, g, by_exponent))]
        }
        other => {
            return Err(Fault::new(format!(
                "the derivative of `{}` is not supported",
                other.name()
            )));
        }
    })
}
