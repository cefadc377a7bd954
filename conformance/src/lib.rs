//! The official ONNX backend suite as a test of the compiler.
//!
//! The archives in `data/` hold models with inputs and the outputs that the standard asks for, or that another engine gives
//! in the suites that the project adds. [`evaluate`] follows a case through the compiler and evaluates its graph, which takes
//! seconds for all of them. [`run`] compiles every case into a module of a generated package, which is built and run.
//! [`expectations`] knows which cases fail, and why.

mod archive;
pub mod compare;
pub mod evaluate;
pub mod expectations;
pub mod outcome;
pub mod parallel;
pub mod parts;
pub mod report;
pub mod run;
pub mod select;
pub mod suite;
pub mod value;
