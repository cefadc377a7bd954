//! Values in storage: buffers, copies and accesses.

use super::{Lowered, Lowering, Origin, Ref, order};
use crate::ir::graph::{TensorType, ValueId};
use crate::ir::{DType, Dim, Expr, Tensor};
use crate::plan::access::{Access, Base, Buffer, BufferId};
use crate::plan::layout::Layout;
use crate::plan::{Item, Packing, storage_dtype};
use std::collections::HashSet;

/// The largest number of elements of a value in the arena.
const MAX_ELEMENTS: i64 = 1 << 40;

impl Lowering<'_> {
    /// The access of a value of rank 0.
    pub(super) fn element(&mut self, value: ValueId) -> Access {
        let place = self.operand(value);
        self.access(&place, Vec::new())
    }

    pub(super) fn operand(&self, value: ValueId) -> Ref {
        self.refs[&value].clone()
    }

    /// The value itself if it lies densely, otherwise a dense copy.
    pub(super) fn dense(&mut self, source: &Ref, origin: &[String]) -> Result<Ref, String> {
        if source.layout.is_dense() {
            Ok(source.clone())
        } else {
            self.copy(source, origin)
        }
    }

    /// A dense copy in a new buffer.
    pub(super) fn copy(&mut self, source: &Ref, origin: &[String]) -> Result<Ref, String> {
        let target = self.new_buffer(source.dtype, &source.layout.shape, "")?;
        self.copy_to(source, &target, origin)?;
        Ok(target)
    }

    /// Copies a value to where it must be.
    pub(super) fn copy_to(&mut self, source: &Ref, target: &Ref, origin: &[String]) -> Lowered {
        let results = vec![TensorType::new(source.dtype, target.layout.shape.clone())];
        self.map_step(
            &Expr::identity(source.dtype),
            std::slice::from_ref(source),
            target,
            None,
            origin,
            results,
        )
    }

    /// A dense value in a new buffer.
    pub(super) fn new_buffer(&mut self, dtype: DType, shape: &[Dim], name: &str) -> Result<Ref, String> {
        self.limit(shape)?;
        self.buffer(dtype, shape, name, self.graph.most_elements(shape))
    }

    /// A dense value in a new buffer with room for all that its sizes allow one by one, whatever is known of them together.
    pub(super) fn whole_buffer(&mut self, dtype: DType, shape: &[Dim], name: &str) -> Result<Ref, String> {
        let elements: Dim = shape.iter().cloned().product();
        self.buffer(dtype, shape, name, elements.upper(&self.graph.bounds))
    }

    /// Ends the run unless a value fits what is reserved for it, where that follows from what is known of sizes together
    /// and the run has not checked that yet.
    fn limit(&mut self, shape: &[Dim]) -> Result<(), String> {
        let elements: Dim = shape.iter().cloned().product();
        let most = self.graph.most_elements(shape);
        let mut computed = false;
        elements.visit_symbols(&mut |symbol| computed |= self.computed.contains(symbol));
        if !computed || elements.upper(&self.graph.bounds) <= most {
            return Ok(());
        }
        let mut expr = Expr::empty();
        let (count, most) = (expr.dim(&elements), expr.int(most.into(), DType::I64));
        expr.apply2(crate::ir::BinaryOp::Le, count, most);
        let fits = self.new_buffer(DType::Bool, &[], "fits")?;
        let origin = self.origin.clone();
        self.map_step(&expr, &[], &fits, None, &origin, vec![TensorType::scalar(DType::Bool)])?;
        let condition = self.access(&fits, Vec::new());
        self.items.push(Item::Assert {
            condition,
            origin: origin.first().cloned().unwrap_or_default(),
            message: "its result is no larger than the shape that the model declares".to_owned(),
        });
        Ok(())
    }

    fn buffer(&mut self, dtype: DType, shape: &[Dim], name: &str, capacity: i64) -> Result<Ref, String> {
        let layout = Layout::dense(shape);
        if capacity > MAX_ELEMENTS {
            return Err(format!(
                "a value has up to {capacity} elements; smaller bounds of its dimensions are needed"
            ));
        }
        let id = BufferId(self.buffers.len());
        let dtype = storage_dtype(dtype);
        self.buffers.push(Buffer {
            dtype,
            capacity: capacity.max(0) as usize,
            name: name.to_owned(),
            first: usize::MAX,
            last: 0,
            offset: 0,
        });
        Ok(Ref {
            origin: Origin::Buffer(id),
            dtype,
            layout,
        })
    }

    /// Where a result is written: its destination if it has one, otherwise a new buffer, stored in its order.
    pub(super) fn result(&mut self, value: ValueId) -> Result<Ref, String> {
        let target = match self.destinations.get(&value) {
            Some(target) => target.clone(),
            None => {
                let ty = self.graph.ty(value).clone();
                let name = self.graph.value(value).name.clone().unwrap_or_default();
                let order = self.order(value);
                let stored: Vec<Dim> = order.iter().map(|&axis| ty.shape[axis].clone()).collect();
                self.new_buffer(ty.dtype, &stored, &name)?
                    .transpose(&order::inverse(&order))
            }
        };
        self.refs.insert(value, target.clone());
        Ok(target)
    }

    /// A read or write of a value whose loops move by `loop_strides`.
    pub(super) fn access(&mut self, source: &Ref, loop_strides: Vec<Dim>) -> Access {
        let base = match &source.origin {
            Origin::Input(number) => Base::Input(*number),
            Origin::Buffer(id) => Base::Buffer(*id),
            Origin::Constant(value) => {
                let (tensor, name) = &self.constants[value];
                Base::Weight(self.weights.add(tensor, Packing::Dense, name))
            }
        };
        Access {
            base,
            dtype: source.dtype,
            offset: source.layout.offset.clone(),
            loop_strides,
        }
    }

    /// A read of a constant in a packed layout.
    pub(super) fn packed(&mut self, value: ValueId, packing: Packing) -> Access {
        let (tensor, name) = &self.constants[&value];
        let dtype = packing.dtype(tensor.dtype);
        let id = self.weights.add(tensor, packing, name);
        Access::weight(id, dtype, 0)
    }

    /// The constant behind a value and the layout under which it is seen.
    pub(super) fn constant_of(&self, source: &Ref) -> Option<(ValueId, &Tensor)> {
        match source.origin {
            Origin::Constant(value) => Some((value, &self.constants[&value].0)),
            _ => None,
        }
    }

    /// Working memory of a step, `None` if it needs none.
    pub(super) fn scratch(&mut self, elements: usize) -> Result<Option<Access>, String> {
        if elements == 0 {
            return Ok(None);
        }
        let target = self.new_buffer(DType::F32, &[Dim::from(elements)], "scratch")?;
        Ok(Some(self.access(&target, Vec::new())))
    }

    /// The access of an output: dense, in a buffer of its own.
    pub(super) fn output(&mut self, value: ValueId, taken: &mut HashSet<BufferId>) -> Result<Access, String> {
        let source = self.operand(value);
        let fits = match source.origin {
            Origin::Buffer(id) => source.layout.is_dense() && taken.insert(id),
            _ => false,
        };
        let target = if fits { source } else { self.copy(&source, &[])? };
        if let Origin::Buffer(id) = target.origin {
            taken.insert(id);
            let buffer = &mut self.buffers[id.0];
            buffer.last = usize::MAX;
        }
        Ok(self.access(&target, Vec::new()))
    }
}
