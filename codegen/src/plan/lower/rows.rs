//! Operations along axes: reductions, running sums, softmax, normalization.

use super::super::Kernel;
use super::order::stored_order;
use super::{Lowered, Lowering, Ref, product};
use crate::ir::graph::Node;
use crate::ir::op::NormalizeKind;
use crate::ir::{Dim, Op};
use crate::passes::legalize::is_reducible;

impl Lowering<'_> {
    pub(super) fn rows(&mut self, node: &Node) -> Lowered {
        let y = self.result(node.outputs[0])?;
        let x = self.operand(node.inputs[0]);
        let x = self.apart_from(&x, &y, &node.origin)?;
        let shape = x.layout.shape.clone();
        let around = |axis: usize| {
            [
                product(&shape[..axis]),
                shape[axis].clone(),
                product(&shape[axis + 1..]),
            ]
        };
        let mut reads = Vec::new();
        if matches!(node.op, Op::Reduce { .. } | Op::ArgReduce { .. } | Op::CumSum { .. }) && !is_reducible(x.dtype) {
            return Err(format!("{} is not supported here yet", x.dtype));
        }
        let kernel = match &node.op {
            Op::Reduce { kind, axes, .. } => {
                let (x, sizes) = self.reduced_middle(&x, axes, &node.origin)?;
                reads.push(self.access(&x, Vec::new()));
                Kernel::Reduce { kind: *kind, sizes }
            }
            Op::ArgReduce {
                largest, axis, last, ..
            } => Kernel::ArgReduce {
                largest: *largest,
                last: *last,
                sizes: around(*axis),
            },
            Op::CumSum {
                axis,
                exclusive,
                reverse,
            } => Kernel::CumSum {
                exclusive: *exclusive,
                reverse: *reverse,
                sizes: around(*axis),
            },
            Op::Softmax { axis, log } => {
                self.only_f32(x.dtype)?;
                Kernel::Softmax {
                    log: *log,
                    sizes: around(*axis),
                }
            }
            Op::Normalize {
                kind,
                axis,
                epsilon,
                scale,
                bias,
            } => {
                self.only_f32(x.dtype)?;
                Kernel::Normalize {
                    rows: product(&shape[..*axis]),
                    size: product(&shape[*axis..]),
                    epsilon: *epsilon,
                    rms: *kind == NormalizeKind::Rms,
                    scale: *scale,
                    bias: *bias,
                }
            }
            _ => return Err("not an operation along axes".into()),
        };
        if reads.is_empty() {
            let x = self.dense(&x, &node.origin)?;
            reads.push(self.access(&x, Vec::new()));
        }
        for &value in &node.inputs[1..] {
            let operand = self.operand(value);
            let operand = self.apart_from(&operand, &y, &node.origin)?;
            let operand = self.dense(&operand, &node.origin)?;
            reads.push(self.access(&operand, Vec::new()));
        }
        let writes = vec![self.access(&y, Vec::new())];
        let results = self.types_of(&node.outputs);
        self.push(
            kernel,
            Vec::new(),
            reads,
            writes,
            None,
            &node.origin,
            results,
            Dim::from(0i64),
        );
        Ok(())
    }

    /// A dense value whose reduced axes lie together, and its sizes before, at and after them. Axes that lie apart are
    /// brought to the end by a copy.
    fn reduced_middle(&mut self, x: &Ref, axes: &[usize], origin: &[String]) -> Result<(Ref, [Dim; 3]), String> {
        let shape = &x.layout.shape;
        let wide: Vec<usize> = axes.iter().copied().filter(|&axis| !shape[axis].is(1)).collect();
        let (Some(&first), Some(&last)) = (wide.first(), wide.last()) else {
            let x = self.dense(x, origin)?;
            let size = x.layout.elements();
            return Ok((x, [size, Dim::from(1i64), Dim::from(1i64)]));
        };
        if let Some(sizes) = self.stored_middle(x, &wide) {
            return Ok((x.clone(), sizes));
        }
        let together = (first..=last).all(|axis| wide.contains(&axis) || shape[axis].is(1));
        if together {
            let x = self.dense(x, origin)?;
            let shape = &x.layout.shape;
            let sizes = [
                product(&shape[..first]),
                product(&shape[first..=last]),
                product(&shape[last + 1..]),
            ];
            return Ok((x, sizes));
        }
        let kept = (0..shape.len()).filter(|axis| !wide.contains(axis));
        let permutation: Vec<usize> = kept.chain(wide.iter().copied()).collect();
        let moved = Ref {
            layout: x.layout.transpose(&permutation),
            ..x.clone()
        };
        let moved = self.dense(&moved, origin)?;
        let split = shape.len() - wide.len();
        let sizes = [
            product(&moved.layout.shape[..split]),
            product(&moved.layout.shape[split..]),
            Dim::from(1i64),
        ];
        Ok((moved, sizes))
    }

    /// The sizes before, at and after the reduced axes of a value that is stored densely in another order than that of
    /// the IR, if the reduced axes lie together and the others in the order of the IR, in which the result is written.
    fn stored_middle(&self, x: &Ref, reduced: &[usize]) -> Option<[Dim; 3]> {
        let order = stored_order(&x.layout, &self.graph.bounds);
        if !x.layout.transpose(&order).is_dense() {
            return None;
        }
        let wide: Vec<usize> = order.into_iter().filter(|&axis| !x.layout.shape[axis].is(1)).collect();
        let first = wide.iter().position(|axis| reduced.contains(axis))?;
        let (before, rest) = wide.split_at(first);
        let (middle, after) = rest.split_at(reduced.len());
        let kept: Vec<usize> = before.iter().chain(after).copied().collect();
        let fits = middle.iter().all(|axis| reduced.contains(axis)) && kept.is_sorted();
        let size = |axes: &[usize]| axes.iter().map(|&axis| x.layout.shape[axis].clone()).product();
        fits.then(|| [size(before), size(middle), size(after)])
    }
}
