//! Local simplification of expressions.

use super::bytes::as_other_bits;
use super::fold::fold;
use crate::ir::{BinaryOp, DType, Dim, Expr, Literal, Scalar, ScalarId, UnaryOp};

/// The simplified expression, with the same operand numbers.
///
/// `shape` is that of the result; `literal` gives the operands that are one constant everywhere.
///
/// Postcondition: no operation has only constant operands (for element types that literals express), no
/// operation has a neutral operand, constants stand to the right of commutative operations and at most one of them in a
/// chain of additions or multiplications, and no conversion follows another that loses nothing.
///
/// Results may differ from the original by the rounding of reassociated constants and in the sign of zeros.
pub(in crate::passes) fn simplify(expr: &Expr, shape: &[Dim], literal: &dyn Fn(usize) -> Option<Literal>) -> Expr {
    let mut builder = Builder { out: Expr::empty() };
    let mut map: Vec<ScalarId> = Vec::with_capacity(expr.nodes.len());
    for node in &expr.nodes {
        let id = match &node.op {
            Scalar::Input(index) => match literal(*index) {
                Some(value) => builder.constant(value, node.dtype),
                None => builder.out.input(*index, node.dtype),
            },
            Scalar::Index(axis) if shape[*axis].is(1) => builder.constant(Literal::Int(0), node.dtype),
            Scalar::Dim(dim) => match dim.as_const() {
                Some(value) => builder.constant(Literal::Int(value.into()), node.dtype),
                None => builder.out.push(node.op.clone(), node.dtype),
            },
            Scalar::Const(value) => builder.constant(*value, node.dtype),
            Scalar::At(operand, place) => builder.out.push(Scalar::At(*operand, map[*place]), node.dtype),
            Scalar::Index(_) => builder.out.push(node.op.clone(), node.dtype),
            Scalar::Unary(op, x) => builder.unary(*op, map[*x], node.dtype),
            Scalar::Binary(op, a, b) => builder.binary(*op, map[*a], map[*b]),
            Scalar::Select(c, a, b) => builder.select(map[*c], map[*a], map[*b]),
            Scalar::Cast(x) => builder.cast(map[*x], node.dtype),
            Scalar::Bits(x) => builder.bits(map[*x], node.dtype),
        };
        map.push(id);
    }
    builder.out.with_result(map[expr.result()])
}

/// Builds an expression node by node, simplifying each.
struct Builder {
    out: Expr,
}

impl Builder {
    fn op(&self, id: ScalarId) -> &Scalar {
        &self.out.nodes[id].op
    }

    fn dtype(&self, id: ScalarId) -> DType {
        self.out.nodes[id].dtype
    }

