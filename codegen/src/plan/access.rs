//! What steps read and write.

use super::WeightId;
use crate::ir::{DType, Dim};

/// The number of a [`Buffer`] in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub usize);

/// A value that lives in the arena.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// The type of its elements.
    pub dtype: DType,
    /// The number of elements at the bounds of the symbols.
    pub capacity: usize,
    /// The name of a value of the source model that it holds, for people.
    pub name: String,
    /// The first step during which it holds a value.
    pub first: usize,
    /// The last step during which its value is needed; one past the last step for outputs.
    pub last: usize,
    /// The byte offset in the arena.
    pub offset: usize,
}

impl Buffer {
    /// Bytes at the bounds of the symbols, rounded up to the alignment of slots.
    pub fn bytes(&self) -> usize {
        (self.capacity * self.dtype.size()).next_multiple_of(super::place::ALIGNMENT)
    }
}

/// What an [`Access`] starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// An input of the model, by number.
    Input(usize),
    /// Constant data.
    Weight(WeightId),
    /// A value in the arena.
    Buffer(BufferId),
}

/// A part of a storage that a step reads or writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// The storage.
    pub base: Base,
    /// The element type.
    pub dtype: DType,
    /// The first element.
    pub offset: Dim,
    /// How far each loop of the step moves, in elements.
    pub loop_strides: Vec<Dim>,
}

impl Access {
    /// Constant data as a whole, the same in this number of loops.
    pub(super) fn weight(id: WeightId, dtype: DType, loops: usize) -> Access {
        Access {
            base: Base::Weight(id),
            dtype,
            offset: Dim::from(0i64),
            loop_strides: vec![Dim::from(0i64); loops],
        }
    }
}
