//! One function per distinct step.

use super::extent::Extents;
use super::literal::rust_type;
use super::module::Imports;
use super::size::Sizes;
use super::text::Writer;
use super::{fold, linear, map, opaque, rows, spatial, streamed};
use crate::ir::Dim;
use crate::plan::kernel::{Conv, ConvTranspose, Gemm};
use crate::plan::{Access, Base, Function, Kernel, Plan, Step};

/// Names of the operands of elementwise steps.
const LETTERS: [&str; 8] = ["a", "b", "c", "e", "f", "g", "h", "k"];

/// Names of further results of a function of the user's, after `y`.
const RESULTS: [&str; 11] = ["y2", "y3", "y4", "y5", "y6", "y7", "y8", "y9", "y10", "y11", "y12"];

/// Names of the counters of loops around a kernel.
const COUNTERS: [&str; 6] = ["i", "j", "l", "n", "o", "p"];

/// The names that functions give what they read and write.
pub(super) struct Roles {
    pub(super) reads: Vec<String>,
    pub(super) writes: Vec<String>,
}

impl Roles {
    pub(super) fn of(step: &Step) -> Roles {
        let mut reads: Vec<String> = Vec::new();
        let mut push = |names: &[&str]| reads.extend(names.iter().map(|name| (*name).to_owned()));
        let mut writes = vec!["y"];
        match &step.kernel {
            Kernel::Map(_) | Kernel::Fold(_) => {
                writes = vec!["out"];
                match step.reads.len() {
                    1 => push(&["x"]),
                    count => push(&LETTERS[..count.min(LETTERS.len())]),
                }
            }
            Kernel::Gemm(Gemm { init, .. }) => {
                push(&["a", "b"]);
                if init.reads() {
                    push(&["bias"]);
                }
                writes = vec!["c"];
            }
            Kernel::Conv(Conv { init, .. }) | Kernel::ConvTranspose(ConvTranspose { init, .. }) => {
                push(&["x", "w"]);
                if init.reads() {
                    push(&["bias"]);
                }
            }
            Kernel::DepthwiseBlock(block) => reads = linear::block_roles(block),
            Kernel::Streamed(chain) => {
                let members = chain.members.iter().zip(streamed::roles(chain));
                reads.extend(members.flat_map(|(member, names)| {
                    let own = names.into_iter().zip(&member.strips);
                    own.filter(|(_, strip)| strip.is_none()).map(|(name, _)| name)
                }));
            }
            Kernel::Normalize { scale, bias, .. } => {
                push(&["x"]);
                if *scale {
                    push(&["scale"]);
                }
                if *bias {
                    push(&["bias"]);
                }
            }
            Kernel::Attention(_) => {
                push(&["q", "k", "v", "mask"]);
                writes = vec!["out"];
            }
            Kernel::Recurrent(_) => {
                push(&["x", "w", "r", "bias"]);
                writes = vec!["y", "h", "c"];
            }
            Kernel::Gather { .. } | Kernel::GatherElements { .. } => {
                push(&["data", "indices"]);
                writes = vec!["out"];
            }
            Kernel::Opaque(_) => {
                match step.reads.len() {
                    1 => push(&["x"]),
                    count => push(&LETTERS[..count.min(LETTERS.len())]),
                }
                writes.extend(RESULTS);
            }
            Kernel::Pad { .. } => push(&["x", "value"]),
            Kernel::Scatter { .. } => {
                push(&["data", "places", "updates"]);
                writes = vec!["out"];
            }
            Kernel::Sort { .. } => {
                push(&["x"]);
                writes = vec!["out"];
            }
            Kernel::Pool(_)
            | Kernel::Reduce { .. }
            | Kernel::ArgReduce { .. }
            | Kernel::CumSum { .. }
            | Kernel::Softmax { .. }
            | Kernel::Resize(_) => push(&["x"]),
        }
        reads.truncate(step.reads.len());
        for number in 1.. {
            if reads.len() == step.reads.len() {
                break;
            }
            reads.push(match (&step.kernel, number) {
                (Kernel::Map(_) | Kernel::Fold(_), _) => format!("x{number}"),
                (_, 1) => "e".into(),
                _ => format!("e{number}"),
            });
        }
        let mut writes: Vec<String> = writes.into_iter().map(str::to_owned).collect();
        writes.truncate(step.writes.len());
        Roles { reads, writes }
    }

