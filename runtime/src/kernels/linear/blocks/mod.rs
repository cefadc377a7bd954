//! Matrix products with weights that stay compressed: numbers of 4 or 8 bits, of which blocks along the depth have a scale
//! and, if they are not symmetric, a zero point for each column.
//!
//! A weight is `(w - z) s` in `f32`, where the difference is exact and the product is rounded once. Products multiply with
//! these weights and sum up in `f32`:
//!
//! - Up to [`FEW_ROWS`] rows, weights are unpacked in registers, so that memory gives the packed words once and nothing else.
//!   A sum has its terms one after another, over all of the depth.
//! - More rows share what a block of the weights is unpacked to, in the layout of `pack_rhs`. The sums are those of the product
//!   in `f32` of so many rows, to the bit.
//!
//! Both orders depend on the number of rows of the whole product and on its depth alone, so that threads change nothing.

mod matrix;
mod numbers;
mod pack;
mod tile;
mod unpack;

pub(super) use matrix::{gemm_blocks, gemm_blocks_part, gemm_blocks_parts};
pub use matrix::{gemm_blocks_scratch, gemm_blocks_scratch_min};
pub use pack::{BlockFormat, pack_rhs_blocks, packed_rhs_blocks_len};

/// Rows up to which weights are unpacked in registers.
const FEW_ROWS: usize = 8;

/// Rows that multiply with weights in registers. Unpacking them again for as many rows takes less time than writing them.
const STRIP_ROWS: usize = 4;

/// The right matrix `[k, n]` of a product, in numbers of 4 or 8 bits.
#[derive(Clone, Copy, Debug)]
pub struct RhsBlocks<'a> {
    /// The output of [`pack_rhs_blocks`].
    pub data: &'a [u32],
    /// How the numbers are packed.
    pub format: BlockFormat,
}

impl RhsBlocks<'_> {
    /// The matrix from a column on, which begins a panel.
    fn columns_from(self, first: usize, k: usize) -> Self {
        let data = self.data.get(packed_rhs_blocks_len(k, first, self.format)..);
        RhsBlocks {
            data: data.unwrap_or_default(),
            ..self
        }
    }
}
