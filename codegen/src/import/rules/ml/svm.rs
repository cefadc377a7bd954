//! Support vector machines.

use super::classify::{self, Labels, Transform};
use super::{ML, Results, features, floats, rows, table};
use crate::import::builder::{Builder, Fault};
use crate::import::call::Call;
use crate::import::formula::Formula;
use crate::import::rules::Rules;
use crate::import::rules::linear::matmul;
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, DType, Dim, Op, Tensor, UnaryOp, ValueId};

pub(in crate::import::rules) const RULES: Rules = &[(ML, "SVMClassifier", classifier), (ML, "SVMRegressor", regressor)];

/// The function of rows and support vectors that stands for their product in feature space.
enum Kernel {
    Linear,
    Polynomial,
    Radial,
    Sigmoid,
}

/// The similarity `[rows, vectors]` of rows and support vectors.
fn similarity(cx: &mut Call, x: ValueId, vectors: ValueId) -> Result<ValueId, Fault> {
    let kernel = match cx.string("kernel_type", "LINEAR")? {
        "LINEAR" => Kernel::Linear,
        "POLY" => Kernel::Polynomial,
        "RBF" => Kernel::Radial,
        "SIGMOID" => Kernel::Sigmoid,
        other => return cx.unsupported("kernel_type", other),
    };
    let parameters = floats(cx, "kernel_params")?;
    let parameter = |index: usize| parameters.get(index).copied().unwrap_or(0.0);
    let (gamma, offset, degree) = (parameter(0), parameter(1), parameter(2));
    let base = match kernel {
        Kernel::Radial => {
            let x = cx.unsqueeze(x, 1)?;
            let difference = cx.binary(BinaryOp::Sub, x, vectors)?;
            cx.emit(over(ReduceKind::SumSquare, 2, false), &[difference])?
        }
        _ => {
            let vectors = cx.transpose(vectors, vec![1, 0])?;
            matmul(cx, x, vectors)?
        }
    };
    let f = Formula::new();
    let s = f.input(0, DType::F32);
    let value = match kernel {
        Kernel::Linear => s,
        Kernel::Radial => (s * -gamma).unary(UnaryOp::Exp),
        Kernel::Sigmoid => (s * gamma + offset).unary(UnaryOp::Tanh),
        Kernel::Polynomial => (s * gamma + offset).pow(degree.trunc()),
    };
    cx.elementwise(f.result(value), &[base])
}

fn over(kind: ReduceKind, axis: usize, keep_dims: bool) -> Op {
    Op::Reduce {
        kind,
        axes: vec![axis],
        keep_dims,
    }
}

/// The rows, and their similarity to the support vectors.
fn similarities(cx: &mut Call, count: usize) -> Result<ValueId, Fault> {
    let x = rows(cx, 0)?;
    let x = cx.cast(x, DType::F32)?;
    let shape = vec![count, features(cx, x)?];
    let vectors = floats(cx, "support_vectors")?;
    let vectors = table(cx, shape, &vectors, DType::F32)?;
    similarity(cx, x, vectors)
}

/// `x c^T + rho` for a linear kernel without support vectors.
fn linear(cx: &mut Call, targets: usize) -> Result<ValueId, Fault> {
    cx.ignore(&["kernel_type", "kernel_params", "support_vectors"]);
    let x = rows(cx, 0)?;
    let x = cx.cast(x, DType::F32)?;
    let coefficients = floats(cx, "coefficients")?;
    let matrix = table(cx, vec![targets, features(cx, x)?], &coefficients, DType::F32)?;
    let matrix = cx.transpose(matrix, vec![1, 0])?;
    let product = matmul(cx, x, matrix)?;
    let rho = floats(cx, "rho")?;
    classify::shifted(cx, product, rho.get(..1).unwrap_or_default())
}

fn regressor(cx: &mut Call) -> Results {
    cx.only_int("n_targets", 1)?;
    let transform = Transform::of(cx)?;
    let one_class = cx.flag("one_class", false)?;
    let count = usize::try_from(cx.int("n_supports", 0)?).unwrap_or(0);
    let score = if count == 0 {
        linear(cx, 1)?
    } else {
        let similarities = similarities(cx, count)?;
        let coefficients = floats(cx, "coefficients")?;
        let coefficients = table(cx, vec![count, 1], &coefficients, DType::F32)?;
        let sum = matmul(cx, similarities, coefficients)?;
        let rho = floats(cx, "rho")?;
        classify::shifted(cx, sum, rho.get(..1).unwrap_or_default())?
    };
    if one_class {
        let f = Formula::new();
        let side = f.input(0, DType::F32).gt(0.0).select(f.number(1.0, DType::F32), -1.0);
        return Ok(vec![cx.elementwise(f.result(side), &[score])?]);
    }
    Ok(vec![transform.apply(cx, score)?])
}

