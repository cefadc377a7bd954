//! The onnxide compiler.
pub mod ir;
