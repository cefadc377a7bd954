//! Tests of the passes: what remains of a graph, and that it computes the same.

mod attention;
mod blocks;
mod cleanup;
mod control;
mod fusion;
mod gather;
mod integer;
mod models;
mod normalize;
mod scale;
mod support;
