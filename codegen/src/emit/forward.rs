//! The steps of a run, in order.

use super::comments;
use super::extent::Extents;
use super::function::{Printed, Roles, can_fail};
use super::literal;
use super::memory::Places;
use super::size::Sizes;
use super::text::{Code, Writer};
use crate::ir::Dim;
use crate::plan::repeat::accesses;
use crate::plan::{Access, Base, Item, Loop, Plan, Repeat, Step};
use std::collections::BTreeSet;

/// Prints the program of a plan.
pub(super) struct Forward<'a> {
    pub(super) plan: &'a Plan,
    pub(super) sizes: &'a Sizes,
    pub(super) places: &'a mut Places,
    /// The names of the inputs.
    pub(super) inputs: &'a [String],
    /// The functions.
    pub(super) functions: &'a [Printed],
    /// The steps that can fail.
    pub(super) fallible: &'a BTreeSet<usize>,
    /// Whether the run may end with an error.
    pub(super) ends_early: bool,
    /// Whether the run gives symbols their value.
    pub(super) binds: bool,
    /// Names that are taken among functions and constants.
    pub(super) names: &'a mut crate::plan::names::Names,
    /// Whether every step is reported to a profile.
    pub(super) profile: bool,
    /// Whether steps are divided.
    pub(super) has_team: bool,
    /// The functions of repeats, and their tables.
    pub(super) parts: Vec<String>,
    /// The inputs that the function being printed reads.
    pub(super) used_inputs: BTreeSet<usize>,
    /// Whether the function being printed passes the sizes on.
    pub(super) dims: bool,
}

/// What `forward` takes.
pub(super) struct ForwardInputs {
    pub(super) dims: bool,
    pub(super) inputs: Vec<usize>,
}

/// Names of slices, and the slots that they borrow.
type Borrows = Vec<(String, Code)>;

/// A step of a repeat.
#[derive(Clone, Copy)]
struct Moved<'a> {
    repeat: &'a Repeat,
    place: usize,
    columns: &'a [String],
}

