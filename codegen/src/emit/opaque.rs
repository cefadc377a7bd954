//! Calls of functions that the user provides.

use super::function::Body;
use super::interface::element;
use super::literal;
use super::text::Code;
use crate::ir::{Argument, DType, TensorType};
use crate::plan::kernel::OpaqueCall;

pub(super) fn print(body: &mut Body<'_>, call: &OpaqueCall) {
    let mut operands = Vec::new();
    for (number, ty) in call.operands.iter().enumerate() {
        let data = body.read(number);
        let data = match ty.dtype {
            DType::Bool => {
                body.imports.add("nested", "bools_of_bytes");
                format!("bools_of_bytes({data})")
            }
            _ => data,
        };
        operands.push(view(body, "TensorView", ty, data));
    }
    let mut results = Vec::new();
    for (number, ty) in call.results.iter().enumerate() {
        let data = body.write(number);
        let data = match ty.dtype {
            DType::Bool => {
                body.imports.add("nested", "cleared_bools");
                format!("cleared_bools({data})")
            }
            _ => data,
        };
        results.push(view(body, "TensorViewMut", ty, data));
    }
    let mut operands = operands.into_iter();
    let mut arguments = Vec::new();
    for argument in &call.arguments {
        arguments.push(match argument {
            Argument::Operand => operands.next().unwrap_or(Code::Text(String::new())),
            Argument::Present => Code::call("Some", operands.next().into_iter().collect()),
            Argument::Absent => "None".into(),
            other => constant(other),
        });
    }
    arguments.extend(results);
    let end = if call.fallible { "" } else { ";" };
    body.writer.code("", &Code::call(&call.function, arguments), end);
}

/// The view of a tensor with its actual sizes.
fn view(body: &mut Body<'_>, name: &'static str, ty: &TensorType, data: String) -> Code {
    body.imports.add("tensor", name);
    element(ty.dtype, body.imports);
    let shape = ty.shape.iter().map(|dim| body.sizes.text(dim).into()).collect();
    Code::call(&format!("{name}::prefix"), vec![Code::array(shape), data.into()])
}

/// An attribute as a constant.
fn constant(argument: &Argument) -> Code {
    let list = |items: Vec<String>| format!("&[{}]", items.join(", ")).into();
    match argument {
        Argument::Int(value) => value.to_string().into(),
        Argument::Float(value) => literal::single(*value).into(),
        Argument::String(text) => format!("{text:?}").into(),
        Argument::Ints(values) => list(values.iter().map(i64::to_string).collect()),
        Argument::Floats(values) => list(values.iter().map(|&value| literal::single(value)).collect()),
        Argument::Strings(texts) => list(texts.iter().map(|text| format!("{text:?}")).collect()),
        Argument::Operand | Argument::Present | Argument::Absent => String::new().into(),
    }
}