    /// Every name that a role or a local of generated code may have.
    pub(super) fn reserved<'a>() -> Vec<&'a str> {
        let mut names = vec![
            "s",
            "d",
            "m",
            "p",
            "at",
            "step",
            "number",
            "weights",
            "slots",
            "x",
            "y",
            "w",
            "r",
            "q",
            "v",
            "out",
            "bias",
            "scale",
            "mask",
            "data",
            "indices",
            "value",
            "scratch",
            "epilogue",
            "convert",
            "sums",
            "problem",
            "self",
            "run",
            "acc",
            "math",
            "linear",
            "fold",
            "order",
            "places",
            "updates",
            "start",
            "dims",
            "inside",
            "layer",
            "block",
            "expand",
            "project",
            "expand_epilogue",
            "project_epilogue",
            "w_in",
            "bias_in",
            "w_out",
            "bias_out",
        ];
        names.extend(LETTERS);
        names.extend(COUNTERS);
        names.extend(RESULTS);
        names
    }
}

/// Whether the function of a step says whether every index was inside of its axis: it can only be told at run time.
pub(super) fn reports(step: &Step) -> bool {
    matches!(
        step.kernel,
        Kernel::Gather { checked: true, .. } | Kernel::GatherElements { checked: true, .. }
    )
}

/// Whether the function of a step calls one of the user's that can fail.
pub(super) fn can_fail(step: &Step) -> bool {
    matches!(&step.kernel, Kernel::Opaque(call) if call.fallible)
}

/// What a function is printed from.
pub(super) struct Body<'a> {
    pub(super) step: &'a Step,
    pub(super) sizes: &'a Sizes,
    pub(super) imports: &'a mut Imports,
    pub(super) writer: Writer,
    pub(super) roles: Roles,
    extents: Extents,
    counters: Vec<Dim>,
}

/// A function as text, and what it takes besides what the step reads and writes.
pub(super) struct Printed {
    pub(super) text: String,
    pub(super) isa: bool,
    pub(super) dims: bool,
}

/// Prints a function.
pub(super) fn function(plan: &Plan, function: &Function, sizes: &Sizes, imports: &mut Imports) -> Printed {
    let step = &plan.steps[function.step];
    let mut sizes = sizes.clone();
    let mut counters = Vec::new();
    for name in COUNTERS.iter().take(step.loops.len()) {
        // No symbol of a model has a name with a space at its end.
        let symbol = format!("{name} ");
        sizes.names.insert(symbol.clone(), (*name).to_owned());
        counters.push(Dim::symbol(symbol));
    }
    let mut body = Body {
        step,
        sizes: &sizes,
        imports,
        writer: Writer::new(1),
        roles: Roles::of(step),
        extents: Extents::of(step, &sizes.bounds),
        counters,
    };
    body.print();
    let text = std::mem::take(&mut body.writer).finish();
    let roles = Roles::of(step);
    let isa = text.contains(" s.");
    let dims = sizes.uses_dims();
    let mut parameters = Vec::new();
    if isa {
        parameters.push("s: S".to_owned());
    }
    if dims {
        parameters.push("d: Dims".into());
    }
    for (name, access) in roles.reads.iter().zip(&step.reads) {
        let ty = rust_type(access.dtype);
        imports.element(access.dtype);
        parameters.push(match access.base {
            Base::Weight(_) => format!("{name}: Weight<{ty}>"),
            _ => format!("{name}: &[{ty}]"),
        });
    }
    for (name, access) in roles.writes.iter().zip(&step.writes) {
        imports.element(access.dtype);
        parameters.push(format!("{name}: &mut [{}]", rust_type(access.dtype)));
    }
    if step.scratch.is_some() {
        parameters.push("scratch: &mut [f32]".into());
    }
    let mut writer = Writer::default();
    super::comments::function_doc(&mut writer, step, function.uses);
    if parameters.len() > 7 {
        writer.line("#[allow(clippy::too_many_arguments)]");
    }
    let generics = match (isa, step.is_divided()) {
        (false, _) => "",
        (true, false) => "<S: Isa>",
        (true, true) => {
            imports.add("team", "Compute");
            "<S: Compute>"
        }
    };
    let result = match step {
        step if reports(step) => " -> bool",
        step if can_fail(step) => " -> Result<(), &'static str>",
        _ => "",
    };
    writer.open_function(&format!("fn {}{generics}", function.name), &parameters, result);
    writer.raw(&text);
    writer.close("}");
    Printed {
        text: writer.finish(),
        isa,
        dims,
    }
}

