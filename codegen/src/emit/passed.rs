//! Inputs and outputs as the caller passes them: tensors, optional ones, and sequences.

use super::interface::{Interface, element};
use super::literal::rust_type;
use super::memory::Places;
use super::module::Imports;
use super::text::{Code, Writer};
use crate::ir::{DType, Interval, Part, Port};
use crate::plan::{Access, Base, Plan};
use std::ops::Range;

/// An input or output of the model.
pub(super) struct Passed {
    /// The name at the interface.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The numbers of its tensors among those of the plan.
    pub(super) tensors: Range<usize>,
}

/// What is passed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tensor,
    Optional,
    Sequence,
    OptionalSequence,
}

impl Kind {
    fn of(ports: &[&Port]) -> Kind {
        let length = ports.iter().any(|port| port.part == Part::Length);
        match ports.first().map(|port| &port.part) {
            Some(Part::Present) if length => Kind::OptionalSequence,
            Some(Part::Present) => Kind::Optional,
            Some(Part::Elements { .. }) => Kind::Sequence,
            _ => Kind::Tensor,
        }
    }

    /// The variant of the runtime's `PortKind`.
    pub(super) fn variant(self, max: usize) -> String {
        match self {
            Kind::Tensor => "PortKind::Tensor".into(),
            Kind::Optional => "PortKind::Optional".into(),
            Kind::Sequence => format!("PortKind::Sequence {{ max: {max} }}"),
            Kind::OptionalSequence => format!("PortKind::OptionalSequence {{ max: {max} }}"),
        }
    }
}

impl Passed {
    /// The inputs or outputs that consist of these tensors, with names from `name`.
    pub(super) fn group(ports: &[&Port], mut name: impl FnMut(usize, Kind) -> String) -> Vec<Passed> {
        let owned: Vec<Port> = ports.iter().map(|&port| port.clone()).collect();
        let passed = Port::groups(&owned).into_iter().map(|tensors| {
            let kind = Kind::of(&ports[tensors.clone()]);
            Passed {
                name: name(tensors.start, kind),
                kind,
                tensors,
            }
        });
        passed.collect()
    }
}

/// The tensors of an input or output that is not one tensor.
pub(super) struct Parts {
    pub(super) elements: usize,
    pub(super) shapes: usize,
    pub(super) present: Option<usize>,
    pub(super) length: Option<usize>,
    /// The sizes that the axes of an element may have.
    pub(super) sizes: Vec<Interval>,
    /// Whether an element may have fewer axes.
    mixed: bool,
    pub(super) dtype: DType,
    /// The number of elements that there is room for.
    pub(super) capacity: usize,
}

impl Parts {
    /// `None` for a tensor.
    pub(super) fn of_input(plan: &Plan, passed: &Passed) -> Option<Parts> {
        let tensors = passed.tensors.clone().map(|number| &plan.inputs[number]);
        let tensors: Vec<_> = tensors.map(|input| (&input.port.part, &input.ty)).collect();
        Parts::new(passed, &tensors)
    }

    /// `None` for a tensor.
    pub(super) fn of_output(plan: &Plan, passed: &Passed) -> Option<Parts> {
        let tensors = passed.tensors.clone().map(|number| &plan.outputs[number]);
        let tensors: Vec<_> = tensors.map(|output| (&output.port.part, &output.ty)).collect();
        Parts::new(passed, &tensors)
    }

    fn new(passed: &Passed, tensors: &[(&Part, &crate::ir::TensorType)]) -> Option<Parts> {
        let find = |is: fn(&Part) -> bool| tensors.iter().position(|(part, _)| is(part));
        let number = |position: usize| passed.tensors.start + position;
        let elements = find(|part| matches!(part, Part::Elements { .. }))?;
        let (Part::Elements { sizes, mixed }, ty) = tensors[elements] else {
            return None;
        };
        Some(Parts {
            elements: number(elements),
            shapes: number(find(|part| *part == Part::Shapes)?),
            present: find(|part| *part == Part::Present).map(number),
            length: find(|part| *part == Part::Length).map(number),
            sizes: sizes.clone(),
            mixed: *mixed,
            dtype: ty.dtype,
            capacity: ty.shape.first()?.as_usize()?,
        })
    }

    /// What is passed, for people.
    fn text(&self, kind: Kind) -> String {
        let range = |size: &Interval| match size.low == size.high {
            true => size.low.to_string(),
            false => format!("{}..={}", size.low, size.high),
        };
        let sizes: Vec<String> = self.sizes.iter().map(range).collect();
        let element = format!("`{}[{}]`", self.dtype, sizes.join(", "));
        match kind {
            Kind::Tensor => element,
            Kind::Optional => format!("{element} or nothing"),
            Kind::Sequence => format!("a sequence of up to {} tensors {element}", self.capacity),
            Kind::OptionalSequence => format!("a sequence of up to {} tensors {element}, or nothing", self.capacity),
        }
    }

