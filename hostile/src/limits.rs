//! What the compiler may take for a model of a few kilobytes.

/// Time, in seconds.
pub const SECONDS: u64 = 10;

/// Memory, including the program itself, in bytes.
pub const BYTES: u64 = 1 << 30;
