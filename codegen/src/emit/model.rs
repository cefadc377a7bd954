//! The struct `Model` and its methods.

use super::EmitOptions;
use super::forward::ForwardInputs;
use super::function::{can_fail, reports};
use super::interface::Interface;
use super::literal;
use super::map::with_name;
use super::memory::Places;
use super::module::Imports;
use super::passed::{Kind, Passed};
use super::text::{Code, Writer};
use crate::ir::DType;

/// Prints the struct and its methods.
pub(super) fn print(
    writer: &mut Writer,
    interface: &Interface<'_>,
    forward: &ForwardInputs,
    places: &mut Places,
    imports: &mut Imports,
    options: &EmitOptions,
) {
    let runtime = &options.runtime;
    for name in ["Arena", "Memory"] {
        imports.add("arena", name);
    }
    for name in ["Isa", "Level", "Limit"] {
        imports.add("isa", name);
    }
    if interface.has_team() {
        imports.add("team", "Team");
    }
    let plan = interface.plan;
    writer.open(format!("{runtime}::model! {{"));
    writer.line(format!("/// The model `{}` with its memory.", plan.name));
    writer.open("pub struct Model {");
    writer.line("arena: Arena<ARENA_BYTES>,");
    writer.line("limit: Limit,");
    writer.close("}");
    writer.close("}");
    writer.blank();
    writer.open("impl Model {");
    writer.line("/// A model that computes with the best instructions of the machine.");
    writer.open("pub const fn new() -> Self {");
    model_literal(writer, "NONE");
    writer.close("}");
    writer.blank();
    writer.line("/// A model that computes with no instructions above a level.");
    writer.open("pub const fn with_isa(level: Level) -> Self {");
    model_literal(writer, "to(level)");
    writer.close("}");
    writer.blank();
    writer.line("/// Lets the model compute with no instructions above a level from now on.");
    writer.open("pub const fn set_isa(&mut self, level: Level) {");
    writer.line("self.limit = Limit::to(level);");
    writer.close("}");
    writer.blank();
    run(writer, interface, forward, places, imports, options);
    writer.blank();
    compute(writer, interface, forward, options);
    writer.close("}");
    writer.blank();
    writer.open("impl Default for Model {");
    writer.open("fn default() -> Self {");
    writer.line("Self::new()");
    writer.close("}");
    writer.close("}");
    if interface.outputs.len() > 1 {
        writer.blank();
        let has_lifetime = (0..interface.plan.outputs.len()).any(|number| interface.output_face(number).rank() > 0);
        writer.line("/// The outputs of a run.");
        writer.line("#[derive(Clone, Copy, Debug)]");
        writer.open(format!(
            "pub struct Outputs{} {{",
            if has_lifetime { "<'a>" } else { "" }
        ));
        for passed in &interface.outputs {
            writer.comment(
                "///",
                &format!(
                    "`{}`: {}.",
                    plan.outputs[passed.tensors.start].port.name,
                    interface.result_text(passed)
                ),
            );
            let ty = interface.result_type(passed, "'a", imports);
            writer.line(format!("pub {}: {ty},", passed.name));
        }
        writer.close("}");
    }
}

fn model_literal(writer: &mut Writer, limit: &str) {
    writer.open("Model {");
    writer.line("arena: Arena::new(),");
    writer.line(format!("limit: Limit::{limit},"));
    writer.close("}");
}

