//! The model as its caller sees it: inputs, outputs, and the sizes of a run.

use super::face::Face;
use super::function::{can_fail, reports};
use super::literal::rust_type;
use super::module::Imports;
use super::passed::{Kind, Passed};
use super::size::Sizes;
use super::text::{Code, Writer};
use crate::ir::dim::Atom;
use crate::ir::{DType, Dim, Part, Port, TensorType};
use crate::plan::names::{Names, identifier};
use crate::plan::{Base, Input, Plan, Step};
use std::collections::{BTreeSet, HashMap};

/// The names and types of a model's inputs and outputs.
pub(super) struct Interface<'a> {
    pub(super) plan: &'a Plan,
    /// The inputs.
    pub(super) arguments: Vec<Passed>,
    /// The names of the tensors of the inputs at the interface; that of an input which is a tensor is its own.
    pub(super) inputs: Vec<String>,
    /// The names of the inputs where steps are, which are none of those that steps give what they read and write.
    pub(super) inner_inputs: Vec<String>,
    /// The outputs.
    pub(super) outputs: Vec<Passed>,
    /// The symbols that the inputs give a value, with the fields of `Dims` that hold it.
    pub(super) symbols: Vec<(String, String)>,
    /// The symbols that the run gives a value, with the fields of `Dims` that hold it.
    pub(super) computed: Vec<(String, String)>,
    /// Whether the run checks what operators demand.
    demands: bool,
    /// The steps that can fail: their indices follow from the inputs and may be outside of their axis, or they call a
    /// function of the user's that says so.
    pub(super) fallible: BTreeSet<usize>,
}

/// Names that methods of the model use besides those of the inputs.
const INTERFACE_LOCALS: [&str; 12] = [
    "self",
    "d",
    "m",
    "p",
    "inputs",
    "outputs",
    "tensor",
    "flat",
    "nested",
    "profile",
    "forward",
    "bytes_of_bools",
];

/// Names that functions of a model for several threads use besides.
const TEAM_LOCALS: [&str; 2] = ["team", "executor"];

/// How the value of a symbol follows from an axis of an input.
struct Source {
    input: usize,
    axis: usize,
    /// The size of the axis is `factor * symbol + offset`.
    factor: i64,
    offset: i64,
}

impl<'a> Interface<'a> {
    /// The interface of a plan, in which nothing reads some of the sizes that the run computes.
    pub(super) fn new(plan: &'a Plan, unread: &BTreeSet<String>) -> Interface<'a> {
        let name_inputs = |names: &mut Names| -> Vec<String> {
            let mut name = |input: &Input| {
                let part = match input.port.part {
                    Part::Whole | Part::Text => "",
                    Part::Present => "_present",
                    Part::Elements { .. } => "_elements",
                    Part::Shapes => "_shapes",
                    Part::Length => "_length",
                };
                let name = identifier(&input.port.name, "input");
                names.unique_or(&format!("{name}{part}"), "input")
            };
            plan.inputs.iter().map(&mut name).collect()
        };
        let mut locals = INTERFACE_LOCALS.to_vec();
        let mut taken = super::function::Roles::reserved();
        if plan.threads > 1 {
            locals.extend(TEAM_LOCALS);
            taken.extend(TEAM_LOCALS);
        }
        let mut names = Names::reserving(&locals);
        let inputs = name_inputs(&mut names);
        let ports: Vec<&Port> = plan.inputs.iter().map(|input| &input.port).collect();
        let arguments = Passed::group(&ports, |number, kind| match kind {
            Kind::Tensor => inputs[number].clone(),
            _ => names.unique_or(&identifier(&ports[number].name, "input"), "input"),
        });
        taken.extend(plan.functions.iter().map(|function| function.name.as_str()));
        let inner_inputs = name_inputs(&mut Names::reserving(&taken));
        let mut names = Names::default();
        let ports: Vec<&Port> = plan.outputs.iter().map(|output| &output.port).collect();
        let name = |number: usize, _| names.unique(&identifier(&ports[number].name, "output"));
        let outputs = Passed::group(&ports, name);
        let mut interface = Interface {
            plan,
            arguments,
            inputs,
            inner_inputs,
            outputs,
            symbols: Vec::new(),
            computed: Vec::new(),
            demands: has_demands(plan) || !unread.is_empty(),
            fallible: fallible_steps(plan),
        };
        let mut names = Names::default();
        let sources = interface.sources();
        for (symbol, _) in &plan.symbols {
            if sources.contains_key(&**symbol) {
                let name = names.unique(&identifier(symbol, "size"));
                interface.symbols.push((symbol.to_string(), name));
            }
        }
        for symbol in plan.bound_symbols() {
            if unread.contains(&*symbol) {
                continue;
            }
            let name = names.unique(&identifier(&symbol, "size"));
            interface.computed.push((symbol.to_string(), name));
        }
        interface
    }

    /// Whether sizes are known only at run time.
    pub(super) fn is_dynamic(&self) -> bool {
        !self.symbols.is_empty() || self.binds()
    }

    /// Whether steps are divided for several threads.
    pub(super) fn has_team(&self) -> bool {
        self.plan.steps.iter().any(Step::is_divided)
    }

    /// Whether the run gives symbols their value.
    pub(super) fn binds(&self) -> bool {
        !self.computed.is_empty()
    }

    /// Whether a step can fail.
    pub(super) fn has_fallible_steps(&self) -> bool {
        !self.fallible.is_empty()
    }

    /// Whether the run checks what operators demand.
    pub(super) fn has_demands(&self) -> bool {
        self.demands
    }

    /// Whether a run that has begun may end with an error.
    pub(super) fn ends_early(&self) -> bool {
        self.has_fallible_steps() || self.demands || self.binds()
    }

    /// What the methods that compute return.
    pub(super) fn result(&self) -> &'static str {
        match (self.binds(), self.ends_early()) {
            (true, _) => " -> Result<Dims, RunError>",
            (false, true) => " -> Result<(), RunError>",
            (false, false) => "",
        }
    }