impl Forward<'_> {
    /// Prints `forward`.
    pub(super) fn print(&mut self, writer: &mut Writer) -> ForwardInputs {
        let mut body = Writer::new(1);
        if self.has_team {
            body.line("let team = Team::new(s, executor);");
        }
        let program = &self.plan.program;
        self.items(&mut body, program);
        let result = if self.binds {
            body.line("Ok(d)");
            " -> Result<Dims, RunError>"
        } else {
            self.end(&mut body, self.ends_early)
        };
        let dims = self.sizes.uses_dims() | self.dims;
        let inputs: Vec<usize> = std::mem::take(&mut self.used_inputs).into_iter().collect();
        let text = body.finish();
        let mut parameters = self.parameters(&text, dims, &inputs);
        if self.has_team {
            parameters.insert(1, "executor: &dyn Executor".into());
        }
        writer.line("/// Computes every value of the model.");
        if parameters.len() > 7 {
            writer.line("#[allow(clippy::too_many_arguments)]");
        }
        writer.open_function(&format!("fn forward{}", self.generics()), &parameters, result);
        writer.raw(&text);
        writer.close("}");
        ForwardInputs { dims, inputs }
    }

    fn generics(&self) -> &'static str {
        if self.profile {
            "<S: Isa, P: Profile + ?Sized>"
        } else {
            "<S: Isa>"
        }
    }

    /// Ends a function that may fail or not, and returns its type.
    fn end(&self, writer: &mut Writer, fallible: bool) -> &'static str {
        if fallible {
            writer.line("Ok(())");
            " -> Result<(), RunError>"
        } else {
            ""
        }
    }

    fn parameters(&mut self, text: &str, uses_dims: bool, inputs: &[usize]) -> Vec<String> {
        let isa = if uses_isa(text) { "s" } else { "_" };
        let mut parameters = vec![format!("{isa}: S")];
        if uses_dims {
            let assigned = text.contains("= dims::bind(");
            parameters.push(if assigned { "mut d: Dims" } else { "d: Dims" }.into());
        }
        parameters.push("m: &mut Memory<'_>".into());
        if self.profile {
            parameters.push("p: &mut P".into());
        }
        for &input in inputs {
            let ty = literal::rust_type(self.plan.inputs[input].ty.dtype);
            parameters.push(format!("{}: &[{ty}]", self.inputs[input]));
        }
        parameters
    }

    fn items(&mut self, writer: &mut Writer, items: &[Item]) {
        for item in items {
            match item {
                Item::Step(number) => self.step(writer, *number, None),
                Item::Repeat(repeat) => self.repeat(writer, repeat),
                Item::If {
                    condition,
                    then_items,
                    else_items,
                } => {
                    let condition = self.element(condition);
                    writer.open(format!("if {condition} != 0 {{"));
                    self.items(writer, then_items);
                    if !else_items.is_empty() {
                        writer.between("} else {");
                        self.items(writer, else_items);
                    }
                    writer.close("}");
                }
                Item::Bind { symbol, value } => self.bind(writer, symbol, value),
                Item::Assert {
                    condition,
                    origin,
                    message,
                } => {
                    let condition = format!("{} != 0", self.element(condition));
                    let arguments = vec![
                        condition.into(),
                        format!("{origin:?}").into(),
                        format!("{message:?}").into(),
                    ];
                    writer.code("", &Code::call("dims::demand", arguments), "?;");
                }
                Item::Loop(repeated) => self.repeated(writer, repeated),
                Item::For { trips, symbol, body } => {
                    let trips = self.sizes.text(trips);
                    writer.open(format!("for {symbol} in 0..{trips} {{"));
                    self.items(writer, body);
                    writer.close("}");
                }
            }
        }
    }

    fn bind(&mut self, writer: &mut Writer, symbol: &str, value: &Access) {
        let bounds = self.sizes.bounds.get(symbol);
        let head = match self.sizes.names.get(symbol) {
            Some(field) => {
                self.dims = true;
                format!("{field} = ")
            }
            // The value is only checked.
            None => String::new(),
        };
        let arguments = vec![
            format!("{symbol:?}").into(),
            self.element(value).into(),
            bounds.low.to_string().into(),
            bounds.high.to_string().into(),
        ];
        writer.code(&head, &Code::call("dims::bind", arguments), "?;");
    }

    fn repeated(&mut self, writer: &mut Writer, repeated: &Loop) {
        let symbol = &repeated.symbol;
        let (trips, condition) = (self.element(&repeated.trips), self.element(&repeated.condition));
        writer.line(format!("let {symbol}_trips = usize::try_from({trips}).unwrap_or(0);"));
        writer.line(format!("let mut {symbol}_goes_on = {condition} != 0;"));
        writer.line(format!("let mut {symbol} = 0;"));
        writer.open(format!("while {symbol}_goes_on && {symbol} < {symbol}_trips {{"));
        if let Some(iteration) = &repeated.iteration {
            let (slot, _) = self.slot(iteration, Some(Dim::from(1i64)), None);
            writer.line(format!("m.get_mut({slot})[0] = {symbol} as i64;"));
        }
        self.items(writer, &repeated.body);
        let next = self.element(&repeated.next);
        writer.line(format!("{symbol}_goes_on = {next} != 0;"));
        writer.line(format!("{symbol} += 1;"));
        writer.close("}");
    }

    /// The first element of an access.
    fn element(&mut self, access: &Access) -> String {
        let offset = self.sizes.text(&access.offset);
        match access.base {
            Base::Input(number) => {
                self.used_inputs.insert(number);
                format!("{}[{offset}]", self.inputs[number])
            }
            Base::Weight(id) => format!("WEIGHTS.get({})[{offset}]", self.places.weight(self.plan, id)),
            Base::Buffer(id) => format!("m.get({})[{offset}]", self.places.slot(self.plan, id)),
        }
    }

    fn step(&mut self, writer: &mut Writer, number: usize, moved: Option<Moved<'_>>) {
        let plan = self.plan;
        let step = &plan.steps[number];
        if self.profile {
            match moved {
                None => writer.line(format!("p.step({number});")),
                Some(Moved { place: 0, .. }) => writer.line("p.step(step);"),
                Some(Moved { place, .. }) => writer.line(format!("p.step(step + {place});")),
            }
        }
        let roles = Roles::of(step);
        let extents = Extents::of(step, &self.sizes.bounds);
        comments::step_comment(writer, step);
        let names = roles
            .reads
            .iter()
            .chain(&roles.writes)
            .map(String::as_str)
            .chain(["scratch"]);
        let lengths = extents.reads.into_iter().chain(extents.writes).chain([None]);
        let mut arguments: Vec<Code> = Vec::new();
        if self.functions[step.function].isa {
            arguments.push(match step.is_divided() {
                false => "s".into(),
                true => format!("team.parts({})", self.sizes.text(&step.parts)).into(),
            });
        }
        if self.functions[step.function].dims {
            arguments.push("d".into());
            self.dims = true;
        }
        let (mut read, mut written): (Borrows, Borrows) = (Vec::new(), Vec::new());
        for (index, (name, length)) in names.zip(lengths).take(accesses(step).count()).enumerate() {
            let is_write = index >= step.reads.len();
            let (access, shift) = moved_access(plan, step, index, moved);
            match access.base {
                Base::Input(input) => arguments.push(self.input(access, input, length.as_ref()).into()),
                Base::Weight(_) => arguments.push(self.weight(access, length, shift).into()),
                Base::Buffer(_) => {
                    let (slot, rest) = self.slot(access, length.clone(), shift);
                    let borrow = if is_write { "&mut " } else { "&" };
                    arguments.push(match rest {
                        None => name.into(),
                        Some(offset) => {
                            let end = length.as_ref().and_then(Dim::as_usize);
                            let end = end.map(|end| format!("[..{end}]")).unwrap_or_default();
                            format!("{borrow}{name}[{offset}..]{end}").into()
                        }
                    });
                    let side = if is_write { &mut written } else { &mut read };
                    side.push((name.to_owned(), slot.into()));
                }
            }
        }
        borrow(writer, written, read);
        let function = &plan.functions[step.function].name;
        let call = Code::call(function, arguments);
        if can_fail(step) {
            let node = step.origin.first().map(String::as_str).unwrap_or_default();
            writer.code("if let Err(message) = ", &call, " {");
            let fields = vec![format!("node: {node:?}").into(), "message".into()];
            writer.nested("return Err(", &Code::structure("RunError::Operator", fields), ");");
            writer.line("}");
        } else if self.fallible.contains(&number) {
            writer.code("let inside = ", &call, ";");
            writer.open("if !inside {");
            let node = step.origin.first().map(String::as_str).unwrap_or_default();
            let error = Code::structure("RunError::Index", vec![format!("node: {node:?}").into()]);
            writer.code("return Err(", &error, ");");
            writer.close("}");
        } else {
            writer.code("", &call, ";");
        }
    }

    /// The slot of an access, and the offset in it that is known only at run time.
    fn slot(&mut self, access: &Access, length: Option<Dim>, shift: Option<&str>) -> (String, Option<String>) {
        let Base::Buffer(id) = access.base else {
            return (String::new(), None);
        };
        let capacity = self.plan.buffers[id.0].capacity;
        let mut slot = self.places.slot(self.plan, id);
        let rest = match access.offset.as_usize() {
            None => Some(self.sizes.text(&access.offset)),
            Some(offset) => {
                let length = length.and_then(|length| length.as_usize()).unwrap_or(capacity - offset);
                match (offset, length) {
                    (0, length) if length == capacity => {}
                    (0, length) => slot.push_str(&format!(".prefix({length})")),
                    (offset, length) => slot.push_str(&format!(".range({offset}, {length})")),
                }
                None
            }
        };
        if let Some(shift) = shift {
            slot.push_str(&format!(".shifted({shift})"));
        }
        (slot, rest)
    }

    fn weight(&mut self, access: &Access, length: Option<Dim>, shift: Option<&str>) -> String {
        let Base::Weight(id) = access.base else {
            return String::new();
        };
        let whole = self.plan.weights.entries[id.0].len;
        let mut weight = self.places.weight(self.plan, id);
        let offset = self.sizes.text(&access.offset);
        let length = match length.map(|length| length.as_usize()) {
            Some(Some(length)) => length.to_string(),
            _ if access.offset.is(0) => whole.to_string(),
            _ => format!("{whole} - {}", self.sizes.factor(&access.offset)),
        };
        if offset != "0" || length != whole.to_string() {
            weight.push_str(&format!(".range({offset}, {length})"));
        }
        if let Some(shift) = shift {
            weight.push_str(&format!(".shifted({shift})"));
        }
        weight
    }

    fn input(&mut self, access: &Access, number: usize, length: Option<&Dim>) -> String {
        self.used_inputs.insert(number);
        let name = &self.inputs[number];
        let whole = self.plan.inputs[number].ty.elements();
        if access.offset.is(0) && length.is_none_or(|length| *length == whole) {
            return name.clone();
        }
        let offset = self.sizes.text(&access.offset);
        let start = if offset == "0" { String::new() } else { offset };
        match length.and_then(Dim::as_usize) {
            Some(length) if start.is_empty() => format!("&{name}[..{length}]"),
            Some(length) => format!("&{name}[{start}..][..{length}]"),
            None if start.is_empty() => name.clone(),
            None => format!("&{name}[{start}..]"),
        }
    }

    /// Prints a repeat: a table, a function for one repetition, and the loop that calls it.
    fn repeat(&mut self, writer: &mut Writer, repeat: &Repeat) {
        let function = self.names.unique(&repeat.name);
        let table = self.names.unique(&format!("{}S", function.to_uppercase()));
        let outer_inputs = std::mem::take(&mut self.used_inputs);
        let outer_sizes = self.sizes.take_used();
        let outer_dims = std::mem::take(&mut self.dims);
        let mut column_names = crate::plan::names::Names::default();
        let columns: Vec<String> = repeat
            .columns
            .iter()
            .map(|column| column_names.unique(if column.weights { "weights" } else { "slots" }))
            .collect();
        let mut body = Writer::new(1);
        for (place, &number) in repeat.steps[0].iter().enumerate() {
            let moved = Moved {
                repeat,
                place,
                columns: &columns,
            };
            self.step(&mut body, number, Some(moved));
        }
        let fallible = repeat.all_steps().any(|step| self.fallible.contains(&step));
        let divided = repeat.all_steps().any(|step| self.plan.steps[step].is_divided());
        let result = self.end(&mut body, fallible);
        let text = body.finish();
        let used = self.sizes.take_used();
        let uses_dims = std::mem::take(&mut self.dims) | used.iter().any(|name| name.starts_with("d."));
        let counters: Vec<&String> = used.iter().filter(|name| !name.starts_with("d.")).collect();
        let inputs: Vec<usize> = std::mem::take(&mut self.used_inputs).into_iter().collect();
        let mut parameters = self.parameters(&text, uses_dims, &inputs);
        // A team brings its instruction set.
        let takes_isa = !divided || uses_isa(&text);
        if divided {
            let team = "team: Team<'_, S>".to_owned();
            parameters.splice(usize::from(takes_isa)..1, [team]);
        }
        parameters.extend(counters.iter().map(|counter| format!("{counter}: usize")));
        let width = columns.len();
        let period = repeat.steps[0].len();
        if self.profile {
            parameters.push("step: usize".into());
        }
        if width > 0 {
            parameters.push(format!("[{}]: [usize; {width}]", columns.join(", ")));
        }
        let mut part = Writer::default();
        let repetitions = repeat.steps.len();
        if width > 0 {
            part.comment(
                "///",
                &format!("Bytes by which weights and slots are further on in each `{function}`."),
            );
            let row = |repetition: usize| {
                let shifts = repeat
                    .columns
                    .iter()
                    .map(|column| column.shifts[repetition].to_string().into());
                Code::array(shifts.collect())
            };
            let rows = Code::array((0..repetitions).map(row).collect());
            part.code(
                &format!("const {table}: [[usize; {width}]; {repetitions}] = "),
                &rows,
                ";",
            );
            part.blank();
        }
        part.line(format!(
            "/// One of {repetitions} runs of steps that differ in their weights and slots."
        ));
        if parameters.len() > 7 {
            part.line("#[allow(clippy::too_many_arguments)]");
        }
        part.open_function(&format!("fn {function}{}", self.generics()), &parameters, result);
        part.raw(&text);
        part.close("}");
        self.parts.push(part.finish());
        let mut arguments: Vec<String> = if takes_isa { vec!["s".into()] } else { Vec::new() };
        if divided {
            arguments.push("team".into());
        }
        if uses_dims {
            arguments.push("d".into());
        }
        arguments.push("m".into());
        if self.profile {
            arguments.push("p".into());
        }
        arguments.extend(inputs.iter().map(|&input| self.inputs[input].clone()));
        arguments.extend(counters.iter().map(|counter| (*counter).clone()));
        if self.profile {
            arguments.push(format!("{} + {period} * number", repeat.steps[0][0]));
        }
        if width > 0 {
            arguments.push("at".into());
        }
        writer.open(match (width, self.profile) {
            (0, false) => format!("for _ in 0..{repetitions} {{"),
            (0, true) => format!("for number in 0..{repetitions} {{"),
            (_, false) => format!("for at in {table} {{"),
            (_, true) => format!("for (number, at) in {table}.into_iter().enumerate() {{"),
        });
        let call = Code::call(&function, arguments.into_iter().map(Code::from).collect());
        writer.code("", &call, if fallible { "?;" } else { ";" });
        writer.close("}");
        self.dims = outer_dims | uses_dims;
        self.used_inputs.extend(outer_inputs);
        self.used_inputs.extend(inputs);
        self.sizes.mark_used(outer_sizes);
        self.sizes.mark_used(used);
    }
}

