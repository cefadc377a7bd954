//! Passes: rewrites of a [`Graph`] that keep what it computes.
//!
//! Each pass is a file whose entry point states its postcondition. Passes do not know of each other: an early one leaves
//! the forms that a later one looks for, and [`optimize`] repeats the cheap ones until nothing changes.
//!
//! Floating-point results may change by reassociation and by the rounding of constants that are combined at build
//! time, never by more; the sign of a zero may change, and the number of 8 bits that not-a-number is quantized to.

mod attention;
mod control;
mod cse;
mod dce;
mod elementwise;
mod epilogue;
mod expr;
mod fold;
mod fuse;
mod gather;
mod integer;
pub(crate) mod legalize;
mod narrow;
mod normalize;
mod pattern;
mod peel;
mod reduce;
mod requantize;
mod rewrite;
mod scale;
mod sink;
mod softmax;
mod views;

#[cfg(test)]
mod tests;

use crate::ir::Graph;
use crate::ir::verify::verify;

/// A pass.
#[derive(Clone, Copy)]
pub struct Pass {
    /// The name, by which [`by_name`] finds it.
    pub name: &'static str,
    run: fn(&mut Graph) -> bool,
}

/// Every pass, in the order of their first run.
pub const PASSES: &[Pass] = &[
    CONTROL,
    INTEGER,
    FOLD,
    VIEWS,
    SINK,
    NARROW,
    ELEMENTWISE,
    CSE,
    DCE,
    GATHER,
    SOFTMAX,
    NORMALIZE,
    ATTENTION,
    SCALE,
    LEGALIZE,
    REDUCE,
    FUSE,
    REQUANTIZE,
    PRESCALE,
    EPILOGUE,
];

const CONTROL: Pass = Pass {
    name: "control",
    run: control::run,
};
const INTEGER: Pass = Pass {
    name: "integer",
    run: integer::run,
};
const FOLD: Pass = Pass {
    name: "fold",
    run: fold::run,
};
const VIEWS: Pass = Pass {
    name: "views",
    run: views::run,
};
const ELEMENTWISE: Pass = Pass {
    name: "elementwise",
    run: elementwise::run,
};
const CSE: Pass = Pass {
    name: "cse",
    run: cse::run,
};
const DCE: Pass = Pass {
    name: "dce",
    run: dce::run,
};
const GATHER: Pass = Pass {
    name: "gather",
    run: gather::run,
};
const SOFTMAX: Pass = Pass {
    name: "softmax",
    run: softmax::run,
};
const NORMALIZE: Pass = Pass {
    name: "normalize",
    run: normalize::run,
};
const ATTENTION: Pass = Pass {
    name: "attention",
    run: attention::run,
};
const SCALE: Pass = Pass {
    name: "scale",
    run: scale::outputs,
};
const LEGALIZE: Pass = Pass {
    name: "legalize",
    run: legalize::run,
};
const PRESCALE: Pass = Pass {
    name: "prescale",
    run: scale::inputs,
};
const REDUCE: Pass = Pass {
    name: "reduce",
    run: reduce::run,
};
const SINK: Pass = Pass {
    name: "sink",
    run: sink::run,
};
const NARROW: Pass = Pass {
    name: "narrow",
    run: narrow::run,
};
const FUSE: Pass = Pass {
    name: "fuse",
    run: fuse::run,
};
const REQUANTIZE: Pass = Pass {
    name: "requantize",
    run: requantize::run,
};
const EPILOGUE: Pass = Pass {
    name: "epilogue",
    run: epilogue::run,
};

/// The pass of a name.
pub fn by_name(name: &str) -> Option<Pass> {
    PASSES.iter().find(|pass| pass.name == name).copied()
}

/// What comes first. Weights that are quantized are found before they are folded into what they stand for.
const CLEAN: &[Pass] = &[CONTROL, INTEGER, FOLD, VIEWS, SINK, NARROW, ELEMENTWISE, CSE, DCE];

/// The phases: passes that are repeated together until nothing changes.
const PHASES: &[&[Pass]] = &[
    CLEAN,
    &[GATHER, SOFTMAX, NORMALIZE, FOLD, VIEWS, SINK, ELEMENTWISE, CSE, DCE],
    &[ATTENTION, VIEWS, SINK, ELEMENTWISE, CSE, DCE],
    &[SCALE, FOLD, VIEWS, SINK, ELEMENTWISE, CSE, DCE],
    &[LEGALIZE, FOLD, VIEWS, SINK, ELEMENTWISE, CSE, DCE],
    &[REDUCE, FUSE, NARROW, REQUANTIZE, VIEWS, SINK, ELEMENTWISE, CSE, DCE],
    &[
        SCALE,
        PRESCALE,
        NORMALIZE,
        LEGALIZE,
        REQUANTIZE,
        EPILOGUE,
        FUSE,
        VIEWS,
        SINK,
        ELEMENTWISE,
        CSE,
        DCE,
    ],
];

/// The number of the phases after which constants are folded and scales are in the weights of what they follow, and
/// nothing depends on kernels yet.
const CLEAN_PHASES: usize = 4;

/// The most rounds of a phase. Each round of a long chain of rewrites does most of what is left; what is not done then
/// is left undone.
const MAX_ROUNDS: usize = 12;

impl Pass {
    /// Runs the pass. Returns whether the graph changed.
    pub fn run(self, graph: &mut Graph) -> bool {
        (self.run)(graph)
    }
}

/// Runs all passes. `observe` sees the graph after every one that changed it, with the name of the pass.
///
/// # Panics
///
/// With debug assertions, if a pass leaves a graph that was [sound](verify) before in another state.
pub fn optimize(graph: &mut Graph, observe: &mut dyn FnMut(&'static str, &Graph)) {
    run(PHASES, graph, observe);
}

/// Runs the passes that know nothing of kernels: activations and normalizations are recognized, and what follows products
/// and convolutions by channel is in their weights. [`optimize`] may run after it.
///
/// # Panics
///
/// As [`optimize`].
pub fn clean(graph: &mut Graph) {
    run(&PHASES[..CLEAN_PHASES], graph, &mut |_, _| {});
}

fn run(phases: &[&[Pass]], graph: &mut Graph, observe: &mut dyn FnMut(&'static str, &Graph)) {
    let sound = cfg!(debug_assertions) && verify(graph).is_ok();
    for phase in phases {
        for _ in 0..MAX_ROUNDS {
            let mut changed = false;
            for pass in *phase {
                if !pass.run(graph) {
                    continue;
                }
                changed = true;
                if sound && let Err(violations) = verify(graph) {
                    let violations: Vec<String> = violations.iter().map(ToString::to_string).collect();
                    panic!("the pass {} broke the graph: {}", pass.name, violations.join("; "));
                }
                observe(pass.name, graph);
            }
            if !changed {
                break;
            }
        }
    }
}