impl Body<'_> {
    fn print(&mut self) {
        for (name, access) in self.roles.reads.iter().zip(&self.step.reads) {
            if matches!(access.base, Base::Weight(_)) {
                self.imports.add("weights", "Weight");
                self.writer.line(format!("let {name} = WEIGHTS.get({name});"));
            }
        }
        match &self.step.kernel {
            Kernel::Map(map) => map::print(self, map),
            Kernel::Fold(fold) => fold::print(self, fold),
            Kernel::Scatter { kind, .. } => fold::scatter(self, *kind),
            Kernel::Sort { descending, size, .. } => fold::sort(self, *descending, size),
            Kernel::Gemm(gemm) => linear::gemm(self, gemm),
            Kernel::Conv(conv) => linear::conv(self, conv),
            Kernel::DepthwiseBlock(block) => linear::depthwise_block(self, block),
            Kernel::Streamed(chain) => streamed::print(self, chain),
            Kernel::ConvTranspose(conv) => linear::conv_transpose(self, conv),
            Kernel::Attention(attention) => linear::attention(self, attention),
            Kernel::Recurrent(layer) => linear::recurrent(self, layer),
            Kernel::Pool(pool) => spatial::pool(self, pool),
            Kernel::Opaque(call) => opaque::print(self, call),
            Kernel::Resize(resize) => spatial::resize(self, resize),
            Kernel::Pad {
                mode,
                shape,
                before,
                after,
            } => spatial::pad(self, *mode, shape, before, after),
            Kernel::Reduce { .. }
            | Kernel::ArgReduce { .. }
            | Kernel::CumSum { .. }
            | Kernel::Softmax { .. }
            | Kernel::Normalize { .. }
            | Kernel::Gather { .. }
            | Kernel::GatherElements { .. } => rows::print(self),
        }
    }

    /// Prints a part of the function that is a step by itself, with names of its own.
    pub(super) fn within(&mut self, step: &Step, roles: Roles, print: impl FnOnce(&mut Body<'_>)) {
        let mut part = Body {
            step,
            sizes: self.sizes,
            imports: &mut *self.imports,
            writer: std::mem::take(&mut self.writer),
            roles,
            extents: Extents::default(),
            counters: Vec::new(),
        };
        print(&mut part);
        self.writer = part.writer;
    }

    /// Opens the loops around the kernel.
    pub(super) fn open_loops(&mut self) {
        let mut loops = self.step.loops.iter().zip(COUNTERS);
        let divided = if self.step.divides_loop { loops.next() } else { None };
        if let Some((size, counter)) = divided {
            // What the kernels of the closure's token are in.
            match self.step.kernel {
                Kernel::Pool(_) => self.imports.add("kernels::pool", "Pooling"),
                _ => self.imports.add("linear", "Linear"),
            }
            let out = &self.roles.writes[0];
            let [size, len] = [size, &self.step.writes[0].loop_strides[0]].map(|dim| self.sizes.text(dim));
            let (scratch, name) = match self.step.scratch {
                Some(_) => ("scratch", "scratch"),
                None => ("&mut []", "_"),
            };
            let arguments = format!("{size}, {out}, {len}, {scratch}");
            self.writer
                .open(format!("s.chunks({arguments}, |s, {counter}, {out}, {name}| {{"));
        }
        for (size, counter) in loops {
            let size = self.sizes.text(size);
            self.writer.open(format!("for {counter} in 0..{size} {{"));
        }
    }

    /// Closes them.
    pub(super) fn close_loops(&mut self) {
        for number in (0..self.step.loops.len()).rev() {
            self.writer.close(if number == 0 && self.step.divides_loop {
                "});"
            } else {
                "}"
            });
        }
    }

    /// The elements of a read from the current iteration of the loops on.
    pub(super) fn read(&self, index: usize) -> String {
        self.place(&self.roles.reads[index], &self.step.reads[index], "&", 0)
    }

    /// The elements of a write from the current iteration of the loops on.
    pub(super) fn write(&self, index: usize) -> String {
        // Iterations that are divided have their chunk of the result.
        let given = usize::from(self.step.divides_loop);
        self.place(&self.roles.writes[index], &self.step.writes[index], "&mut ", given)
    }

    /// The elements of an access, from the current iteration of all but the first `given` loops on.
    fn place(&self, name: &str, access: &Access, borrow: &str, given: usize) -> String {
        let mut offset = Dim::from(0i64);
        for (counter, stride) in self.counters.iter().zip(&access.loop_strides).skip(given) {
            offset = offset + counter.clone() * stride.clone();
        }
        match offset.is(0) {
            true => name.to_owned(),
            false => format!("{borrow}{name}[{}..]", self.sizes.text(&offset)),
        }
    }

    /// Cuts slices to the lengths that a kernel requires, where the caller may pass longer ones.
    pub(super) fn cut(&mut self) {
        for (borrow, names, extents) in [
            ("&", &self.roles.reads, &self.extents.reads),
            ("&mut ", &self.roles.writes, &self.extents.writes),
        ] {
            for (name, extent) in names.iter().zip(extents) {
                let Some(extent) = extent else {
                    continue;
                };
                if extent.as_const().is_none() {
                    let len = self.sizes.text(extent);
                    self.writer.line(format!("let {name} = {borrow}{name}[..{len}];"));
                }
            }
        }
    }

    /// The working memory.
    pub(super) fn scratch(&self) -> &'static str {
        if self.step.scratch.is_some() {
            "scratch"
        } else {
            "&mut []"
        }
    }
}