fn classifier(cx: &mut Call) -> Results {
    let transform = Transform::of(cx)?;
    let labels = Labels::of(cx, "classlabels_ints", "classlabels_strings")?;
    let classes = labels.len();
    let counts = cx.ints("vectors_per_class")?.unwrap_or_default();
    let (prob_a, prob_b) = (floats(cx, "prob_a")?, floats(cx, "prob_b")?);
    if counts.iter().all(|&count| count == 0) {
        let scores = linear(cx, classes)?;
        return classify::largest(cx, scores, &labels, transform);
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|&count| usize::try_from(count).unwrap_or(usize::MAX))
        .collect();
    if counts.len() != classes || classes < 2 || counts.iter().any(|&count| count > 1 << 24) {
        return Err(Fault::new(format!(
            "`vectors_per_class` = {counts:?} for {classes} classes"
        )));
    }
    let pairs: Vec<_> = (0..classes)
        .flat_map(|i| (i + 1..classes).map(move |j| (i, j)))
        .collect();
    let decisions = decisions(cx, &counts, &pairs)?;
    let label = {
        let votes = votes(cx, decisions, classes, &pairs)?;
        labels.of_largest(cx, votes)?
    };
    let scores = if !prob_a.is_empty() {
        let shape = vec![pairs.len()];
        let (a, b) = (
            table(cx, shape.clone(), &prob_a, DType::F32)?,
            table(cx, shape, &prob_b, DType::F32)?,
        );
        couple(cx, decisions, (a, b), classes, &pairs)?
    } else if classes == 2 {
        let rows = cx.shape(decisions)[0].clone();
        let f = Formula::new();
        let score = f.input(0, DType::F32);
        let expr = f.result(f.index(1).eq(0).select(-score, score));
        let shape = vec![rows, Dim::from(2i64)];
        cx.emit(Op::Elementwise { expr, shape }, &[decisions])?
    } else {
        decisions
    };
    Ok(vec![label, transform.apply(cx, scores)?])
}

/// What each pair of classes decides `[rows, pairs]`: for the first one above zero. A support vector has a coefficient
/// for each class but its own.
fn decisions(cx: &mut Call, counts: &[usize], pairs: &[(usize, usize)]) -> Result<ValueId, Fault> {
    let total: usize = counts.iter().sum();
    let similarities = similarities(cx, total)?;
    let coefficients = floats(cx, "coefficients")?;
    super::forest::same_length("coefficients", coefficients.len(), total * (counts.len() - 1))?;
    let starts: Vec<usize> = (0..counts.len()).map(|class| counts[..class].iter().sum()).collect();
    let mut matrix = vec![0.0; total * pairs.len()];
    for (pair, &(i, j)) in pairs.iter().enumerate() {
        for (class, row) in [(i, j - 1), (j, i)] {
            for vector in starts[class]..starts[class] + counts[class] {
                matrix[vector * pairs.len() + pair] = coefficients[row * total + vector];
            }
        }
    }
    let matrix = table(cx, vec![total, pairs.len()], &matrix, DType::F32)?;
    let sums = matmul(cx, similarities, matrix)?;
    let rho = floats(cx, "rho")?;
    super::forest::same_length("rho", rho.len(), pairs.len())?;
    classify::shifted(cx, sums, &rho)
}

/// How many decisions each class wins `[rows, classes]`.
fn votes(cx: &mut Call, decisions: ValueId, classes: usize, pairs: &[(usize, usize)]) -> Result<ValueId, Fault> {
    let f = Formula::new();
    let first = f.result(f.input(0, DType::F32).gt(0.0).cast(DType::F32));
    let first = cx.elementwise(first, &[decisions])?;
    // The second class of a pair has its vote from the start and loses it to the first one.
    let (mut matrix, mut start) = (vec![0.0; pairs.len() * classes], vec![0.0; classes]);
    for (pair, &(i, j)) in pairs.iter().enumerate() {
        matrix[pair * classes + i] = 1.0;
        matrix[pair * classes + j] = -1.0;
        start[j] += 1.0;
    }
    let matrix = table(cx, vec![pairs.len(), classes], &matrix, DType::F32)?;
    let votes = matmul(cx, first, matrix)?;
    classify::shifted(cx, votes, &start)
}