fn run(
    writer: &mut Writer,
    interface: &Interface<'_>,
    forward: &ForwardInputs,
    places: &mut Places,
    imports: &mut Imports,
    options: &EmitOptions,
) {
    let plan = interface.plan;
    match plan.threads {
        0 | 1 => writer.line("/// Runs the model."),
        _ if !interface.has_team() => writer.line("/// Runs the model. No step of it is worth dividing among threads."),
        threads => writer.line(format!("/// Runs the model on {threads} threads of the process.")),
    }
    writer.line("///");
    for passed in &interface.arguments {
        let (name, port) = (&passed.name, &plan.inputs[passed.tensors.start].port);
        let named = if *name == port.name {
            String::new()
        } else {
            format!(" (`{}`)", port.name)
        };
        writer.comment(
            "///",
            &format!("- `{name}`{named}: {}.", interface.parameter_text(passed)),
        );
    }
    let mut errors: Vec<String> = Vec::new();
    if !interface.symbols.is_empty() {
        let bounds = plan.bounds();
        let ranges = interface.symbols.iter().map(|(symbol, _)| {
            let range = bounds.get(symbol);
            format!("`{symbol}` is {} to {}", range.low, range.high)
        });
        errors.push(format!(
            "the shapes do not fit ({})",
            ranges.collect::<Vec<_>>().join(", ")
        ));
    }
    if interface.arguments.iter().any(|passed| passed.kind != Kind::Tensor) {
        errors.push("a sequence has more elements, or an element other sizes, than the module has room for".into());
    }
    if plan.steps.iter().any(reports) {
        errors.push("an index is outside of the axis that it selects from".into());
    }
    if interface.binds() {
        errors.push("a size that the run computes does not fit".into());
    }
    if interface.has_demands() {
        errors.push("an operator's demand does not hold".into());
    }
    if plan.steps.iter().any(can_fail) {
        errors.push("an operator fails".into());
    }
    if !errors.is_empty() {
        imports.add("error", "RunError");
        writer.line("///");
        writer.line("/// # Errors");
        writer.line("///");
        writer.comment("///", &format!("If {}.", errors.join(", or ")));
    }
    let mut parameters = vec!["&mut self".to_owned()];
    let dynamic: Vec<usize> = interface.dynamic_inputs().collect();
    for passed in &interface.arguments {
        let mut tensors = passed.tensors.clone();
        let used = tensors.any(|number| forward.inputs.contains(&number) || dynamic.contains(&number));
        let used = used || passed.kind != Kind::Tensor;
        let ty = interface.parameter_type(passed, imports);
        parameters.push(format!("{}{}: {ty}", if used { "" } else { "_" }, passed.name));
    }
    let several = interface.outputs.len() > 1;
    let result = match interface.outputs.len() {
        1 => interface.result_type(&interface.outputs[0], "'_", imports),
        _ if (0..plan.outputs.len()).any(|number| interface.output_face(number).rank() > 0) => "Outputs<'_>".to_owned(),
        _ => "Outputs".to_owned(),
    };
    let tail = match interface.is_fallible() {
        true => format!(" -> Result<{result}, RunError>"),
        false => format!(" -> {result}"),
    };
    let method = match plan.threads {
        0 | 1 => "pub fn run",
        _ => {
            run_with_threads(writer, interface, imports, &mut parameters, &tail);
            "pub fn run_on"
        }
    };
    if parameters.len() > 7 {
        writer.line("#[allow(clippy::too_many_arguments)]");
    }
    writer.open_function(method, &parameters, &tail);
    let mut arguments: Vec<Code> = Vec::new();
    if interface.has_team() {
        arguments.push("executor".into());
    }
    if interface.is_dynamic() {
        let shapes = dynamic
            .iter()
            .map(|&number| format!("{}.shape()", interface.inputs[number]).into());
        writer.code(
            dims_head(interface, forward),
            &Code::call("Dims::of", shapes.collect()),
            "?;",
        );
        if forward.dims {
            arguments.push("d".into());
        }
    }
    if options.profile {
        arguments.push("&mut ()".into());
    }
    for passed in &interface.arguments {
        interface.print_load(writer, passed, &forward.inputs, places, imports);
    }
    for &number in &forward.inputs {
        arguments.push(interface.input_data(number, imports).into());
    }
    let end = if interface.ends_early() { "?;" } else { ";" };
    writer.code(computed_head(interface), &Code::call("self.compute", arguments), end);
    let mut values: Vec<Code> = Vec::new();
    for passed in &interface.outputs {
        interface.print_view(writer, passed, places, imports);
    }
    for passed in &interface.outputs {
        values.push(interface.result_value(passed, places, imports));
    }
    let is_result = |passed: &Passed| {
        let ty = &plan.outputs[passed.tensors.start].ty;
        passed.kind == Kind::Tensor && !Interface::is_static(ty)
    };
    if several {
        let fields = interface.outputs.iter().zip(values).map(|(passed, value)| {
            let value = if is_result(passed) { value.ending(")?") } else { value };
            match value {
                Code::Text(text) if text == passed.name => Code::Text(text),
                value => with_name(&format!("{}: ", passed.name), value),
            }
        });
        let literal = Code::structure("Outputs", fields.collect());
        match interface.is_fallible() {
            true => writer.code("Ok(", &literal, ")"),
            false => writer.code("", &literal, ""),
        }
    } else if let (Some(value), Some(passed)) = (values.first(), interface.outputs.first()) {
        match interface.is_fallible() && !is_result(passed) {
            true => writer.code("Ok(", value, ")"),
            false => writer.code("", value, ""),
        }
    }
    writer.close("}");
}

