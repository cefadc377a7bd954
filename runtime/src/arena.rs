//! The memory of a model: one block with offsets that were fixed when the model was compiled.
//!
//! A [`Slot`] names a typed part of an [`Arena`]. [`Memory`] hands the parts out as slices: one at a time with
//! [`get`](Memory::get) and [`get_mut`](Memory::get_mut), or several at once, some of them exclusive, with
//! [`split`](Memory::split). The checks compare constants, so that they vanish when a step is compiled.

use crate::element::Element;
use crate::plan::Live;
use core::marker::PhantomData;
use core::mem::{align_of, size_of};

/// The alignment of an arena, of a weight blob, and of every slot that a plan places: one cache line, one AVX-512
/// vector.
pub const ALIGNMENT: usize = 64;

/// Zero-initialized memory for the values of a model.
#[repr(C, align(64))]
pub struct Arena<const BYTES: usize> {
    bytes: [u8; BYTES],
}

impl<const BYTES: usize> Arena<BYTES> {
    /// An arena of zeros, which a `static` places in zero-initialized memory.
    pub const fn new() -> Self {
        Arena { bytes: [0; BYTES] }
    }

    /// The memory of this arena.
    #[inline(always)]
    pub fn memory(&mut self) -> Memory<'_> {
        Memory { bytes: &mut self.bytes }
    }

    /// The elements of a slot.
    ///
    /// # Panics
    ///
    /// If the slot is not inside of the arena.
    #[inline(always)]
    pub fn get<T: Element>(&self, slot: Slot<T>) -> &[T] {
        assert!(slot.end() <= BYTES, "a slot reaches out of its arena");
        // SAFETY: the slot is inside of the arena, which is borrowed for the life of the result.
        unsafe { slot.shared(self.bytes.as_ptr()) }
    }
}

impl<const BYTES: usize> Default for Arena<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

/// A typed part of an [`Arena`]: `len` elements from a byte offset.
#[derive(Debug)]
pub struct Slot<T> {
    byte_offset: usize,
    len: usize,
    element: PhantomData<fn() -> T>,
}

impl<T> Clone for Slot<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slot<T> {}

impl<T: Element> Slot<T> {
    /// `len` elements from `byte_offset`.
    ///
    /// # Panics
    ///
    /// If the offset is not a multiple of the alignment of `T`, or the end of the slot is not a `usize`.
    #[inline(always)]
    pub const fn new(byte_offset: usize, len: usize) -> Self {
        assert!(
            byte_offset.is_multiple_of(align_of::<T>()),
            "the offset of a slot is not aligned for its element type"
        );
        let Some(bytes) = len.checked_mul(size_of::<T>()) else {
            panic!("a slot is larger than the address space");
        };
        assert!(
            byte_offset.checked_add(bytes).is_some(),
            "a slot ends outside of the address space"
        );
        Slot {
            byte_offset,
            len,
            element: PhantomData,
        }
    }

    /// The number of elements.
    #[inline(always)]
    pub const fn len(self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The offset of the first element in bytes.
    #[inline(always)]
    pub const fn byte_offset(self) -> usize {
        self.byte_offset
    }

    /// The first `len` elements.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    #[inline(always)]
    pub const fn prefix(self, len: usize) -> Self {
        self.range(0, len)
    }

    /// `len` elements from the element `start`.
    ///
    /// # Panics
    ///
    /// If they are not all inside of this slot.
    #[inline(always)]
    pub const fn range(self, start: usize, len: usize) -> Self {
        assert!(
            start <= self.len && len <= self.len - start,
            "a range reaches out of its slot"
        );
        Slot {
            byte_offset: self.byte_offset + start * size_of::<T>(),
            len,
            element: PhantomData,
        }
    }

    /// As many elements of the same type, `bytes` further in the arena.
    ///
    /// # Panics
    ///
    /// If `bytes` is not a multiple of the alignment of `T`, or the end of the slot is not a `usize`.
    #[inline(always)]
    pub const fn shifted(self, bytes: usize) -> Self {
        let Some(byte_offset) = self.byte_offset.checked_add(bytes) else {
            panic!("a slot ends outside of the address space");
        };
        Slot::new(byte_offset, self.len)
    }

    /// The life of the value in this slot, from step `first` to step `last` inclusive.
    pub const fn live(self, first: usize, last: usize) -> Live {
        Live {
            offset: self.byte_offset,
            bytes: self.len * size_of::<T>(),
            first,
            last,
        }
    }

    #[inline(always)]
    const fn end(self) -> usize {
        // `new` has checked that this does not overflow, and the other constructors only shrink.
        self.byte_offset + self.len * size_of::<T>()
    }
}

/// Exclusive access to the bytes of an arena.
pub struct Memory<'a> {
    /// Starts at a multiple of `ALIGNMENT`.
    bytes: &'a mut [u8],
}

