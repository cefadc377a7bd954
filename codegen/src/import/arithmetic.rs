//! Short names for the arithmetic of scalar expressions that compute sizes and places.

use crate::ir::{BinaryOp, DType, Expr, ScalarId};

/// Operations on nodes of an expression.
pub(super) trait Arithmetic {
    /// An `i64`.
    fn number(&mut self, value: i64) -> ScalarId;
    /// A function of two values of one type.
    fn two(&mut self, op: BinaryOp, a: ScalarId, b: ScalarId) -> ScalarId;

    fn add(&mut self, a: ScalarId, b: ScalarId) -> ScalarId {
        self.two(BinaryOp::Add, a, b)
    }

    fn sub(&mut self, a: ScalarId, b: ScalarId) -> ScalarId {
        self.two(BinaryOp::Sub, a, b)
    }

    fn mul(&mut self, a: ScalarId, b: ScalarId) -> ScalarId {
        self.two(BinaryOp::Mul, a, b)
    }

    fn div(&mut self, a: ScalarId, b: ScalarId) -> ScalarId {
        self.two(BinaryOp::Div, a, b)
    }

    /// The remainder with the sign of the divisor.
    fn modulo(&mut self, a: ScalarId, b: ScalarId) -> ScalarId {
        self.two(BinaryOp::Mod, a, b)
    }

    fn least(&mut self, a: ScalarId, b: ScalarId) -> ScalarId {
        self.two(BinaryOp::Min, a, b)
    }

    fn greatest(&mut self, a: ScalarId, b: ScalarId) -> ScalarId {
        self.two(BinaryOp::Max, a, b)
    }

    fn equals(&mut self, a: ScalarId, b: ScalarId) -> ScalarId {
        self.two(BinaryOp::Eq, a, b)
    }

    fn less(&mut self, a: ScalarId, b: ScalarId) -> ScalarId {
        self.two(BinaryOp::Lt, a, b)
    }

    fn at_most(&mut self, a: ScalarId, b: ScalarId) -> ScalarId {
        self.two(BinaryOp::Le, a, b)
    }

    fn both(&mut self, a: ScalarId, b: ScalarId) -> ScalarId {
        self.two(BinaryOp::And, a, b)
    }

    fn either(&mut self, a: ScalarId, b: ScalarId) -> ScalarId {
        self.two(BinaryOp::Or, a, b)
    }

    /// The value, or the nearest one from `low` to `high`.
    fn clamped(&mut self, x: ScalarId, low: ScalarId, high: ScalarId) -> ScalarId {
        let x = self.greatest(x, low);
        self.least(x, high)
    }

    /// Whether a coordinate is one of an axis of a size.
    fn within(&mut self, x: ScalarId, size: ScalarId) -> ScalarId {
        let zero = self.number(0);
        let (above, below) = (self.at_most(zero, x), self.less(x, size));
        self.both(above, below)
    }
}

impl Arithmetic for Expr {
    fn number(&mut self, value: i64) -> ScalarId {
        self.int(value.into(), DType::I64)
    }

    fn two(&mut self, op: BinaryOp, a: ScalarId, b: ScalarId) -> ScalarId {
        self.apply2(op, a, b)
    }
}

/// An index that counts from the end where it is negative, counted from the start.
pub(super) fn from_start(expr: &mut Expr, index: ScalarId, size: ScalarId) -> ScalarId {
    let zero = expr.number(0);
    let (negative, wrapped) = (expr.less(index, zero), expr.add(index, size));
    expr.select(negative, wrapped, index)
}

/// How many steps of a size lead from 0 to less than a distance: their quotient, rounded up, and not below 0.
pub(super) fn steps_within(expr: &mut Expr, distance: ScalarId, step: ScalarId) -> ScalarId {
    let (zero, one) = (expr.number(0), expr.number(1));
    let last = expr.sub(distance, one);
    let whole = expr.div(last, step);
    let count = expr.add(whole, one);
    let some = expr.less(zero, distance);
    expr.select(some, count, zero)
}