    /// Whether a run may be refused.
    pub(super) fn is_fallible(&self) -> bool {
        let loads = self.arguments.iter().any(|passed| passed.kind != Kind::Tensor);
        self.is_dynamic() || self.ends_early() || loads
    }

    /// Whether an input or output has constant sizes.
    pub(super) fn is_static(ty: &TensorType) -> bool {
        ty.static_shape().is_some()
    }

    /// The sizes, as fields of `d`.
    pub(super) fn sizes(&self) -> Sizes {
        self.sizes_named("d.")
    }

    fn sizes_named(&self, prefix: &str) -> Sizes {
        let mut sizes = Sizes::default();
        sizes.bounds = self.plan.bounds();
        for (symbol, name) in self.symbols.iter().chain(&self.computed) {
            sizes.names.insert(symbol.clone(), format!("{prefix}{name}"));
        }
        sizes
    }

    /// Where the value of each symbol comes from: the first axis that is the symbol, or a linear function of it.
    fn sources(&self) -> HashMap<String, Source> {
        let mut sources: HashMap<String, Source> = HashMap::new();
        for plain in [true, false] {
            for (input, port) in self.plan.inputs.iter().enumerate() {
                for (axis, dim) in port.ty.shape.iter().enumerate() {
                    if let Some((symbol, factor, offset)) = linear(dim)
                        && plain == (factor == 1 && offset == 0)
                    {
                        sources.entry(symbol).or_insert(Source {
                            input,
                            axis,
                            factor,
                            offset,
                        });
                    }
                }
            }
        }
        sources
    }

    /// An input that is a tensor as the caller sees it.
    pub(super) fn input_face(&self, number: usize) -> Face {
        let input = &self.plan.inputs[number];
        Face::of(&input.port.part, &input.ty)
    }

    /// An output that is a tensor as the caller sees it.
    pub(super) fn output_face(&self, number: usize) -> Face {
        let output = &self.plan.outputs[number];
        Face::of(&output.port.part, &output.ty)
    }

    /// The type of an input's parameter.
    pub(super) fn input_type(&self, number: usize, imports: &mut Imports) -> String {
        self.input_face(number).ty("'_", imports)
    }

    /// The type of an output with the given lifetime.
    pub(super) fn output_type(&self, number: usize, lifetime: &str, imports: &mut Imports) -> String {
        self.output_face(number).ty(lifetime, imports)
    }

