//! Rounding and saturation, which the runtime does in one.

use crate::ir::{BinaryOp, DType, Expr, Literal, Scalar, ScalarId, UnaryOp};

/// The largest magnitude of a zero point that is added to a rounded number.
const MAX_ZERO_POINT: f64 = 65536.0;

/// What a node rounds and adds to that, if it is the sum of a rounded number and a zero point, saturated to 8 bits.
pub(super) fn rounded(expr: &Expr, id: ScalarId) -> Option<(ScalarId, i32)> {
    let Scalar::Cast(moved) = expr.nodes[id].op else {
        return None;
    };
    if expr.nodes[moved].dtype != DType::F32 || !matches!(expr.nodes[id].dtype, DType::U8 | DType::I8) {
        return None;
    }
    let (rounded, zero_point) = match expr.nodes[moved].op {
        Scalar::Binary(BinaryOp::Add, x, c) => match expr.nodes[c].op {
            Scalar::Const(Literal::Float(c)) if c.fract() == 0.0 && c.abs() <= MAX_ZERO_POINT => (x, c as i32),
            _ => return None,
        },
        _ => (moved, 0),
    };
    match expr.nodes[rounded].op {
        Scalar::Unary(UnaryOp::Round, x) => Some((x, zero_point)),
        _ => None,
    }
}
