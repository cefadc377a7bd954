//! The implementation of the runtime's `Program`, for tools that run any model.

use super::forward::ForwardInputs;
use super::interface::Interface;
use super::literal::rust_type;
use super::memory::Places;
use super::model::{computed_head, dims_head, variant};
use super::module::Imports;
use super::passed::{Kind, Parts};
use super::text::{Code, Writer};
use crate::ir::{Part, Port, TensorType};
use crate::plan::Base;

/// Prints the implementation.
pub(super) fn print(
    writer: &mut Writer,
    interface: &Interface<'_>,
    forward: &ForwardInputs,
    places: &mut Places,
    imports: &mut Imports,
    profile: bool,
) {
    for name in ["AnyData", "AnyValue", "Port", "PortKind", "Program"] {
        imports.add("describe", name);
    }
    imports.add("element", "DType");
    imports.add("error", "RunError");
    let plan = interface.plan;
    writer.open("impl Program for Model {");
    let inputs = interface.arguments.iter().map(|passed| {
        let input = &plan.inputs[passed.tensors.start];
        match Parts::of_input(plan, passed) {
            Some(parts) => sequence_port(&input.port.name, passed.kind, &parts),
            None => port(interface, &input.port, &input.ty),
        }
    });
    let mut shapes = Writer::new(1);
    ports(&mut shapes, "INPUTS", inputs.collect());
    let outputs = interface.outputs.iter().map(|passed| {
        let output = &plan.outputs[passed.tensors.start];
        match Parts::of_output(plan, passed) {
            Some(parts) => sequence_port(&output.port.name, passed.kind, &parts),
            None => port(interface, &output.port, &output.ty),
        }
    });
    ports(&mut shapes, "OUTPUTS", outputs.collect());
    let shapes = shapes.finish();
    if shapes.contains("PortDim::") {
        imports.add("describe", "PortDim");
    }
    writer.raw(&shapes);
    if places.has_weights() {
        writer.blank();
        writer.open("fn weights() -> Weights {");
        writer.line("WEIGHTS");
        writer.close("}");
    }
    let mut parameters: Vec<String> = ["&mut self", "inputs: &[AnyValue<'_>]"].map(str::to_owned).to_vec();
    parameters.push("outputs: &mut dyn FnMut(usize, AnyValue<'_>)".into());
    if profile {
        steps(writer, interface, imports);
        writer.blank();
        writer.open_function("fn run_dyn", &parameters, " -> Result<(), RunError>");
        writer.line("self.run_profiled(inputs, outputs, &mut ())");
        writer.close("}");
        parameters.push("profile: &mut dyn Profile".into());
    }
    writer.blank();
    let method = if profile { "fn run_profiled" } else { "fn run_dyn" };
    writer.open_function(method, &parameters, " -> Result<(), RunError>");
    let names: Vec<&str> = interface.arguments.iter().map(|passed| passed.name.as_str()).collect();
    writer.open(format!("let [{}] = inputs else {{", names.join(", ")));
    writer.open("return Err(RunError::InputCount {");
    writer.line(format!("expected: {},", names.len()));
    writer.line("actual: inputs.len(),");
    writer.close("});");
    writer.close("};");
    let mut arguments: Vec<Code> = Vec::new();
    let mut shapes: Vec<Code> = Vec::new();
    for (number, passed) in interface.arguments.iter().enumerate() {
        if passed.kind != Kind::Tensor {
            continue;
        }
        let (tensor, name) = (passed.tensors.start, &passed.name);
        let input = &plan.inputs[tensor];
        let (ty, rank) = (rust_type(input.ty.dtype), input.ty.rank());
        let used = forward.inputs.contains(&tensor);
        if input.port.part == Part::Text {
            let data = if used { name.as_str() } else { "_" };
            let shape = match Interface::is_static(&input.ty) {
                true => "_".to_owned(),
                false => format!("{name}_shape"),
            };
            let rank = rank - 1;
            writer.line(format!(
                "let ({shape}, {data}) = {name}.text::<{rank}>(&Self::INPUTS[{number}])?;"
            ));
            if !Interface::is_static(&input.ty) {
                shapes.push(shape.into());
            }
        } else if Interface::is_static(&input.ty) {
            let target = if used { format!("let {name} = ") } else { String::new() };
            writer.line(format!(
                "{target}{name}.fixed::<{ty}, {rank}>(&Self::INPUTS[{number}])?;"
            ));
        } else {
            let data = if used { name.as_str() } else { "_" };
            writer.line(format!(
                "let ({name}_shape, {data}) = {name}.input::<{ty}, {rank}>(&Self::INPUTS[{number}])?;"
            ));
            shapes.push(format!("{name}_shape").into());
        }
    }
    if interface.is_dynamic() {
        writer.code(dims_head(interface, forward), &Code::call("Dims::of", shapes), "?;");
    }
    if interface.has_team() {
        arguments.push("team::process()".into());
    }
    if forward.dims {
        arguments.push("d".into());
    }
    if profile {
        arguments.push("profile".into());
    }
    for argument in interface.arguments.iter().enumerate() {
        interface.print_load_any(writer, argument, &forward.inputs, places);
    }
    arguments.extend(forward.inputs.iter().map(|&number| {
        let name = &interface.inputs[number];
        match plan.inputs[number].port.part {
            Part::Whole | Part::Text => name.as_str().into(),
            _ => format!("&[{name}]").into(),
        }
    }));
    writer.code(
        computed_head(interface),
        &Code::call("self.compute", arguments),
        if interface.ends_early() { "?;" } else { ";" },
    );
    let sizes = interface.sizes();
    for (number, passed) in interface.outputs.iter().enumerate() {
        if passed.kind != Kind::Tensor {
            interface.print_result_any(writer, (number, passed), places, imports);
            continue;
        }
        let tensor = passed.tensors.start;
        let output = &plan.outputs[tensor];
        let Base::Buffer(id) = output.access.base else {
            continue;
        };
        let slot = interface.output_slot(tensor, &places.slot(plan, id), &sizes);
        let shape: Vec<String> = output.ty.shape.iter().map(|dim| sizes.text(dim)).collect();
        let fields = vec![
            format!("shape: &[{}]", shape.join(", ")).into(),
            format!("data: AnyData::{}(self.arena.get({slot}))", variant(output.ty.dtype)).into(),
        ];
        imports.add("describe", "AnyTensor");
        writer.code("let tensor = ", &Code::structure("AnyTensor", fields), ";");
        writer.line(format!("outputs({number}, AnyValue::Tensor(tensor));"));
    }
    writer.line("Ok(())");
    writer.close("}");
    writer.close("}");
}

