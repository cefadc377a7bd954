//! The onnxide compiler: bytes -> [`Model`](frontend::Model) -> [`Graph`](ir::Graph) -> `Plan` -> Rust source.
pub mod diagnostics;
pub mod frontend;
pub mod ir;