    /// The elements of an input as a slice that `forward` takes.
    pub(super) fn input_data(&self, number: usize, imports: &mut Imports) -> String {
        let face = self.input_face(number);
        let name = &self.inputs[number];
        if !matches!(self.plan.inputs[number].port.part, Part::Whole | Part::Text) {
            return format!("&[{name}]");
        }
        let flat = match face.static_shape() {
            Some(shape) => {
                imports.add("nested", "flat");
                if shape.is_empty() {
                    format!("flat(&{name})")
                } else {
                    format!("flat({name})")
                }
            }
            None => format!("{name}.data()"),
        };
        face.stored(flat, imports)
    }

    /// The slot of an output, cut to its size.
    pub(super) fn output_slot(&self, number: usize, slot: &str, sizes: &Sizes) -> String {
        let output = &self.plan.outputs[number];
        let Base::Buffer(id) = output.access.base else {
            return slot.to_owned();
        };
        let capacity = self.plan.buffers[id.0].capacity;
        let elements = output.ty.elements();
        match output.access.offset.as_usize() {
            Some(0) if elements.as_usize() == Some(capacity) => slot.to_owned(),
            Some(0) => format!("{slot}.prefix({})", sizes.text(&elements)),
            _ => format!(
                "{slot}.range({}, {})",
                sizes.text(&output.access.offset),
                sizes.text(&elements)
            ),
        }
    }

    /// The value of an output as the caller gets it; a `Result` if the shape is dynamic.
    pub(super) fn output_value(&self, number: usize, slot: &str, sizes: &Sizes, imports: &mut Imports) -> Code {
        let face = self.output_face(number);
        let data = format!("self.arena.get({})", self.output_slot(number, slot, sizes));
        let data = face.shown(data, imports);
        match face.static_shape() {
            Some(shape) if shape.is_empty() => format!("{data}[0]").into(),
            Some(_) => {
                imports.add("nested", "nested");
                format!("nested({data})").into()
            }
            None => {
                imports.add("tensor", "TensorView");
                let shape = face.shape.iter().map(|dim| sizes.text(dim).into()).collect();
                Code::call("TensorView::new", vec![Code::array(shape), data.into()])
            }
        }
    }

    /// Prints `Dims`.
    pub(super) fn print_dims(&self, writer: &mut Writer, imports: &mut Imports) {
        imports.add("error", "RunError");
        writer.line("/// The sizes of a run.");
        writer.line("#[derive(Clone, Copy)]");
        writer.open("struct Dims {");
        for (_, name) in self.symbols.iter().chain(&self.computed) {
            writer.line(format!("{name}: usize,"));
        }
        writer.close("}");
        writer.blank();
        writer.open("impl Dims {");
        writer.line(match self.binds() {
            false => "/// The sizes that follow from the shapes of the inputs.",
            true => {
                "/// The sizes that follow from the shapes of the inputs. The others are 0 until the run computes them."
            }
        });
        let parameters: Vec<String> = self
            .dynamic_inputs()
            .map(|number| format!("{}: [usize; {}]", self.inputs[number], self.input_face(number).rank()))
            .collect();
        writer.open_function("fn of", &parameters, " -> Result<Dims, RunError>");
        self.print_checks(writer);
        let given = self.symbols.iter().map(|(_, name)| match self.local(name) {
            local if local == *name => name.as_str().into(),
            local => format!("{name}: {local}").into(),
        });
        let computed = self.computed.iter().map(|(_, name)| format!("{name}: 0").into());
        let names: Vec<Code> = given.chain(computed).collect();
        writer.code("Ok(", &Code::structure("Dims", names), ")");
        writer.close("}");
        writer.close("}");
    }

    /// The inputs whose shapes `Dims::of` takes.
    pub(super) fn dynamic_inputs(&self) -> impl Iterator<Item = usize> {
        (0..self.plan.inputs.len()).filter(|&number| !Self::is_static(&self.plan.inputs[number].ty))
    }

