//! Padding.

use super::map::MAX_RANK;
use crate::element::Element;

/// What is put around a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Padding<T> {
    /// One value.
    Constant(T),
    /// The nearest element.
    Edge,
    /// The tensor mirrored at its first and last elements, which are not repeated, as often as needed.
    Reflect,
    /// The tensor again and again.
    Wrap,
}

impl<T> Padding<T> {
    /// The element of an axis of this size that is seen at an index before, in or after it; `None` for the constant.
    #[inline(always)]
    fn source(&self, index: i64, size: i64) -> Option<usize> {
        let source = match self {
            Padding::Constant(_) if (0..size).contains(&index) => index,
            Padding::Constant(_) => return None,
            Padding::Edge => index.clamp(0, size - 1),
            Padding::Wrap => index.rem_euclid(size),
            Padding::Reflect if size == 1 => 0,
            Padding::Reflect => {
                let period = 2 * (size - 1);
                let phase = index.rem_euclid(period);
                phase.min(period - phase)
            }
        };
        Some(source as usize)
    }
}

/// Puts a dense tensor into a dense output of another shape, `before` elements from the start of each axis. A negative
/// number of elements cuts.
///
/// # Panics
///
/// If a length differs from the product of its shape, or there is an axis without elements to pad with and the padding
/// is not constant.
pub fn pad<T: Element, const R: usize>(
    out: &mut [T],
    out_shape: [usize; R],
    input: &[T],
    shape: [usize; R],
    before: [isize; R],
    padding: Padding<T>,
) {
    const { assert!(R <= MAX_RANK, "tensors have at most 8 axes") };
    let product = |shape: &[usize]| shape.iter().product::<usize>();
    assert!(
        out.len() == product(&out_shape),
        "the output of a padding has another length than its shape"
    );
    assert!(
        input.len() == product(&shape),
        "the input of a padding has another length than its shape"
    );
    if out.is_empty() {
        return;
    }
    let constant = if let Padding::Constant(value) = padding {
        Some(value)
    } else {
        None
    };
    assert!(constant.is_some() || !input.is_empty(), "there is nothing to pad with");
    // The last axes that stay as they are make one row, with the last axis that does not.
    let axis = (0..R)
        .rev()
        .find(|&axis| before[axis] != 0 || shape[axis] != out_shape[axis]);
    let Some(axis) = axis else {
        out.copy_from_slice(input);
        return;
    };
    let unit = product(&shape[axis + 1..]);
    let (size, start) = (shape[axis], before[axis] as i64);
    // The part of a row that is a copy.
    let first = start.clamp(0, out_shape[axis] as i64) as usize;
    let end = start
        .saturating_add(size as i64)
        .clamp(first as i64, out_shape[axis] as i64) as usize;
    let mut coordinates = [0usize; R];
    for row in out.chunks_mut(out_shape[axis] * unit) {
        let mut source = Some(0);
        for outer in 0..axis {
            let index = (coordinates[outer] as i64).saturating_sub(before[outer] as i64);
            let at = padding.source(index, shape[outer] as i64);
            source = source.zip(at).map(|(source, at)| source * shape[outer] + at);
        }
        match (source, constant) {
            (None, Some(value)) => row.fill(value),
            (source, _) => {
                let input = &input[source.unwrap_or(0) * size * unit..][..size * unit];
                let (low, rest) = row.split_at_mut(first * unit);
                let (middle, high) = rest.split_at_mut((end - first) * unit);
                let skipped = (first as i64 - start) as usize;
                if !middle.is_empty() {
                    middle.copy_from_slice(&input[skipped * unit..][..(end - first) * unit]);
                }
                for (from, border) in [(0, low), (end, high)] {
                    if let Some(value) = constant {
                        border.fill(value);
                        continue;
                    }
                    for (offset, target) in border.chunks_mut(unit).enumerate() {
                        let index = ((from + offset) as i64).saturating_sub(start);
                        if let Some(at) = padding.source(index, size as i64) {
                            target.copy_from_slice(&input[at * unit..][..unit]);
                        }
                    }
                }
            }
        }
        for outer in (0..axis).rev() {
            coordinates[outer] += 1;
            if coordinates[outer] < out_shape[outer] {
                break;
            }
            coordinates[outer] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(before: isize, len: usize, padding: Padding<i32>) -> Vec<i32> {
        let mut out = vec![0; len];
        pad(&mut out, [len], &[1, 2, 3], [3], [before], padding);
        out
    }

    #[test]
    fn each_kind_of_padding() {
        assert_eq!(line(2, 7, Padding::Constant(9)), [9, 9, 1, 2, 3, 9, 9]);
        assert_eq!(line(2, 7, Padding::Edge), [1, 1, 1, 2, 3, 3, 3]);
        assert_eq!(line(4, 9, Padding::Reflect), [1, 2, 3, 2, 1, 2, 3, 2, 1]);
        assert_eq!(line(4, 9, Padding::Wrap), [3, 1, 2, 3, 1, 2, 3, 1, 2]);
    }

    #[test]
    fn negative_padding_cuts() {
        assert_eq!(line(-1, 2, Padding::Edge), [2, 3]);
        assert_eq!(line(-1, 4, Padding::Constant(0)), [2, 3, 0, 0]);
        assert_eq!(line(0, 2, Padding::Wrap), [1, 2]);
        assert_eq!(line(-5, 2, Padding::Constant(4)), [4, 4]);
        assert_eq!(line(9, 2, Padding::Constant(4)), [4, 4]);
    }

    #[test]
    fn any_axes() {
        let (shape, out_shape, before) = ([2, 3, 2, 2], [4, 2, 5, 2], [1, -1, 2, 0]);
        let input: Vec<u8> = (1..25).collect();
        for padding in [Padding::Constant(0), Padding::Edge, Padding::Reflect, Padding::Wrap] {
            let mut out = vec![0; 80];
            pad(&mut out, out_shape, &input, shape, before, padding);
            for (index, result) in out.into_iter().enumerate() {
                let at = [index / 20, index / 10 % 2, index / 2 % 5, index % 2];
                let source = (0..4).try_fold(0, |source, axis| {
                    let index = at[axis] as i64 - before[axis] as i64;
                    padding
                        .source(index, shape[axis] as i64)
                        .map(|at| source * shape[axis] + at)
                });
                assert_eq!(result, source.map_or(0, |source| input[source]), "{padding:?} {at:?}");
            }
        }
    }

    #[test]
    fn nothing_becomes_the_constant() {
        let mut out = [0; 4];
        pad(&mut out, [2, 2], &[], [2, 0], [0, 1], Padding::Constant(5));
        assert_eq!(out, [5; 4]);
        pad(&mut out, [4], &[1, 2, 3, 4], [4], [0], Padding::Edge);
        assert_eq!(out, [1, 2, 3, 4]);
        let mut scalar = [0];
        pad(&mut scalar, [], &[7], [], [], Padding::Edge);
        assert_eq!(scalar, [7]);
    }

    #[test]
    #[should_panic = "nothing to pad with"]
    fn nothing_has_no_edge() {
        pad(&mut [0; 4], [4], &[], [0], [0], Padding::Edge);
    }
}