/// Probabilities `[rows, classes]` from those of pairs, which are logistic functions of the decisions: the second
/// method of T.-F. Wu, C.-J. Lin and R. C. Weng, Probability estimates for multi-class classification by pairwise
/// coupling, 2004, as LIBSVM iterates it.
fn couple(
    cx: &mut Call,
    decisions: ValueId,
    (a, b): (ValueId, ValueId),
    classes: usize,
    pairs: &[(usize, usize)],
) -> Result<ValueId, Fault> {
    const ROUNDS: usize = 100;
    let f = Formula::new();
    let [s, slope, shift] = [0, 1, 2].map(|operand| f.input(operand, DType::F32));
    let share = (-(s * slope + shift)).unary(UnaryOp::Sigmoid).max(1e-7).min(1.0 - 1e-7);
    let share = cx.elementwise(f.result(share), &[decisions, a, b])?;

    // r[i, j] is the probability of i against j, and q the form that the solution minimizes.
    let rows = cx.shape(decisions)[0].clone();
    let size = Dim::from(classes);
    let (mut places, mut factors, mut summands) = (
        vec![0i64; classes * classes],
        vec![0.0; classes * classes],
        vec![0.0; classes * classes],
    );
    for (pair, &(i, j)) in pairs.iter().enumerate() {
        for (place, factor, summand) in [(i * classes + j, 1.0, 0.0), (j * classes + i, -1.0, 1.0)] {
            (places[place], factors[place], summands[place]) = (pair as i64, factor, summand);
        }
    }
    let places = cx.constant(Tensor::new(vec![classes * classes], &places));
    let factors = table(cx, vec![classes * classes], &factors, DType::F32)?;
    let spread = cx.emit(Op::Gather { axis: 1 }, &[share, places])?;
    let spread = cx.binary(BinaryOp::Mul, spread, factors)?;
    let r = classify::shifted(cx, spread, &summands)?;
    let r = cx.reshape(r, vec![rows.clone(), size.clone(), size.clone()])?;
    let diagonal = cx.emit(over(ReduceKind::SumSquare, 1, true), &[r])?;
    let turned = cx.transpose(r, vec![0, 2, 1])?;
    let f = Formula::new();
    let [r_ij, r_ji, own] = [0, 1, 2].map(|operand| f.input(operand, DType::F32));
    let q = f.index(1).eq(f.index(2)).select(own, -(r_ij * r_ji));
    let q = cx.elementwise(f.result(q), &[r, turned, diagonal])?;

    let start = cx.number(1.0 / classes as f64, DType::F32)?;
    let start = cx.emit(
        Op::Broadcast {
            shape: vec![rows, size],
        },
        &[start],
    )?;
    let epsilon = 0.005 / classes as f64;
    cx.repeat(ROUNDS, start, |cx, _, p| {
        let (next, error) = round(cx, p, q, classes)?;
        // Rows that have arrived stay, and when all have, so does everything.
        let f = Formula::new();
        let (p_of_row, next_of_row, error_of_row) =
            (f.input(0, DType::F32), f.input(1, DType::F32), f.input(2, DType::F32));
        let kept = error_of_row.lt(epsilon).select(p_of_row, next_of_row);
        let next = cx.elementwise(f.result(kept), &[p, next, error])?;
        let op = Op::Reduce {
            kind: ReduceKind::Max,
            axes: vec![0, 1],
            keep_dims: false,
        };
        let largest = cx.emit(op, &[error])?;
        let f = Formula::new();
        let go_on = f.result(f.input(0, DType::F32).ge(epsilon));
        let go_on = cx.elementwise(go_on, &[largest])?;
        Ok((next, Some(go_on)))
    })
}

/// One sweep over the classes, and how far `p` was from the solution before it `[rows, 1]`.
fn round(cx: &mut Builder, p: ValueId, q: ValueId, classes: usize) -> Result<(ValueId, ValueId), Fault> {
    let float = DType::F32;
    let row = cx.unsqueeze(p, 1)?;
    let products = cx.binary(BinaryOp::Mul, q, row)?;
    let mut qp = cx.emit(over(ReduceKind::Sum, 2, false), &[products])?;
    let products = cx.binary(BinaryOp::Mul, p, qp)?;
    let mut pqp = cx.emit(over(ReduceKind::Sum, 1, true), &[products])?;
    let f = Formula::new();
    let error = (f.input(0, float) - f.input(1, float)).unary(UnaryOp::Abs);
    let error = cx.elementwise(f.result(error), &[qp, pqp])?;
    let error = cx.emit(over(ReduceKind::Max, 1, true), &[error])?;
    let mut p = p;
    for class in 0..classes {
        let at = Dim::from(class);
        let q_row = cx.select(q, 1, at.clone())?;
        let q_own = cx.narrow(q_row, 1, at.clone(), Dim::from(1i64))?;
        let qp_own = cx.narrow(qp, 1, at, Dim::from(1i64))?;
        let f = Formula::new();
        let difference = (f.input(0, float) - f.input(1, float)) / f.input(2, float);
        let difference = cx.elementwise(f.result(difference), &[pqp, qp_own, q_own])?;

        let f = Formula::new();
        let (value, d) = (f.input(0, float), f.input(1, float));
        let moved = f.index(1).eq(class as i64).select(value + d, value) / (d + 1.0);
        p = cx.elementwise(f.result(moved), &[p, difference])?;

        let f = Formula::new();
        let [value, d, own, qp_old] = [0, 1, 2, 3].map(|operand| f.input(operand, float));
        let moved = (value + d * (d * own + qp_old * 2.0)) / (d + 1.0) / (d + 1.0);
        pqp = cx.elementwise(f.result(moved), &[pqp, difference, q_own, qp_own])?;

        let f = Formula::new();
        let [value, d, row] = [0, 1, 2].map(|operand| f.input(operand, float));
        let moved = (value + d * row) / (d + 1.0);
        qp = cx.elementwise(f.result(moved), &[qp, difference, q_row])?;
    }
    Ok((p, error))
}
