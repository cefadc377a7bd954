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
//!
//! Where it is allowed, what weights are multiplied with is rounded to 8 bits, in groups of at most 64 numbers of a row. The
//! products of a group are then summed as integers, exactly, and multiplied with both scales, one rounding after another, so that
//! all instruction sets have the same results to the bit. This is how llama.cpp multiplies with blocks of weights ("Q8_0", "Q8_1").

mod int8;
mod matrix;
mod numbers;
mod pack;
mod round;
mod tile;
mod unpack;

pub(super) use int8::{BlockStrip, gemm_blocks_int8, gemm_blocks_int8_part, gemm_blocks_int8_parts, run};
pub use int8::{gemm_blocks_int8_scratch, gemm_blocks_int8_scratch_min};
pub(super) use matrix::{gemm_blocks, gemm_blocks_part, gemm_blocks_parts};
pub use matrix::{gemm_blocks_scratch, gemm_blocks_scratch_min};
pub(super) use numbers::Numbers;
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
