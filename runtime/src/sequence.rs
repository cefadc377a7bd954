//! Sequences of tensors, and optional tensors, at the interface of a model.
//!
//! A model keeps a sequence in two tensors with one row for each element that it has room for: a row of `elements` starts
//! with the elements of a tensor in row-major order, the row of `shapes` starts with its sizes. Where tensors of a
//! sequence have fewer axes than others, -1 fills the row. An optional tensor is a sequence of at most one tensor.

use crate::error::RunError;
use crate::tensor::{TensorView, element_count};

/// The sizes that an axis of the elements of a sequence may have: the least and the greatest.
pub type Range = (usize, usize);

/// A sequence of dense tensors of up to `R` axes in row-major order, borrowed from a model.
#[derive(Clone, Copy, Debug)]
pub struct SequenceView<'a, T, const R: usize> {
    elements: &'a [T],
    shapes: Shapes<'a>,
}

/// A dense tensor of up to `R` axes in row-major order, borrowed: an element of a sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ElementView<'a, T, const R: usize> {
    rank: usize,
    sizes: [usize; R],
    data: &'a [T],
}

impl<'a, T: Copy, const R: usize> SequenceView<'a, T, R> {
    /// The first `len` tensors that lie in `elements` and `shapes`.
    ///
    /// # Panics
    ///
    /// If there is no room for as many tensors.
    pub fn new(elements: &'a [T], shapes: &'a [i64], len: i64) -> Self {
        SequenceView {
            elements,
            shapes: Shapes::new(shapes, R, len),
        }
    }

    /// The number of tensors.
    pub const fn len(&self) -> usize {
        self.shapes.len
    }

    /// Whether there are no tensors.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tensor at an index; `None` from `len` on.
    ///
    /// # Panics
    ///
    /// If its shape is larger than its row.
    pub fn get(&self, index: usize) -> Option<ElementView<'a, T, R>> {
        let mut sizes = [0; R];
        let rank = self.shapes.get(index, &mut sizes)?;
        let count = element_count(&sizes[..rank]).unwrap_or(usize::MAX);
        let width = self.elements.len() / self.shapes.capacity();
        let data = &self.elements[index * width..][..width][..count];
        Some(ElementView { rank, sizes, data })
    }

    /// The tensors in order.
    pub fn iter(&self) -> impl Iterator<Item = ElementView<'a, T, R>> {
        let this = *self;
        (0..this.len()).filter_map(move |index| this.get(index))
    }
}

impl<'a, T: Copy, const R: usize> ElementView<'a, T, R> {
    /// The tensor of `shape` with the elements of `data`.
    ///
    /// # Errors
    ///
    /// [`RunError::DataLength`] if the length of `data` is not the product of `shape`.
    ///
    /// # Panics
    ///
    /// If there are more than `R` axes.
    pub fn new(shape: &[usize], data: &'a [T]) -> Result<Self, RunError> {
        let mut sizes = [0; R];
        sizes[..shape.len()].copy_from_slice(shape);
        match element_count(shape) {
            Some(expected) if expected == data.len() => Ok(ElementView {
                rank: shape.len(),
                sizes,
                data,
            }),
            expected => Err(RunError::DataLength {
                expected: expected.unwrap_or(usize::MAX),
                actual: data.len(),
            }),
        }
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.sizes[..self.rank]
    }

    /// The elements in row-major order.
    pub const fn data(&self) -> &'a [T] {
        self.data
    }
}

impl<'a, const R: usize> ElementView<'a, bool, R> {
    /// The same tensor with a byte, 0 or 1, for each truth value.
    pub const fn bytes(self) -> ElementView<'a, u8, R> {
        ElementView {
            rank: self.rank,
            sizes: self.sizes,
            data: crate::nested::bytes_of_bools(self.data),
        }
    }
}

/// The shapes of the tensors of a sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shapes<'a> {
    sizes: &'a [i64],
    columns: usize,
    pub(crate) len: usize,
}