impl<'a> Memory<'a> {
    /// Memory that the caller provides, for example a linker section; `None` if it does not start at a multiple of
    /// [`ALIGNMENT`].
    pub fn over(bytes: &'a mut [u8]) -> Option<Memory<'a>> {
        bytes
            .as_ptr()
            .addr()
            .is_multiple_of(ALIGNMENT)
            .then_some(Memory { bytes })
    }

    /// The same memory for a shorter time.
    #[inline(always)]
    pub fn reborrow(&mut self) -> Memory<'_> {
        Memory { bytes: self.bytes }
    }

    /// The elements of a slot.
    ///
    /// # Panics
    ///
    /// If the slot is not inside of the arena.
    #[inline(always)]
    pub fn get<T: Element>(&self, slot: Slot<T>) -> &[T] {
        assert!(slot.end() <= self.bytes.len(), "a slot reaches out of its arena");
        // SAFETY: the slot is inside of the arena, which is borrowed for the life of the result.
        unsafe { slot.shared(self.bytes.as_ptr()) }
    }

    /// The elements of a slot, to write to.
    ///
    /// # Panics
    ///
    /// If the slot is not inside of the arena.
    #[inline(always)]
    pub fn get_mut<T: Element>(&mut self, slot: Slot<T>) -> &mut [T] {
        assert!(slot.end() <= self.bytes.len(), "a slot reaches out of its arena");
        // SAFETY: the slot is inside of the arena, which is exclusively borrowed for the life of the result.
        unsafe { slot.exclusive(self.bytes.as_mut_ptr()) }
    }

    /// The elements of several slots at once: those of `outputs` to write to, those of `inputs` to read.
    ///
    /// Both are a slot, an array of slots, or a tuple of these; the results have the same form. Inputs may overlap
    /// each other.
    ///
    /// # Panics
    ///
    /// If a slot is not inside of the arena, or an output overlaps another output or an input.
    #[inline(always)]
    pub fn split<O: Slots, I: Slots>(&mut self, outputs: O, inputs: I) -> (O::Exclusive<'_>, I::Shared<'_>) {
        let arena_bytes = self.bytes.len();
        let mut index = 0;
        outputs.each(&mut |start, end| {
            assert!(end <= arena_bytes, "an output slot reaches out of its arena");
            let mut other_index = 0;
            outputs.each(&mut |other_start, other_end| {
                let apart = end <= other_start || other_end <= start;
                assert!(
                    apart || index == other_index || start == end,
                    "two output slots overlap"
                );
                other_index += 1;
            });
            inputs.each(&mut |other_start, other_end| {
                assert!(
                    apart(start, end, other_start, other_end),
                    "an output slot overlaps an input slot"
                );
            });
            index += 1;
        });
        inputs.each(&mut |_, end| assert!(end <= arena_bytes, "an input slot reaches out of its arena"));
        let base = self.bytes.as_mut_ptr();
        // SAFETY: all slots are inside of the arena, which is exclusively borrowed for the life of the results, and
        // no output shares a byte with another slot. `base` is the start of the arena and aligned for it.
        unsafe { (outputs.exclusive(base), inputs.shared(base)) }
    }
}

/// Whether two ranges share no byte.
#[inline(always)]
const fn apart(start: usize, end: usize, other_start: usize, other_end: usize) -> bool {
    end <= other_start || other_end <= start || start == end || other_start == other_end
}

/// A slot, an array of slots, or a tuple of up to twelve of these.
pub trait Slots: sealed::Sealed + Copy {
    /// The slices to read from, in the same form.
    type Shared<'a>;
    /// The slices to write to, in the same form.
    type Exclusive<'a>;

    /// Calls `f` with the first byte and the end of each slot.
    #[doc(hidden)]
    fn each(&self, f: &mut impl FnMut(usize, usize));

    /// # Safety
    ///
    /// `base` is aligned to `ALIGNMENT`, every slot is inside of the allocation there, and nothing writes to the
    /// slots during `'a`.
    #[doc(hidden)]
    unsafe fn shared<'a>(self, base: *const u8) -> Self::Shared<'a>;

    /// # Safety
    ///
    /// As for `shared`, and nothing else reads or writes the slots during `'a`, which do not overlap each other.
    #[doc(hidden)]
    unsafe fn exclusive<'a>(self, base: *mut u8) -> Self::Exclusive<'a>;
}

mod sealed {
    pub trait Sealed {}
}

impl<T: Element> sealed::Sealed for Slot<T> {}

impl<T: Element> Slots for Slot<T> {
    type Shared<'a> = &'a [T];
    type Exclusive<'a> = &'a mut [T];

