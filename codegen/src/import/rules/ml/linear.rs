//! Linear models.

use super::classify::{self, Binary, Labels, Transform};
use super::{ML, Results, features, floats, rows, table};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::rules::Rules;
use crate::import::rules::linear::matmul;
use crate::ir::{DType, ValueId};

pub(in crate::import::rules) const RULES: Rules =
    &[(ML, "LinearClassifier", classifier), (ML, "LinearRegressor", regressor)];

/// `x c^T + intercepts` in 32 bits, where `c` has a row for each class or target, and the number of rows.
fn scores(cx: &mut Call) -> Result<(ValueId, usize), Fault> {
    let x = rows(cx, 0)?;
    let (count, dtype) = (features(cx, x)?, cx.dtype(x));
    let (coefficients, intercepts) = (floats(cx, "coefficients")?, floats(cx, "intercepts")?);
    let targets = coefficients.len().checked_div(count).unwrap_or(0);
    let what = coefficients.len();
    if targets == 0 || targets * count != what {
        return Err(Fault::new(format!("{what} coefficients for {count} features")));
    }
    let matrix = table(cx, vec![targets, count], &coefficients, dtype)?;
    let matrix = cx.transpose(matrix, vec![1, 0])?;
    let product = matmul(cx, x, matrix)?;
    let sum = classify::shifted(cx, product, &intercepts)?;
    Ok((cx.cast(sum, DType::F32)?, targets))
}

/// A single score belongs to the second of two classes.
fn classifier(cx: &mut Call) -> Results {
    // It says how the model was trained.
    cx.ignore(&["multi_class"]);
    let transform = Transform::of(cx)?;
    let (scores, targets) = scores(cx)?;
    let labels = Labels::of(cx, "classlabels_ints", "classlabels_strings")?;
    match (targets, labels.len()) {
        (1, 1 | 2) => classify::binary(
            cx,
            scores,
            &labels,
            transform,
            Binary {
                threshold: 0.0,
                share: true,
            },
        ),
        (targets, count) if targets == count => classify::largest(cx, scores, &labels, transform),
        (targets, count) => Err(Fault::new(format!("{count} labels for {targets} rows of coefficients"))),
    }
}

fn regressor(cx: &mut Call) -> Results {
    let transform = Transform::of(cx)?;
    let (scores, targets) = scores(cx)?;
    let stated = cx.int("targets", 1)?;
    if usize::try_from(stated) != Ok(targets) {
        return Err(Fault::new(format!(
            "coefficients for {targets} targets, where `targets` = {stated}"
        )));
    }
    Ok(vec![transform.apply(cx, scores)?])
}
