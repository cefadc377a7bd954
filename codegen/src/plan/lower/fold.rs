//! Steps that compute element by element, at any places.

use super::super::Kernel;
use super::super::kernel::{Fold, Load};
use super::{Lowered, Lowering, Ref};
use crate::ir::graph::{Node, TensorType};
use crate::ir::op::{FoldKind, ScatterKind};
use crate::ir::{Dim, Expr, Op, Scalar, ScalarId};

impl Lowering<'_> {
    pub(super) fn fold_node(&mut self, node: &Node) -> Lowered {
        let Op::Fold { kind, expr, domain, .. } = &node.op else {
            return Err("not a fold".into());
        };
        let target = self.result(node.outputs[0])?;
        let operands: Vec<Ref> = node.inputs.iter().map(|&input| self.operand(input)).collect();
        let results = self.types_of(&node.outputs);
        self.fold_step(Some(*kind), expr, domain, &operands, &target, &node.origin, results)
    }

    /// Appends the step of an expression over the shape of `target` and a domain.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn fold_step(
        &mut self,
        kind: Option<FoldKind>,
        expr: &Expr,
        domain: &[Dim],
        operands: &[Ref],
        target: &Ref,
        origin: &[String],
        results: Vec<TensorType>,
    ) -> Lowered {
        if !target.layout.is_dense() {
            let dense = self.new_buffer(target.dtype, &target.layout.shape, "")?;
            self.fold_step(kind, expr, domain, operands, &dense, origin, results)?;
            return self.copy_to(&dense, target, origin);
        }
        let shape = target.layout.shape.clone();
        let axes = [shape.as_slice(), domain].concat();
        let mut loads = Vec::new();
        let mut reads = Vec::new();
        let mut places = Vec::with_capacity(operands.len());
        for (number, operand) in operands.iter().enumerate() {
            let mut operand = self.apart_from(operand, target, origin)?;
            let whole = expr.reads_at(number);
            if whole {
                operand = self.dense(&operand, origin)?;
            }
            loads.push(Load {
                dtype: operand.dtype,
                elements: whole.then(|| operand.layout.elements()),
            });
            reads.push(self.access(&operand, Vec::new()));
            // A value of lower rank broadcasts; one that is read at computed places only has no place in the axes.
            let fits = expr.reads_element(number);
            places.push(fits.then(|| operand.layout.broadcast(&axes).strides));
        }
        let macs = match kind {
            Some(_) => axes.iter().cloned().product(),
            None => Dim::from(0i64),
        };
        let fold = Fold {
            kind,
            shape,
            domain: domain.to_vec(),
            loads,
            expr: placed(expr, &places),
        };
        let writes = vec![self.access(target, Vec::new())];
        self.push(
            Kernel::Fold(fold),
            Vec::new(),
            reads,
            writes,
            None,
            origin,
            results,
            macs,
        );
        Ok(())
    }

    pub(super) fn scatter(&mut self, node: &Node, kind: ScatterKind) -> Lowered {
        let target = self.result(node.outputs[0])?;
        let mut reads = Vec::new();
        for &input in &node.inputs {
            let operand = self.operand(input);
            let operand = self.apart_from(&operand, &target, &node.origin)?;
            let operand = self.dense(&operand, &node.origin)?;
            reads.push(self.access(&operand, Vec::new()));
        }
        let kernel = Kernel::Scatter {
            kind,
            elements: self.graph.ty(node.inputs[0]).elements(),
            updates: self.graph.ty(node.inputs[2]).elements(),
        };
        let writes = vec![self.access(&target, Vec::new())];
        let results = self.types_of(&node.outputs);
        let none = Dim::from(0i64);
        self.push(kernel, Vec::new(), reads, writes, None, &node.origin, results, none);
        Ok(())
    }

    pub(super) fn sort(&mut self, node: &Node, descending: bool) -> Lowered {
        let target = self.result(node.outputs[0])?;
        let x = self.operand(node.inputs[0]);
        let x = self.apart_from(&x, &target, &node.origin)?;
        let x = self.dense(&x, &node.origin)?;
        let (size, rows) = match x.layout.shape.split_last() {
            Some((size, rows)) => (size.clone(), super::product(rows)),
            None => return Err("a sort of a tensor without axes".into()),
        };
        let kernel = Kernel::Sort { descending, rows, size };
        let reads = vec![self.access(&x, Vec::new())];
        let writes = vec![self.access(&target, Vec::new())];
        let results = self.types_of(&node.outputs);
        let none = Dim::from(0i64);
        self.push(kernel, Vec::new(), reads, writes, None, &node.origin, results, none);
        Ok(())
    }
}

/// The expression with every operand read at the place that its strides give.
fn placed(expr: &Expr, strides: &[Option<Vec<Dim>>]) -> Expr {
    let mut result = Expr::empty();
    let mut map: Vec<ScalarId> = Vec::with_capacity(expr.nodes.len());
    for node in &expr.nodes {
        let id = match &node.op {
            Scalar::Input(number) => {
                let place = place(&mut result, strides[*number].as_deref().unwrap_or_default());
                result.at(*number, place, node.dtype)
            }
            op => result.push(op.map_operands(|operand| map[operand]), node.dtype),
        };
        map.push(id);
    }
    let id = map[expr.result()];
    result.finish(id)
}

/// The sum of coordinates times strides.
fn place(expr: &mut Expr, strides: &[Dim]) -> ScalarId {
    let mut total = None;
    for (axis, stride) in strides.iter().enumerate() {
        if stride.is(0) {
            continue;
        }
        let mut term = expr.index(axis);
        if !stride.is(1) {
            let stride = expr.dim(stride);
            term = expr.apply2(crate::ir::BinaryOp::Mul, term, stride);
        }
        total = Some(match total {
            None => term,
            Some(total) => expr.apply2(crate::ir::BinaryOp::Add, total, term),
        });
    }
    total.unwrap_or_else(|| expr.int(0, crate::ir::DType::I64))
}
