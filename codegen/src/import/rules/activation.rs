//! Activation functions.

use super::norm::per_channel;
use super::{MICROSOFT, ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::{BinaryOp, DType, Dim, Expr, Op, Scalar, ScalarId, UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "Relu", |cx| function(cx, |f, x| f.relu(x))),
    (ONNX, "Sigmoid", |cx| function(cx, |f, x| f.unary(UnaryOp::Sigmoid, x))),
    (ONNX, "Softplus", |cx| {
        function(cx, |f, x| f.unary(UnaryOp::Softplus, x))
    }),
    (ONNX, "Mish", |cx| function(cx, |f, x| f.unary(UnaryOp::Mish, x))),
    (ONNX, "HardSwish", |cx| {
        function(cx, |f, x| f.unary(UnaryOp::HardSwish, x))
    }),
    (ONNX, "Softsign", |cx| function(cx, |f, x| f.softsign(x))),
    (ONNX, "LeakyRelu", |cx| {
        let alpha = cx.float("alpha", 0.01)?;
        function(cx, |f, x| {
            let negative = f.times(x, alpha);
            f.by_sign(x, x, negative)
        })
    }),
    (ONNX, "PRelu", prelu),
    (ONNX, "Elu", |cx| {
        let alpha = cx.float("alpha", 1.0)?;
        function(cx, |f, x| {
            let negative = f.exp_minus_one(x, alpha);
            f.by_sign(x, x, negative)
        })
    }),
    (ONNX, "Selu", |cx| {
        let (alpha, gamma) = (cx.float("alpha", 1.673_263_2)?, cx.float("gamma", 1.050_701)?);
        function(cx, |f, x| {
            let negative = f.exp_minus_one(x, alpha);
            let result = f.by_sign(x, x, negative);
            f.times(result, gamma)
        })
    }),
    (ONNX, "Celu", |cx| {
        let alpha = cx.float("alpha", 1.0)?;
        function(cx, |f, x| {
            let scale = f.number(alpha);
            let scaled = f.binary(BinaryOp::Div, x, scale);
            let negative = f.exp_minus_one(scaled, alpha);
            f.by_sign(x, x, negative)
        })
    }),
    (ONNX, "ThresholdedRelu", |cx| {
        let alpha = cx.float("alpha", 1.0)?;
        function(cx, |f, x| f.above(x, alpha))
    }),
    (ONNX, "HardSigmoid", |cx| {
        let (alpha, beta) = (cx.float("alpha", 0.2)?, cx.float("beta", 0.5)?);
        function(cx, |f, x| f.hard_sigmoid(x, alpha, beta))
    }),
    (ONNX, "Shrink", |cx| {
        let (bias, lambda) = (cx.float("bias", 0.0)?, cx.float("lambd", 0.5)?);
        function(cx, |f, x| {
            let (low, high, zero) = (f.number(-lambda), f.number(lambda), f.number(0.0));
            let (below, above) = (f.binary(BinaryOp::Lt, x, low), f.binary(BinaryOp::Gt, x, high));
            let (raised, lowered) = (f.plus(x, bias), f.plus(x, -bias));
            let inner = f.select(above, lowered, zero);
            f.select(below, raised, inner)
        })
    }),
    (ONNX, "Gelu", gelu),
    (MICROSOFT, "Gelu", |cx| function(cx, |f, x| f.unary(UnaryOp::Gelu, x))),
    (MICROSOFT, "FastGelu", |cx| biased(cx, UnaryOp::GeluTanh)),
    (MICROSOFT, "BiasGelu", |cx| biased(cx, UnaryOp::Gelu)),
    (ONNX, "Swish", |cx| {
        let alpha = cx.float("alpha", 1.0)?;
        swish(cx, alpha)
    }),
    (ONNX, "SwiGLU", |cx| {
        let alpha = cx.float("alpha", 1.0)?;
        let gate = swish(cx, alpha)?[0];
        let linear = cx.input(1)?;
        Ok(vec![cx.binary(BinaryOp::Mul, gate, linear)?])
    }),
    (MICROSOFT, "QuickGelu", |cx| {
        let alpha = cx.float("alpha", 1.702)?;
        swish(cx, alpha)
    }),
    (ONNX, "Softmax", |cx| {
        let x = cx.input(0)?;
        Ok(vec![softmax(cx, x, cx.version, false)?])
    }),
    (ONNX, "LogSoftmax", |cx| {
        let x = cx.input(0)?;
        Ok(vec![softmax(cx, x, cx.version, true)?])
    }),
    (ONNX, "Hardmax", hardmax),
];