    fn print_checks(&self, writer: &mut Writer) {
        let sources = self.sources();
        let sizes = self.local_sizes();
        let plan = self.plan;
        let axis_text = |input: usize, axis: usize| format!("({:?}, {axis})", plan.inputs[input].port.name);
        for (symbol, name) in &self.symbols {
            let source = &sources[symbol];
            let mut actual = format!("{}[{}]", self.inputs[source.input], source.axis);
            if source.offset != 0 {
                actual = format!("{actual}.saturating_sub({})", source.offset);
            }
            if source.factor != 1 {
                actual = format!("{actual} / {}", source.factor);
            }
            let bounds = plan.bounds().get(symbol);
            let arguments = vec![
                format!("{symbol:?}").into(),
                axis_text(source.input, source.axis).into(),
                actual.into(),
                bounds.low.to_string().into(),
                bounds.high.to_string().into(),
            ];
            let local = self.local(name);
            writer.code(&format!("let {local} = "), &Code::call("dims::symbol", arguments), "?;");
        }
        for number in self.dynamic_inputs() {
            for (axis, dim) in self.input_face(number).shape.iter().enumerate() {
                let actual = format!("{}[{axis}]", self.inputs[number]);
                let call = match dim.as_symbol() {
                    Some(symbol) => {
                        let source = &sources[&**symbol];
                        if (source.input, source.axis) == (number, axis) {
                            continue;
                        }
                        let arguments = vec![
                            format!("{:?}", &**symbol).into(),
                            axis_text(source.input, source.axis).into(),
                            sizes.text(dim).into(),
                            axis_text(number, axis).into(),
                            actual.into(),
                        ];
                        Code::call("dims::agree", arguments)
                    }
                    None => {
                        let arguments = vec![axis_text(number, axis).into(), sizes.text(dim).into(), actual.into()];
                        Code::call("dims::fixed", arguments)
                    }
                };
                writer.code("", &call, "?;");
            }
        }
        for constraint in &plan.constraints {
            let mut known = true;
            for side in [&constraint.left, &constraint.right] {
                side.visit_symbols(&mut |symbol| known &= self.symbols.iter().any(|(name, _)| **name == **symbol));
            }
            if known && constraint.left != constraint.right {
                let holds = format!("{} == {}", sizes.text(&constraint.left), sizes.text(&constraint.right));
                let text = format!("{} = {}", constraint.left, constraint.right);
                let call = Code::call("dims::assume", vec![holds.into(), format!("{text:?}").into()]);
                writer.code("", &call, "?;");
            }
        }
    }

    /// The name of a symbol among the parameters of `Dims::of`.
    fn local(&self, field: &str) -> String {
        if self.inputs.iter().any(|input| input == field) {
            // A parameter has the name; the field is then set from another one.
            format!("{field}_size")
        } else {
            field.to_owned()
        }
    }

    fn local_sizes(&self) -> Sizes {
        let mut sizes = self.sizes_named("");
        for (symbol, name) in &self.symbols {
            sizes.names.insert(symbol.clone(), self.local(name));
        }
        sizes
    }
}

/// Whether the run checks what operators demand.
fn has_demands(plan: &Plan) -> bool {
    let mut found = false;
    let mut visit = |item: &crate::plan::Item| found |= matches!(item, crate::plan::Item::Assert { .. });
    plan.program.iter().for_each(|item| item.for_each(&mut visit));
    found
}

/// The steps that read at indices which follow from the inputs, and those that call functions which can fail.
fn fallible_steps(plan: &Plan) -> BTreeSet<usize> {
    (0..plan.steps.len())
        .filter(|&number| reports(&plan.steps[number]) || can_fail(&plan.steps[number]))
        .collect()
}

/// A dimension as `factor * symbol + offset`, with a positive factor and an offset that is not negative.
fn linear(dim: &Dim) -> Option<(String, i64, i64)> {
    let (mut symbol, mut offset) = (None, 0);
    for (coefficient, factors) in dim.terms() {
        match factors {
            [] => offset = coefficient,
            [(Atom::Symbol(name), 1)] if symbol.is_none() => symbol = Some((name.to_string(), coefficient)),
            _ => return None,
        }
    }
    let (name, factor) = symbol?;
    (factor > 0 && offset >= 0).then_some((name, factor, offset))
}

/// The type of an element at the interface.
pub(super) fn element(dtype: DType, imports: &mut Imports) -> String {
    imports.element(dtype);
    match dtype {
        DType::Bool => "bool".into(),
        other => rust_type(other).into(),
    }
}
