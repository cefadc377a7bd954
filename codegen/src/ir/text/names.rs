//! The names of attribute values.

use crate::ir::op::{FoldKind, NearestRounding, NormalizeKind, PadMode, ReduceKind, ResizeCoordinates, ScatterKind};

/// Values and their names.
pub(in crate::ir) type Names<T> = &'static [(T, &'static str)];

pub(in crate::ir) const FOLD: Names<FoldKind> = &[
    (FoldKind::Sum, "sum"),
    (FoldKind::Prod, "prod"),
    (FoldKind::Max, "max"),
    (FoldKind::Min, "min"),
];

pub(in crate::ir) const SCATTER: Names<ScatterKind> = &[
    (ScatterKind::Replace, "replace"),
    (ScatterKind::Add, "add"),
    (ScatterKind::Mul, "mul"),
    (ScatterKind::Max, "max"),
    (ScatterKind::Min, "min"),
];

pub(in crate::ir) const REDUCE: Names<ReduceKind> = &[
    (ReduceKind::Sum, "sum"),
    (ReduceKind::Mean, "mean"),
    (ReduceKind::Max, "max"),
    (ReduceKind::Min, "min"),
    (ReduceKind::Prod, "prod"),
    (ReduceKind::SumSquare, "sum_square"),
    (ReduceKind::L1, "l1"),
    (ReduceKind::L2, "l2"),
    (ReduceKind::LogSum, "log_sum"),
    (ReduceKind::LogSumExp, "log_sum_exp"),
];

pub(in crate::ir) const NORMALIZE: Names<NormalizeKind> =
    &[(NormalizeKind::Layer, "layer"), (NormalizeKind::Rms, "rms")];

pub(in crate::ir) const PAD: Names<PadMode> = &[
    (PadMode::Constant, "constant"),
    (PadMode::Edge, "edge"),
    (PadMode::Reflect, "reflect"),
    (PadMode::Wrap, "wrap"),
];

pub(in crate::ir) const ROUNDING: Names<NearestRounding> = &[
    (NearestRounding::RoundPreferFloor, "round_prefer_floor"),
    (NearestRounding::RoundPreferCeil, "round_prefer_ceil"),
    (NearestRounding::Floor, "floor"),
    (NearestRounding::Ceil, "ceil"),
];

pub(in crate::ir) const COORDINATES: Names<ResizeCoordinates> = &[
    (ResizeCoordinates::HalfPixel, "half_pixel"),
    (ResizeCoordinates::PytorchHalfPixel, "pytorch_half_pixel"),
    (ResizeCoordinates::Asymmetric, "asymmetric"),
    (ResizeCoordinates::AlignCorners, "align_corners"),
];

/// The name of a value.
pub(in crate::ir) fn name<T: PartialEq>(names: Names<T>, value: &T) -> &'static str {
    let found = names.iter().find(|(candidate, _)| candidate == value);
    found.map_or("unknown", |(_, name)| name)
}
