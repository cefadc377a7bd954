//! Running sums.

use crate::kernels::simd::Simd;
use crate::math::Number;

/// The form of a running sum, as ONNX `CumSum` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CumulativeSum {
    /// Whether an element is left out of its own sum.
    pub exclusive: bool,
    /// Whether sums run from the end.
    pub reverse: bool,
}

#[inline(always)]
pub(super) fn cumulative_sum<S: Simd, T: Number>(
    _isa: S,
    mode: CumulativeSum,
    out: &mut [T],
    input: &[T],
    shape: [usize; 3],
) {
    let [outer, n, inner] = shape;
    let total = outer * n * inner;
    assert!(
        out.len() == total && input.len() == total,
        "a running sum has another length than its shape"
    );
    if total == 0 {
        return;
    }
    for (out, input) in out.chunks_mut(n * inner).zip(input.chunks(n * inner)) {
        let first = if mode.reverse { (n - 1) * inner } else { 0 };
        if mode.exclusive {
            out[first..][..inner].fill(T::ZERO);
        } else {
            out[first..][..inner].copy_from_slice(&input[first..][..inner]);
        }
        // Each row is the one before, plus the input of this row or, if exclusive, of the one before.
        for step in 1..n {
            let row = if mode.reverse { n - 1 - step } else { step };
            let (target, sums, before) = if mode.reverse {
                let (low, high) = out.split_at_mut((row + 1) * inner);
                (&mut low[row * inner..], &high[..inner], row + 1)
            } else {
                let (low, high) = out.split_at_mut(row * inner);
                (&mut high[..inner], &low[(row - 1) * inner..], row - 1)
            };
            let addends = &input[if mode.exclusive { before } else { row } * inner..][..inner];
            for ((target, &sum), &addend) in target.iter_mut().zip(sums).zip(addends) {
                *target = sum.plus(addend);
            }
        }
    }
}
