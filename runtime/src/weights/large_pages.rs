//! Pages of a megabyte or more for weights that are linked into a program.
//!
//! A program's read-only data are pages of 4 KiB of the file, scattered over the memory. A large model reads thousands of
//! them in each run, and every one needs an entry of the processor's table of translations, which has room for a few
//! megabytes. Linux gives large pages to memory that is not of a file. So the weights are copied into such memory, which
//! then takes the place of what was there.

use super::Weights;

impl Weights {
    /// Moves the weights to large pages, in place, and returns how many bytes now lie there.
    ///
    /// It is worth its time, about that of reading the weights twice, for a program that runs a model with tens of
    /// megabytes of weights often. The copy is memory of the process alone, while pages of the program's file are shared
    /// with other processes that run it. Only whole pages (2 MiB on most machines) inside of the blob move, so that small
    /// models stay as they are. Where the system has no such pages, or no memory, nothing changes and the result is 0.
    ///
    /// Available with the feature `std`; of use on 64-bit Linux.
    pub fn move_to_large_pages(self) -> usize {
        large_page().map_or(0, |page| move_pages(self.bytes, page))
    }
}

#[cfg(not(all(
    target_os = "linux",
    not(miri),
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
)))]
fn large_page() -> Option<usize> {
    None
}

#[cfg(not(all(
    target_os = "linux",
    not(miri),
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
)))]
fn move_pages(_: &'static [u8], _: usize) -> usize {
    0
}

#[cfg(all(
    target_os = "linux",
    not(miri),
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
use linux::{large_page, move_pages};

#[cfg(all(
    target_os = "linux",
    not(miri),
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod linux {
    use core::ffi::{c_int, c_void};
    use core::ptr;

    // The numbers are those of `asm-generic/mman-common.h` and `linux/mman.h`, which these architectures share.
    const PROT_READ: c_int = 1;
    const PROT_WRITE: c_int = 2;
    const MAP_PRIVATE: c_int = 0x02;
    const MAP_ANONYMOUS: c_int = 0x20;
    const MADV_HUGEPAGE: c_int = 14;
    const MREMAP_MAYMOVE: c_int = 1;
    const MREMAP_FIXED: c_int = 2;

    unsafe extern "C" {
        fn mmap(address: *mut c_void, len: usize, prot: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
        fn munmap(address: *mut c_void, len: usize) -> c_int;
        fn madvise(address: *mut c_void, len: usize, advice: c_int) -> c_int;
        fn mprotect(address: *mut c_void, len: usize, prot: c_int) -> c_int;
        fn mremap(address: *mut c_void, old: usize, new: usize, flags: c_int, ...) -> *mut c_void;
    }

    /// The size of a large page, if the system has them.
    pub(super) fn large_page() -> Option<usize> {
        let size = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").ok()?;
        size.trim().parse().ok().filter(|size: &usize| size.is_power_of_two())
    }

    /// Replaces the whole pages inside of the bytes by a copy, and returns their size.
    pub(super) fn move_pages(bytes: &'static [u8], page: usize) -> usize {
        let start = bytes.as_ptr().align_offset(page).min(bytes.len());
        let len = (bytes.len() - start) / page * page;
        if len == 0 {
            return 0;
        }
        let source = &bytes[start..start + len];
        // SAFETY: the memory is new, and `copy` of `len` bytes lies inside of it, at the first multiple of the page. What
        // `mremap` replaces are whole pages that hold `source` and nothing else. They are never written, because `source`
        // is shared and lives to the end of the program; the copy has the same bytes and is as readable, so that others
        // that read them at the same time see the same before and after. `madvise` is only advice.
        unsafe {
            let reserved = len + page;
            let (prot, flags) = (PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
            let memory = mmap(ptr::null_mut(), reserved, prot, flags, -1, 0);
            if memory.addr() == usize::MAX {
                return 0;
            }
            let before = memory.addr().next_multiple_of(page) - memory.addr();
            let copy = memory.byte_add(before);
            madvise(copy, len, MADV_HUGEPAGE);
            ptr::copy_nonoverlapping(source.as_ptr(), copy.cast(), len);
            let place = source.as_ptr().cast_mut().cast::<c_void>();
            let moved = mprotect(copy, len, PROT_READ) == 0
                && mremap(copy, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place;
            if !moved {
                munmap(memory, reserved);
                return 0;
            }
            if before > 0 {
                munmap(memory, before);
            }
            if before < page {
                munmap(copy.byte_add(len), page - before);
            }
            len
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::vec::Vec;

    #[test]
    fn moved_weights_are_the_same_at_the_same_place() {
        let bytes: Vec<u8> = (0..9u32 << 20)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let expected = bytes.clone();
        let bytes: &'static [u8] = Box::leak(bytes.into_boxed_slice());
        let start = bytes.as_ptr().align_offset(64);
        let weights = Weights::over(&bytes[start..]).expect("an aligned start");
        let moved = weights.move_to_large_pages();
        if let Some(page) = large_page() {
            assert!(moved.is_multiple_of(page) && moved + 2 * page > weights.len());
        } else {
            assert_eq!(moved, 0);
        }
        assert!(bytes == expected);
        assert_eq!(weights.move_to_large_pages(), moved);
        assert!(bytes == expected);
    }

    #[test]
    fn weights_smaller_than_a_page_stay() {
        assert_eq!(Weights::EMPTY.move_to_large_pages(), 0);
        let weights = crate::weights!("../../tests/weights.bin", 71);
        assert_eq!(weights.move_to_large_pages(), 0);
    }
}
