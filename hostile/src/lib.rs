//! Broken models against the compiler.
//!
//! Whatever the bytes of a model are, the compiler answers with a module that compiles or with what is wrong, within
//! [`SECONDS`](limits::SECONDS) and [`BYTES`](limits::BYTES) of memory. This crate tries it: it [mutates](mutate) the seeds
//! in `fuzz/corpus/onnx`, has [workers](work) compile what comes out, each a process with limits that a [driver](drive)
//! watches, and has the Rust compiler [build] a sample of the modules.
//!
//! ```console
//! cargo run --release -p onnxide-hostile -- run --count 20000 --build 400
//! ```
//!
//! What once went wrong is in `hostile/findings`; the tests compile it again.

pub mod build;
pub mod drive;
pub mod limits;
pub mod mutate;
pub mod seeds;
pub mod wire;
pub mod work;
