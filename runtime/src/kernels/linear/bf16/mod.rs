//! Matrix products of numbers that are rounded to bf16, the upper half of an `f32`, and summed in `f32`.
//!
//! A right-hand side is rounded when it is packed: two rows of it lie in the halves of a word, see [`pack_rhs_bf16`]. The
//! left-hand side is rounded a block of rows at a time, once for all columns, into scratch. The product of two such numbers
//! is exact in `f32`, so that only its sum is rounded.
//!
//! Processors with AVX-512 BF16 add the products of a pair in one instruction. It takes subnormal numbers for zero and
//! rounds in its own way, so that its results are not to the bit those of the other processors, which compute the same with
//! two fused operations and agree with each other.

mod matrix;
mod pack;
mod pairs;
mod product;
mod tile;

pub(super) use matrix::{gemm_bf16, gemm_bf16_part, gemm_bf16_parts};
pub use matrix::{gemm_bf16_scratch, gemm_bf16_scratch_min};
pub(super) use pack::half;
pub use pack::{pack_rhs_bf16, packed_rhs_bf16_len};
pub(super) use pairs::Pairs;
pub(super) use product::{Product, Products, Rows};

/// Values of the left-hand side that a block has: with [`WEIGHTS`] they fit a second level cache.
pub(super) const VALUES: usize = 48 * 1024;

/// Words of the right-hand side that all rows of a block pass over: 256 KiB.
const WEIGHTS: usize = 64 * 1024;
