//! The functions of recurrent cells.

use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::rules::activation::Function;
use crate::ir::{BinaryOp, Expr, ScalarId, UnaryOp};

/// A function of the gates or the state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Activation {
    Relu,
    Tanh,
    Sigmoid,
    Softsign,
    Softplus,
    /// `alpha * x + beta`.
    Affine(f32, f32),
    /// `alpha * x` below 0.
    LeakyRelu(f32),
    /// 0 up to `alpha`.
    ThresholdedRelu(f32),
    /// `alpha * tanh(beta * x)`.
    ScaledTanh(f32, f32),
    /// `alpha * x + beta`, but from 0 to 1.
    HardSigmoid(f32, f32),
    /// `alpha * (e^x - 1)` below 0.
    Elu(f32),
}

/// The functions of each direction: the usual ones if the model names none. Parameters are given in the order of the
/// functions that have them.
pub(super) fn activations(cx: &Call, usual: &[Activation], directions: usize) -> Result<Vec<Vec<Activation>>, Fault> {
    let Some(names) = cx.strings("activations")? else {
        return Ok(vec![usual.to_vec(); directions]);
    };
    if names.len() != usual.len() * directions {
        return cx.unsupported("activations", names.join(", "));
    }
    let mut alphas = cx.floats("activation_alpha")?.unwrap_or_default().into_iter();
    let mut betas = cx.floats("activation_beta")?.unwrap_or_default().into_iter();
    let mut alpha = |usual| alphas.next().unwrap_or(usual);
    let mut beta = |usual| betas.next().unwrap_or(usual);
    let mut functions = Vec::new();
    for name in &names {
        functions.push(match name.to_ascii_lowercase().as_str() {
            "relu" => Activation::Relu,
            "tanh" => Activation::Tanh,
            "sigmoid" => Activation::Sigmoid,
            "softsign" => Activation::Softsign,
            "softplus" => Activation::Softplus,
            "affine" => Activation::Affine(alpha(1.0), beta(0.0)),
            "leakyrelu" => Activation::LeakyRelu(alpha(0.01)),
            "thresholdedrelu" => Activation::ThresholdedRelu(alpha(1.0)),
            "scaledtanh" => Activation::ScaledTanh(alpha(1.0), beta(1.0)),
            "hardsigmoid" => Activation::HardSigmoid(alpha(0.2), beta(0.5)),
            "elu" => Activation::Elu(alpha(1.0)),
            _ => return cx.unsupported("activations", name),
        });
    }
    Ok(functions.chunks(usual.len()).map(<[_]>::to_vec).collect())
}

impl Activation {
    /// Appends the function of a value, which is bounded before if there is a clip.
    pub(super) fn apply(self, expr: &mut Expr, x: ScalarId, clip: Option<f64>) -> ScalarId {
        let dtype = expr.nodes[x].dtype;
        let x = match clip {
            Some(clip) => {
                let (low, high) = (expr.float(-clip, dtype), expr.float(clip, dtype));
                let above = expr.apply2(BinaryOp::Max, x, low);
                expr.apply2(BinaryOp::Min, above, high)
            }
            None => x,
        };
        let mut f = Function { expr, dtype };
        match self {
            Activation::Relu => f.relu(x),
            Activation::Tanh => f.unary(UnaryOp::Tanh, x),
            Activation::Sigmoid => f.unary(UnaryOp::Sigmoid, x),
            Activation::Softsign => f.softsign(x),
            Activation::Softplus => f.unary(UnaryOp::Softplus, x),
            Activation::Affine(alpha, beta) => {
                let scaled = f.times(x, alpha);
                f.plus(scaled, beta)
            }
            Activation::LeakyRelu(alpha) => {
                let negative = f.times(x, alpha);
                f.by_sign(x, x, negative)
            }
            Activation::ThresholdedRelu(alpha) => f.above(x, alpha),
            Activation::ScaledTanh(alpha, beta) => {
                let scaled = f.times(x, beta);
                let squashed = f.unary(UnaryOp::Tanh, scaled);
                f.times(squashed, alpha)
            }
            Activation::HardSigmoid(alpha, beta) => f.hard_sigmoid(x, alpha, beta),
            Activation::Elu(alpha) => {
                let negative = f.exp_minus_one(x, alpha);
                f.by_sign(x, x, negative)
            }
        }
    }
}
