//! Outputs that take over the place of an operand: what is there goes into what is written.

use super::convert::{Block, Convert, SumOperands, Sums};
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
                read: O::read,
            };
            // None is written twice, as what was there is there once.
            let mut at = 0;
            // SAFETY: the sums and operands have been found to have these rows and columns here.
            unsafe {
                while columns - at >= 16 {
                    block.columns::<16, T>(out, at, &self.f);
                    at += 16;
                }
                if columns - at >= 8 {
                    block.columns::<8, T>(out, at, &self.f);
                    at += 8;
                }
                while at < columns {
                    block.columns::<1, T>(out, at, &self.f);
                    at += 1;
                }
            }
        });
    }
}
