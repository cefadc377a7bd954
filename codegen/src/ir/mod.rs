//! The core IR: a small typed set of primitives in SSA form over tensors whose dimensions are [expressions over bounded
//! symbols](Dim).
//!
//! A [`Graph`] is a tree of [`Block`]s of [`Node`]s. Fusion, layout choice, folding and aliasing are written once per
//! primitive ([`Op`]), not once per operator of a source format.

pub mod dim;
pub mod dtype;
pub mod eval;
pub mod expr;
pub mod graph;
pub mod infer;
pub mod op;
pub mod opaque;
pub mod parse;
mod renumber;
pub mod sample;
pub mod tensor;
pub mod text;
pub mod verify;

pub use dim::{Bounds, Dim, Interval};
pub use dtype::DType;
pub use expr::{BinaryOp, Expr, Literal, Scalar, ScalarId, UnaryOp};
pub use graph::{Block, Constraint, Graph, Node, Part, Port, TensorType, Value, ValueId};
pub use op::{Cell, Epilogue, FoldKind, Op, ScatterKind};
pub use opaque::{Argument, Opaque};
pub use parse::{ParseError, parse};
pub use tensor::Tensor;
pub use text::Constants;
pub use verify::{Violation, verify};
