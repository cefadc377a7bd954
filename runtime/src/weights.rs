//! The weights of a model: one blob, linked into the program or mapped from a file, with offsets that were fixed when
//! the model was compiled.

#[cfg(feature = "std")]
mod large_pages;

use crate::arena::ALIGNMENT;
use crate::element::Element;
use core::marker::PhantomData;
use core::mem::{align_of, size_of};

/// The blob that holds the weights of a model, little-endian.
#[derive(Clone, Copy)]
pub struct Weights {
    /// Starts at a multiple of `ALIGNMENT`.
    bytes: &'static [u8],
}

#[cfg(target_endian = "big")]
compile_error!("weights and tensors are stored little-endian");

impl Weights {
    /// The weights of a model that has none.
    pub const EMPTY: Weights = Weights::new(&Aligned([]));

    /// The bytes of an aligned blob.
    pub const fn new<const LEN: usize>(blob: &'static Aligned<LEN>) -> Weights {
        Weights { bytes: &blob.0 }
    }

    /// A blob that something else brought into memory; `None` if it does not start at a multiple of
    /// [`ALIGNMENT`].
    pub fn over(bytes: &'static [u8]) -> Option<Weights> {
        bytes
            .as_ptr()
            .addr()
            .is_multiple_of(ALIGNMENT)
            .then_some(Weights { bytes })
    }

    /// The number of bytes.
    #[inline(always)]
    pub const fn len(self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no bytes.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// The elements of a weight.
    ///
    /// # Panics
    ///
    /// If the weight is not inside of the blob.
    #[inline(always)]
    pub const fn get<T: Element>(self, weight: Weight<T>) -> &'static [T] {
        // `Weight::new` has checked that the end does not overflow.
        let end = weight.byte_offset + weight.len * size_of::<T>();
        assert!(end <= self.bytes.len(), "a weight reaches out of its blob");
        // SAFETY: the range is inside of the blob, whose start is aligned to 64 and the offset to `T`; every bit
        // pattern is an element.
        unsafe { core::slice::from_raw_parts(self.bytes.as_ptr().add(weight.byte_offset).cast(), weight.len) }
    }
}

/// Bytes that start at a multiple of [`ALIGNMENT`].
#[repr(C, align(64))]
pub struct Aligned<const LEN: usize>(pub [u8; LEN]);

/// A typed part of a [`Weights`] blob: `len` elements from a byte offset.
#[derive(Debug)]
pub struct Weight<T> {
    byte_offset: usize,
    len: usize,
    element: PhantomData<fn() -> T>,
}

impl<T> Clone for Weight<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Weight<T> {}

impl<T: Element> Weight<T> {
    /// `len` elements from `byte_offset`.
    ///
    /// # Panics
    ///
    /// If the offset is not a multiple of the alignment of `T`, or the end of the weight is not a `usize`.
    #[inline(always)]
    pub const fn new(byte_offset: usize, len: usize) -> Self {
        assert!(
            byte_offset.is_multiple_of(align_of::<T>()),
            "the offset of a weight is not aligned for its type"
        );
        let Some(bytes) = len.checked_mul(size_of::<T>()) else {
            panic!("a weight is larger than the address space");
        };
        assert!(
            byte_offset.checked_add(bytes).is_some(),
            "a weight ends outside of the address space"
        );
        Weight {
            byte_offset,
            len,
            element: PhantomData,
        }
    }

    /// `len` elements from the element `start`.
    ///
    /// # Panics
    ///
    /// If they are not all inside of this weight.
    #[inline(always)]
    pub const fn range(self, start: usize, len: usize) -> Self {
        assert!(
            start <= self.len && len <= self.len - start,
            "a range reaches out of its weight"
        );
        Weight {
            byte_offset: self.byte_offset + start * size_of::<T>(),
            len,
            element: PhantomData,
        }
    }

