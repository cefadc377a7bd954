//! Constant data, packed the way kernels read it.

use super::place::ALIGNMENT;
use crate::ir::{DType, Tensor};
use onnxide_runtime::linear;
use std::borrow::Cow;
use std::collections::HashMap;

/// The number of an entry in a [`WeightTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeightId(pub usize);

/// How a constant is laid out in the blob.
#[derive(Clone, Debug, PartialEq)]
pub enum Packing {
    /// As it is.
    Dense,
    /// As the right matrix of a product.
    Rhs {
        /// Rows.
        k: usize,
        /// Columns.
        n: usize,
        /// Elements between rows of the constant.
        row: usize,
        /// Elements between columns of the constant.
        column: usize,
        /// The first element.
        offset: usize,
    },
    /// As the recurrent weights of a GRU: `[3 * hidden, hidden]` of gates z, r, h, as two right matrices.
    GruState {
        /// The size of the state.
        hidden: usize,
    },
    /// As the bias of a GRU: that of the input before that of the state becomes the sums for z and r, then both of h.
    GruBias {
        /// The size of the state.
        hidden: usize,
    },
    /// As the right matrix of a product in bf16; the fields are those of `Rhs`.
    RhsBf16 {
        /// Rows.
        k: usize,
        /// Columns.
        n: usize,
        /// Elements between rows of the constant.
        row: usize,
        /// Elements between columns of the constant.
        column: usize,
        /// The first element.
        offset: usize,
    },
    /// As the right matrix of a product of integers of 8 bits; the fields are those of `Rhs`.
    RhsInt8 {
        /// Rows.
        k: usize,
        /// Columns.
        n: usize,
        /// Elements between rows of the constant.
        row: usize,
        /// Elements between columns of the constant.
        column: usize,
        /// The first element.
        offset: usize,
    },
    /// As the right matrix `[k, n]` of a product, in numbers of few bits.
    RhsBlocks {
        /// How the numbers are packed.
        format: linear::BlockFormat,
        /// Rows.
        k: usize,
        /// Columns.
        n: usize,
        /// The scale of each block of a column.
        scales: Tensor,
        /// The zero points, if there are any.
        zeros: Option<Tensor>,
    },
    /// As the weights of a convolution.
    Conv(linear::Conv2dNhwc),
    /// As the weights of a convolution in bf16.
    ConvBf16(linear::Conv2dNhwc),
    /// As the weights of a convolution of integers of 8 bits.
    ConvInt8(linear::Conv2dNhwc),
    /// As the weights of a convolution of one channel per group.
    DepthwiseConv(linear::Conv2dNhwc),
    /// The same of integers of 8 bits.
    DepthwiseConvInt8(linear::Conv2dNhwc),
    /// As the weights of a convolution by Winograd's algorithm.
    WinogradConv(linear::WinogradConv2dNhwc),
    /// As the weights of a transposed convolution.
    ConvTranspose(linear::ConvTranspose2d),
}

impl Packing {
    /// The number of elements of a constant in the blob.
    fn len(&self, tensor: &Tensor) -> usize {
        match self {
            Packing::Dense => tensor.len(),
            Packing::Rhs { k, n, .. } => linear::packed_rhs_len(*k, *n),
            Packing::GruState { hidden } => {
                linear::packed_rhs_len(*hidden, 2 * hidden) + linear::packed_rhs_len(*hidden, *hidden)
            }
            Packing::GruBias { hidden } => 4 * hidden,
            Packing::RhsBf16 { k, n, .. } => linear::packed_rhs_bf16_len(*k, *n),
            Packing::RhsInt8 { k, n, .. } => linear::packed_rhs_int8_len(*k, *n),
            Packing::RhsBlocks { format, k, n, .. } => linear::packed_rhs_blocks_len(*k, *n, *format),
            Packing::Conv(problem) => linear::conv2d_nhwc_packed_len(problem),
            Packing::ConvBf16(problem) => linear::conv2d_nhwc_bf16_packed_len(problem),
            Packing::ConvInt8(problem) => linear::conv2d_nhwc_int8_packed_len(problem),
            Packing::DepthwiseConv(problem) => linear::depthwise_conv2d_nhwc_packed_len(problem),
            Packing::DepthwiseConvInt8(problem) => linear::depthwise_conv2d_nhwc_int8_packed_len(problem),
            Packing::WinogradConv(problem) => linear::winograd_conv2d_nhwc_packed_len(problem),
            Packing::ConvTranspose(problem) => linear::conv_transpose2d_packed_len(problem),
        }
    }
}

/// A constant in the blob.
#[derive(Clone, Debug)]
pub struct WeightEntry {
    /// The constant.
    pub tensor: Tensor,
    /// Its layout in the blob.
    pub packing: Packing,
    /// A name for people.
    pub name: String,
    /// Byte offset in the blob.
    pub offset: usize,
    /// The number of elements in the blob.
    pub len: usize,
}