impl<'a> Shapes<'a> {
    pub(crate) fn new(sizes: &'a [i64], rank: usize, len: i64) -> Self {
        // Tensors without axes have a row all the same, so that rows can be counted.
        let columns = rank.max(1);
        let len = usize::try_from(len).unwrap_or(0);
        let shapes = Shapes { sizes, columns, len };
        assert!(len <= shapes.capacity(), "a sequence is longer than its room");
        shapes
    }

    /// The number of tensors that there is room for.
    pub(crate) const fn capacity(self) -> usize {
        self.sizes.len() / self.columns
    }

    /// The rank of a tensor, whose sizes are put in front of `sizes`; `None` from `len` on.
    ///
    /// # Panics
    ///
    /// If `sizes` is too short for the tensor.
    pub(crate) fn get(self, index: usize, sizes: &mut [usize]) -> Option<usize> {
        if index >= self.len {
            return None;
        }
        let row = &self.sizes[index * self.columns..][..self.columns];
        let mut rank = 0;
        for size in row.iter().map_while(|&size| usize::try_from(size).ok()) {
            sizes[rank] = size;
            rank += 1;
        }
        Some(rank)
    }
}

/// Puts the tensors of an input, a sequence or what there is of an optional tensor, into the memory of a model and
/// returns their number. Each axis must have a size in the range that `sizes` has for it.
///
/// # Errors
///
/// [`RunError::Length`] if there are too many, [`RunError::Element`] if one has another size.
pub fn load<'a, T: Copy + 'a, const R: usize>(
    input: &'static str,
    tensors: impl IntoIterator<Item = TensorView<'a, T, R>>,
    sizes: [Range; R],
    elements: &mut [T],
    shapes: &mut [i64],
) -> Result<i64, RunError> {
    let mut loader = Loader::new(input, sizes, elements, shapes);
    for tensor in tensors {
        loader.push(&tensor.shape(), tensor.data())?;
    }
    Ok(loader.len as i64)
}

/// As [`load`], for tensors that may have fewer axes than `R`.
///
/// # Errors
///
/// As for [`load`], and [`RunError::ElementLength`] if a tensor has more elements than a row.
pub fn load_mixed<'a, T: Copy + 'a, const R: usize>(
    input: &'static str,
    tensors: impl IntoIterator<Item = ElementView<'a, T, R>>,
    sizes: [Range; R],
    elements: &mut [T],
    shapes: &mut [i64],
) -> Result<i64, RunError> {
    let mut loader = Loader::new(input, sizes, elements, shapes);
    for tensor in tensors {
        loader.push(tensor.shape(), tensor.data())?;
    }
    Ok(loader.len as i64)
}

/// A sequence in the memory of a model that is being filled.
pub(crate) struct Loader<'m, T, const R: usize> {
    input: &'static str,
    sizes: [Range; R],
    elements: &'m mut [T],
    shapes: &'m mut [i64],
    pub(crate) len: usize,
}

impl<'m, T: Copy, const R: usize> Loader<'m, T, R> {
    pub(crate) fn new(input: &'static str, sizes: [Range; R], elements: &'m mut [T], shapes: &'m mut [i64]) -> Self {
        Loader {
            input,
            sizes,
            elements,
            shapes,
            len: 0,
        }
    }

    pub(crate) fn push(&mut self, shape: &[usize], data: &[T]) -> Result<(), RunError> {
        let columns = R.max(1);
        let max = self.shapes.len() / columns;
        let width = self.elements.len().checked_div(max).unwrap_or(0);
        let (input, element) = (self.input, self.len);
        for (axis, (&actual, &(min, max))) in shape.iter().zip(&self.sizes).enumerate() {
            if !(min..=max).contains(&actual) {
                return Err(RunError::Element {
                    input,
                    element,
                    axis,
                    actual,
                    min,
                    max,
                });
            }
        }
        if element == max {
            return Err(RunError::Length { input, max });
        }
        if data.len() > width {
            return Err(RunError::ElementLength {
                input,
                element,
                actual: data.len(),
                max: width,
            });
        }
        self.elements[element * width..][..data.len()].copy_from_slice(data);
        let row = &mut self.shapes[element * columns..][..columns];
        row.fill(-1);
        for (place, &size) in row.iter_mut().zip(shape) {
            *place = size as i64;
        }
        self.len += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn view<const R: usize>(shape: [usize; R], data: &[f32]) -> TensorView<'_, f32, R> {
        TensorView::new(shape, data).unwrap()
    }

