//! The operators that the user of a compiler has registered.

use crate::diagnostics::Diagnostic;
use crate::diagnostics::Diagnostics;
use crate::frontend::Model;
use crate::operator::Operator;

/// Finds registrations that are wrong, and operators that are registered twice.
pub(super) fn check(model: &Model, operators: &[Operator]) -> Result<(), Diagnostics> {
    let mut findings = Diagnostics::new(&model.name);
    for (number, operator) in operators.iter().enumerate() {
        if let Err(message) = operator.check() {
            let finding = Diagnostic::new(message);
            findings.push(finding);
        }
        if operators[..number]
            .iter()
            .any(|other| other.title() == operator.title())
        {
            findings.push(Diagnostic::new(format!(
                "operator {} is registered twice",
                operator.title()
            )));
        }
    }
    findings.into_result(())
}
