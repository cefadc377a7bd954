//! What the model computes and ONNX has no operator for.

use onnxide::{TensorView, TensorViewMut};

/// A filter of second order, `b0, b1, b2, a1, a2` for `a0 = 1`, over each row of `x`. Every `step`-th sample stays.
pub(crate) fn biquad(
    x: TensorView<'_, f32, 2>,
    coefficients: &[f32],
    step: i64,
    mut y: TensorViewMut<'_, f32, 2>,
) -> Result<(), &'static str> {
    let &[b0, b1, b2, a1, a2] = coefficients else {
        return Err("a filter of second order has five coefficients");
    };
    let step = usize::try_from(step).map_err(|_| "the step is negative")?;
    let ([_, samples], [_, kept]) = (x.shape(), y.shape());
    if samples == 0 || kept == 0 {
        return Ok(());
    }
    for (x, y) in x.data().chunks_exact(samples).zip(y.data_mut().chunks_exact_mut(kept)) {
        // The transposed direct form II: two numbers hold all that the filter remembers.
        let (mut s1, mut s2) = (0.0, 0.0);
        for (n, &x) in x.iter().enumerate() {
            let out = b0 * x + s1;
            s1 = b1 * x - a1 * out + s2;
            s2 = b2 * x - a2 * out;
            if n % step == 0
                && let Some(y) = y.get_mut(n / step)
            {
                *y = out;
            }
        }
    }
    Ok(())
}