    #[test]
    fn what_is_loaded_is_seen() {
        let (mut elements, mut shapes) = ([9.0; 12], [9; 6]);
        let tensors = [view([1, 3], &[1.0, 2.0, 3.0]), view([2, 2], &[4.0, 5.0, 6.0, 7.0])];
        let sizes = [(1, 2), (0, 3)];
        assert_eq!(load("x", tensors, sizes, &mut elements, &mut shapes), Ok(2));
        let sequence = SequenceView::<f32, 2>::new(&elements, &shapes, 2);
        let seen: Vec<_> = sequence
            .iter()
            .map(|tensor| (tensor.shape().to_vec(), tensor.data().to_vec()))
            .collect();
        let expected = [
            ([1, 3].to_vec(), [1.0, 2.0, 3.0].to_vec()),
            ([2, 2].to_vec(), [4.0, 5.0, 6.0, 7.0].to_vec()),
        ];
        assert_eq!(seen, expected);
        assert!(sequence.get(2).is_none() && !sequence.is_empty());
    }

    #[test]
    fn ranks_may_differ() {
        let sequence = SequenceView::<f32, 2>::new(&[1.0, 0.0, 2.0, 3.0], &[-1, -1, 2, -1], 2);
        let scalar = sequence.get(0).unwrap();
        assert_eq!((scalar.shape(), scalar.data()), (&[][..], &[1.0][..]));
        let line = sequence.get(1).unwrap();
        assert_eq!((line.shape(), line.data()), (&[2][..], &[2.0, 3.0][..]));
    }

    #[test]
    fn tensors_of_any_rank_are_loaded() {
        let (mut elements, mut shapes) = ([0.0; 8], [0; 4]);
        let tensors = [
            ElementView::new(&[2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap(),
            ElementView::new(&[], &[5.0]).unwrap(),
        ];
        let sizes = [(0, 8); 2];
        assert_eq!(load_mixed("x", tensors, sizes, &mut elements, &mut shapes), Ok(2));
        let sequence = SequenceView::<f32, 2>::new(&elements, &shapes, 2);
        assert!(sequence.iter().eq(tensors));
        let long = ElementView::new(&[5], &[0.0; 5]).unwrap();
        assert_eq!(
            load_mixed("x", [long], sizes, &mut elements, &mut shapes),
            Err(RunError::ElementLength {
                input: "x",
                element: 0,
                actual: 5,
                max: 4
            })
        );
        assert!(ElementView::<f32, 2>::new(&[3], &[1.0]).is_err());
    }

    #[test]
    fn scalars_have_rows() {
        let (mut elements, mut shapes) = ([0.0; 2], [0; 2]);
        let tensors = [view([], &[1.0]), view([], &[2.0])];
        assert_eq!(load("x", tensors, [], &mut elements, &mut shapes), Ok(2));
        let sequence = SequenceView::<f32, 0>::new(&elements, &shapes, 2);
        assert_eq!(sequence.get(1).map(|tensor| tensor.data()[0]), Some(2.0));
        let no_room = SequenceView::<f32, 0>::new(&[], &[], 0);
        assert!(no_room.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (mut elements, mut shapes) = ([0.0; 2], [0; 2]);
        let one = view([1], &[1.0]);
        assert_eq!(
            load("x", [one; 3], [(1, 1)], &mut elements, &mut shapes),
            Err(RunError::Length { input: "x", max: 2 })
        );
        let long = view([2], &[1.0, 2.0]);
        assert_eq!(
            load("x", [one, long], [(0, 1)], &mut elements, &mut shapes),
            Err(RunError::Element {
                input: "x",
                element: 1,
                axis: 0,
                actual: 2,
                min: 0,
                max: 1
            })
        );
    }
}