/// Prints the method that takes the threads of the process, and the documentation of the one that takes an executor, which
/// becomes its first parameter.
fn run_with_threads(
    writer: &mut Writer,
    interface: &Interface<'_>,
    imports: &mut Imports,
    parameters: &mut Vec<String>,
    tail: &str,
) {
    imports.add("team", "Executor");
    let names = interface.arguments.iter().map(|passed| passed.name.as_str());
    let used: Vec<String> = names
        .zip(&parameters[1..])
        .map(|(name, parameter)| parameter.replacen(&format!("_{name}: "), &format!("{name}: "), 1))
        .collect();
    let arguments = interface.arguments.iter().map(|passed| passed.name.as_str().into());
    let executor = if interface.has_team() {
        "team::process()"
    } else {
        imports.add("team", "Caller");
        "&Caller"
    };
    let call = Code::call(
        "self.run_on",
        std::iter::once(executor.into()).chain(arguments).collect(),
    );
    if parameters.len() > 7 {
        writer.line("#[allow(clippy::too_many_arguments)]");
    }
    writer.open_function("pub fn run", &[&parameters[..1], &used].concat(), tail);
    writer.code("", &call, "");
    writer.close("}");
    writer.blank();
    writer.comment(
        "///",
        "Runs the model as [`run`](Model::run) does, on threads of an executor. The outputs are the same to the bit.",
    );
    if interface.is_fallible() {
        writer.line("///");
        writer.line("/// # Errors");
        writer.line("///");
        writer.line("/// As of [`run`](Model::run).");
    }
    let executor = if interface.has_team() { "executor" } else { "_executor" };
    parameters.insert(1, format!("{executor}: &dyn Executor"));
}

/// The start of the statement that computes.
pub(super) fn computed_head(interface: &Interface<'_>) -> &'static str {
    let mut outputs = interface.plan.outputs.iter();
    let dynamic = outputs.any(|output| !Interface::is_static(&output.ty));
    if interface.binds() && dynamic { "let d = " } else { "" }
}

/// The start of the statement that finds the sizes of a run.
pub(super) fn dims_head(interface: &Interface<'_>, forward: &ForwardInputs) -> &'static str {
    let outputs = interface
        .plan
        .outputs
        .iter()
        .any(|output| !Interface::is_static(&output.ty));
    if forward.dims || outputs { "let d = " } else { "" }
}

/// Prints the method that enters the one dispatch.
fn compute(writer: &mut Writer, interface: &Interface<'_>, forward: &ForwardInputs, options: &EmitOptions) {
    let mut parameters = vec!["&mut self".to_owned()];
    let mut arguments = Vec::new();
    if interface.has_team() {
        parameters.push("executor: &dyn Executor".into());
        arguments.push("executor".to_owned());
    }
    if forward.dims {
        parameters.push("d: Dims".into());
        arguments.push("d".to_owned());
    }
    arguments.push("m".to_owned());
    let mut generics = "";
    if options.profile {
        generics = "<P: Profile + ?Sized>";
        parameters.push("p: &mut P".into());
        arguments.push("p".into());
    }
    for &number in &forward.inputs {
        let ty = literal::rust_type(interface.plan.inputs[number].ty.dtype);
        parameters.push(format!("{}: &[{ty}]", interface.inputs[number]));
        arguments.push(interface.inputs[number].clone());
    }
    if parameters.len() > 7 {
        writer.line("#[allow(clippy::too_many_arguments)]");
    }
    let result = interface.result();
    let end = if interface.ends_early() { "" } else { ";" };
    writer.open_function(&format!("fn compute{generics}"), &parameters, result);
    writer.line("let m = &mut self.arena.memory();");
    let inner = Code::call("forward", arguments.into_iter().map(Code::from).collect());
    let call = Code::call(
        &format!("{}::dispatch!", options.runtime),
        vec!["self.limit.level()".into(), inner],
    );
    writer.code("", &call, end);
    writer.close("}");
}

/// The variant of the runtime's `DType` or `AnyData`.
pub(super) fn variant(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "F32",
        DType::F64 => "F64",
        DType::F16 => "F16",
        DType::BF16 => "Bf16",
        DType::I8 => "I8",
        DType::I16 => "I16",
        DType::I32 => "I32",
        DType::I64 => "I64",
        DType::U8 => "U8",
        DType::U16 => "U16",
        DType::U32 => "U32",
        DType::U64 => "U64",
        DType::Bool => "Bool",
        DType::F8E4M3Fn => "F8E4M3Fn",
        DType::F8E4M3Fnuz => "F8E4M3Fnuz",
        DType::F8E5M2 => "F8E5M2",
        DType::F8E5M2Fnuz => "F8E5M2Fnuz",
        DType::F8E8M0 => "F8E8M0",
        DType::F6E2M3 => "F6E2M3",
        DType::F6E3M2 => "F6E3M2",
        DType::F4E2M1 => "F4E2M1",
        DType::I4 => "I4",
        DType::U4 => "U4",
        DType::I2 => "I2",
        DType::U2 => "U2",
    }
}
