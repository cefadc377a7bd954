//! The middle of the road: a model to the text of a module.

use bytes::Bytes;

use super::{Options, Report};
use crate::diagnostics::{CompileError, Diagnostic, Diagnostics};
use crate::frontend::Model;

/// What a model becomes.
pub(super) struct Lowered {
    /// The text of the module, but for its header.
    pub(super) source: String,
    /// The weights, in the layout that the module reads.
    pub(super) weights: Bytes,
    /// What the module consists of.
    pub(super) report: Report,
}

/// Compiles a model with options that fit it.
///
/// # Errors
///
/// All that is wrong with the model, or that the compiler does not support.
pub(super) fn lower(model: Model, options: &Options) -> Result<Lowered, CompileError> {
    let _ = options;
    let finding = Diagnostic::new("this build of the compiler ends at its front end");
    Err(Diagnostics::one(&model.name, finding).into())
}