/// An expression over elements of one type.
pub(super) struct Function<'e> {
    pub(super) expr: &'e mut Expr,
    pub(super) dtype: DType,
}

impl Function<'_> {
    fn number(&mut self, value: f32) -> ScalarId {
        crate::import::builder::literal(self.expr, value.into(), self.dtype)
    }

    pub(super) fn unary(&mut self, op: UnaryOp, x: ScalarId) -> ScalarId {
        self.expr.apply1(op, x)
    }

    fn binary(&mut self, op: BinaryOp, a: ScalarId, b: ScalarId) -> ScalarId {
        self.expr.apply2(op, a, b)
    }

    pub(super) fn plus(&mut self, x: ScalarId, value: f32) -> ScalarId {
        let value = self.number(value);
        self.binary(BinaryOp::Add, x, value)
    }

    pub(super) fn times(&mut self, x: ScalarId, value: f32) -> ScalarId {
        let value = self.number(value);
        self.binary(BinaryOp::Mul, x, value)
    }

    pub(super) fn relu(&mut self, x: ScalarId) -> ScalarId {
        let zero = self.number(0.0);
        self.binary(BinaryOp::Max, x, zero)
    }

    fn select(&mut self, condition: ScalarId, a: ScalarId, b: ScalarId) -> ScalarId {
        let dtype = self.expr.nodes[a].dtype;
        self.expr.push(Scalar::Select(condition, a, b), dtype)
    }

    /// `a` where `x` is not negative, `b` where it is.
    pub(super) fn by_sign(&mut self, x: ScalarId, a: ScalarId, b: ScalarId) -> ScalarId {
        let zero = self.number(0.0);
        let negative = self.binary(BinaryOp::Lt, x, zero);
        self.select(negative, b, a)
    }

    /// `x / (1 + |x|)`.
    pub(super) fn softsign(&mut self, x: ScalarId) -> ScalarId {
        let magnitude = self.unary(UnaryOp::Abs, x);
        let divisor = self.plus(magnitude, 1.0);
        self.binary(BinaryOp::Div, x, divisor)
    }

    /// `x` where it is larger than a threshold, 0 elsewhere.
    pub(super) fn above(&mut self, x: ScalarId, threshold: f32) -> ScalarId {
        let (threshold, zero) = (self.number(threshold), self.number(0.0));
        let above = self.binary(BinaryOp::Gt, x, threshold);
        self.select(above, x, zero)
    }

    /// `alpha * x + beta`, but from 0 to 1.
    pub(super) fn hard_sigmoid(&mut self, x: ScalarId, alpha: f32, beta: f32) -> ScalarId {
        let scaled = self.times(x, alpha);
        let shifted = self.plus(scaled, beta);
        let (zero, one) = (self.number(0.0), self.number(1.0));
        let positive = self.binary(BinaryOp::Max, shifted, zero);
        self.binary(BinaryOp::Min, positive, one)
    }

    /// `factor * (e^x - 1)`.
    pub(super) fn exp_minus_one(&mut self, x: ScalarId, factor: f32) -> ScalarId {
        let exp = self.unary(UnaryOp::Exp, x);
        let shifted = self.plus(exp, -1.0);
        self.times(shifted, factor)
    }
}

fn function(cx: &mut Call, body: impl FnOnce(&mut Function, ScalarId) -> ScalarId) -> Results {
    let x = cx.input(0)?;
    let dtype = cx.dtype(x);
    Ok(vec![
        cx.map(&[x], |expr, of| body(&mut Function { expr, dtype }, of[0]))?,
    ])
}

/// The function of a fused operator's attribute `activation`, with its parameters.
pub(super) fn fused(cx: &mut Call, x: ValueId, parameters: &[f32]) -> Result<ValueId, Fault> {
    let (name, dtype) = (cx.string("activation", "")?, cx.dtype(x));
    let parameter = |number: usize, usual| parameters.get(number).copied().unwrap_or(usual);
    if !["", "Relu", "Tanh", "Sigmoid", "LeakyRelu", "Clip", "HardSigmoid"].contains(&name) {
        return cx.unsupported("activation", name);
    }
    cx.map(&[x], |expr, of| {
        let (mut f, x) = (Function { expr, dtype }, of[0]);
        match name {
            "Relu" => f.relu(x),
            "Tanh" => f.unary(UnaryOp::Tanh, x),
            "Sigmoid" => f.unary(UnaryOp::Sigmoid, x),
            "HardSigmoid" => f.hard_sigmoid(x, parameter(0, 0.2), parameter(1, 0.5)),
            "LeakyRelu" => {
                let negative = f.times(x, parameter(0, 0.01));
                f.by_sign(x, x, negative)
            }
            "Clip" => {
                let (low, high) = (f.number(parameter(0, f32::MIN)), f.number(parameter(1, f32::MAX)));
                let above = f.binary(BinaryOp::Max, x, low);
                f.binary(BinaryOp::Min, above, high)
            }
            _ => x,
        }
    })
}

