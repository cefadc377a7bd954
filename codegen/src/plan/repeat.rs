//! Functions that steps share, and runs of steps that repeat.

use super::{Item, Plan};

/// What is printed once for all steps that differ only in what they access.
#[derive(Clone, Debug)]
pub struct Function {
    /// The name.
    pub name: String,
    /// The first step that calls it.
    pub step: usize,
}

/// A run of steps that repeats.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// The steps of each repetition.
    pub steps: Vec<Vec<usize>>,
}

impl Repeat {
    /// The steps of all repetitions, in order.
    pub fn all_steps(&self) -> impl Iterator<Item = usize> {
        self.steps.iter().flatten().copied()
    }
}

pub(super) fn find_functions(_plan: &mut Plan) {}

pub(super) fn roll(_plan: &Plan, program: Vec<Item>) -> Vec<Item> {
    program
}
