//! Matrix products of unsigned with signed numbers of 8 bits, summed in 32 bits.
//!
//! Four rows of a right-hand side lie in the bytes of a word, see [`pack_rhs_int8`]; the rows of a left-hand side are read
//! four numbers at a time, where they lie or, if they are pixels of an image, in a copy. All sums are exact as long as they
//! fit in 32 bits, so that every instruction set has the same results to the bit: processors with AVX-512 VNNI add the
//! products of four pairs in one instruction, others with vectors of known length widen the numbers to 16 bits and add two
//! products at a time.
//!
//! Quantized tensors have a zero point, which the products here know nothing of. With zero points `z` of `a` and a column
//! of `b` that sums up to `s`, the product of the differences is `a b - z s`.

mod burst;
mod convert;
mod depthwise;
mod matrix;
mod pack;
mod product;
mod quads;
mod sink;
#[cfg(test)]
mod tests;
mod tile;
mod update;

pub(super) use burst::burst_int8;
#[doc(hidden)]
pub use convert::Sums;
pub use convert::{Convert, Each, PerColumn, PerElement, PerRow, SumOperand, SumOperands};
pub(super) use depthwise::DepthwiseStrip;
pub use matrix::LhsInt8;
pub(super) use matrix::{gemm_int8, gemm_int8_part, gemm_int8_parts};
pub(super) use pack::QUAD;
pub use pack::{pack_rhs_int8, packed_rhs_int8_len};
pub(super) use product::{Product, Rows};
#[cfg(all(test, target_arch = "x86_64"))]
pub(super) use quads::Widened;
pub(super) use quads::{Products, Quads, Room, Task};
pub(super) use sink::Share;
pub use sink::{Sink, SinkPart};
pub use update::Update;