/// The constants of a plan.
#[derive(Clone, Debug, Default)]
pub struct WeightTable {
    /// The entries in the order of their first use, which is that of their offsets.
    pub entries: Vec<WeightEntry>,
    by_data: HashMap<(usize, usize, String), WeightId>,
    /// Bytes of the blob.
    pub bytes: usize,
}

impl WeightTable {
    /// Adds a constant, or finds it: the same bytes in the same packing are one entry.
    pub fn add(&mut self, tensor: &Tensor, packing: Packing, name: &str) -> WeightId {
        let key = (
            tensor.data.as_ptr() as usize,
            tensor.data.len(),
            format!("{} {packing:?} {:?}", tensor.dtype, packing.parameters()),
        );
        if let Some(&id) = self.by_data.get(&key) {
            return id;
        }
        let len = packing.len(tensor);
        let id = WeightId(self.entries.len());
        self.entries.push(WeightEntry {
            tensor: tensor.clone(),
            packing,
            name: name.to_owned(),
            offset: 0,
            len,
        });
        self.by_data.insert(key, id);
        id
    }

    /// The constant of an entry in another packing.
    pub(super) fn repacked(&mut self, id: WeightId, packing: Packing) -> WeightId {
        let WeightEntry { tensor, name, .. } = self.entries[id.0].clone();
        self.add(&tensor, packing, &name)
    }

    /// Puts the entries in another order, given by their numbers, of which some may be missing, and returns the new
    /// number of each.
    pub(super) fn reorder(&mut self, order: &[usize]) -> Vec<WeightId> {
        let mut places = vec![WeightId(usize::MAX); self.entries.len()];
        for (place, &number) in order.iter().enumerate() {
            places[number] = WeightId(place);
        }
        self.entries = order.iter().map(|&number| self.entries[number].clone()).collect();
        self.by_data.retain(|_, id| {
            *id = places[id.0];
            id.0 != usize::MAX
        });
        places
    }

    /// Lays the entries out one after another.
    pub fn assign_offsets(&mut self) {
        let mut offset = 0usize;
        for entry in &mut self.entries {
            entry.offset = offset;
            offset += entry.bytes().next_multiple_of(ALIGNMENT);
        }
        self.bytes = offset;
    }

    /// The blob.
    pub fn blob(&self) -> Blob {
        let mut blob = Blob {
            words: vec![0; self.bytes.div_ceil(8)],
            len: self.bytes,
        };
        for entry in &self.entries {
            let place = &mut blob.bytes_mut()[entry.offset..entry.offset + entry.bytes()];
            match &entry.packing {
                Packing::Dense => place.copy_from_slice(&entry.tensor.data),
                packing if packing.is_words() => pack_words(packing, &entry.tensor, bytemuck::cast_slice_mut(place)),
                packing => pack(packing, &entry.tensor, bytemuck::cast_slice_mut(place)),
            }
        }
        blob
    }
}

/// Packs an `f32` constant.
///
/// Elements are moved as slices, not one by one, wherever the layout permits: the compiler also runs inside macros and
/// build scripts, which are built without optimization.
fn pack(packing: &Packing, tensor: &Tensor, packed: &mut [f32]) {
    let source = &*floats(tensor);
    match packing {
        Packing::Dense => packed.copy_from_slice(source),
        Packing::RhsBf16 { .. }
        | Packing::ConvBf16(_)
        | Packing::RhsInt8 { .. }
        | Packing::RhsBlocks { .. }
        | Packing::ConvInt8(_)
        | Packing::DepthwiseConvInt8(_) => unreachable!("these are words"),
        Packing::Rhs {
            k,
            n,
            row,
            column,
            offset,
        } => {
            linear::pack_rhs(*k, *n, &source[*offset..], *row, *column, packed);
        }
        Packing::GruState { hidden } => {
            let (gates, candidate) = packed.split_at_mut(linear::packed_rhs_len(*hidden, 2 * hidden));
            linear::pack_rhs(*hidden, 2 * hidden, source, 1, *hidden, gates);
            linear::pack_rhs(*hidden, *hidden, &source[2 * hidden * hidden..], 1, *hidden, candidate);
        }
        Packing::GruBias { hidden } => {
            let (input, state) = source.split_at(3 * hidden);
            for gate in 0..2 * hidden {
                packed[gate] = input[gate] + state[gate];
            }
            packed[2 * hidden..3 * hidden].copy_from_slice(&input[2 * hidden..]);
            packed[3 * hidden..].copy_from_slice(&state[2 * hidden..]);
        }
        Packing::Conv(problem) => linear::pack_conv2d_nhwc(problem, source, packed),
        Packing::DepthwiseConv(problem) => linear::pack_depthwise_conv2d_nhwc(problem, source, packed),
        Packing::WinogradConv(problem) => linear::pack_winograd_conv2d_nhwc(problem, source, packed),
        Packing::ConvTranspose(problem) => linear::pack_conv_transpose2d(problem, source, packed),
    }
    if !matches!(packing, Packing::Dense | Packing::GruBias { .. }) {
        flush_subnormal(packed);
    }
}