/// The slope broadcasts to the tensor. Before version 7, a list of slopes belongs to the channels.
fn prelu(cx: &mut Call) -> Results {
    let (x, mut slope) = (cx.input(0)?, cx.input(1)?);
    if cx.version < 7 && cx.rank(slope) == 1 {
        slope = per_channel(cx, slope, cx.rank(x))?;
    }
    let dtype = cx.dtype(x);
    let result = cx.map(&[x, slope], |expr, of| {
        let mut f = Function { expr, dtype };
        let negative = f.binary(BinaryOp::Mul, of[0], of[1]);
        f.by_sign(of[0], of[0], negative)
    })?;
    Ok(vec![result])
}

fn gelu(cx: &mut Call) -> Results {
    match cx.string("approximate", "none")? {
        "none" => function(cx, |f, x| f.unary(UnaryOp::Gelu, x)),
        "tanh" => function(cx, |f, x| f.unary(UnaryOp::GeluTanh, x)),
        other => cx.unsupported("approximate", other),
    }
}

fn biased(cx: &mut Call, op: UnaryOp) -> Results {
    let mut x = cx.input(0)?;
    if let Some(bias) = cx.optional(1) {
        x = cx.binary(BinaryOp::Add, x, bias)?;
    }
    let expr = Expr::unary(op, cx.dtype(x));
    Ok(vec![cx.elementwise(expr, &[x])?])
}

fn swish(cx: &mut Call, alpha: f32) -> Results {
    function(cx, |f, x| {
        if alpha == 1.0 {
            return f.unary(UnaryOp::Silu, x);
        }
        let scaled = f.times(x, alpha);
        let gate = f.unary(UnaryOp::Sigmoid, scaled);
        f.binary(BinaryOp::Mul, x, gate)
    })
}

/// Applies a function along an axis. Before version 13, all axes from `axis` on count as one.
fn along_axis(
    cx: &mut Call,
    x: ValueId,
    version: i64,
    apply: impl FnOnce(&mut Call, ValueId, usize) -> Result<ValueId, Fault>,
) -> Result<ValueId, Fault> {
    let rank = cx.rank(x);
    let flatten = version < 13;
    let axis = cx.int("axis", if flatten { 1 } else { -1 })?;
    if rank == 0 {
        let line = cx.unsqueeze(x, 0)?;
        let result = apply(cx, line, 0)?;
        return cx.reshape(result, Vec::new());
    }
    // Version 1 to 12 allow the axis after the last, over which nothing is normalized; no model means that.
    let axis = cx.axis(axis, rank)?;
    let shape = cx.shape(x);
    if !flatten || shape[axis + 1..].iter().all(|dim| dim.is(1)) {
        return apply(cx, x, axis);
    }
    let rows: Dim = shape[..axis].iter().cloned().product();
    let columns: Dim = shape[axis..].iter().cloned().product();
    let flat = cx.reshape(x, vec![rows, columns])?;
    let result = apply(cx, flat, 1)?;
    cx.reshape(result, shape)
}

/// The softmax that the attribute `axis` describes, as it is in a version of ONNX, or its logarithm.
pub(super) fn softmax(cx: &mut Call, x: ValueId, version: i64, log: bool) -> Result<ValueId, Fault> {
    along_axis(cx, x, version, |cx, x, axis| cx.emit(Op::Softmax { axis, log }, &[x]))
}

/// One at the first largest element, zero elsewhere.
fn hardmax(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let version = cx.version;
    let result = along_axis(cx, x, version, |cx, x, axis| {
        let largest = Op::ArgReduce {
            largest: true,
            axis,
            keep_dims: true,
            last: false,
        };
        let position = cx.emit(largest, &[x])?;
        let (dtype, shape) = (cx.dtype(x), cx.shape(x));
        let mut expr = Expr::empty();
        let (chosen, here) = (expr.input(0, DType::I64), expr.push(Scalar::Index(axis), DType::I64));
        let hit = expr.apply2(BinaryOp::Eq, chosen, here);
        let result = expr.convert(hit, dtype);
        cx.emit(
            Op::Elementwise {
                expr: expr.finish(result),
                shape,
            },
            &[position],
        )
    })?;
    Ok(vec![result])
}
