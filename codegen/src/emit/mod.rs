//! From a plan to the text of a Rust module. Nothing is decided here.
//!
//! A module holds a `Model`, whose `run` enters one function, `forward`, once for an instruction set. It calls one
//! function per distinct step, and a run of steps that repeats is a function that is called in a loop. The text is the
//! same for the same plan and options, byte by byte, and as rustfmt would have it with lines of 120 columns.

mod comments;
mod epilogue;
mod extent;
mod face;
mod fold;
mod forward;
mod function;
mod interface;
mod linear;
mod literal;
mod map;
mod memory;
mod model;
mod module;
mod opaque;
mod operators;
mod passed;
mod program;
mod rounding;
mod rows;
mod scalar;
mod size;
mod spatial;
mod streamed;
mod text;
mod widen;

use crate::plan::Plan;
use crate::plan::names::Names;
use forward::Forward;
use interface::Interface;
use memory::Places;
use module::Imports;
use std::collections::BTreeSet;
use text::Writer;

/// What a module says about where it comes from, and how it finds the runtime and its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmitOptions {
    /// The path of the runtime: `::onnxide_runtime` or `::onnxide::runtime`.
    pub runtime: String,
    /// Lines about the source of the module, for its header: the model's file, its hash, the command, the options.
    pub header: Vec<String>,
    /// How the weights get into the program.
    pub weights: WeightsSource,
    /// Whether the model implements the runtime's `Program`, for tools.
    pub program: bool,
    /// Whether steps can be reported to a profile; the model then implements `Program` too.
    pub profile: bool,
}

/// How weights get into a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightsSource {
    /// The Rust compiler includes a file, given by an expression for `include_bytes!`.
    Include(String),
    /// The assembler includes a file.
    Object {
        /// A name that is unique in the program.
        symbol: String,
        /// The path, an expression for `concat!`.
        path: String,
    },
}

/// Prints a plan as a Rust module.
pub fn emit(plan: &Plan, options: &EmitOptions) -> String {
    let interface = Interface::new(plan, &BTreeSet::new());
    let text = print(plan, &interface, options);
    // Which sizes are read is known only once everything is printed; those that are not need no place.
    let is_unread = |(_, field): &&(String, String)| !reads(&text, &format!("d.{field}"));
    let unread = interface.computed.iter().filter(is_unread);
    let unread: BTreeSet<String> = unread.map(|(symbol, _)| symbol.clone()).collect();
    match unread.is_empty() {
        true => text,
        false => print(plan, &Interface::new(plan, &unread), options),
    }
}

/// Whether a text has a field for anything but giving it a value.
fn reads(text: &str, field: &str) -> bool {
    text.match_indices(field).any(|(at, _)| {
        let rest = &text[at + field.len()..];
        let whole = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let own = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        whole && own && !rest.starts_with(" = dims::bind(")
    })
}

fn print(plan: &Plan, interface: &Interface<'_>, options: &EmitOptions) -> String {
    let mut imports = Imports::default();
    let mut places = Places::new();
    let sizes = {
        let mut sizes = interface.sizes();
        for symbol in counters(&plan.program) {
            sizes.names.insert(symbol.clone(), symbol);
        }
        sizes
    };
    let mut names = Names::default();
    let mut functions = Vec::new();
    for function in &plan.functions {
        names.unique(&function.name);
        functions.push(function::function(plan, function, &sizes, &mut imports));
    }
    names.unique("forward");
    let mut forward = Forward {
        plan,
        sizes: &sizes,
        places: &mut places,
        inputs: &interface.inner_inputs,
        functions: &functions,
        fallible: &interface.fallible,
        ends_early: interface.ends_early(),
        binds: interface.binds(),
        names: &mut names,
        profile: options.profile,
        has_team: interface.has_team(),
        parts: Vec::new(),
        used_inputs: BTreeSet::new(),
        dims: false,
    };
    let mut forward_text = Writer::default();
    let takes = forward.print(&mut forward_text);
    let parts = std::mem::take(&mut forward.parts);
    let mut interface_text = Writer::default();
    model::print(
        &mut interface_text,
        interface,
        &takes,
        &mut places,
        &mut imports,
        options,
    );
    if interface.is_dynamic() {
        interface_text.blank();
        interface.print_dims(&mut interface_text, &mut imports);
    }
    if options.program || options.profile {
        interface_text.blank();
        program::print(
            &mut interface_text,
            interface,
            &takes,
            &mut places,
            &mut imports,
            options.profile,
        );
    }
    let mut rest = interface_text.finish();
    for part in [forward_text.finish()]
        .into_iter()
        .chain(parts)
        .chain(functions.into_iter().map(|function| function.text))
    {
        rest.push('\n');
        rest.push_str(&part);
    }
    let mut constants = Writer::default();
    print_constants(&mut constants, plan, &places, &mut imports, options);
    let constants = constants.finish();
    let mut writer = Writer::default();
    print_header(&mut writer, plan, options);
    let body = format!("{constants}{rest}");
    imports.print(&mut writer, &options.runtime, &body);
    writer.blank();
    writer.raw(&body);
    writer.finish()
}

fn print_header(writer: &mut Writer, plan: &Plan, options: &EmitOptions) {
    for line in &options.header {
        writer.comment("//", line);
    }
    if !options.header.is_empty() {
        writer.line("//");
    }
    writer.comment("//", &format!("Sizes: {}", memory::summary(plan)));
    writer.blank();
}

fn print_constants(writer: &mut Writer, plan: &Plan, places: &Places, imports: &mut Imports, options: &EmitOptions) {
    let runtime = &options.runtime;
    writer.line("/// Bytes of memory for the values of a run.");
    writer.line(format!(
        "pub const ARENA_BYTES: usize = {};",
        plan.certificate.arena_bytes
    ));
    writer.blank();
    if places.has_weights() {
        imports.add("weights", "Weight");
        imports.add("weights", "Weights");
        let len = plan.weights.bytes;
        let source = match &options.weights {
            WeightsSource::Include(path) => format!("{runtime}::weights!({path}, {len})"),
            WeightsSource::Object { symbol, path } => format!("{runtime}::weights_object!({symbol}, {path}, {len})"),
        };
        writer.line("/// The weights of the model.");
        writer.line("#[rustfmt::skip]");
        writer.line(format!("pub static WEIGHTS: Weights = {source};"));
        writer.blank();
        places.print_weights(writer, plan);
        writer.blank();
    }
    if places.has_slots() {
        imports.add("arena", "Slot");
        imports.add("plan", "verify_plan");
        places.print_slots(writer, plan);
        writer.blank();
        places.print_lives(writer, plan);
        writer.blank();
    }
}

/// The counters of the loops of a program.
fn counters(items: &[crate::plan::Item]) -> Vec<String> {
    use crate::plan::Item;
    let mut found = Vec::new();
    for item in items {
        match item {
            Item::Step(_) | Item::Repeat(_) | Item::Bind { .. } | Item::Assert { .. } => {}
            Item::If {
                then_items, else_items, ..
            } => {
                found.extend(counters(then_items));
                found.extend(counters(else_items));
            }
            Item::Loop(repeated) => {
                found.push(repeated.symbol.to_string());
                found.extend(counters(&repeated.body));
            }
            Item::For { symbol, body, .. } => {
                found.push(symbol.to_string());
                found.extend(counters(body));
            }
        }
    }
    found
}