/// Makes weights below 2^-126 zero. Training leaves them behind: they change a product with a finite number by less than
/// 2^-126 of it, and each multiplication takes some hundred times as long on processors that leave it to microcode. What is
/// added, multiplied elementwise or rounded to bf16 stays as it is.
fn flush_subnormal(values: &mut [f32]) {
    const EXPONENT: u32 = 0x7f80_0000;
    const SIGN: u32 = 0x8000_0000;
    for value in values {
        let bits = value.to_bits();
        if bits & EXPONENT == 0 {
            *value = f32::from_bits(bits & SIGN);
        }
    }
}

/// Packs a constant as words that hold two bf16 or four numbers of 8 bits each.
fn pack_words(packing: &Packing, tensor: &Tensor, packed: &mut [u32]) {
    match packing {
        Packing::RhsBf16 {
            k,
            n,
            row,
            column,
            offset,
        } => linear::pack_rhs_bf16(*k, *n, &floats(tensor)[*offset..], *row, *column, packed),
        Packing::ConvBf16(problem) => linear::pack_conv2d_nhwc_bf16(problem, &floats(tensor), packed),
        Packing::RhsInt8 {
            k,
            n,
            row,
            column,
            offset,
        } => {
            let source = bytemuck::cast_slice(&tensor.data[*offset..]);
            linear::pack_rhs_int8(*k, *n, source, *row, *column, packed);
        }
        Packing::RhsBlocks {
            format,
            k,
            n,
            scales,
            zeros,
        } => {
            let center = 1 << (format.bits - 1);
            let numbers = |tensor: &Tensor| -> Vec<u8> {
                let numbers = tensor.data.iter();
                numbers.map(|&number| number.wrapping_add(center)).collect()
            };
            let zeros = zeros.as_ref().map(numbers).unwrap_or_default();
            linear::pack_rhs_blocks(*format, *k, *n, &numbers(tensor), &floats(scales), &zeros, packed);
        }
        Packing::ConvInt8(problem) => {
            linear::pack_conv2d_nhwc_int8(problem, bytemuck::cast_slice(&tensor.data), packed);
        }
        Packing::DepthwiseConvInt8(problem) => {
            linear::pack_depthwise_conv2d_nhwc_int8(problem, bytemuck::cast_slice(&tensor.data), packed);
        }
        _ => unreachable!("these are no words"),
    }
}

/// The elements of an `f32` constant.
fn floats(tensor: &Tensor) -> Cow<'_, [f32]> {
    match bytemuck::try_cast_slice(&tensor.data) {
        Ok(floats) => Cow::Borrowed(floats),
        Err(_) => {
            let mut floats = vec![0f32; tensor.len()];
            bytemuck::cast_slice_mut(&mut floats).copy_from_slice(&tensor.data);
            Cow::Owned(floats)
        }
    }
}

impl Packing {
    /// Whether words hold several numbers each.
    fn is_words(&self) -> bool {
        matches!(
            self,
            Packing::RhsBf16 { .. }
                | Packing::ConvBf16(_)
                | Packing::RhsInt8 { .. }
                | Packing::RhsBlocks { .. }
                | Packing::ConvInt8(_)
                | Packing::DepthwiseConvInt8(_)
        )
    }

    /// Where the parameters are that go with the numbers of a constant.
    fn parameters(&self) -> Vec<*const u8> {
        match self {
            Packing::RhsBlocks { scales, zeros, .. } => {
                let parameters = std::iter::once(scales).chain(zeros);
                parameters.map(|tensor| tensor.data.as_ptr()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The type of the elements in the blob of a constant of type `dtype`.
    pub fn dtype(&self, dtype: DType) -> DType {
        if self.is_words() { DType::U32 } else { dtype }
    }
}

impl WeightEntry {
    /// The type of the elements in the blob.
    pub fn dtype(&self) -> DType {
        self.packing.dtype(self.tensor.dtype)
    }

    /// The number of bytes in the blob.
    pub fn bytes(&self) -> usize {
        self.len * self.dtype().size()
    }
}

/// The bytes of packed weights, aligned to eight.
#[derive(Clone, Debug, Default)]
pub struct Blob {
    words: Vec<u64>,
    len: usize,
}

impl Blob {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnormal_weights_are_packed_as_zeros() {
        let values = [f32::MIN_POSITIVE, f32::MIN_POSITIVE / 2.0, -1e-40, -0.0, 0.0, -1.0];
        let tensor = Tensor::new(vec![6, 1], &values);
        let packed = |packing| {
            let mut packed = vec![1.0; 6 * 16];
            pack(&packing, &tensor, &mut packed[..packing.len(&tensor)]);
            packed
        };
        let matrix = Packing::Rhs {
            k: 6,
            n: 1,
            row: 1,
            column: 1,
            offset: 0,
        };
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let column: Vec<f32> = packed(matrix).into_iter().step_by(16).collect();
        assert_eq!(bits(&column), bits(&[f32::MIN_POSITIVE, 0.0, -0.0, -0.0, 0.0, -1.0]));
        // What is added or multiplied elementwise stays as it is.
        assert_eq!(bits(&packed(Packing::Dense)[..6]), bits(&values));
    }
}