    #[inline(always)]
    fn each(&self, f: &mut impl FnMut(usize, usize)) {
        f(self.byte_offset, self.end());
    }

    #[inline(always)]
    unsafe fn shared<'a>(self, base: *const u8) -> &'a [T] {
        // SAFETY: the caller vouches for the range; the offset is a multiple of the alignment of `T`, and every bit
        // pattern is an element.
        unsafe { core::slice::from_raw_parts(base.add(self.byte_offset).cast(), self.len) }
    }

    #[inline(always)]
    unsafe fn exclusive<'a>(self, base: *mut u8) -> &'a mut [T] {
        // SAFETY: as for `shared`.
        unsafe { core::slice::from_raw_parts_mut(base.add(self.byte_offset).cast(), self.len) }
    }
}

impl<S: Slots, const N: usize> sealed::Sealed for [S; N] {}

impl<S: Slots, const N: usize> Slots for [S; N] {
    type Shared<'a> = [S::Shared<'a>; N];
    type Exclusive<'a> = [S::Exclusive<'a>; N];

    #[inline(always)]
    fn each(&self, f: &mut impl FnMut(usize, usize)) {
        for slots in self {
            slots.each(f);
        }
    }

    #[inline(always)]
    unsafe fn shared<'a>(self, base: *const u8) -> Self::Shared<'a> {
        // SAFETY: passed on.
        self.map(|slots| unsafe { slots.shared(base) })
    }

    #[inline(always)]
    unsafe fn exclusive<'a>(self, base: *mut u8) -> Self::Exclusive<'a> {
        // SAFETY: passed on.
        self.map(|slots| unsafe { slots.exclusive(base) })
    }
}

macro_rules! slots_of_tuples {
    ($($name:ident)*) => {
        impl<$($name: Slots),*> sealed::Sealed for ($($name,)*) {}

        #[allow(non_snake_case, unused_variables, unused_unsafe, clippy::unused_unit)]
        impl<$($name: Slots),*> Slots for ($($name,)*) {
            type Shared<'a> = ($($name::Shared<'a>,)*);
            type Exclusive<'a> = ($($name::Exclusive<'a>,)*);

            #[inline(always)]
            fn each(&self, f: &mut impl FnMut(usize, usize)) {
                let ($($name,)*) = self;
                $($name.each(f);)*
            }

            #[inline(always)]
            unsafe fn shared<'a>(self, base: *const u8) -> Self::Shared<'a> {
                let ($($name,)*) = self;
                // SAFETY: passed on.
                unsafe { ($($name.shared(base),)*) }
            }

            #[inline(always)]
            unsafe fn exclusive<'a>(self, base: *mut u8) -> Self::Exclusive<'a> {
                let ($($name,)*) = self;
                // SAFETY: passed on.
                unsafe { ($($name.exclusive(base),)*) }
            }
        }
    };
}

slots_of_tuples!();
slots_of_tuples!(A);
slots_of_tuples!(A B);
slots_of_tuples!(A B C);
slots_of_tuples!(A B C D);
slots_of_tuples!(A B C D E);
slots_of_tuples!(A B C D E F);
slots_of_tuples!(A B C D E F G);
slots_of_tuples!(A B C D E F G H);
slots_of_tuples!(A B C D E F G H I);
slots_of_tuples!(A B C D E F G H I J);
slots_of_tuples!(A B C D E F G H I J K);
slots_of_tuples!(A B C D E F G H I J K L);

/// A type of which all-zero bytes are a value.
///
/// # Safety
///
/// All-zero bytes are a valid value of the type.
pub unsafe trait Zeroed {}

// SAFETY: an arena is plain bytes.
unsafe impl<const BYTES: usize> Zeroed for Arena<BYTES> {}
// SAFETY: every bit pattern is an element.
unsafe impl<T: Element> Zeroed for T {}
// SAFETY: zero is `false`.
unsafe impl Zeroed for bool {}
// SAFETY: zero is a valid `usize`.
unsafe impl Zeroed for usize {}
// SAFETY: an array has the bytes of its elements.
unsafe impl<T: Zeroed, const N: usize> Zeroed for [T; N] {}

/// A zeroed value on the heap, which is never on the stack.
#[cfg(feature = "alloc")]
pub fn boxed<T: Zeroed>() -> alloc::boxed::Box<T> {
    use alloc::boxed::Box;
    let layout = core::alloc::Layout::new::<T>();
    if layout.size() == 0 {
        let dangling = core::ptr::NonNull::<T>::dangling().as_ptr();
        // SAFETY: a box of a type without bytes holds any aligned pointer, and no bytes are all zero.
        return unsafe { Box::from_raw(dangling) };
    }
    // SAFETY: the layout has bytes.
    let pointer = unsafe { alloc::alloc::alloc_zeroed(layout) }.cast::<T>();
    if pointer.is_null() {
        alloc::alloc::handle_alloc_error(layout);
    }
    // SAFETY: the pointer comes from the global allocator with the layout of `T`, and zeros are a value of `T`.
    unsafe { Box::from_raw(pointer) }
}