/// Prints what a profile shows of each step.
fn steps(writer: &mut Writer, interface: &Interface<'_>, imports: &mut Imports) {
    imports.add("describe", "Profile");
    imports.add("describe", "Step");
    let plan = interface.plan;
    writer.line("#[rustfmt::skip]");
    writer.open("const STEPS: &'static [Step] = &[");
    for step in &plan.steps {
        let (nodes, kernel) = (step.origin.join(", "), &plan.functions[step.function].name);
        writer.line(format!("Step {{ nodes: {nodes:?}, kernel: {kernel:?} }},"));
    }
    writer.close("];");
}

fn ports(writer: &mut Writer, name: &str, ports: Vec<Vec<Code>>) {
    if ports.is_empty() {
        writer.line(format!("const {name}: &'static [Port] = &[];"));
        return;
    }
    if let [fields] = ports.as_slice() {
        // rustfmt lets a single element start on the line of the bracket.
        let literal = Code::structure("Port", fields.clone());
        writer.code(&format!("const {name}: &'static [Port] = &["), &literal, "];");
        return;
    }
    writer.open(format!("const {name}: &'static [Port] = &["));
    for fields in ports {
        writer.code("", &Code::structure("Port", fields), ",");
    }
    writer.close("];");
}

/// A port of what is not a tensor.
fn sequence_port(name: &str, kind: Kind, parts: &Parts) -> Vec<Code> {
    let dims = parts.sizes.iter().enumerate().map(|(axis, size)| {
        if size.low == size.high {
            return format!("PortDim::Fixed({})", size.low).into();
        }
        let fields = vec![
            format!("expression: {:?}", format!("{name}_{axis}")).into(),
            format!("max: {}", size.high).into(),
        ];
        Code::structure("PortDim::Computed", fields)
    });
    let shape = super::map::with_name("shape: &", Code::array(dims.collect()));
    vec![
        format!("name: {name:?}").into(),
        format!("kind: {}", kind.variant(parts.capacity)).into(),
        format!("dtype: DType::{}", variant(parts.dtype)).into(),
        shape,
    ]
}

fn port(interface: &Interface<'_>, port: &Port, ty: &TensorType) -> Vec<Code> {
    let name = &port.name;
    let kind = match port.part {
        Part::Text => "kind: PortKind::Text",
        _ => "kind: PortKind::Tensor",
    };
    let bounds = interface.plan.bounds();
    let upper = |dim: &crate::ir::Dim| dim.upper(&bounds).to_string();
    let dims = ty.shape.iter().map(|dim| {
        if let Some(size) = dim.as_usize() {
            return format!("PortDim::Fixed({size})").into();
        }
        let fields = match dim.as_symbol() {
            Some(symbol) => vec![
                format!("name: {:?}", &**symbol).into(),
                format!("min: {}", bounds.get(symbol).low).into(),
                format!("max: {}", bounds.get(symbol).high).into(),
            ],
            None => vec![
                format!("expression: {:?}", dim.to_string()).into(),
                format!("max: {}", upper(dim)).into(),
            ],
        };
        let kind = if dim.as_symbol().is_some() {
            "PortDim::Symbol"
        } else {
            "PortDim::Computed"
        };
        Code::structure(kind, fields)
    });
    let shape = super::map::with_name("shape: &", Code::array(dims.collect()));
    vec![
        format!("name: {name:?}").into(),
        kind.into(),
        format!("dtype: DType::{}", variant(ty.dtype)).into(),
        shape,
    ]
}
