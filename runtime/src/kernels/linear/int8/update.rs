//! Outputs that take over the place of an operand: what is there goes into what is written.

use super::convert::{Convert, SumOperands, Sums};
use crate::element::Element;
use crate::isa::Isa;
use crate::kernels::linear::{MatrixMut, Position};
use crate::team::Compute;

/// The [`Convert`] that makes each output by a function of what was in its place before, of its sum and of the elements of
/// operands.
#[derive(Clone, Copy, Debug)]
pub struct Update<S, O, F> {
    isa: S,
    operands: O,
    f: F,
}

impl<S: Isa, O: SumOperands, F> Update<S, O, F> {
    /// Outputs of `f`, which gets what the output holds, and a tuple of a sum and of elements of `operands`, as of
    /// [`Each::new`](super::Each::new).
    #[inline(always)]
    pub fn new<C: Compute<Isa = S>, T: Element>(compute: C, operands: O, f: F) -> Self
    where
        F: Fn(T, O::Items) -> T + Sync,
    {
        Update {
            isa: compute.isa(),
            operands,
            f,
        }
    }
}

impl<S: Isa, T: Element, O: SumOperands, F: Fn(T, O::Items) -> T + Sync> Convert<T> for Update<S, O, F> {
    fn convert(&self, sums: Sums<'_>, out: &mut MatrixMut<'_, T>, at: Position) {
        let (rows, columns) = (out.rows(), out.columns());
        if rows == 0 || columns == 0 {
            return;
        }
        self.isa.vectorize(|| {
            let block = Block {
                sums: sums.reaching([rows, columns]),
                stride: sums.stride,
                tiles: self.operands.tiles(at, [rows, columns]),
                f: &self.f,
                read: O::read,
            };
            let mut done = 0;
            // SAFETY: the sums and operands have been found to have these rows and columns here.
            unsafe {
                block.columns::<16, T>(out, &mut done);
                block.columns::<8, T>(out, &mut done);
                block.columns::<1, T>(out, &mut done);
            }
        });
    }
}

/// What some outputs are made of.
struct Block<'a, R, I, F> {
    sums: *const i32,
    stride: usize,
    tiles: R,
    f: &'a F,
    read: unsafe fn(R, i32, usize, usize) -> I,
}

impl<R: Copy, I, F> Block<'_, R, I, F> {
    /// Writes all rows of `N` columns after another while there are as many that are not `done`. None is written twice, as
    /// what was there is there once.
    ///
    /// # Safety
    ///
    /// The sums and each operand have the rows and columns of the output.
    #[inline(always)]
    unsafe fn columns<const N: usize, T: Element>(&self, out: &mut MatrixMut<'_, T>, done: &mut usize)
    where
        F: Fn(T, I) -> T,
    {
        let (rows, columns, pitch) = (out.rows(), out.columns(), out.stride());
        while columns - *done >= N {
            let mut sums = self.sums.wrapping_add(*done);
            let mut target = out.as_mut_ptr().wrapping_add(*done).cast::<[T; N]>();
            for row in 0..rows {
                // SAFETY: the output has these columns of the row; any array of `T` is aligned as one is.
                let mut values = unsafe { target.read() };
                for (index, value) in values.iter_mut().enumerate() {
                    // SAFETY: there are this row and column.
                    *value = unsafe { (self.f)(*value, (self.read)(self.tiles, *sums.add(index), row, *done + index)) };
                }
                // SAFETY: as above.
                unsafe { target.write(values) };
                sums = sums.wrapping_add(self.stride);
                target = target.cast::<T>().wrapping_add(pitch).cast();
            }
            *done += N;
        }
    }
}