/// The access of a step that is printed, and the name of what it is moved by in a repeat.
fn moved_access<'a>(
    plan: &'a Plan,
    step: &'a Step,
    index: usize,
    moved: Option<Moved<'a>>,
) -> (&'a Access, Option<&'a str>) {
    let own = accesses(step)
        .nth(index)
        .expect("the index is one of the step's accesses");
    let Some((moved, column)) = moved.and_then(|moved| Some((moved, moved.repeat.moves[moved.place][index]?))) else {
        return (own, None);
    };
    let base = moved.repeat.steps[moved.repeat.columns[column].base][moved.place];
    let access = accesses(&plan.steps[base]).nth(index).unwrap_or(own);
    (access, Some(&moved.columns[column]))
}

/// Borrows slots: `let ((y, scratch), x) = m.split((Y, SCRATCH), X);`.
fn borrow(writer: &mut Writer, written: Borrows, read: Borrows) {
    let side = |list: Borrows| -> (String, Code) {
        let (names, mut slots): (Vec<String>, Vec<Code>) = list.into_iter().unzip();
        match (names.as_slice(), slots.len()) {
            ([name], 1) => (name.clone(), slots.remove(0)),
            _ => (format!("({})", names.join(", ")), Code::tuple(slots)),
        }
    };
    let (reads, single) = (read.len(), written.len() == 1);
    let (out_names, out_slots) = side(written);
    if reads == 0 && single {
        writer.code(
            &format!("let {out_names} = "),
            &Code::call("m.get_mut", vec![out_slots]),
            ";",
        );
        return;
    }
    let (in_names, in_slots) = side(read);
    let in_names = if reads == 0 { "()".to_owned() } else { in_names };
    let call = Code::call("m.split", vec![out_slots, in_slots]);
    writer.code(&format!("let ({out_names}, {in_names}) = "), &call, ";");
}

/// Whether the text of a function reads its parameter `s`.
fn uses_isa(text: &str) -> bool {
    text.contains("(s,") || text.contains(" s,\n")
}
