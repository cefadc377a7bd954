//! What onnxide makes of a few real models, as files to read, compiled and tested like any other module.
//!
//! | module | model | dimensions |
//! | --- | --- | --- |
//! | [`digits`] | `models/digits_cnn_fp32.onnx`, a small convolutional network | `batch = 1` |
//! | [`magika`] | `models/magika_v3_3.onnx`, content types of files | `unk__214 = 1` |
//! | [`bert_tiny`] | `models/bert_tiny_dyn.onnx`, a transformer | `batch <= 4`, `sequence <= 64` |
//! | [`bert_tiny_threads`] | the same for two threads | the same |
//!
//! The test `drift` compiles the models again and compares; `BLESS=1 cargo test -p onnxide-generated --test drift`
//! writes the files anew.
#![no_std]
#![forbid(unsafe_code)]

/// Vectors for the tokens of sentences, and for sentences as a whole.
pub mod bert_tiny;
/// What [`bert_tiny`] computes, on two threads.
pub mod bert_tiny_threads;
/// Scores of the ten digits for an image of 8 by 8 pixels.
pub mod digits;
/// Probabilities of the content types of a file, from its first and last bytes.
pub mod magika;
