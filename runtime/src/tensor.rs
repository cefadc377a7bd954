//! Typed views of tensors, the inputs and outputs of models with dynamic dimensions.

use crate::error::RunError;

/// A dense tensor of rank `R` in row-major order, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorView<'a, T, const R: usize> {
    shape: [usize; R],
    data: &'a [T],
}

impl<'a, T: Copy, const R: usize> TensorView<'a, T, R> {
    /// The tensor of `shape` with the elements of `data`.
    ///
    /// # Errors
    ///
    /// [`RunError::DataLength`] if the length of `data` is not the product of `shape`.
    pub fn new(shape: [usize; R], data: &'a [T]) -> Result<Self, RunError> {
        match element_count(&shape) {
            Some(expected) if expected == data.len() => Ok(TensorView { shape, data }),
            expected => Err(RunError::DataLength {
                expected: expected.unwrap_or(usize::MAX),
                actual: data.len(),
            }),
        }
    }

    /// The tensor of `shape` with the first elements of `data`.
    ///
    /// # Panics
    ///
    /// If `data` has fewer elements than the product of `shape`.
    pub fn prefix(shape: [usize; R], data: &'a [T]) -> Self {
        let len = element_count(&shape).expect("the size of a tensor in memory");
        TensorView {
            shape,
            data: &data[..len],
        }
    }

    /// The shape.
    #[inline(always)]
    pub const fn shape(&self) -> [usize; R] {
        self.shape
    }

    /// The elements in row-major order.
    #[inline(always)]
    pub const fn data(&self) -> &'a [T] {
        self.data
    }
}

impl<'a, const R: usize> TensorView<'a, bool, R> {
    /// The same tensor with a byte, 0 or 1, for each truth value.
    pub const fn bytes(self) -> TensorView<'a, u8, R> {
        TensorView {
            shape: self.shape,
            data: crate::nested::bytes_of_bools(self.data),
        }
    }
}

/// A dense tensor of rank `R` in row-major order, borrowed to be written: the result of an operator of the user's.
#[derive(Debug, PartialEq)]
pub struct TensorViewMut<'a, T, const R: usize> {
    shape: [usize; R],
    data: &'a mut [T],
}

impl<'a, T: Copy, const R: usize> TensorViewMut<'a, T, R> {
    /// The tensor of `shape` with the elements of `data`.
    ///
    /// # Errors
    ///
    /// [`RunError::DataLength`] if the length of `data` is not the product of `shape`.
    pub fn new(shape: [usize; R], data: &'a mut [T]) -> Result<Self, RunError> {
        match element_count(&shape) {
            Some(expected) if expected == data.len() => Ok(TensorViewMut { shape, data }),
            expected => Err(RunError::DataLength {
                expected: expected.unwrap_or(usize::MAX),
                actual: data.len(),
            }),
        }
    }

    /// The tensor of `shape` with the first elements of `data`.
    ///
    /// # Panics
    ///
    /// If `data` has fewer elements than the product of `shape`.
    pub fn prefix(shape: [usize; R], data: &'a mut [T]) -> Self {
        let len = element_count(&shape).expect("the size of a tensor in memory");
        TensorViewMut {
            shape,
            data: &mut data[..len],
        }
    }

    /// The shape.
    #[inline(always)]
    pub const fn shape(&self) -> [usize; R] {
        self.shape
    }

    /// The elements in row-major order.
    #[inline(always)]
    pub const fn data(&self) -> &[T] {
        self.data
    }

    /// The elements in row-major order, to be written.
    #[inline(always)]
    pub const fn data_mut(&mut self) -> &mut [T] {
        self.data
    }
}

/// The product of a shape, if it is a `usize`. An axis of size 0 makes it 0 whatever the other axes are.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_fills_the_shape() {
        let data = [1, 2, 3, 4, 5, 6];
        let view = TensorView::new([2, 3], &data).unwrap();
        assert_eq!((view.shape(), view.data()), ([2, 3], &data[..]));
        assert!(TensorView::new([0, usize::MAX, 2], &data[..0]).is_ok());
        assert!(TensorView::new([], &data[..1]).is_ok());
        assert_eq!(
            TensorView::new([7], &data),
            Err(RunError::DataLength { expected: 7, actual: 6 })
        );
        assert!(TensorView::new([usize::MAX, 2], &data).is_err());
        assert_eq!(TensorView::prefix([2, 2], &data).data(), [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_written_is_in_the_data() {
        let mut data = [1, 2, 3, 4, 5, 6];
        let mut view = TensorViewMut::new([3, 2], &mut data).unwrap();
        view.data_mut()[5] = 7;
        assert_eq!((view.shape(), view.data()), ([3, 2], &[1, 2, 3, 4, 5, 7][..]));
        TensorViewMut::prefix([1, 2], &mut data).data_mut().fill(0);
        assert_eq!(data, [0, 0, 3, 4, 5, 7]);
        assert!(TensorViewMut::new([2], &mut data).is_err());
    }

    #[test]
    #[should_panic = "out of range"]
    fn a_prefix_is_no_longer_than_the_data() {
        TensorView::prefix([7], &[0; 6]);
    }
}
