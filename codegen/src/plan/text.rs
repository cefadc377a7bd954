//! A text form of plans, for tests and for people who look for a copy that should not be there.

use super::kernel::{ConvWindow, EpilogueMap, Init};
use super::{Access, Base, Buffer, Item, Kernel, Plan, Step};
use crate::ir::Dim;
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan \"{}\"", self.name)?;
        for (number, buffer) in self.buffers.iter().enumerate() {
            let Buffer {
                dtype,
                capacity,
                first,
                last,
                offset,
                ..
            } = buffer;
            writeln!(
                f,
                "  b{number}: {dtype} x {capacity} at {offset}, steps {first} to {last}"
            )?;
        }
        for input in &self.inputs {
            if let Some(place) = &input.place {
                writeln!(f, "  input \"{}\" {}", input.port.name, Shown(place))?;
            }
        }
        self.items(f, &self.program, 1)?;
        for output in &self.outputs {
            writeln!(f, "  output \"{}\" {}", output.port.name, Shown(&output.access))?;
        }
        let certificate = &self.certificate;
        writeln!(
            f,
            "  arena {} of {} bytes",
            certificate.arena_bytes, certificate.lower_bound
        )
    }
}

impl Plan {
    fn items(&self, f: &mut fmt::Formatter<'_>, items: &[Item], depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        for item in items {
            match item {
                Item::Step(number) => writeln!(f, "{indent}{number}: {}", ShownStep(&self.steps[*number]))?,
                Item::Repeat(repeat) => {
                    let steps: Vec<usize> = repeat.all_steps().collect();
                    writeln!(f, "{indent}repeat {}", steps.len())?;
                    for step in steps {
                        writeln!(f, "{indent}  {step}: {}", ShownStep(&self.steps[step]))?;
                    }
                }
                Item::Bind { symbol, value } => writeln!(f, "{indent}bind {symbol} to {}", Shown(value))?,
                Item::Assert { condition, message, .. } => {
                    writeln!(f, "{indent}assert {}: {message}", Shown(condition))?;
                }
                Item::If {
                    condition,
                    then_items,
                    else_items,
                } => {
                    writeln!(f, "{indent}if {}", Shown(condition))?;
                    self.items(f, then_items, depth + 1)?;
                    writeln!(f, "{indent}else")?;
                    self.items(f, else_items, depth + 1)?;
                }
                Item::Loop(repeated) => {
                    let (trips, condition) = (Shown(&repeated.trips), Shown(&repeated.condition));
                    writeln!(f, "{indent}loop {} up to {trips} while {condition}", repeated.symbol)?;
                    self.items(f, &repeated.body, depth + 1)?;
                    writeln!(f, "{indent}  next {}", Shown(&repeated.next))?;
                }
                Item::For { trips, symbol, body } => {
                    writeln!(f, "{indent}for {symbol} below {trips}")?;
                    self.items(f, body, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

struct Shown<'a>(&'a Access);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.base {
            Base::Input(number) => write!(f, "in{number}")?,
            Base::Weight(id) => write!(f, "w{}", id.0)?,
            Base::Buffer(id) => write!(f, "b{}", id.0)?,
        }
        if !self.0.offset.is(0) {
            write!(f, "[{}..]", self.0.offset)?;
        }
        if !self.0.loop_strides.is_empty() {
            write!(f, "{{{}}}", list(&self.0.loop_strides))?;
        }
        Ok(())
    }
}

struct ShownStep<'a>(&'a Step);

impl fmt::Display for ShownStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.0;
        let accesses = |list: &[Access]| {
            list.iter()
                .map(|access| Shown(access).to_string())
                .collect::<Vec<_>>()
                .join(", ")
        };
        write!(
            f,
            "{} = {}({})",
            accesses(&step.writes),
            step.kernel,
            accesses(&step.reads)
        )?;
        if !step.loops.is_empty() {
            write!(f, " for [{}]", list(&step.loops))?;
        }
        if let Some(scratch) = &step.scratch {
            write!(f, " with {}", Shown(scratch))?;
        }
        if step.is_divided() {
            let of = if step.divides_loop { " of the loop" } else { "" };
            write!(f, " in {} parts{of}", step.parts)?;
        }
        Ok(())
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kernel::Map(map) => {
                let in_place = if map.in_place.is_some() { " in place" } else { "" };
                write!(f, "map [{}]{in_place} {} nodes", list(&map.shape), map.expr.nodes.len())
            }
            Kernel::Fold(fold) => {
                let kind = fold.kind.map(|kind| format!(" {kind:?}")).unwrap_or_default();
                write!(f, "fold{kind} [{}] over [{}]", list(&fold.shape), list(&fold.domain))
            }
            Kernel::Scatter {
                kind,
                elements,
                updates,
            } => write!(f, "scatter {kind:?} {updates} into {elements}"),
            Kernel::Sort { rows, size, .. } => write!(f, "sort [{rows}, {size}]"),
            Kernel::Gemm(gemm) => {
                write!(f, "gemm {}x{}x{}", gemm.m, gemm.n, gemm.k)?;
                start_and_epilogue(f, gemm.init, gemm.epilogue.as_ref())
            }
            Kernel::Conv(conv) => {
                write!(f, "{:?} conv {}", conv.kind, shown_window(&conv.window))?;
                start_and_epilogue(f, conv.init, conv.epilogue.as_ref())
            }
            Kernel::DepthwiseBlock(block) => {
                if let Some(expand) = &block.expand {
                    write!(f, "expand {}", expand.channels)?;
                    start_and_epilogue(f, expand.init, expand.epilogue.as_ref())?;
                    f.write_str(", ")?;
                }
                let depthwise = &block.depthwise;
                write!(f, "{:?} conv {}", depthwise.kind, shown_window(&depthwise.window))?;
                start_and_epilogue(f, depthwise.init, depthwise.epilogue.as_ref())?;
                if let Some(project) = &block.project {
                    write!(f, ", project {}", project.channels)?;
                    start_and_epilogue(f, project.init, project.epilogue.as_ref())?;
                }
                Ok(())
            }
            Kernel::Streamed(streamed) => {
                write!(f, "{} of {} rows at a time:", streamed.rows, streamed.height())?;
                for (number, member) in streamed.members.iter().enumerate() {
                    write!(f, "{} {}", if number > 0 { "," } else { "" }, member.kernel)?;
                }
                Ok(())
            }
            Kernel::ConvTranspose(conv) => {
                write!(f, "transposed conv {}", shown_window(&conv.window))?;
                start_and_epilogue(f, conv.init, conv.epilogue.as_ref())
            }
            Kernel::Pool(pool) => {
                write!(
                    f,
                    "{:?} pool {:?} [{}] to [{}]",
                    pool.kind,
                    pool.kernel,
                    list(&pool.input),
                    list(&pool.output)
                )
            }
            Kernel::Reduce { kind, sizes } => write!(f, "reduce {kind:?} [{}]", list(sizes)),
            Kernel::ArgReduce { largest, sizes, .. } => write!(f, "arg_reduce largest={largest} [{}]", list(sizes)),
            Kernel::CumSum { sizes, .. } => write!(f, "cum_sum [{}]", list(sizes)),
            Kernel::Softmax { sizes, .. } => write!(f, "softmax [{}]", list(sizes)),
            Kernel::Normalize { rows, size, .. } => write!(f, "normalize [{rows}, {size}]"),
            Kernel::Attention(attention) => {
                write!(
                    f,
                    "attention [{}] {}x{}x{}",
                    list(&attention.heads),
                    attention.queries,
                    attention.keys,
                    attention.head
                )
            }
            Kernel::Recurrent(layer) => write!(f, "{:?} {} steps of {}", layer.cell, layer.steps, layer.hidden),
            Kernel::Gather { sizes, indices, .. } => write!(f, "gather {indices} of [{}]", list(sizes)),
            Kernel::GatherElements { sizes, .. } => write!(f, "gather_elements [{}]", list(sizes)),
            Kernel::Opaque(call) => write!(f, "call {}", call.function),
            Kernel::Resize(resize) => write!(f, "resize [{}] to [{}]", list(&resize.input), list(&resize.output)),
            Kernel::Pad { shape, .. } => write!(f, "pad [{}]", list(shape)),
        }
    }
}

fn shown_window(window: &ConvWindow) -> String {
    let [height, width] = window.kernel;
    format!(
        "{height}x{width} [{}] to [{}]",
        list(&window.input),
        list(&window.output)
    )
}

fn start_and_epilogue(f: &mut fmt::Formatter<'_>, init: Init, epilogue: Option<&EpilogueMap>) -> fmt::Result {
    let epilogue = match epilogue {
        None => "",
        Some(EpilogueMap { in_place: false, .. }) => " epilogue",
        Some(EpilogueMap { in_place: true, .. }) => " epilogue in place",
    };
    write!(f, " {init:?}{epilogue}")
}

fn list(dims: &[Dim]) -> String {
    dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(", ")
}
