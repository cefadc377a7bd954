//! Compiles ONNX models into Rust.
//!
//! [`include_model!`] makes a module of a model: its weights become part of the program, its memory is planned when it
//! is compiled, and a run neither interprets nor allocates.
//!
//! An application does without the command and what it depends on:
//!
//! ```toml
//! [dependencies]
//! onnxide = { version = "0.1", default-features = false }
//! ```
//!
//! # Features
//!
//! - `cli` (default): the command `onnxide`.
//! - `alloc`: models on the heap.
//! - `std`: whatever needs an operating system, such as threads.
#![no_std]

pub use onnxide_runtime as runtime;
#[doc(no_inline)]
pub use onnxide_runtime::{RunError, TensorView, TensorViewMut};

#[doc(hidden)]
pub use onnxide_macros::include_model as __include_model;

/// Compiles ONNX models where the macro is called, each into a module.
///
/// ```ignore
/// onnxide::include_model! {
///     /// Content type of a file from its bytes.
///     pub mod magika = "models/magika.onnx";
///
///     /// Vectors for the tokens of a sentence.
///     pub mod minilm = "models/minilm.onnx", dims(batch = 1, sequence <= 256);
/// }
///
/// let mut model = magika::Model::new();
/// let scores = model.run(&bytes);
/// ```
///
/// A relative path starts at the folder of the package's `Cargo.toml`. When a model changes, Cargo compiles the package
/// again. What is wrong with a model is a compile error at its path.
///
/// # Options
///
/// Options follow the path, separated by commas.
///
/// `dims(..)` gives every symbolic dimension of the inputs a size, or bounds from which each run chooses. A dimension is
/// written as the model names it, in quotes unless the name is an identifier. One without a name is named after the input
/// and the axis.
///
/// | | |
/// | --- | --- |
/// | `batch = 4` | always 4 |
/// | `sequence <= 256` | from 1 to 256 |
/// | `image_2 in 32..=640` | from 32 to 640 |
///
/// `operators(..)` has functions of yours compute operators, each given by its domain and name, the path of the function
/// and its signature:
///
/// ```ignore
/// onnxide::include_model! {
///     pub mod model = "models/model.onnx", operators(
///         "my.domain::Repeat" => crate::operators::repeat: (f32[n, k], times: int = 2) -> f32[n, times * k],
///     );
/// }
/// ```
///
/// `docs/custom-operators.md` has the rest.
///
/// `winograd = false` keeps convolutions from the algorithm of that name, which multiplies a quarter as often and rounds
/// more.
///
/// `precision = bf16` rounds the weights of matrix products and convolutions to 16 bits when the model is compiled, and what
/// they are multiplied with when it runs; sums are `f32`. Weights then take half the memory, and processors with AVX-512
/// BF16 have an instruction for such products. It rounds in its own way, so that outputs may differ between processors
/// that have it and others, which compute the same to the bit. `onnxide drift` shows how far a model is from `f32`.
///
/// `precision = int8` is for models whose weights alone are quantized to 4 or 8 bits: matrix products round what they multiply with
/// such weights to 8 bits, up to 64 numbers with a scale in common, and multiply integers. Without it they multiply in `f32`.
///
/// `ram <= "64K"` bounds the memory that the model works in, between its inputs and outputs; `K` is 1024 bytes, `M` 1024
/// of these. Without it a model takes what it is fast with. With it, of the plans that fit the one that is estimated to be
/// fastest is taken; where none does, the error names the steps in the way and what is alive there.
///
/// `tuning = "models/model.tuning"` names a file of what was measured to be fastest for the model, which `onnxide bench
/// MODEL --tune FILE` makes. Without it the compiler estimates. When the model changes, it is to be made anew.
///
/// `threads = 2` divides steps that are large enough over two threads. The outputs are those of one thread, to the bit,
/// for any number up to 32. `run` takes threads of a pool that all models of the process share, which needs the feature
/// `std`; without it, `run` computes on its caller's thread. `run_on` takes threads of an
/// [`Executor`](runtime::team::Executor), which is a trait of one method:
///
/// ```ignore
/// onnxide::include_model! {
///     pub mod minilm = "models/minilm.onnx", dims(batch = 1, sequence <= 256), threads = 2;
/// }
///
/// let pool = onnxide::runtime::team::Pool::new(2);
/// let vectors = model.run_on(&pool, ids, mask)?;
/// ```
#[macro_export]
macro_rules! include_model {
    ($($input:tt)*) => {
        $crate::__include_model! { $crate; $($input)* }
    };
}
