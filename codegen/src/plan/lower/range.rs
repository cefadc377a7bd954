//! Which integers a value can hold, as far as its definition tells.

use super::Lowering;
use crate::ir::graph::{Block, Graph, Node, ValueId};
use crate::ir::{BinaryOp, DType, Dim, Expr, Interval, Literal, Op, Scalar};
use std::collections::HashMap;

/// How far definitions are followed.
const MAX_DEPTH: usize = 16;

/// The largest constant that is read through.
const MAX_CONSTANT: usize = 1 << 16;

/// The nodes that define the values of a graph.
pub(super) struct Definitions<'g>(HashMap<ValueId, &'g Node>);

impl<'g> Definitions<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        fn collect<'g>(block: &'g Block, found: &mut HashMap<ValueId, &'g Node>) {
            for node in &block.nodes {
                found.extend(node.outputs.iter().map(|&output| (output, node)));
                node.regions.iter().for_each(|region| collect(region, found));
            }
        }
        let mut found = HashMap::new();
        collect(&graph.body, &mut found);
        Definitions(found)
    }
}

impl Lowering<'_> {
    /// Whether a value is a constant of the graph.
    pub(super) fn is_constant(&self, value: ValueId) -> bool {
        let definition = self.definitions.0.get(&value);
        definition.is_some_and(|node| matches!(node.op, Op::Constant(_)))
    }

    /// Whether every element of `indices` selects an element of an axis of `size`; negative ones count from the end.
    pub(super) fn indices_fit(&self, indices: ValueId, size: &Dim) -> bool {
        let size = size.range(&self.graph.bounds).low;
        self.integers(indices, MAX_DEPTH)
            .is_some_and(|range| range.low >= -size && range.high < size)
    }

    /// Bounds of the elements of an integer value, if any are known.
    fn integers(&self, value: ValueId, depth: usize) -> Option<Interval> {
        let by_type = by_type(self.graph.ty(value).dtype);
        let (Some(node), Some(depth)) = (self.definitions.0.get(&value), depth.checked_sub(1)) else {
            return by_type;
        };
        let known = match &node.op {
            Op::Constant(tensor) if tensor.len() <= MAX_CONSTANT => {
                let elements = tensor.to_ints()?;
                let (low, high) = (elements.iter().min()?, elements.iter().max()?);
                Some(Interval { low: *low, high: *high })
            }
            Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Broadcast { .. } | Op::Gather { .. } => {
                self.integers(node.inputs[0], depth)
            }
            Op::Concat { .. } => {
                let parts = node.inputs.iter().map(|&input| self.integers(input, depth));
                parts.reduce(|a, b| union(a?, b?))?
            }
            Op::Elementwise { expr, shape } => self.scalar(expr, expr.result(), node, shape, depth),
            _ => None,
        };
        known.or(by_type)
    }

    fn scalar(&self, expr: &Expr, id: usize, node: &Node, shape: &[Dim], depth: usize) -> Option<Interval> {
        let of = |id: usize| self.scalar(expr, id, node, shape, depth.checked_sub(1)?);
        let dtype = expr.nodes[id].dtype;
        let limits = by_type(dtype);
        let known = match &expr.nodes[id].op {
            Scalar::Input(index) => self.integers(node.inputs[*index], depth),
            Scalar::Const(Literal::Int(value)) => i64::try_from(*value).ok().map(Interval::exactly),
            Scalar::Dim(dim) => Some(dim.range(&self.graph.bounds)),
            Scalar::Index(axis) => {
                let size = shape[*axis].upper(&self.graph.bounds);
                Some(Interval {
                    low: 0,
                    high: size.max(1) - 1,
                })
            }
            Scalar::Binary(BinaryOp::Min, a, b) => match (of(*a), of(*b)) {
                (Some(a), Some(b)) => Some(Interval {
                    low: a.low.min(b.low),
                    high: a.high.min(b.high),
                }),
                (Some(one), None) | (None, Some(one)) => Some(Interval {
                    low: i64::MIN,
                    high: one.high,
                }),
                (None, None) => None,
            },
            Scalar::Binary(BinaryOp::Max, a, b) => match (of(*a), of(*b)) {
                (Some(a), Some(b)) => Some(Interval {
                    low: a.low.max(b.low),
                    high: a.high.max(b.high),
                }),
                (Some(one), None) | (None, Some(one)) => Some(Interval {
                    low: one.low,
                    high: i64::MAX,
                }),
                (None, None) => None,
            },
            Scalar::Binary(BinaryOp::Add, a, b) => {
                let (a, b) = (of(*a)?, of(*b)?);
                Some(Interval {
                    low: a.low.checked_add(b.low)?,
                    high: a.high.checked_add(b.high)?,
                })
            }
            Scalar::Binary(BinaryOp::Sub, a, b) => {
                let (a, b) = (of(*a)?, of(*b)?);
                Some(Interval {
                    low: a.low.checked_sub(b.high)?,
                    high: a.high.checked_sub(b.low)?,
                })
            }
            Scalar::Select(_, a, b) => union(of(*a)?, of(*b)?),
            // A narrowing conversion wraps, unless the values fit.
            Scalar::Cast(x) if expr.nodes[*x].dtype.is_int() => of(*x),
            _ => None,
        };
        let fits = |range: &Interval| limits.is_none_or(|limits| limits.low <= range.low && range.high <= limits.high);
        match known {
            Some(range) if fits(&range) => Some(range),
            // Minima and maxima do not wrap: what the type excludes is cut off.
            Some(range) if matches!(expr.nodes[id].op, Scalar::Binary(BinaryOp::Min | BinaryOp::Max, ..)) => {
                let limits = limits?;
                Some(Interval {
                    low: range.low.max(limits.low),
                    high: range.high.min(limits.high),
                })
            }
            _ => limits,
        }
    }
}

fn union(a: Interval, b: Interval) -> Option<Interval> {
    Some(Interval {
        low: a.low.min(b.low),
        high: a.high.max(b.high),
    })
}

/// The bounds that an element type sets.
fn by_type(dtype: DType) -> Option<Interval> {
    let (low, high) = match dtype {
        DType::Bool => (0, 1),
        DType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DType::U8 => (0, u8::MAX.into()),
        DType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DType::U16 => (0, u16::MAX.into()),
        DType::I32 => (i32::MIN.into(), i32::MAX.into()),
        DType::U32 => (0, u32::MAX.into()),
        DType::I64 => (i64::MIN, i64::MAX),
        _ => return None,
    };
    Some(Interval { low, high })
}
