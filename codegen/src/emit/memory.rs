//! The constants that say where values and weights lie.

use super::comments;
use super::literal::rust_type;
use super::text::{WIDTH, Writer};
use crate::plan::names::{Names, short};
use crate::plan::{BufferId, Plan, WeightId};
use std::collections::{BTreeMap, HashMap};

/// Longest name of a slot, so that the slots of a step fit on a line.
const SLOT_NAME: usize = 18;

/// Longest name of a weight.
const WEIGHT_NAME: usize = 24;

/// The names of slots and weights that the module mentions.
pub(super) struct Places {
    names: Names,
    slots: BTreeMap<BufferId, String>,
    weights: BTreeMap<WeightId, String>,
    /// Working memory at one place is one slot.
    scratch: HashMap<(usize, usize), String>,
}

impl Places {
    pub(super) fn new() -> Places {
        Places {
            names: Names::reserving(&["WEIGHTS", "ARENA_BYTES", "LAYERS", "BLOCKS"]),
            slots: BTreeMap::new(),
            weights: BTreeMap::new(),
            scratch: HashMap::new(),
        }
    }

    /// The name of a slot.
    pub(super) fn slot(&mut self, plan: &Plan, id: BufferId) -> String {
        if let Some(name) = self.slots.get(&id) {
            return name.clone();
        }
        let buffer = &plan.buffers[id.0];
        if buffer.name == "scratch"
            && let Some(name) = self.scratch.get(&(buffer.offset, buffer.capacity))
        {
            return name.clone();
        }
        let name = self.names.unique(&constant(value_name(plan, id), "value", SLOT_NAME));
        if buffer.name == "scratch" {
            self.scratch.insert((buffer.offset, buffer.capacity), name.clone());
        }
        self.slots.insert(id, name.clone());
        name
    }

    /// The name of a weight.
    pub(super) fn weight(&mut self, plan: &Plan, id: WeightId) -> String {
        if let Some(name) = self.weights.get(&id) {
            return name.clone();
        }
        let name = constant(&plan.weights.entries[id.0].name, "weight", WEIGHT_NAME);
        let name = self.names.unique(&name);
        self.weights.insert(id, name.clone());
        name
    }

    pub(super) fn has_slots(&self) -> bool {
        !self.slots.is_empty()
    }

    pub(super) fn has_weights(&self) -> bool {
        !self.weights.is_empty()
    }

    /// Prints the slots.
    pub(super) fn print_slots(&self, writer: &mut Writer, plan: &Plan) {
        for (id, name) in &self.slots {
            let buffer = &plan.buffers[id.0];
            let text = format!(
                "const {name}: Slot<{}> = Slot::new({}, {});",
                rust_type(buffer.dtype),
                buffer.offset,
                buffer.capacity
            );
            let value = match (buffer.name.as_str(), value_name(plan, *id)) {
                ("scratch", _) => "working memory".to_owned(),
                ("", "") => "no name".to_owned(),
                ("", node) => format!("of `{node}`"),
                (name, _) => format!("`{name}`"),
            };
            let end = buffer.last.min(plan.steps.len());
            line(writer, &text, &format!("steps {} to {end}: {value}", buffer.first));
        }
    }

    /// Prints the check of all lives.
    pub(super) fn print_lives(&self, writer: &mut Writer, plan: &Plan) {
        let mut known: HashMap<(usize, usize), &String> = HashMap::new();
        for (id, name) in &self.slots {
            let buffer = &plan.buffers[id.0];
            known
                .entry((buffer.offset, buffer.capacity * buffer.dtype.size()))
                .or_insert(name);
        }
        let mut order: Vec<usize> = (0..plan.buffers.len()).collect();
        order.sort_by_key(|&number| (plan.buffers[number].first, number));
        let lives = order.into_iter().map(|number| {
            let buffer = &plan.buffers[number];
            let bytes = buffer.capacity * buffer.dtype.size();
            let (first, last) = (buffer.first, buffer.last.min(plan.steps.len()));
            let own = self.slots.get(&BufferId(number));
            match own.or(known.get(&(buffer.offset, bytes)).copied()) {
                Some(name) => format!("{name}.live({first}, {last})"),
                None => format!("Slot::<u8>::new({}, {bytes}).live({first}, {last})", buffer.offset),
            }
        });
        let lives: Vec<String> = lives.collect();
        writer.line("// Checked by the compiler: no two values that are alive at the same step share a byte.");
        writer.line("#[rustfmt::skip]");
        writer.open("const _: () = verify_plan(&[");
        writer.fill(&lives);
        writer.close("], ARENA_BYTES);");
    }

    /// Prints the weights.
    pub(super) fn print_weights(&self, writer: &mut Writer, plan: &Plan) {
        for (id, name) in &self.weights {
            let entry = &plan.weights.entries[id.0];
            let text = format!(
                "const {name}: Weight<{}> = Weight::new({}, {});",
                rust_type(entry.dtype()),
                entry.offset,
                entry.len
            );
            let shape: Vec<String> = entry.tensor.shape.iter().map(usize::to_string).collect();
            let name = if entry.name.is_empty() {
                String::new()
            } else {
                format!(" `{}`", entry.name)
            };
            line(writer, &text, &format!("[{}]{name}", shape.join(", ")));
        }
    }
}

/// The name of a value: its own, or that of the last node of the step that computes it.
fn value_name(plan: &Plan, id: BufferId) -> &str {
    let buffer = &plan.buffers[id.0];
    if !buffer.name.is_empty() {
        return &buffer.name;
    }
    let step = plan.steps.get(buffer.first);
    step.and_then(|step| step.origin.last()).map_or("", String::as_str)
}

/// Code with a comment after it, cut where the line ends.
fn line(writer: &mut Writer, code: &str, comment: &str) {
    let comment: String = comment.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let room = WIDTH.saturating_sub(code.chars().count() + 4);
    let text = match comment.chars().count() {
        wide if wide <= room => comment,
        _ => {
            let kept: String = comment.chars().take(room.saturating_sub(4)).collect();
            format!("{}...`", kept.trim_end())
        }
    };
    writer.line(format!("{code} // {text}"));
}

/// The name of a constant.
fn constant(name: &str, fallback: &str, limit: usize) -> String {
    let name = short(name, limit);
    let name = if name.is_empty() { fallback.to_owned() } else { name };
    let name = if name.starts_with(|c: char| c.is_ascii_digit()) {
        format!("v_{name}")
    } else {
        name
    };
    name.to_uppercase()
}

/// The sizes of the arena and the weights, for the header.
pub(super) fn summary(plan: &Plan) -> String {
    let certificate = &plan.certificate;
    let excess = match certificate.arena_bytes == certificate.lower_bound {
        true => "the least possible".to_owned(),
        false => format!("at least {} are needed", comments::bytes(certificate.lower_bound)),
    };
    let macs: u64 = plan.steps.iter().map(|step| step.macs).sum();
    let threads = match plan.threads {
        0 | 1 => String::new(),
        threads => format!(" on {threads} threads"),
    };
    format!(
        "arena {} ({excess}), weights {}, {} steps{threads}, {} multiplications and additions.",
        comments::bytes(certificate.arena_bytes),
        comments::bytes(plan.weights.bytes),
        plan.steps.len(),
        comments::count(macs)
    )
}
