//! The onnxide compiler: bytes -> `Model` -> [`Graph`](ir::Graph) -> `Plan` -> Rust source.
pub mod ir;