    /// As many elements of the same type, `bytes` further in the blob.
    ///
    /// # Panics
    ///
    /// If `bytes` is not a multiple of the alignment of `T`, or the end of the weight is not a `usize`.
    #[inline(always)]
    pub const fn shifted(self, bytes: usize) -> Self {
        let Some(byte_offset) = self.byte_offset.checked_add(bytes) else {
            panic!("a weight ends outside of the address space");
        };
        Weight::new(byte_offset, self.len)
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
}

/// The [`Weights`] in a file of `$len` bytes, which the Rust compiler reads: `weights!("model.bin", 1024)`.
///
/// The path is as for [`include_bytes!`]. A large file is better linked by [`weights_object!`](crate::weights_object).
/// It is a compile error if the file has another length.
#[macro_export]
macro_rules! weights {
    ($path:expr, $len:expr $(,)?) => {{
        static BLOB: $crate::weights::Aligned<{ $len }> = $crate::weights::Aligned(*include_bytes!($path));
        $crate::weights::Weights::new(&BLOB)
    }};
}

/// The [`Weights`] in a file of `$len` bytes, which the assembler reads:
/// `weights_object!(model_weights, concat!(env!("OUT_DIR"), "/model.bin"), 1024)`.
///
/// The Rust compiler does not touch the bytes, so that its time and memory do not grow with the file; nor does it
/// notice a change of the file. The path is absolute, or relative to the directory that the compiler runs in. The
/// name becomes part of a symbol and must be unique in the program. On targets whose object files are neither ELF nor
/// Mach-O this is [`weights!`](crate::weights!).
///
/// ```
/// # use onnxide_runtime::weights_object;
/// let weights = weights_object!(of_example, concat!(env!("CARGO_MANIFEST_DIR"), "/tests/weights.bin"), 71);
/// assert_eq!(weights.len(), 71);
/// ```
///
/// It is an error of the assembler if the file has another length:
///
/// ```compile_fail
/// # use onnxide_runtime::weights_object;
/// weights_object!(too_long, concat!(env!("CARGO_MANIFEST_DIR"), "/tests/weights.bin"), 70);
/// ```
///
/// ```compile_fail
/// # use onnxide_runtime::weights_object;
/// weights_object!(too_short, concat!(env!("CARGO_MANIFEST_DIR"), "/tests/weights.bin"), 72);
/// ```
#[macro_export]
macro_rules! weights_object {
    ($symbol:ident, $path:expr, $len:expr $(,)?) => {{ $crate::__weights_object!($symbol, $path, $len) }};
}

// The file comes in parts of 16 MiB, each aligned anew. The assembler begins a fragment at an alignment, and keeps less
// memory in reserve for many fragments than for one that grows: 1.55 instead of 1.82 GB for a file of 438 MB.
#[cfg(not(any(windows, target_family = "wasm")))]
#[doc(hidden)]
#[macro_export]
macro_rules! __weights_object {
    ($symbol:ident, $path:expr, $len:expr) => {{
        mod assembled {
            #[cfg(target_vendor = "apple")]
            ::core::arch::global_asm!(
                ".section __TEXT,__const",
                ".p2align 6",
                concat!(".globl _onnxide_weights_", stringify!($symbol)),
                concat!("_onnxide_weights_", stringify!($symbol), ":"),
                concat!(".set Lonnxide_weights_at_", stringify!($symbol), ", 0"),
                concat!(".rept (", $len, " + 0xffffff) / 0x1000000"),
                ".p2align 6",
                concat!(
                    ".incbin \"",
                    $path,
                    "\", Lonnxide_weights_at_",
                    stringify!($symbol),
                    ", 0x1000000"
                ),
                concat!(
                    ".set Lonnxide_weights_at_",
                    stringify!($symbol),
                    ", Lonnxide_weights_at_",
                    stringify!($symbol),
                    " + 0x1000000"
                ),
                ".endr",
                concat!("Lonnxide_weights_end_", stringify!($symbol), ":"),
                // The first line is an error of the assembler if the file is shorter, the second if it is longer.
                concat!(
                    ".skip Lonnxide_weights_end_",
                    stringify!($symbol),
                    " - _onnxide_weights_",
                    stringify!($symbol),
                    " - ",
                    $len
                ),
                concat!(".org _onnxide_weights_", stringify!($symbol), " + ", $len),
                ".text",
                options(raw)
            );
            #[cfg(not(target_vendor = "apple"))]
            ::core::arch::global_asm!(
                concat!(
                    ".pushsection .rodata.onnxide_weights_",
                    stringify!($symbol),
                    ",\"a\",%progbits"
                ),
                ".p2align 6",
                concat!(".globl onnxide_weights_", stringify!($symbol)),
                concat!(".hidden onnxide_weights_", stringify!($symbol)),
                concat!("onnxide_weights_", stringify!($symbol), ":"),
                concat!(".set .Lonnxide_weights_at_", stringify!($symbol), ", 0"),
                concat!(".rept (", $len, " + 0xffffff) / 0x1000000"),
                ".p2align 6",
                concat!(
                    ".incbin \"",
                    $path,
                    "\", .Lonnxide_weights_at_",
                    stringify!($symbol),
                    ", 0x1000000"
                ),
                concat!(
                    ".set .Lonnxide_weights_at_",
                    stringify!($symbol),
                    ", .Lonnxide_weights_at_",
                    stringify!($symbol),
                    " + 0x1000000"
                ),
                ".endr",
                concat!(".Lonnxide_weights_end_", stringify!($symbol), ":"),
                // The first line is an error of the assembler if the file is shorter, the second if it is longer.
                concat!(
                    ".skip .Lonnxide_weights_end_",
                    stringify!($symbol),
                    " - onnxide_weights_",
                    stringify!($symbol),
                    " - ",
                    $len
                ),
                concat!(".org onnxide_weights_", stringify!($symbol), " + ", $len),
                ".popsection",
                options(raw)
            );
        }
        unsafe extern "C" {
            #[link_name = concat!("onnxide_weights_", stringify!($symbol))]
            static BLOB: $crate::weights::Aligned<{ $len }>;
        }
        // SAFETY: the assembler has aligned the symbol and checked that the bytes there are as many as the type says.
        $crate::weights::Weights::new(unsafe { &BLOB })
    }};
}

#[cfg(any(windows, target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __weights_object {
    ($symbol:ident, $path:expr, $len:expr) => {
        $crate::weights!($path, $len)
    };
}
