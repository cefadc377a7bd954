//! Arithmetic of types that Rust does not have, in types that it has.

use crate::ir::{DType, Expr, Literal, Scalar, ScalarId};

/// The expression with every function and conversion of a type that is only stored
/// ([`arithmetic`](DType::arithmetic) differs) as one of the type that is computed with, between conversions from and to
/// it. The only conversions of such types that remain are those between a type and what it is computed in, and those of
/// other types to it.
pub(super) fn widen(expr: &Expr) -> Expr {
    let mut out = Expr::empty();
    let mut map: Vec<ScalarId> = Vec::with_capacity(expr.nodes.len());
    for node in &expr.nodes {
        let wide = |out: &mut Expr, id: ScalarId| widened(out, map[id]);
        let id = match node.op {
            Scalar::Unary(op, x) => {
                let x = wide(&mut out, x);
                let result = out.apply1(op, x);
                out.convert(result, node.dtype)
            }
            Scalar::Binary(op, a, b) => {
                let (a, b) = (wide(&mut out, a), wide(&mut out, b));
                let result = out.apply2(op, a, b);
                out.convert(result, node.dtype)
            }
            Scalar::Cast(x) if expr.nodes[x].dtype != node.dtype => {
                let x = wide(&mut out, x);
                out.convert(x, node.dtype)
            }
            _ => out.push(node.op.map_operands(|operand| map[operand]), node.dtype),
        };
        map.push(id);
    }
    match map.last() {
        Some(&id) => out.finish(id),
        None => out,
    }
}

/// A node in the type that is computed with.
fn widened(out: &mut Expr, id: ScalarId) -> ScalarId {
    let node = &out.nodes[id];
    let (dtype, wide) = (node.dtype, node.dtype.arithmetic());
    match node.op {
        Scalar::Const(Literal::Float(value)) if dtype != wide => out.float(value, wide),
        Scalar::Const(Literal::Int(value)) if dtype != wide => out.int(value, wide),
        _ => out.convert(id, wide),
    }
}

/// Whether elements of a type are stored but not computed with.
pub(super) fn is_stored_only(dtype: DType) -> bool {
    dtype.arithmetic() != dtype
}
