//! Reading at indices.

use super::super::Kernel;
use super::{Lowered, Lowering, Ref, product};
use crate::ir::graph::{Node, TensorType};
use crate::ir::{Dim, Op};

impl Lowering<'_> {
    pub(super) fn gather(&mut self, node: &Node) -> Lowered {
        let target = self.result(node.outputs[0])?;
        let data = self.operand(node.inputs[0]);
        let data = self.apart_from(&data, &target, &node.origin)?;
        let data = self.dense(&data, &node.origin)?;
        let indices = self.operand(node.inputs[1]);
        let indices = self.apart_from(&indices, &target, &node.origin)?;
        let indices = self.dense(&indices, &node.origin)?;
        match node.op {
            Op::Gather { axis } => {
                let checked = !self.indices_fit(node.inputs[1], &data.layout.shape[axis]);
                self.gather_step(&data, &indices, axis, checked, &target, &node.origin)
            }
            Op::GatherElements { axis } => {
                let (shape, wanted) = (&data.layout.shape, &indices.layout.shape);
                let fits =
                    (0..shape.len()).all(|other| other == axis || self.graph.dims_equal(&shape[other], &wanted[other]));
                if !fits {
                    return Err("indices that cover only a part of the other axes are not supported yet".into());
                }
                let checked = !self.indices_fit(node.inputs[1], &shape[axis]);
                let sizes = [
                    product(&shape[..axis]),
                    shape[axis].clone(),
                    product(&shape[axis + 1..]),
                ];
                let kernel = Kernel::GatherElements {
                    sizes,
                    indices: wanted[axis].clone(),
                    checked,
                };
                let reads = vec![self.access(&data, Vec::new()), self.access(&indices, Vec::new())];
                let writes = vec![self.access(&target, Vec::new())];
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
            _ => Err("not a gather".into()),
        }
    }

    /// Appends the step that reads slices of `data` along `axis`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn gather_step(
        &mut self,
        data: &Ref,
        indices: &Ref,
        axis: usize,
        checked: bool,
        target: &Ref,
        origin: &[String],
    ) -> Lowered {
        let data = self.dense(data, origin)?;
        let shape = &data.layout.shape;
        let sizes = [
            product(&shape[..axis]),
            shape[axis].clone(),
            product(&shape[axis + 1..]),
        ];
        let kernel = Kernel::Gather {
            sizes,
            indices: indices.layout.elements(),
            checked,
        };
        let reads = vec![self.access(&data, Vec::new()), self.access(indices, Vec::new())];
        let writes = vec![self.access(target, Vec::new())];
        let results = vec![TensorType::new(target.dtype, target.layout.shape.clone())];
        self.push(
            kernel,
            Vec::new(),
            reads,
            writes,
            None,
            origin,
            results,
            Dim::from(0i64),
        );
        Ok(())
    }
}
