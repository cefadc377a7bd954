//! From a graph to a plan: the order of steps, the kernel of each, where every value lies, and how weights are packed.
//!
//! Everything is decided here; the [emitter](crate::emit) only prints. A [`Plan`] carries its [`Certificate`]: the size
//! of the arena, the lower bound that no placement of the same steps can beat, and the bytes live at each step.

pub mod access;
mod chains;
mod epilogue;
mod function;
pub mod kernel;
pub mod layout;
mod lower;
pub(crate) mod names;
mod place;
mod ram;
mod reorder;
pub(crate) mod repeat;
mod scratch;
pub mod streamed;
mod text;
mod threads;
mod tuning;
mod weights;

use crate::Precision;
use crate::ir::graph::{Constraint, Graph, Port};
use crate::ir::{DType, Dim, Interval, TensorType};
pub use access::{Access, Base, Buffer, BufferId};
pub use function::Function;
pub use kernel::Kernel;
pub use layout::Layout;
pub use place::Certificate;
pub use ram::RamSize;
pub use repeat::{Column, Repeat};
use std::sync::Arc;
pub use tuning::{Choice, Decision, Tuning};
pub use weights::{Packing, WeightId, WeightTable};

/// A model with every decision taken.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name of the model.
    pub name: String,
    /// The symbols of dimensions with their bounds, in order of their names.
    pub symbols: Vec<(Arc<str>, Interval)>,
    /// Equalities between dimensions that are checked before the first step.
    pub constraints: Vec<Constraint>,
    /// The inputs.
    pub inputs: Vec<Input>,
    /// The outputs.
    pub outputs: Vec<Output>,
    /// The values that live in the arena.
    pub buffers: Vec<Buffer>,
    /// The steps, in the order in which they first run.
    pub steps: Vec<Step>,
    /// How the steps follow each other.
    pub program: Vec<Item>,
    /// The functions that steps share.
    pub functions: Vec<Function>,
    /// The largest number of threads of a step.
    pub threads: usize,
    /// What was decided that a [`Tuning`] may decide otherwise.
    pub decisions: Vec<Decision>,
    /// The constant data.
    pub weights: WeightTable,
    /// The size of the arena and what it is compared with.
    pub certificate: Certificate,
}

/// A tensor of an input of the model.
#[derive(Clone, Debug)]
pub struct Input {
    /// The name in the source model, and what the tensor is of the input.
    pub port: Port,
    /// The type.
    pub ty: TensorType,
    /// Where it is put before the first step; `None` for a tensor that is read where the caller has it.
    pub place: Option<Access>,
}

/// A tensor of an output of the model.
#[derive(Clone, Debug)]
pub struct Output {
    /// The name in the source model, and what the tensor is of the output.
    pub port: Port,
    /// The type.
    pub ty: TensorType,
    /// Where it lies; dense.
    pub access: Access,
}

/// A call of a kernel.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is computed, with every size and stride.
    pub kernel: Kernel,
    /// The sizes of the loops around the kernel, outermost first.
    pub loops: Vec<Dim>,
    /// What is read, in the order of the kernel's parameters.
    pub reads: Vec<Access>,
    /// What is written, in the order of the kernel's parameters.
    pub writes: Vec<Access>,
    /// Working memory of the kernel, for all parts together.
    pub scratch: Option<Access>,
    /// The number of parts that the kernel divides its work into; 1 or the constant or computed number of threads. The
    /// result does not depend on it.
    pub parts: Dim,
    /// Whether a part is some iterations of the outermost loop around the kernel, rather than a part of its work.
    pub divides_loop: bool,
    /// The names of the nodes of the source model.
    pub origin: Vec<String>,
    /// The types of the results, for people.
    pub results: Vec<TensorType>,
    /// Multiplications and additions, in pairs, at the bounds of the symbols.
    pub macs: u64,
    /// The function that the step is a call of.
    pub function: usize,
}

