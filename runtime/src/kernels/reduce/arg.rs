//! The positions of extremes.

use crate::kernels::simd::Simd;
use crate::math::Number;

/// The extreme whose position is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extreme {
    /// The greatest element.
    Max,
    /// The least element.
    Min,
}

const LANES: usize = 32;
const COLUMNS: usize = 128;

#[inline(always)]
pub(super) fn arg<S: Simd, T: Number>(
    _isa: S,
    extreme: Extreme,
    last: bool,
    out: &mut [i64],
    input: &[T],
    shape: [usize; 3],
) {
    let [outer, n, inner] = shape;
    assert!(
        out.len() == outer * inner,
        "the output of an arg reduction has another length than outer * inner"
    );
    assert!(
        input.len() == outer * n * inner,
        "the input of an arg reduction has another length than its shape"
    );
    if out.is_empty() {
        return;
    }
    assert!(n > 0, "an arg reduction needs at least one element");
    for (out, input) in out.chunks_mut(inner).zip(input.chunks(n * inner)) {
        match (extreme, inner) {
            (Extreme::Max, 1) => out[0] = in_row(input, last, T::LOWEST, T::greater),
            (Extreme::Min, 1) => out[0] = in_row(input, last, T::HIGHEST, T::lesser),
            (Extreme::Max, _) => in_columns(out, input, last, |a, b| a > b),
            (Extreme::Min, _) => in_columns(out, input, last, |a, b| a < b),
        }
    }
}

/// First the extreme, then where it is: both loops are vectorized.
#[inline(always)]
fn in_row<T: Number>(row: &[T], last: bool, start: T, join: impl Fn(T, T) -> T) -> i64 {
    let mut lanes = [start; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = join(lanes[lane], chunk[lane]);
        }
    }
    for (lane, &element) in lanes.iter_mut().zip(rest) {
        *lane = join(*lane, element);
    }
    let extreme = super::axes::join_lanes(lanes, join);
    let found = |element: &T| *element == extreme || element.is_nan();
    let position = if last {
        row.iter().rposition(found)
    } else {
        row.iter().position(found)
    };
    position.unwrap_or(0) as i64
}

#[inline(always)]
fn in_columns<T: Number>(out: &mut [i64], input: &[T], last: bool, beats: impl Fn(T, T) -> bool) {
    let inner = out.len();
    for (block, out) in out.chunks_mut(COLUMNS).enumerate() {
        let start = block * COLUMNS;
        let mut best = [T::ZERO; COLUMNS];
        let best = &mut best[..out.len()];
        best.copy_from_slice(&input[start..start + out.len()]);
        out.fill(0);
        for (index, row) in input.chunks(inner).enumerate().skip(1) {
            let row = &row[start..start + out.len()];
            for ((best, position), &element) in best.iter_mut().zip(out.iter_mut()).zip(row) {
                let newer = beats(element, *best) && !best.is_nan() || element.is_nan() && !best.is_nan();
                let again = last && (element == *best || element.is_nan());
                if newer || again {
                    *best = element;
                    *position = index as i64;
                }
            }
        }
    }
}
