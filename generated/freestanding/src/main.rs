//! Classifies one digit with nothing between the model and the Linux kernel: no `std`, no libc, no allocator.
//!
//! The exit status is the digit.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use onnxide_generated::digits;

// The kernel enters with the stack aligned to 16 bytes; a function expects that before its return address is pushed.
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "call {main}", "ud2", main = sym main);

/// The labelled test set, 64 values of ink from 0 to 16 and the label for each digit.
static DIGITS: &[u8] = include_bytes!("../../../models/digits_test.bin");

/// The record that is classified; its label is 3.
const RECORD: usize = 30;

extern "C" fn main() -> ! {
    let mut model = digits::Model::new();
    let ink = &DIGITS[RECORD * 65..][..64];
    let mut image = [[0.0; 8]; 8];
    for (pixel, ink) in image.as_flattened_mut().iter_mut().zip(ink) {
        *pixel = f32::from(*ink) / 16.0;
    }
    let [logits] = model.run(&[[image]]);
    let mut best = 0;
    for (digit, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = digit;
        }
    }
    exit(best as i32)
}

fn exit(status: i32) -> ! {
    const EXIT_GROUP: i64 = 231;
    // SAFETY: the system call does not return and touches no memory.
    unsafe { asm!("syscall", in("rax") EXIT_GROUP, in("rdi") status, options(noreturn, nostack)) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
}

/// The `core` that comes with the toolchain was compiled to unwind and names this function; nothing here calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// What the compiler may call for copies; there is no libc to provide it.
mod memory {
    use core::arch::asm;

    /// # Safety
    ///
    /// As of C.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        // SAFETY: the caller vouches for both ranges; the direction flag is clear on entry to any function.
        unsafe {
            asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        }
        to
    }

    /// # Safety
    ///
    /// As of C.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        if (to as usize).wrapping_sub(from as usize) >= count {
            // SAFETY: as of the caller; a forward copy reads no byte that it has written.
            return unsafe { memcpy(to, from, count) };
        }
        let (mut left, last_to, last_from) = (count, to.wrapping_add(count), from.wrapping_add(count));
        while left > 0 {
            let back = count - left + 1;
            // SAFETY: `back` is from 1 to `count`, so that both addresses are in the caller's ranges.
            unsafe {
                last_to
                    .wrapping_sub(back)
                    .write_volatile(last_from.wrapping_sub(back).read_volatile())
            };
            left -= 1;
        }
        to
    }

    /// # Safety
    ///
    /// As of C.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
        // SAFETY: the caller vouches for the range; the direction flag is clear on entry to any function.
        unsafe {
            asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") value as u8,
                options(nostack, preserves_flags));
        }
        to
    }

    /// # Safety
    ///
    /// As of C.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
        for index in 0..count {
            // SAFETY: the caller vouches for both ranges.
            let (a, b) = unsafe { (a.add(index).read_volatile(), b.add(index).read_volatile()) };
            if a != b {
                return i32::from(a) - i32::from(b);
            }
        }
        0
    }

    /// # Safety
    ///
    /// As of C.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
        // SAFETY: as of the caller.
        unsafe { memcmp(a, b, count) }
    }
}