/// A part of a program.
#[derive(Clone, Debug)]
pub enum Item {
    /// A step.
    Step(usize),
    /// A run of steps that repeats with other weights or slots.
    Repeat(Repeat),
    /// One of two parts, by a truth value.
    If {
        /// The condition, one element.
        condition: Access,
        /// What runs where it holds.
        then_items: Vec<Item>,
        /// What runs elsewhere.
        else_items: Vec<Item>,
    },
    /// A symbol gets its value, one element of type `i64`.
    Bind {
        /// The symbol.
        symbol: Arc<str>,
        /// The value.
        value: Access,
    },
    /// The run ends with an error unless a condition, one element, holds.
    Assert {
        /// The condition.
        condition: Access,
        /// The node of the source model that demands it.
        origin: String,
        /// What holds, in words.
        message: String,
    },
    /// A part that repeats while a condition holds.
    Loop(Box<Loop>),
    /// A part that repeats a given number of times.
    For {
        /// The number of iterations.
        trips: Dim,
        /// The name of the iteration number in offsets.
        symbol: Arc<str>,
        /// What runs.
        body: Vec<Item>,
    },
}

/// A part of a program that repeats while a condition holds.
#[derive(Clone, Debug)]
pub struct Loop {
    /// The largest number of iterations, one element of type `i64`.
    pub trips: Access,
    /// The initial condition, one element.
    pub condition: Access,
    /// Where the iteration number is put, if it is used.
    pub iteration: Option<Access>,
    /// The name of the iteration number in offsets.
    pub symbol: Arc<str>,
    /// What runs.
    pub body: Vec<Item>,
    /// Where the body leaves the condition.
    pub next: Access,
}

/// What the planner may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// The largest number of threads of a step.
    pub threads: usize,
    /// Whether convolutions may be computed by Winograd's algorithm, which rounds more.
    pub winograd: bool,
    /// In what matrix products and convolutions multiply.
    pub precision: Precision,
    /// Bytes that the arena may have. Without a bound a plan takes the memory that it is fast with.
    pub ram: Option<usize>,
    /// What measurements have decided.
    pub tuning: Tuning,
    /// Whether to do nothing for small arenas that a plan can do without, for comparison.
    pub plain: bool,
}

impl Default for PlanOptions {
    fn default() -> PlanOptions {
        PlanOptions {
            threads: 1,
            winograd: true,
            precision: Precision::F32,
            ram: None,
            tuning: Tuning::default(),
            plain: false,
        }
    }
}

/// Something the planner cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// The names of the nodes of the source model.
    pub origin: Vec<String>,
    /// The primitive.
    pub operator: &'static str,
    /// What is the matter.
    pub message: String,
}

impl Plan {
    /// Plans a graph with the default options.
    ///
    /// # Errors
    ///
    /// Everything in the graph that no kernel computes.
    pub fn new(graph: &Graph) -> Result<Plan, Vec<PlanError>> {
        Plan::with(graph, &PlanOptions::default())
    }

    /// Plans a graph.
    ///
    /// # Errors
    ///
    /// As for [`new`](Plan::new), and the steps that do not fit the bound of the arena, if there is one.
    pub fn with(graph: &Graph, options: &PlanOptions) -> Result<Plan, Vec<PlanError>> {
        Ok(ram::plan(graph, options)?.finished())
    }

    /// Plans a graph for the smallest arena that is found, at any cost in time; `options.ram` does not matter.
    ///
    /// # Errors
    ///
    /// As for [`new`](Plan::new).
    pub fn smallest(graph: &Graph, options: &PlanOptions) -> Result<Plan, Vec<PlanError>> {
        Ok(ram::smallest(graph, options)?.finished())
    }

    /// Places weights and finds repeats.
    fn finished(mut self) -> Plan {
        self.weights.assign_offsets();
        let program = std::mem::take(&mut self.program);
        self.program = repeat::roll(&self, program);
        self
    }