    fn literal(&self, id: ScalarId) -> Option<Literal> {
        match self.op(id) {
            Scalar::Const(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether a node is the constant `value` of a numeric type.
    fn is(&self, id: ScalarId, value: f64) -> bool {
        match self.literal(id) {
            Some(Literal::Float(found)) => found == value,
            Some(Literal::Int(found)) => found as f64 == value,
            _ => false,
        }
    }

    /// The value of an operation whose operands, numbered from 0, are all constant.
    fn folded(&self, op: Scalar, dtype: DType, operands: &[ScalarId]) -> Option<Literal> {
        let constants: Option<Vec<(Literal, DType)>> = operands
            .iter()
            .map(|&id| Some((self.literal(id)?, self.dtype(id))))
            .collect();
        fold(op, dtype, &constants?)
    }

    fn constant(&mut self, value: Literal, dtype: DType) -> ScalarId {
        self.out.push(Scalar::Const(value), dtype)
    }

    fn number(&mut self, value: f64, dtype: DType) -> ScalarId {
        let literal = if dtype.is_float() {
            Literal::Float(value)
        } else {
            Literal::Int(value as i128)
        };
        self.constant(literal, dtype)
    }

    fn unary(&mut self, op: UnaryOp, x: ScalarId, dtype: DType) -> ScalarId {
        let of = self.dtype(x);
        if let Some(value) = self.folded(Scalar::Unary(op, 0), dtype, &[x]) {
            return self.constant(value, dtype);
        }
        match (op, self.op(x).clone()) {
            (UnaryOp::Neg, Scalar::Unary(UnaryOp::Neg, y)) | (UnaryOp::Not, Scalar::Unary(UnaryOp::Not, y)) => y,
            (UnaryOp::Neg, Scalar::Binary(BinaryOp::Sub, a, b)) if of.is_float() => self.binary(BinaryOp::Sub, b, a),
            (UnaryOp::Neg, Scalar::Binary(BinaryOp::Mul, a, b)) if self.literal(b).is_some() => {
                let factor = self.unary(UnaryOp::Neg, b, of);
                self.binary(BinaryOp::Mul, a, factor)
            }
            (UnaryOp::Not, Scalar::Binary(BinaryOp::Eq, a, b)) => self.binary(BinaryOp::Ne, a, b),
            (UnaryOp::Not, Scalar::Binary(BinaryOp::Ne, a, b)) => self.binary(BinaryOp::Eq, a, b),
            (UnaryOp::Abs, Scalar::Unary(UnaryOp::Abs, _)) => x,
            (UnaryOp::Abs, Scalar::Unary(UnaryOp::Neg, y)) => self.unary(UnaryOp::Abs, y, dtype),
            (UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round, _) if !of.is_float() => x,
            (
                UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round,
                Scalar::Unary(UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round, _),
            ) => x,
            (UnaryOp::Recip, Scalar::Unary(UnaryOp::Sqrt, y)) => self.unary(UnaryOp::Rsqrt, y, dtype),
            (UnaryOp::Recip, Scalar::Unary(UnaryOp::Recip, y)) => y,
            (UnaryOp::Recip, Scalar::Unary(UnaryOp::Exp, y)) => {
                let negated = self.unary(UnaryOp::Neg, y, dtype);
                self.unary(UnaryOp::Exp, negated, dtype)
            }
            // 1 / (1 + e^y) is the logistic function of -y.
            (UnaryOp::Recip, Scalar::Binary(BinaryOp::Add, a, b)) if self.is(b, 1.0) => match *self.op(a) {
                Scalar::Unary(UnaryOp::Exp, y) => {
                    let negated = self.unary(UnaryOp::Neg, y, dtype);
                    self.unary(UnaryOp::Sigmoid, negated, dtype)
                }
                _ => self.out.push(Scalar::Unary(op, x), dtype),
            },
            _ => self.out.push(Scalar::Unary(op, x), dtype),
        }
    }

    fn binary(&mut self, op: BinaryOp, a: ScalarId, b: ScalarId) -> ScalarId {
        let of = self.dtype(a);
        let dtype = if op.is_comparison() { DType::Bool } else { of };
        if let Some(value) = self.folded(Scalar::Binary(op, 0, 1), dtype, &[a, b]) {
            return self.constant(value, dtype);
        }
        let (a, b) = match (self.literal(a).is_some(), self.literal(b).is_some()) {
            (true, false) if op.is_commutative() => (b, a),
            (false, false) if op.is_commutative() && a > b => (b, a),
            _ => (a, b),
        };
        self.rewritten(op, a, b, of)
            .unwrap_or_else(|| self.out.push(Scalar::Binary(op, a, b), dtype))
    }

    /// What stands for a binary operation, if that is anything simpler.
    fn rewritten(&mut self, op: BinaryOp, a: ScalarId, b: ScalarId, dtype: DType) -> Option<ScalarId> {
        use BinaryOp::*;
        match op {
            Add => {
                if self.is(b, 0.0) {
                    return Some(a);
                }
                if let Scalar::Unary(UnaryOp::Neg, y) = *self.op(b) {
                    return Some(self.binary(Sub, a, y));
                }
                if let Scalar::Unary(UnaryOp::Neg, x) = *self.op(a) {
                    return Some(self.binary(Sub, b, x));
                }
                self.reassociated(Add, a, b, dtype)
            }
            Sub => {
                if self.is(b, 0.0) {
                    return Some(a);
                }
                if self.is(a, 0.0) {
                    return Some(self.unary(UnaryOp::Neg, b, dtype));
                }
                if let Scalar::Unary(UnaryOp::Neg, y) = *self.op(b) {
                    return Some(self.binary(Add, a, y));
                }
                // x - c is x + (-c), exactly.
                let negated = self.folded(Scalar::Unary(UnaryOp::Neg, 0), dtype, &[b])?;
                let negated = self.constant(negated, dtype);
                Some(self.binary(Add, a, negated))
            }
            Mul => {
                if self.is(b, 1.0) {
                    return Some(a);
                }
                if self.is(b, -1.0) {
                    return Some(self.unary(UnaryOp::Neg, a, dtype));
                }
                if dtype.is_int() && self.is(b, 0.0) {
                    return Some(b);
                }
                if let (Scalar::Unary(UnaryOp::Neg, x), Some(_)) = (self.op(a).clone(), self.literal(b)) {
                    let factor = self.folded(Scalar::Unary(UnaryOp::Neg, 0), dtype, &[b])?;
                    let factor = self.constant(factor, dtype);
                    return Some(self.binary(Mul, x, factor));
                }
                for (x, y) in [(a, b), (b, a)] {
                    match *self.op(y) {
                        Scalar::Unary(UnaryOp::Recip, y) => return Some(self.binary(Div, x, y)),
                        Scalar::Unary(UnaryOp::Sigmoid, y) if y == x => {
                            return Some(self.unary(UnaryOp::Silu, x, dtype));
                        }
                        _ => {}
                    }
                }
                self.reassociated(Mul, a, b, dtype)
            }
            Div => self.quotient(a, b, dtype),
            Pow => self.power(a, b, dtype),
            Max if self.is(b, f64::NEG_INFINITY) => Some(a),
            Min if self.is(b, f64::INFINITY) => Some(a),
            Max | Min | And | Or if a == b => Some(a),
            Max | Min => self.reassociated(op, a, b, dtype),
            Xor if dtype.is_int() && self.is(b, 0.0) => Some(a),
            Xor if dtype.is_int() => self
                .reassociated(Xor, a, b, dtype)
                .or_else(|| self.moved_number(a, b, dtype)),
            And | Or | Xor if dtype == DType::Bool => match (op, self.literal(b)?) {
                (And, Literal::Bool(true)) | (Or | Xor, Literal::Bool(false)) => Some(a),
                (And, Literal::Bool(false)) | (Or, Literal::Bool(true)) => Some(b),
                (Xor, Literal::Bool(true)) => Some(self.unary(UnaryOp::Not, a, dtype)),
                _ => None,
            },
            Eq | Ne if dtype == DType::Bool => match (op, self.literal(b)?) {
                (Eq, Literal::Bool(true)) | (Ne, Literal::Bool(false)) => Some(a),
                _ => Some(self.unary(UnaryOp::Not, a, dtype)),
            },
            _ => None,
        }
    }

    /// A rounded number that becomes one of 8 bits with a sign, whose bits become those of the number that is 128 more, as
    /// one without a sign from the start, or the other way around. Not-a-number, of which quantization makes no number in
    /// particular, may become another one.
    fn moved_number(&mut self, a: ScalarId, b: ScalarId, dtype: DType) -> Option<ScalarId> {
        let Scalar::Bits(signed) = *self.op(a) else {
            return None;
        };
        let Scalar::Cast(moved) = *self.op(signed) else {
            return None;
        };
        let move_by = match (self.dtype(signed), dtype) {
            (DType::I8, DType::U8) => 128.0,
            (DType::U8, DType::I8) => -128.0,
            _ => return None,
        };
        let (rounded, offset) = match *self.op(moved) {
            Scalar::Binary(BinaryOp::Add, x, c) => (x, self.literal(c)?),
            _ => (moved, Literal::Float(0.0)),
        };
        let (Literal::Float(offset), Literal::Int(top)) = (offset, self.literal(b)?) else {
            return None;
        };
        let is_whole = matches!(self.op(rounded), Scalar::Unary(UnaryOp::Round, _)) && offset.fract() == 0.0;
        // Numbers of that size are exact in any type.
        if !is_whole || offset.abs() > 256.0 || top as u8 != 128 || self.dtype(rounded) != DType::F32 {
            return None;
        }
        let offset = self.number(offset + move_by, DType::F32);
        let number = self.binary(BinaryOp::Add, rounded, offset);
        Some(self.cast(number, dtype))
    }

    /// `(x op c) op d` as `x op (c op d)`.
    fn reassociated(&mut self, op: BinaryOp, a: ScalarId, b: ScalarId, dtype: DType) -> Option<ScalarId> {
        let Scalar::Binary(inner_op, x, inner) = *self.op(a) else {
            return None;
        };
        if inner_op != op {
            return None;
        }
        let combined = self.folded(Scalar::Binary(op, 0, 1), dtype, &[inner, b])?;
        // A product that overflows or underflows where the two steps need not have would be another function.
        if let Literal::Float(value) = combined
            && matches!(op, BinaryOp::Mul | BinaryOp::Add)
            && !(value as f32).is_normal()
        {
            return None;
        }
        let combined = self.constant(combined, dtype);
        Some(self.binary(op, x, combined))
    }

    fn quotient(&mut self, a: ScalarId, b: ScalarId, dtype: DType) -> Option<ScalarId> {
        if self.is(b, 1.0) {
            return Some(a);
        }
        if !dtype.is_float() {
            return None;
        }
        if self.is(a, 1.0) {
            return Some(self.unary(UnaryOp::Recip, b, dtype));
        }
        match *self.op(b) {
            Scalar::Const(Literal::Float(divisor)) => {
                // Division by a power of two is multiplication by its inverse; other inverses are rounded.
                let inverse = 1.0 / divisor;
                let exact =
                    divisor.to_bits() << 12 == 0 && (inverse as f32).is_normal() && (divisor as f32).is_normal();
                exact.then(|| {
                    let inverse = self.number(inverse, dtype);
                    self.binary(BinaryOp::Mul, a, inverse)
                })
            }
            Scalar::Unary(UnaryOp::Recip, y) => Some(self.binary(BinaryOp::Mul, a, y)),
            Scalar::Binary(BinaryOp::Add, e, one) if self.is(one, 1.0) => match *self.op(e) {
                Scalar::Unary(UnaryOp::Exp, _) => {
                    let logistic = self.unary(UnaryOp::Recip, b, dtype);
                    Some(self.binary(BinaryOp::Mul, a, logistic))
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn power(&mut self, x: ScalarId, exponent: ScalarId, dtype: DType) -> Option<ScalarId> {
        let exponent = match self.literal(exponent)? {
            Literal::Float(value) => value,
            Literal::Int(value) => value as f64,
            Literal::Bool(_) => return None,
        };
        if exponent == 0.0 {
            return Some(self.number(1.0, dtype));
        }
        if exponent == 1.0 {
            return Some(x);
        }
        if exponent == 2.0 || exponent == 3.0 {
            let square = self.binary(BinaryOp::Mul, x, x);
            return Some(if exponent == 2.0 {
                square
            } else {
                self.binary(BinaryOp::Mul, square, x)
            });
        }
        if !dtype.is_float() {
            return None;
        }
        let op = match exponent {
            0.5 => UnaryOp::Sqrt,
            -0.5 => UnaryOp::Rsqrt,
            -1.0 => UnaryOp::Recip,
            _ => return None,
        };
        Some(self.unary(op, x, dtype))
    }

    fn select(&mut self, c: ScalarId, a: ScalarId, b: ScalarId) -> ScalarId {
        let dtype = self.dtype(a);
        if let Some(Literal::Bool(condition)) = self.literal(c) {
            return if condition { a } else { b };
        }
        if a == b {
            return a;
        }
        if let Scalar::Unary(UnaryOp::Not, c) = *self.op(c) {
            return self.select(c, b, a);
        }
        match (self.literal(a), self.literal(b)) {
            (Some(Literal::Bool(true)), Some(Literal::Bool(false))) => c,
            (Some(Literal::Bool(false)), Some(Literal::Bool(true))) => self.unary(UnaryOp::Not, c, dtype),
            (Some(Literal::Bool(_)), _) | (_, Some(Literal::Bool(_))) => self.out.push(Scalar::Select(c, a, b), dtype),
            _ if self.is(a, 1.0) && self.is(b, 0.0) => self.cast(c, dtype),
            _ => self.out.push(Scalar::Select(c, a, b), dtype),
        }
    }

    fn bits(&mut self, x: ScalarId, to: DType) -> ScalarId {
        match *self.op(x) {
            Scalar::Bits(y) if self.dtype(y) == to => y,
            Scalar::Bits(y) => self.out.bits(y, to),
            _ => self.out.bits(x, to),
        }
    }

    fn cast(&mut self, x: ScalarId, to: DType) -> ScalarId {
        let from = self.dtype(x);
        if from == to {
            return x;
        }
        if let Some(value) = self.folded(Scalar::Cast(0), to, &[x]) {
            return self.constant(value, to);
        }
        if let Scalar::Cast(y) = *self.op(x)
            && skips(self.dtype(y), from, to)
        {
            return self.cast(y, to);
        }
        // The bits of a number that is stored without a sign, 128 greater.
        if to.is_signed_int()
            && to.bits() > 8
            && from == DType::I8
            && let Scalar::Bits(y) = *self.op(x)
            && let Scalar::Binary(BinaryOp::Xor, number, top) = *self.op(y)
            && self.is(top, 128.0)
        {
            let number = self.cast(number, to);
            let offset = self.number(-128.0, to);
            return self.binary(BinaryOp::Add, number, offset);
        }
        // Conversions to integers saturate.
        if let Some(limits) = int_limits(from, to)
            && let Scalar::Binary(op, y, bound) = *self.op(x)
            && let Some(Literal::Float(bound)) = self.literal(bound)
            && (op == BinaryOp::Max && bound <= limits.0 || op == BinaryOp::Min && bound >= limits.1)
        {
            return self.cast(y, to);
        }
        let result = self.out.push(Scalar::Cast(x), to);
        // A number that is quantized as it was before is the number.
        if from.is_float()
            && matches!(to, DType::U8 | DType::I8)
            && let Some((number, bits)) = as_other_bits(&self.out, result)
        {
            let number = self.bits(number, DType::U8);
            let bits = self.constant(Literal::Int(bits.into()), DType::U8);
            let number = self.binary(BinaryOp::Xor, number, bits);
            return self.bits(number, to);
        }
        result
    }
}

/// The numbers of an integer type, if conversion from a type of floating-point numbers saturates.
fn int_limits(from: DType, to: DType) -> Option<(f64, f64)> {
    let is_narrow = to.is_int() && matches!(to.bits(), 8 | 16);
    (matches!(from, DType::F32 | DType::F64) && is_narrow).then(|| {
        let (low, high) = crate::ir::eval::int_limits(to);
        (low as f64, high as f64)
    })
}

/// Whether conversion by way of `middle` is the same as direct conversion.
fn skips(from: DType, middle: DType, to: DType) -> bool {
    match (from, middle, to) {
        // A power of two alone has no zero.
        (DType::Bool, _, _) => middle != DType::F8E8M0,
        (DType::F32, DType::F64, _) => true,
        (_, DType::F32 | DType::F64, _) if from.arithmetic() == DType::F32 && from != DType::F32 => true,
        // A wider integer type that holds every value of the narrower one.
        (from, middle, _) if from.is_int() && middle.is_int() => {
            from.bits() < middle.bits() && (from.is_unsigned_int() || middle.is_signed_int())
        }
        _ => false,
    }
}
