//! Texts: graphs in the text form of the IR, and registrations of operators.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onnxide_codegen::Operator;
use onnxide_codegen::ir::{Constants, parse, verify};

fuzz_target!(|text: &str| {
    if let Ok(operator) = text.parse::<Operator>() {
        let again: Operator = operator.to_string().parse().expect("an operator is read back");
        assert_eq!(again, operator);
    }
    if let Ok(graph) = parse(text)
        && verify(&graph).is_ok()
    {
        let text = graph.to_text(Constants::Full);
        assert_eq!(parse(&text).map(|graph| graph.to_text(Constants::Full)), Ok(text));
    }
});