    /// The ranges of the sizes, as the runtime's functions take them.
    fn ranges(&self) -> Code {
        Code::array(
            self.sizes
                .iter()
                .map(|size| format!("({}, {})", size.low, size.high).into())
                .collect(),
        )
    }
}

impl Interface<'_> {
    /// What an input is, for people.
    pub(super) fn parameter_text(&self, passed: &Passed) -> String {
        match Parts::of_input(self.plan, passed) {
            Some(parts) => parts.text(passed.kind),
            None => self.input_face(passed.tensors.start).text(),
        }
    }

    /// What an output is, for people.
    pub(super) fn result_text(&self, passed: &Passed) -> String {
        match Parts::of_output(self.plan, passed) {
            Some(parts) => parts.text(passed.kind),
            None => self.output_face(passed.tensors.start).text(),
        }
    }

    /// The type of a parameter.
    pub(super) fn parameter_type(&self, passed: &Passed, imports: &mut Imports) -> String {
        let Some(parts) = Parts::of_input(self.plan, passed) else {
            return self.input_type(passed.tensors.start, imports);
        };
        let view = if parts.mixed {
            ("sequence", "ElementView")
        } else {
            ("tensor", "TensorView")
        };
        imports.add(view.0, view.1);
        let view = format!(
            "{}<'_, {}, {}>",
            view.1,
            element(parts.dtype, imports),
            parts.sizes.len()
        );
        match passed.kind {
            Kind::Optional => format!("Option<{view}>"),
            Kind::OptionalSequence => format!("Option<&[{view}]>"),
            _ => format!("&[{view}]"),
        }
    }

    /// The type of a result with the given lifetime.
    pub(super) fn result_type(&self, passed: &Passed, lifetime: &str, imports: &mut Imports) -> String {
        let Some(parts) = Parts::of_output(self.plan, passed) else {
            return self.output_type(passed.tensors.start, lifetime, imports);
        };
        imports.element(parts.dtype);
        let (ty, rank) = (rust_type(parts.dtype), parts.sizes.len());
        let view = if passed.kind == Kind::Optional {
            "ElementView"
        } else {
            "SequenceView"
        };
        imports.add("sequence", view);
        let view = format!("{view}<{lifetime}, {ty}, {rank}>");
        match passed.kind {
            Kind::Sequence => view,
            _ => format!("Option<{view}>"),
        }
    }

    /// Puts the elements of an input where the steps expect them.
    pub(super) fn print_load(
        &self,
        writer: &mut Writer,
        passed: &Passed,
        used: &[usize],
        places: &mut Places,
        imports: &mut Imports,
    ) {
        let Some(parts) = Parts::of_input(self.plan, passed) else {
            return;
        };
        let load = if parts.mixed { "load_mixed" } else { "load" };
        imports.add("sequence", load);
        let name = &passed.name;
        if let Some(present) = parts.present.filter(|present| used.contains(present)) {
            writer.line(format!("let {} = u8::from({name}.is_some());", self.inputs[present]));
        }
        let bytes = match (parts.dtype, parts.mixed) {
            (DType::Bool, true) => ".map(ElementView::bytes)",
            (DType::Bool, false) => ".map(TensorView::bytes)",
            _ => "",
        };
        let tensors = match passed.kind {
            Kind::Optional => format!("{name}{bytes}"),
            Kind::OptionalSequence => format!("{name}.unwrap_or_default().iter().copied(){bytes}"),
            _ => format!("{name}.iter().copied(){bytes}"),
        };
        let (elements, shapes) = self.print_places(writer, &parts, places);
        let arguments = vec![
            format!("{:?}", self.plan.inputs[passed.tensors.start].port.name).into(),
            tensors.into(),
            parts.ranges(),
            elements.into(),
            shapes.into(),
        ];
        let length = parts.length.filter(|length| used.contains(length));
        let head = length.map(|length| format!("let {} = ", self.inputs[length]));
        writer.code(&head.unwrap_or_default(), &Code::call(load, arguments), "?;");
    }

    /// As `print_load`, for an input whose type is known at run time only.
    pub(super) fn print_load_any(
        &self,
        writer: &mut Writer,
        (number, passed): (usize, &Passed),
        used: &[usize],
        places: &mut Places,
    ) {
        let Some(parts) = Parts::of_input(self.plan, passed) else {
            return;
        };
        let (elements, shapes) = self.print_places(writer, &parts, places);
        let local = |part: Option<usize>| {
            let part = part.filter(|part| used.contains(part));
            part.map_or("_", |part| self.inputs[part].as_str())
        };
        let (present, length) = (local(parts.present), local(parts.length));
        let head = match (present, length) {
            ("_", "_") => String::new(),
            _ => format!("let ({present}, {length}) = "),
        };
        let ty = rust_type(parts.dtype);
        let mixed = if parts.mixed { "_mixed" } else { "" };
        let load = format!("{}.load{mixed}::<{ty}, {}>", passed.name, parts.sizes.len());
        let arguments = vec![
            format!("&Self::INPUTS[{number}]").into(),
            parts.ranges(),
            elements.into(),
            shapes.into(),
        ];
        writer.code(&head, &Code::call(&load, arguments), "?;");
        if present != "_" {
            writer.line(format!("let {present} = u8::from({present});"));
        }
    }

    fn print_places(&self, writer: &mut Writer, parts: &Parts, places: &mut Places) -> (String, String) {
        let (elements, shapes) = (&self.inputs[parts.elements], &self.inputs[parts.shapes]);
        let slot = |number: usize, places: &mut Places| match &self.plan.inputs[number].place {
            Some(Access {
                base: Base::Buffer(id), ..
            }) => places.slot(self.plan, *id),
            _ => String::new(),
        };
        let slots = [parts.elements, parts.shapes].map(|number| slot(number, places).into());
        writer.line("let m = &mut self.arena.memory();");
        let split = Code::call("m.split", vec![Code::tuple(slots.to_vec()), "()".into()]);
        writer.code(&format!("let (({elements}, {shapes}), ()) = "), &split, ";");
        (elements.clone(), shapes.clone())
    }

    /// Names the view of a result that is no tensor.
    pub(super) fn print_view(&self, writer: &mut Writer, passed: &Passed, places: &mut Places, imports: &mut Imports) {
        let Some(parts) = Parts::of_output(self.plan, passed) else {
            return;
        };
        imports.add("sequence", "SequenceView");
        let arguments = self.view_arguments(&parts, places);
        let view = Code::call("SequenceView::new", arguments.to_vec());
        writer.code(&format!("let {} = ", passed.name), &view, ";");
    }

    /// A result as the caller gets it, once views are named; a `Result` if it is a tensor whose shape is dynamic.
    pub(super) fn result_value(&self, passed: &Passed, places: &mut Places, imports: &mut Imports) -> Code {
        let Some(parts) = Parts::of_output(self.plan, passed) else {
            let Base::Buffer(id) = self.plan.outputs[passed.tensors.start].access.base else {
                return "".into();
            };
            let slot = places.slot(self.plan, id);
            return self.output_value(passed.tensors.start, &slot, &self.sizes(), imports);
        };
        let name = &passed.name;
        match (passed.kind, parts.present) {
            (Kind::Optional, _) => format!("{name}.get(0)").into(),
            (Kind::OptionalSequence, Some(present)) => {
                format!("({}[0] != 0).then_some({name})", self.part_slot(present, places)).into()
            }
            _ => name.as_str().into(),
        }
    }

    /// The elements, the shapes and the number of elements of a result.
    fn view_arguments(&self, parts: &Parts, places: &mut Places) -> [Code; 3] {
        let length = match (parts.length, parts.present) {
            (Some(length), _) => format!("{}[0]", self.part_slot(length, places)),
            (None, Some(present)) => format!("i64::from({}[0])", self.part_slot(present, places)),
            (None, None) => "0".into(),
        };
        let elements = self.part_slot(parts.elements, places);
        let shapes = self.part_slot(parts.shapes, places);
        [elements.into(), shapes.into(), length.into()]
    }

    /// Passes a sequence or an optional value to the function that takes the outputs.
    pub(super) fn print_result_any(
        &self,
        writer: &mut Writer,
        (number, passed): (usize, &Passed),
        places: &mut Places,
        imports: &mut Imports,
    ) {
        let Some(parts) = Parts::of_output(self.plan, passed) else {
            return;
        };
        imports.add("describe", "AnySequence");
        let present = parts
            .present
            .map(|present| format!("{}[0]", self.part_slot(present, places)));
        let [elements, shapes, length] = self.view_arguments(&parts, places);
        let variant = super::model::variant(parts.dtype);
        let arguments = vec![
            format!("AnyData::{variant}({})", elements.one_line().unwrap_or_default()).into(),
            shapes,
            parts.sizes.len().to_string().into(),
            length,
        ];
        writer.code("let sequence = ", &Code::call("AnySequence::of_rows", arguments), ";");
        match (passed.kind, present) {
            (Kind::Optional, _) => {
                writer.line(format!(
                    "let found = sequence.with(0, |tensor| outputs({number}, AnyValue::Tensor(tensor)));"
                ));
                writer.open("if found.is_none() {");
                writer.line(format!("outputs({number}, AnyValue::None);"));
                writer.close("}");
            }
            (Kind::OptionalSequence, Some(present)) => {
                writer.open(format!("if {present} != 0 {{"));
                writer.line(format!("outputs({number}, AnyValue::Sequence(sequence));"));
                writer.between("} else {");
                writer.line(format!("outputs({number}, AnyValue::None);"));
                writer.close("}");
            }
            _ => writer.line(format!("outputs({number}, AnyValue::Sequence(sequence));")),
        }
    }

    fn part_slot(&self, number: usize, places: &mut Places) -> String {
        let Base::Buffer(id) = self.plan.outputs[number].access.base else {
            return String::new();
        };
        let slot = places.slot(self.plan, id);
        format!("self.arena.get({})", self.output_slot(number, &slot, &self.sizes()))
    }
}
