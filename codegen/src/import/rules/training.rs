//! Steps of optimizers.

use super::{Rules, TRAINING};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::formula::{Formula, Term};
use crate::ir::{UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (TRAINING, "Adagrad", adagrad),
    (TRAINING, "Adam", adam),
    (TRAINING, "Momentum", momentum),
];

/// Applies an optimizer to every group of operands after the learning rate and the update count: the tensors, their
/// gradients, and as many lists of state as there are. The first operands of `results` are the rate and the count in the
/// type of the tensors.
fn every<const RESULTS: usize>(
    cx: &mut Call,
    lists: usize,
    results: [&dyn for<'f> Fn(&'f Formula) -> Term<'f>; RESULTS],
) -> Results {
    let inputs = cx.inputs()?;
    let count = inputs.len().saturating_sub(2) / lists;
    if count == 0 || inputs.len() != 2 + count * lists {
        return Err(Fault::new(format!(
            "{} operands, where there are {lists} for a tensor",
            inputs.len()
        )));
    }
    let mut updated = Vec::new();
    for result in results {
        for tensor in 0..count {
            let mut operands: Vec<_> = (0..lists).map(|list| inputs[2 + list * count + tensor]).collect();
            let dtype = cx.dtype(operands[0]);
            for (place, &scalar) in inputs[..2].iter().enumerate() {
                let scalar = cx.reshape(scalar, Vec::new())?;
                operands.insert(place, cx.cast(scalar, dtype)?);
            }
            updated.push(cx.over(&operands, result)?);
        }
    }
    Ok(updated)
}

/// The gradient with that of the penalty on the size of the tensor.
fn regularized(f: &Formula, coefficient: f64) -> Term<'_> {
    f.operand(2) * coefficient + f.operand(3)
}

/// Adaptive subgradients: Duchi, Hazan and Singer, 2011.
fn adagrad(cx: &mut Call) -> Results {
    let [decay, epsilon, norm] = [
        cx.float("decay_factor", 0.0)?,
        cx.float("epsilon", 1e-6)?,
        cx.float("norm_coefficient", 0.0)?,
    ]
    .map(f64::from);
    fn squares(f: &Formula, norm: f64) -> Term<'_> {
        let gradient = regularized(f, norm);
        f.operand(4) + gradient * gradient
    }
    every(
        cx,
        3,
        [
            &|f| {
                let rate = f.operand(0) / (f.operand(1) * decay + 1.0);
                let deviation = squares(f, norm).unary(UnaryOp::Sqrt) + epsilon;
                f.operand(2) - rate * regularized(f, norm) / deviation
            },
            &|f| squares(f, norm),
        ],
    )
}

/// Adaptive moments: Kingma and Ba, 2015.
fn adam(cx: &mut Call) -> Results {
    let [alpha, beta, epsilon, norm, norm_after] = [
        cx.float("alpha", 0.9)?,
        cx.float("beta", 0.999)?,
        cx.float("epsilon", 1e-6)?,
        cx.float("norm_coefficient", 0.0)?,
        cx.float("norm_coefficient_post", 0.0)?,
    ]
    .map(f64::from);
    fn first(f: &Formula, alpha: f64, norm: f64) -> Term<'_> {
        f.operand(4) * alpha + regularized(f, norm) * (1.0 - alpha)
    }
    fn second(f: &Formula, beta: f64, norm: f64) -> Term<'_> {
        let gradient = regularized(f, norm);
        f.operand(5) * beta + gradient * gradient * (1.0 - beta)
    }
    every(
        cx,
        4,
        [
            &|f| {
                let (rate, count) = (f.operand(0), f.operand(1));
                let remaining = |decay: f64| -count.like(decay).pow(count) + 1.0;
                let corrected = rate * remaining(beta).unary(UnaryOp::Sqrt) / remaining(alpha);
                let rate = count.gt(0.0).select(corrected, rate);
                let deviation = second(f, beta, norm).unary(UnaryOp::Sqrt) + epsilon;
                (f.operand(2) - rate * (first(f, alpha, norm) / deviation)) * (1.0 - norm_after)
            },
            &|f| first(f, alpha, norm),
            &|f| second(f, beta, norm),
        ],
    )
}

/// Gradient descent with momentum, ahead of the step in the mode `nesterov`.
fn momentum(cx: &mut Call) -> Results {
    let missing = |name: &str| Fault::new(format!("attribute `{name}` is missing"));
    let alpha: f64 = cx.optional_float("alpha")?.ok_or_else(|| missing("alpha"))?.into();
    let beta: f64 = cx.optional_float("beta")?.ok_or_else(|| missing("beta"))?.into();
    let norm: f64 = cx.float("norm_coefficient", 0.0)?.into();
    let nesterov = match cx.string("mode", "standard")? {
        "standard" => false,
        "nesterov" => true,
        other => return cx.unsupported("mode", other),
    };
    fn velocity(f: &Formula, [alpha, beta, norm]: [f64; 3]) -> Term<'_> {
        // The first gradient counts in full.
        let count = f.operand(1);
        let beta = count.gt(0.0).select(count.like(beta), 1.0);
        f.operand(4) * alpha + beta * regularized(f, norm)
    }
    let constants = [alpha, beta, norm];
    every(
        cx,
        3,
        [
            &|f| {
                let velocity = velocity(f, constants);
                let step = match nesterov {
                    true => regularized(f, norm) + velocity * alpha,
                    false => velocity,
                };
                f.operand(2) - f.operand(0) * step
            },
            &|f| velocity(f, constants),
        ],
    )
}
