//! The onnxide compiler: bytes -> [`Model`](frontend::Model) -> [`Graph`](ir::Graph) -> `Plan` -> Rust source.
pub mod compiler;
pub mod diagnostics;
pub mod emit;
pub mod frontend;
pub mod import;
pub mod ir;
pub mod measure;
pub mod npz;
pub mod operator;
pub mod passes;
pub mod plan;
mod precision;
pub mod quantize;

pub use compiler::{BuildError, Compiler, DimRange, Module, Report};
pub use diagnostics::CompileError;
pub use operator::{Operator, OperatorCall};
pub use plan::RamSize;
pub use precision::Precision;
pub use quantize::{BlockRows, MaxDrift, Observer, QuantizationReport, Quantize, Smooth};
