//! Reproducible tensors for tests and measurements.

use super::dtype::DType;
use super::eval::Numbers;
use super::tensor::Tensor;

/// The SplitMix64 generator of Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014).
#[derive(Clone, Debug)]
pub struct SplitMix(u64);

impl SplitMix {
    /// A generator; equal seeds give equal numbers.
    pub fn new(seed: u64) -> SplitMix {
        SplitMix(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of the interval from -1 to 1, of 24 bits.
    pub fn unit(&mut self) -> f64 {
        let bits = (self.bits() >> 40) as f64;
        bits / f64::from(1 << 23) - 1.0
    }

    /// An integer from `low` to `high`, both included; `low` if they are the wrong way around.
    pub fn integer(&mut self, low: i64, high: i64) -> i64 {
        let span = i128::from(high) - i128::from(low) + 1;
        if span <= 1 {
            return low;
        }
        let offset = (u128::from(self.bits()) * span.unsigned_abs()) >> 64;
        low.wrapping_add(offset as i64)
    }
}

impl Tensor {
    /// A tensor of reproducible numbers: floating-point ones from -1 to 1, integers from -8 (unsigned: 0) to 7.
    ///
    /// # Panics
    ///
    /// If the tensor does not fit into memory.
    pub fn random(dtype: DType, shape: Vec<usize>, seed: u64) -> Tensor {
        let low = if dtype.is_unsigned_int() { 0 } else { -8 };
        Tensor::random_integers(dtype, shape, seed, low, 7)
    }

    /// As [`random`](Tensor::random), with integers from `low` to `high`.
    ///
    /// # Panics
    ///
    /// If the tensor does not fit into memory.
    pub fn random_integers(dtype: DType, shape: Vec<usize>, seed: u64, low: i64, high: i64) -> Tensor {
        let count: usize = shape.iter().product();
        let mut random = SplitMix::new(seed);
        let numbers = match dtype {
            DType::Bool => Numbers::Bool((0..count).map(|_| random.bits() >> 63 == 1).collect()),
            _ if dtype.is_float() => Numbers::Float((0..count).map(|_| random.unit()).collect()),
            _ => Numbers::Int((0..count).map(|_| i128::from(random.integer(low, high))).collect()),
        };
        let mut data = Vec::with_capacity(count * dtype.size());
        numbers
            .encode(dtype, &mut data)
            .expect("the numbers are of the kind of the type");
        Tensor::from_bytes(dtype, shape, data.into())
    }
}
