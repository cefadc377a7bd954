//! Matrix products and the epilogues of products and convolutions.

use super::super::Kernel;
use super::super::kernel::{EpilogueMap, EpilogueOperand, Gemm, Init, Matrix};
use super::super::layout::Layout;
use super::residual::{Residual, Taken, without_sum};
use super::{Access, Lowered, Lowering, Packing, Ref, product};
use crate::ir::graph::{Node, ValueId};
use crate::ir::{DType, Dim, Expr, Scalar};
use onnxide_runtime::linear;

/// An epilogue whose operands are seen as `[loops..., rows, columns]`.
pub(super) struct PlacedEpilogue {
    pub(super) init: Init,
    pub(super) bias: Option<Access>,
    pub(super) map: Option<EpilogueMap>,
    pub(super) reads: Vec<Access>,
}

impl Lowering<'_> {
    pub(super) fn matmul(&mut self, node: &Node) -> Lowered {
        let (mut a, mut b) = (self.operand(node.inputs[0]), self.operand(node.inputs[1]));
        let is_int8 = a.dtype == DType::U8 && b.dtype == DType::I8;
        if a.dtype != DType::F32 && !is_int8 {
            return Err(format!(
                "a matrix product of {} is not supported yet, only of f32",
                a.dtype
            ));
        }
        let Residual { target: c, expr, taken } = self.result_or_residual(node, &node.inputs[2..])?;
        let left = node.inputs[2..].iter().enumerate();
        let left = left.filter(|(index, _)| taken.map(Taken::operand) != Some(*index));
        let mut extras: Vec<Ref> = left.map(|(_, &value)| self.operand(value)).collect();
        let shape = c.layout.shape.clone();
        let rank = shape.len();
        let n = shape[rank - 1].clone();
        let k = a.layout.shape[a.layout.shape.len() - 1].clone();
        for operand in std::iter::once(&mut a)
            .chain(std::iter::once(&mut b))
            .chain(&mut extras)
        {
            *operand = self.apart_from(operand, &c, &node.origin)?;
        }
        // Four numbers of a row are read at once.
        if is_int8 && !(a.layout.strides.last().is_some_and(|column| column.is(1)) || k.is(1)) {
            a = self.copy(&a, &node.origin)?;
        }
        let lead = &shape[..rank - 2];
        let mut a_layout = broadcast_lead(&a.layout, lead);
        let mut b_layout = broadcast_lead(&b.layout, lead);
        let mut c_layout = c.layout.clone();
        let mut extra_layouts: Vec<Layout> = Vec::new();
        for extra in &mut extras {
            *extra = self.epilogue_ready(extra, &shape, &node.origin)?;
            extra_layouts.push(extra.layout.broadcast(&shape));
        }
        // A right matrix that all leading indices share makes one tall product of many small ones.
        if b.layout.shape[..b.layout.shape.len() - 2].iter().all(|size| size.is(1)) && rank > 2 {
            let rows = product(&shape[..rank - 1]);
            let tall = |layout: &Layout, columns: &Dim| layout.reshape(self.graph, &[rows.clone(), columns.clone()]);
            let flat: Option<Vec<Layout>> = extra_layouts.iter().map(|layout| tall(layout, &n)).collect();
            if let (Some(a), Some(c), Some(extras)) = (tall(&a_layout, &k), tall(&c_layout, &n), flat) {
                (a_layout, c_layout, extra_layouts) = (a, c, extras);
                b_layout = b_layout.slice(
                    &vec![Dim::from(0i64); rank],
                    &vec![1; rank],
                    &[vec![Dim::from(1i64); rank - 2], vec![k.clone(), n.clone()]].concat(),
                    &self.graph.bounds,
                );
                b_layout.shape.drain(..rank - 2);
                b_layout.strides.drain(..rank - 2);
            }
        }
        let mut layouts = vec![a_layout, b_layout, c_layout];
        layouts.extend(extra_layouts);
        let (loops, layouts) = take_loops(&layouts, 2);
        let [a_view, b_view, c_view] = [&layouts[0], &layouts[1], &layouts[2]];
        if !(c_view.layout.strides[1].is(1) || n.is(1)) {
            return Err("the columns of a product are not adjacent".into());
        }
        let right = self.right_matrix(node, &b, b_view, &k, &n)?;
        if is_int8 && right.0 != Matrix::PackedInt8 {
            return Err("a matrix product of 8-bit integers needs a constant right matrix".into());
        }
        let starts: &[Init] = match taken {
            Some(Taken::Added(_)) => &[Init::Accumulate],
            _ if is_int8 => &[],
            _ => &[Init::PerRow, Init::PerColumn],
        };
        let placed = self.place_epilogue(expr.as_ref(), &extras, &layouts[3..], starts)?;
        self.product(node, (&a, a_view), right, (&c, c_view), loops, placed)
    }

    /// Appends the step of a product of matrices.
    pub(super) fn product(
        &mut self,
        node: &Node,
        (a, a_view): (&Ref, &View),
        (b_matrix, b_access): (Matrix, Access),
        (c, c_view): (&Ref, &View),
        loops: Vec<Dim>,
        placed: PlacedEpilogue,
    ) -> Lowered {
        let [m, n] = [0, 1].map(|axis| c_view.layout.shape[axis].clone());
        let k = a_view.layout.shape[1].clone();
        let packed = !matches!(b_matrix, Matrix::Strided { .. });
        let scratch = match b_matrix {
            Matrix::PackedInt8 => 0,
            Matrix::PackedBlocks { format, rounded: true } => {
                linear::gemm_blocks_int8_scratch(self.upper(&m), self.upper(&k), format)
            }
            Matrix::PackedBlocks { .. } => linear::gemm_blocks_scratch(self.upper(&m), self.upper(&n), self.upper(&k)),
            Matrix::PackedBf16 => linear::gemm_bf16_scratch(self.upper(&m), self.upper(&k)),
            _ => linear::gemm_scratch(self.upper(&m), self.upper(&n), self.upper(&k), packed),
        };
        let scratch = self.scratch(scratch)?;
        let b_access = match packed {
            true => Access {
                loop_strides: vec![Dim::from(0i64); loops.len()],
                ..b_access
            },
            false => b_access,
        };
        let mut reads = vec![self.access_view(a, a_view), b_access];
        reads.extend(placed.bias);
        reads.extend(placed.reads);
        let writes = vec![self.access_view(c, c_view)];
        let macs = m.clone() * n.clone() * k.clone();
        let [row, column] = [0, 1].map(|axis| a_view.layout.strides[axis].clone());
        let kernel = Gemm {
            m,
            n,
            k,
            a: Matrix::Strided { row, column },
            b: b_matrix,
            c_row: c_view.layout.strides[0].clone(),
            init: placed.init,
            epilogue: placed.map,
        };
        let results = self.types_of(&node.outputs);
        let kernel = Kernel::Gemm(kernel);
        self.push(kernel, loops, reads, writes, scratch, &node.origin, results, macs);
        Ok(())
    }

    /// Matrices `[batch, rows, columns]` as `[batch * rows, columns]`, if all can be seen so.
    pub(super) fn tall(&self, matrices: Vec<Layout>) -> Vec<Layout> {
        let tall = matrices.iter().map(|matrix| {
            let [batch, rows, columns] = [0, 1, 2].map(|axis| matrix.shape[axis].clone());
            matrix.reshape(self.graph, &[batch * rows, columns])
        });
        tall.collect::<Option<Vec<Layout>>>().unwrap_or(matrices)
    }

    /// The right matrix: packed in the weights if it is constant and the same in all loops.
    fn right_matrix(
        &mut self,
        node: &Node,
        b: &Ref,
        view: &View,
        k: &Dim,
        n: &Dim,
    ) -> Result<(Matrix, Access), String> {
        let [row, column] = [&view.layout.strides[0], &view.layout.strides[1]];
        let fixed = (
            k.as_usize(),
            n.as_usize(),
            row.as_usize(),
            column.as_usize(),
            view.layout.offset.as_usize(),
        );
        let same = view.loop_strides.iter().all(|stride| stride.is(0));
        if let Some(packed) = self.quantized_right(node, b, view)? {
            return Ok(packed);
        }
        if let (Some((value, _)), (Some(k), Some(n), Some(row), Some(column), Some(offset)), true) =
            (self.constant_of(b), fixed, same)
        {
            return Ok(self.packed_right(node, value, [k, n], [row, column], offset));
        }
        let matrix = Matrix::Strided {
            row: row.clone(),
            column: column.clone(),
        };
        Ok((matrix, self.access_view(b, view)))
    }

    /// A constant right matrix `[k, n]` of a product, in the precision of the node.
    pub(super) fn packed_right(
        &mut self,
        node: &Node,
        value: ValueId,
        [k, n]: [usize; 2],
        [row, column]: [usize; 2],
        offset: usize,
    ) -> (Matrix, Access) {
        let (matrix, packing) = if self.graph.ty(value).dtype == DType::I8 {
            let packing = Packing::RhsInt8 {
                k,
                n,
                row,
                column,
                offset,
            };
            (Matrix::PackedInt8, packing)
        } else if self.is_bf16(node, k) {
            let packing = Packing::RhsBf16 {
                k,
                n,
                row,
                column,
                offset,
            };
            (Matrix::PackedBf16, packing)
        } else {
            let packing = Packing::Rhs {
                k,
                n,
                row,
                column,
                offset,
            };
            (Matrix::Packed, packing)
        };
        (matrix, self.packed(value, packing))
    }

    pub(super) fn access_view(&mut self, source: &Ref, view: &View) -> Access {
        let seen = Ref {
            layout: view.layout.clone(),
            ..source.clone()
        };
        self.access(&seen, view.loop_strides.clone())
    }

    /// The operand, or a dense copy if an epilogue of a result of `shape` cannot read it along columns.
    pub(super) fn epilogue_ready(&mut self, extra: &Ref, shape: &[Dim], origin: &[String]) -> Result<Ref, String> {
        let layout = extra.layout.broadcast(shape);
        let column = &layout.strides[shape.len() - 1];
        if column.is(1) || column.is(0) {
            Ok(extra.clone())
        } else {
            self.copy(extra, origin)
        }
    }

    /// Places the operands of an epilogue, given as views `[rows, columns]`, and takes a bias of one of the kinds in
    /// `starts` out of its expression. `[Accumulate]` says that an operand is taken out already. An operand behind those that
    /// are given is what the place of the result holds.
    pub(super) fn place_epilogue(
        &mut self,
        epilogue: Option<&Expr>,
        extras: &[Ref],
        views: &[View],
        starts: &[Init],
    ) -> Result<PlacedEpilogue, String> {
        let mut placed = PlacedEpilogue {
            init: match starts {
                [Init::Accumulate] => Init::Accumulate,
                _ => Init::Zero,
            },
            bias: None,
            map: None,
            reads: Vec::new(),
        };
        let Some(epilogue) = epilogue else {
            return Ok(placed);
        };
        let mut expr = epilogue.clone();
        if expr.nodes.iter().any(|node| matches!(node.op, Scalar::Index(_))) {
            return Err("coordinates in what follows a product are not supported yet".into());
        }
        let mut taken = None;
        for (index, view) in views.iter().enumerate() {
            let once = view.loop_strides.iter().all(|stride| stride.is(0)) && extras[index].dtype == DType::F32;
            let [row, column] = [&view.layout.strides[0], &view.layout.strides[1]];
            let [rows, columns] = [&view.layout.shape[0], &view.layout.shape[1]];
            let init = match () {
                () if once && (row.is(0) || rows.is(1)) && column.is(1) => Init::PerColumn,
                () if once && row.is(1) && (column.is(0) || columns.is(1)) => Init::PerRow,
                () => continue,
            };
            if !starts.contains(&init) {
                continue;
            }
            if let Some(without) = without_sum(&expr, index + 1) {
                placed.init = init;
                placed.bias = Some(self.access_view(&extras[index], view));
                expr = without;
                taken = Some(index);
                break;
            }
        }
        let mut operands = Vec::new();
        let mut renumber = vec![0; views.len() + 2];
        for (index, view) in views.iter().enumerate() {
            if taken == Some(index) {
                continue;
            }
            let [row, column] = [&view.layout.strides[0], &view.layout.strides[1]];
            let columns = &view.layout.shape[1];
            if !(column.is(0) || column.is(1) || columns.is(1)) {
                return Err("an operand of an epilogue is not adjacent along columns".into());
            }
            operands.push(EpilogueOperand {
                dtype: extras[index].dtype,
                row: row.clone(),
                per_column: column.is(1) && !columns.is(1),
            });
            renumber[index + 1] = operands.len();
            placed.reads.push(self.access_view(&extras[index], view));
        }
        renumber[views.len() + 1] = operands.len() + 1;
        let in_place = expr.reads_element(views.len() + 1);
        for node in &mut expr.nodes {
            if let Scalar::Input(index) = &mut node.op {
                *index = renumber[*index];
            }
        }
        let identity = matches!(expr.nodes[expr.result()].op, Scalar::Input(0));
        placed.map = (!identity).then_some(EpilogueMap {
            expr,
            operands,
            in_place,
        });
        Ok(placed)
    }
}

