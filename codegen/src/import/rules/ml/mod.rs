//! Operators of the domain `ai.onnx.ml`: what pipelines of scikit-learn and of gradient boosting libraries become.
//!
//! Where the standard leaves a result open (which scores a classifier with two classes and one row of weights gives, and
//! when it prefers which class), the rules do what ONNX's reference evaluator and ONNX Runtime agree on, and where these
//! two differ, what is stated at the rule.

mod classify;
pub(super) mod encode;
pub(super) mod features;
mod forest;
pub(super) mod linear;
pub(super) mod svm;
pub(super) mod tree;

use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{DType, Dim, Tensor, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

/// The domain.
const ML: &str = "ai.onnx.ml";

/// The operand as rows of features `[rows, features]` in a floating-point type; a vector is one row.
fn rows(cx: &mut Call, index: usize) -> Result<ValueId, Fault> {
    let x = cx.input(index)?;
    let mut shape = cx.shape(x);
    if shape.len() == 1 {
        shape.insert(0, Dim::from(1i64));
    }
    if shape.len() != 2 {
        let shape = display_shape(&shape);
        return Err(Fault::new(format!(
            "features of shape {shape}, where rows are expected"
        )));
    }
    let x = cx.reshape(x, shape)?;
    let dtype = cx.dtype(x);
    cx.cast(x, if dtype == DType::F64 { dtype } else { DType::F32 })
}

/// The number of features of rows, which tables in attributes must agree with.
fn features(cx: &Call, x: ValueId) -> Result<usize, Fault> {
    let size = &cx.shape(x)[1];
    size.as_usize().ok_or_else(|| {
        Fault::new(format!(
            "the number of features is {size}, which is not known while compiling"
        ))
        .help(format!("fix `{size}` to one size"))
    })
}

/// Constant floats in the type of a value.
fn table(cx: &mut Call, shape: Vec<usize>, values: &[f64], dtype: DType) -> Result<ValueId, Fault> {
    let wanted: usize = shape.iter().product();
    if wanted != values.len() {
        return Err(Fault::new(format!(
            "{} coefficients, where {wanted} are expected",
            values.len()
        )));
    }
    Ok(match dtype {
        DType::F64 => cx.constant(Tensor::new(shape, values)),
        _ => {
            let values: Vec<_> = values.iter().map(|&value| value as f32).collect();
            cx.constant(Tensor::new(shape, &values))
        }
    })
}

/// A list of floats in an attribute, widened.
fn floats(cx: &Call, name: &'static str) -> Result<Vec<f64>, Fault> {
    let values = cx.floats(name)?.unwrap_or_default();
    Ok(values.into_iter().map(f64::from).collect())
}