    /// Calls `visit` with every access of steps, outputs, branches and loops.
    pub(crate) fn for_each_access_mut(&mut self, visit: &mut dyn FnMut(&mut Access)) {
        for step in &mut self.steps {
            let all = step.reads.iter_mut().chain(&mut step.writes).chain(&mut step.scratch);
            all.for_each(&mut *visit);
        }
        let places = self.inputs.iter_mut().filter_map(|input| input.place.as_mut());
        places.for_each(&mut *visit);
        self.outputs.iter_mut().for_each(|output| visit(&mut output.access));
        self.program.iter_mut().for_each(|item| item.for_each_access_mut(visit));
    }

    /// The symbols that the run itself gives a value.
    pub fn bound_symbols(&self) -> Vec<Arc<str>> {
        let mut found = Vec::new();
        let mut visit = |item: &Item| {
            if let Item::Bind { symbol, .. } = item {
                found.push(symbol.clone());
            }
        };
        self.program.iter().for_each(|item| item.for_each(&mut visit));
        found.sort();
        found
    }

    /// The bounds of the symbols.
    pub fn bounds(&self) -> crate::ir::Bounds {
        let mut bounds = crate::ir::Bounds::new();
        for (symbol, interval) in &self.symbols {
            bounds.insert(symbol.clone(), *interval);
        }
        bounds
    }
}

impl Item {
    /// Calls `visit` with the accesses of branches and loops.
    fn for_each_access_mut(&mut self, visit: &mut dyn FnMut(&mut Access)) {
        match self {
            Item::Step(_) | Item::Repeat(_) => {}
            Item::Bind { value: access, .. } | Item::Assert { condition: access, .. } => visit(access),
            Item::If {
                condition,
                then_items,
                else_items,
            } => {
                visit(condition);
                let items = then_items.iter_mut().chain(else_items);
                items.for_each(|item| item.for_each_access_mut(visit));
            }
            Item::Loop(repeated) => {
                visit(&mut repeated.trips);
                visit(&mut repeated.condition);
                repeated.iteration.iter_mut().for_each(&mut *visit);
                visit(&mut repeated.next);
                repeated
                    .body
                    .iter_mut()
                    .for_each(|item| item.for_each_access_mut(visit));
            }
            Item::For { body, .. } => body.iter_mut().for_each(|item| item.for_each_access_mut(visit)),
        }
    }

    /// Calls `visit` with this and every item within, in order.
    pub fn for_each(&self, visit: &mut dyn FnMut(&Item)) {
        visit(self);
        let parts: [&[Item]; 2] = match self {
            Item::If {
                then_items, else_items, ..
            } => [then_items, else_items],
            Item::Loop(repeated) => [&repeated.body, &[]],
            Item::For { body, .. } => [body, &[]],
            Item::Step(_) | Item::Repeat(_) | Item::Bind { .. } | Item::Assert { .. } => [&[], &[]],
        };
        parts.into_iter().flatten().for_each(|item| item.for_each(visit));
    }

    /// Calls `visit` with every step, in order.
    pub fn for_each_step(&self, visit: &mut dyn FnMut(usize)) {
        match self {
            Item::Step(step) => visit(*step),
            Item::Bind { .. } | Item::Assert { .. } => {}
            Item::Repeat(repeat) => {
                for step in repeat.all_steps() {
                    visit(step);
                }
            }
            Item::If {
                then_items, else_items, ..
            } => {
                then_items
                    .iter()
                    .chain(else_items)
                    .for_each(|item| item.for_each_step(visit));
            }
            Item::Loop(repeated) => repeated.body.iter().for_each(|item| item.for_each_step(visit)),
            Item::For { body, .. } => body.iter().for_each(|item| item.for_each_step(visit)),
        }
    }
}

/// The type in which the elements of a value are stored.
pub const fn storage_dtype(dtype: DType) -> DType {
    match dtype {
        DType::Bool => DType::U8,
        other => other,
    }
}

#[cfg(test)]
mod tests;