/// A layout without its leading axes, over which loops run.
pub(super) struct View {
    pub(super) layout: Layout,
    pub(super) loop_strides: Vec<Dim>,
}

/// Turns all but the last `kept` axes of layouts of equal leading axes into loops, merged where all layouts allow.
pub(super) fn take_loops(layouts: &[Layout], kept: usize) -> (Vec<Dim>, Vec<View>) {
    let rank = layouts.iter().map(|layout| layout.shape.len()).max().unwrap_or(kept);
    let lead = rank - kept;
    let mut loops: Vec<Dim> = Vec::new();
    let mut strides: Vec<Vec<Dim>> = vec![Vec::new(); layouts.len()];
    for axis in 0..lead {
        let size = layouts[0].shape[axis].clone();
        if size.is(1) {
            continue;
        }
        let joined = !loops.is_empty()
            && layouts
                .iter()
                .zip(&strides)
                .all(|(layout, own)| own[own.len() - 1] == layout.strides[axis].clone() * size.clone());
        for (layout, own) in layouts.iter().zip(&mut strides) {
            if joined {
                own.pop();
            }
            own.push(layout.strides[axis].clone());
        }
        match loops.last_mut() {
            Some(last) if joined => *last = last.clone() * size,
            _ => loops.push(size),
        }
    }
    let views = layouts
        .iter()
        .zip(strides)
        .map(|(layout, loop_strides)| View {
            layout: Layout {
                offset: layout.offset.clone(),
                shape: layout.shape[lead..].to_vec(),
                strides: layout.strides[lead..].to_vec(),
            },
            loop_strides,
        })
        .collect();
    (loops, views)
}

/// A matrix seen from the leading axes of a product.
fn broadcast_lead(layout: &Layout, lead: &[Dim]) -> Layout {
    let rank = layout.shape.len();
    let shape = [lead, &layout.shape[rank - 2..]].concat();
    layout.broadcast(&shape)
}
