//! The implementation of the runtime's `Program`, for tools that run any model.

use super::forward::ForwardInputs;
use super::interface::Interface;
use super::memory::Places;
use super::model::{computed_head, dims_head, variant};
use super::module::Imports;
use super::scalar::rust_type;
use super::text::{Code, Writer};
use crate::ir::TensorType;
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
    for name in ["AnyData", "AnyTensor", "Port", "PortDim", "Program"] {
        imports.add("describe", name);
    }
    imports.add("element", "DType");
    imports.add("error", "RunError");
    let plan = interface.plan;
    writer.open("impl Program for Model {");
    let inputs = plan
        .inputs
        .iter()
        .map(|input| port(interface, &input.name, &input.ty))
        .collect();
    ports(writer, "INPUTS", inputs);
    let outputs = plan
        .outputs
        .iter()
        .map(|output| port(interface, &output.name, &output.ty))
        .collect();
    ports(writer, "OUTPUTS", outputs);
    let mut parameters: Vec<String> = ["&mut self", "inputs: &[AnyTensor<'_>]"].map(str::to_owned).to_vec();
    parameters.push("outputs: &mut dyn FnMut(usize, AnyTensor<'_>)".into());
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
    let names = &interface.inputs;
    writer.open(format!("let [{}] = inputs else {{", names.join(", ")));
    writer.open("return Err(RunError::InputCount {");
    writer.line(format!("expected: {},", names.len()));
    writer.line("actual: inputs.len(),");
    writer.close("});");
    writer.close("};");
    let mut arguments: Vec<Code> = Vec::new();
    let mut shapes: Vec<Code> = Vec::new();
    for (number, (input, name)) in plan.inputs.iter().zip(names).enumerate() {
        let (ty, rank) = (rust_type(input.ty.dtype), input.ty.rank());
        let used = forward.inputs.contains(&number);
        if Interface::is_static(&input.ty) {
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
    if forward.dims {
        arguments.push("d".into());
    }
    if profile {
        arguments.push("profile".into());
    }
    arguments.extend(forward.inputs.iter().map(|&number| names[number].as_str().into()));
    writer.code(
        computed_head(interface),
        &Code::call("self.compute", arguments),
        if interface.ends_early() { "?;" } else { ";" },
    );
    let sizes = interface.sizes();
    for (number, output) in plan.outputs.iter().enumerate() {
        let Base::Buffer(id) = output.access.base else {
            continue;
        };
        let slot = interface.output_slot(number, &places.slot(plan, id), &sizes);
        let shape: Vec<String> = output.ty.shape.iter().map(|dim| sizes.text(dim)).collect();
        let fields = vec![
            format!("shape: &[{}]", shape.join(", ")).into(),
            format!("data: AnyData::{}(self.arena.get({slot}))", variant(output.ty.dtype)).into(),
        ];
        writer.code("let tensor = ", &Code::structure("AnyTensor", fields), ";");
        writer.line(format!("outputs({number}, tensor);"));
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

fn port(interface: &Interface<'_>, name: &str, ty: &TensorType) -> Vec<Code> {
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
        format!("dtype: DType::{}", variant(ty.dtype)).into(),
        shape,
    ]
}