/// Declares the struct of a model, whose zeroed form is its initial state.
///
/// The fields must be [`Zeroed`](crate::arena::Zeroed). With the feature `alloc` of this crate the struct has an
/// associated function `boxed() -> Box<Self>`, which makes it on the heap without a copy on the stack.
#[macro_export]
macro_rules! model {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[$meta])*
        $visibility struct $name {
            $($(#[$field_meta])* $field_visibility $field: $type,)*
        }

        // SAFETY: the bounds say that zeros are a value of every field.
        unsafe impl $crate::arena::Zeroed for $name where $($type: $crate::arena::Zeroed),* {}

        $crate::__boxed!($name);
    };
}

#[cfg(feature = "alloc")]
#[doc(hidden)]
#[macro_export]
macro_rules! __boxed {
    ($name:ident) => {
        impl $name {
            /// A new model on the heap, which is never on the stack.
            pub fn boxed() -> $crate::alloc::boxed::Box<Self> {
                $crate::arena::boxed()
            }
        }
    };
}

#[cfg(not(feature = "alloc"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __boxed {
    ($name:ident) => {};
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Slot<f32> = Slot::new(0, 16);
    const B: Slot<u8> = Slot::new(64, 10);
    const C: Slot<i64> = Slot::new(128, 4);

    #[test]
    fn slots_are_separate_views_of_one_memory() {
        let mut arena = Arena::<160>::new();
        let mut memory = arena.memory();
        memory.get_mut(B).fill(7);
        let ((a, [c]), (b, again)) = memory.split((A, [C]), (B, B.range(2, 3)));
        assert_eq!((a.len(), c.len(), b, again), (16, 4, &[7; 10][..], &[7; 3][..]));
        a.fill(1.5);
        c[3] = -1;
        assert_eq!(memory.get(A.prefix(2)), [1.5, 1.5]);
        assert_eq!(memory.get(C), [0, 0, 0, -1]);
        assert_eq!(memory.get(A).as_ptr().addr() % ALIGNMENT, 0);
        assert_eq!(arena.get(C), [0, 0, 0, -1]);
        assert_eq!(arena.get(A.shifted(128).prefix(8))[6..].len(), 2);
    }

    #[test]
    fn a_slot_knows_its_bytes() {
        let live = Live {
            offset: 128,
            bytes: 32,
            first: 1,
            last: 4,
        };
        assert_eq!(C.live(1, 4), live);
        assert_eq!(B.shifted(64).byte_offset(), 128);
    }

    #[test]
    fn an_empty_slot_overlaps_nothing() {
        let mut arena = Arena::<64>::new();
        let mut memory = arena.memory();
        let (empty, all) = memory.split(A.range(3, 0), A);
        assert_eq!((empty.len(), all.len()), (0, 16));
        let (all, empty) = memory.split(A, A.range(3, 0));
        assert_eq!((empty.len(), all.len()), (0, 16));
    }

    #[test]
    #[should_panic = "two output slots overlap"]
    fn overlapping_outputs_are_refused() {
        Arena::<160>::new().memory().split((A, Slot::<u8>::new(63, 1)), ());
    }

    #[test]
    #[should_panic = "an output slot overlaps an input slot"]
    fn an_output_over_an_input_is_refused() {
        Arena::<160>::new().memory().split(C, (B, C.range(3, 1)));
    }

    #[test]
    #[should_panic = "an input slot reaches out of its arena"]
    fn an_input_outside_is_refused() {
        Arena::<159>::new().memory().split((), (A, C));
    }

    #[test]
    #[should_panic = "a slot reaches out of its arena"]
    fn a_slot_outside_is_refused() {
        Arena::<63>::new().memory().get(A);
    }

    #[test]
    #[should_panic = "a range reaches out of its slot"]
    fn a_range_outside_is_refused() {
        A.range(15, 2);
    }

    #[test]
    #[should_panic = "a slot ends outside of the address space"]
    fn a_slot_at_the_end_of_the_address_space_is_refused() {
        Slot::<u8>::new(usize::MAX, 1);
    }

    #[test]
    #[should_panic = "not aligned"]
    fn a_misaligned_slot_is_refused() {
        Slot::<f32>::new(2, 1);
    }

    #[test]
    fn misaligned_memory_is_refused() {
        let mut arena = Arena::<128>::new();
        assert!(Memory::over(&mut arena.bytes[..64]).is_some());
        assert!(Memory::over(&mut arena.bytes[4..]).is_none());
    }
}
