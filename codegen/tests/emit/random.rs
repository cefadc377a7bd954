//! Random graphs that combine views, shared storage and control flow in ways that models of one architecture do not.

use onnxide_codegen::ir::graph::{Block, Graph, Node, Port, TensorType, ValueId};
use onnxide_codegen::ir::infer::{broadcast, infer};
use onnxide_codegen::ir::op::{NearestRounding, NormalizeKind, PadMode, PoolKind, ReduceKind, ResizeCoordinates};
use onnxide_codegen::ir::op::{ResizeMode, Window};
use onnxide_codegen::ir::sample::SplitMix;
use onnxide_codegen::ir::{BinaryOp, DType, Dim, Epilogue, Expr, Interval, Op, Tensor, UnaryOp, verify};
use onnxide_codegen::plan::Plan;

/// The most elements of a value, which bounds the time of the evaluator.
const MAX_ELEMENTS: i64 = 1500;
const MAX_RANK: usize = 5;

/// A valid graph that can be planned; equal seeds give equal graphs.
pub(crate) fn graph(seed: u64) -> Graph {
    let mut random = Random {
        graph: Graph::new(format!("random_{seed}")),
        rng: SplitMix::new(seed),
        pool: Vec::new(),
    };
    random.graph.bounds.insert("n", Interval { low: 1, high: 4 });
    random.graph.bounds.insert("m", Interval { low: 1, high: 3 });
    let (n, m) = (Dim::symbol("n"), Dim::symbol("m"));
    let c = |size: i64| Dim::from(size);
    for shape in [
        vec![n.clone(), c(4), c(6)],
        vec![n.clone(), m.clone(), c(6)],
        vec![m.clone(), n.clone()],
        vec![c(2), c(4), c(5), c(3)],
        vec![m.clone(), c(4), n.clone() + c(4), c(5)],
    ] {
        let number = random.graph.inputs.len();
        let value = random.graph.add_value(TensorType::new(DType::F32, shape), None);
        random.graph.body.params.push(value);
        random.graph.inputs.push(Port::tensor(format!("x{number}")));
        random.pool.push(value);
    }
    let wanted = 14;
    for _ in 0..wanted * 8 {
        if random.graph.body.nodes.len() >= wanted {
            break;
        }
        random.step();
    }
    random.finish();
    random.graph
}

struct Random {
    graph: Graph,
    rng: SplitMix,
    /// Floating-point values that can be operands.
    pool: Vec<ValueId>,
}

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.rng.integer(0, limit as i64 - 1) as usize
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    /// A value, recent ones more often.
    fn pick(&mut self) -> ValueId {
        let count = self.pool.len();
        let place = match self.chance(2) {
            true => count - 1 - self.below(count.min(3)),
            false => self.below(count),
        };
        self.pool[place]
    }

    fn shape(&self, value: ValueId) -> Vec<Dim> {
        self.graph.ty(value).shape.clone()
    }

    /// Appends a node, unless its result would be invalid, too large or not supported.
    fn push(&mut self, op: Op, inputs: Vec<ValueId>, regions: Vec<Block>) -> Option<ValueId> {
        let types = infer(&self.graph, &op, &inputs, &regions).ok()?;
        let bounds = &self.graph.bounds;
        let small = |ty: &TensorType| ty.elements().upper(bounds) <= MAX_ELEMENTS && ty.rank() <= MAX_RANK;
        if !types.iter().all(small) {
            return None;
        }
        let mut trial = self.graph.clone();
        let outputs: Vec<ValueId> = types.into_iter().map(|ty| trial.add_value(ty, None)).collect();
        trial.body.nodes.push(Node {
            op,
            inputs,
            outputs: outputs.clone(),
            regions,
            origin: vec![format!("node{}", self.graph.body.nodes.len())],
        });
        trial.body.results.clone_from(&outputs);
        trial.outputs = (0..outputs.len()).map(|i| Port::tensor(format!("y{i}"))).collect();
        if verify(&trial).is_err() || !trial.constraints.is_empty() {
            return None;
        }
        if let Err(errors) = Plan::new(&trial) {
            assert!(
                errors.iter().all(|error| error.message.contains("support")),
                "{errors:?}\n{trial}"
            );
            return None;
        }
        trial.body.results.clear();
        trial.outputs.clear();
        self.graph = trial;
        for &output in &outputs {
            let ty = self.graph.ty(output);
            // Extrema of nothing, among others, are not defined.
            if ty.dtype == DType::F32 && !ty.elements().is(0) {
                self.pool.push(output);
            }
        }
        outputs.first().copied()
    }

    fn constant(&mut self, shape: Vec<usize>) -> ValueId {
        let seed = self.rng.bits();
        let ty = TensorType::new(DType::F32, shape.iter().map(|&size| Dim::from(size)).collect());
        self.define(Tensor::random(DType::F32, shape, seed), ty)
    }

    fn indices(&mut self, shape: Vec<usize>, low: i64, high: i64) -> ValueId {
        let seed = self.rng.bits();
        let ty = TensorType::new(DType::I64, shape.iter().map(|&size| Dim::from(size)).collect());
        self.define(Tensor::random_integers(DType::I64, shape, seed, low, high), ty)
    }

    fn define(&mut self, tensor: Tensor, ty: TensorType) -> ValueId {
        let value = self.graph.add_value(ty, None);
        self.graph.body.nodes.push(Node {
            op: Op::Constant(tensor),
            inputs: Vec::new(),
            outputs: vec![value],
            regions: Vec::new(),
            origin: vec![format!("constant{}", self.graph.body.nodes.len())],
        });
        value
    }

    fn step(&mut self) {
        let x = self.pick();
        match self.below(30) {
            0 | 1 => self.unary(x),
            2..=5 => self.combine(x),
            6 | 7 => self.reshape(x),
            8 | 9 => self.transpose(x),
            10 => self.slice(x),
            11..=13 => self.concat(x),
            14..=16 => self.matmul(x),
            17 | 18 => self.rows(x),
            19 => self.gather(x),
            20 | 26..=29 => self.window(x),
            21 => self.pad_or_resize(x),
            22 => self.attention(x),
            23 => self.scan(x),
            24 => self.repeat(x),
            _ => self.branch(x),
        };
    }

    fn unary(&mut self, x: ValueId) -> Option<ValueId> {
        let op = [UnaryOp::Tanh, UnaryOp::Sigmoid, UnaryOp::Neg, UnaryOp::Abs][self.below(4)];
        let shape = self.shape(x);
        let expr = Expr::unary(op, DType::F32);
        self.push(Op::Elementwise { expr, shape }, vec![x], vec![])
    }

    /// Values of the pool that broadcast with a shape without further conditions.
    fn fitting(&mut self, shape: &[Dim], same: bool) -> Vec<ValueId> {
        let fits = |value: &&ValueId| {
            let own = &self.graph.ty(**value).shape;
            match broadcast(&self.graph, &[shape, own]) {
                Ok((result, equal)) => equal.is_empty() && (!same || result == shape && own.len() <= shape.len()),
                Err(_) => false,
            }
        };
        self.pool.iter().filter(fits).copied().collect()
    }

    /// An expression of `count` operands that keeps values small; operand 0 occurs twice now and then.
    fn expr(&mut self, count: usize) -> Expr {
        let mut expr = Expr::empty();
        let mut sum = expr.input(0, DType::F32);
        let first = sum;
        for index in 1..count {
            let next = expr.input(index, DType::F32);
            let op = [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Max][self.below(4)];
            sum = match self.chance(2) {
                true => expr.apply2(op, sum, next),
                false => expr.apply2(op, next, sum),
            };
        }
        if self.chance(4) {
            sum = expr.apply2(BinaryOp::Add, sum, first);
        }
        if self.chance(2) {
            sum = expr.apply1(UnaryOp::Tanh, sum);
        }
        expr.finish(sum)
    }

    fn combine(&mut self, x: ValueId) -> Option<ValueId> {
        let mut operands = vec![x];
        let mut shape = self.shape(x);
        for _ in 0..1 + self.below(2) {
            let others = self.fitting(&shape, false);
            let other = others[self.below(others.len())];
            shape = broadcast(&self.graph, &[&shape, &self.shape(other)]).ok()?.0;
            operands.push(other);
        }
        let expr = self.expr(operands.len());
        self.push(Op::Elementwise { expr, shape }, operands, vec![])
    }

    fn reshape(&mut self, x: ValueId) -> Option<ValueId> {
        let mut shape = self.shape(x);
        match self.below(4) {
            0 if shape.len() > 1 => {
                let axis = self.below(shape.len() - 1);
                let merged = shape.remove(axis);
                shape[axis] = merged * shape[axis].clone();
            }
            1 => {
                let axis = self.below(shape.len() + 1);
                shape.insert(axis, Dim::from(1i64));
            }
            2 if shape.len() > 1 && shape.iter().any(|size| size.is(1)) => {
                let axis = shape.iter().position(|size| size.is(1))?;
                shape.remove(axis);
            }
            _ => {
                // Splits an axis by 2 or 3, on either side, as shuffles and heads do.
                let axis = self.below(shape.len().max(1));
                let factor = Dim::from([2i64, 3][self.below(2)]);
                let rest = shape.get(axis)?.exact_div(&factor)?;
                let pair = match self.chance(2) {
                    true => [factor, rest],
                    false => [rest, factor],
                };
                shape.splice(axis..=axis, pair);
            }
        }
        self.push(Op::Reshape { shape }, vec![x], vec![])
    }

    fn permutation(&mut self, rank: usize) -> Vec<usize> {
        let mut permutation: Vec<usize> = (0..rank).collect();
        for place in (1..rank).rev() {
            let other = self.below(place + 1);
            permutation.swap(place, other);
        }
        permutation
    }

    fn transpose(&mut self, x: ValueId) -> Option<ValueId> {
        let mut permutation = self.permutation(self.shape(x).len());
        if self.chance(2) && permutation.len() > 2 {
            // Heads: the inner axis stays.
            permutation.sort_unstable();
            let inner = permutation.len() - 2;
            permutation.swap(inner, inner - 1);
            if inner > 1 && self.chance(2) {
                permutation.swap(0, inner);
            }
        }
        self.push(Op::Transpose { permutation }, vec![x], vec![])
    }

    fn slice(&mut self, x: ValueId) -> Option<ValueId> {
        let mut shape = self.shape(x);
        let mut starts = vec![Dim::from(0i64); shape.len()];
        let mut steps = vec![1i64; shape.len()];
        for axis in 0..shape.len() {
            match (shape[axis].as_const(), self.below(3)) {
                (Some(size), 0) if size > 1 => {
                    let start = self.rng.integer(0, size - 1);
                    let step = self.rng.integer(1, 2);
                    starts[axis] = Dim::from(start);
                    steps[axis] = step;
                    shape[axis] = Dim::from(1 + self.rng.integer(0, (size - 1 - start) / step));
                }
                (_, 1) if self.chance(2) => {
                    starts[axis] = shape[axis].clone() - Dim::from(1i64);
                    steps[axis] = -1;
                }
                (None, 2) => shape[axis] = Dim::from(1i64),
                _ => {}
            }
        }
        self.push(Op::Slice { starts, steps, shape }, vec![x], vec![])
    }

    fn concat(&mut self, x: ValueId) -> Option<ValueId> {
        let shape = self.shape(x);
        let axis = self.below(shape.len().max(1));
        let joins = |own: &[Dim]| {
            own.len() == shape.len() && (0..own.len()).all(|i| i == axis || self.graph.dims_equal(&own[i], &shape[i]))
        };
        let others: Vec<ValueId> = self
            .pool
            .iter()
            .copied()
            .filter(|&v| joins(&self.graph.ty(v).shape))
            .collect();
        let mut operands = vec![x];
        for _ in 0..1 + self.below(2) {
            // A function of an operand, so that one part is computed from another.
            match self.below(3) {
                0 => operands.push(self.unary(operands[0])?),
                _ => operands.push(others[self.below(others.len())]),
            }
        }
        if self.chance(2) {
            operands.rotate_left(1);
        }
        self.push(Op::Concat { axis }, operands, vec![])
    }

    fn matmul(&mut self, x: ValueId) -> Option<ValueId> {
        let shape = self.shape(x);
        let rank = shape.len();
        if rank < 2 {
            return None;
        }
        let mut swapped: Vec<usize> = (0..rank).collect();
        swapped.swap(rank - 2, rank - 1);
        let k = shape[rank - 1].clone();
        let fits: Vec<ValueId> = self
            .pool
            .iter()
            .copied()
            .filter(|&value| {
                let own = &self.graph.ty(value).shape;
                own.len() >= 2 && own[own.len() - 2] == k
            })
            .collect();
        let mut right = match self.below(3) {
            0 if !fits.is_empty() => fits[self.below(fits.len())],
            1 => self.push(
                Op::Transpose {
                    permutation: swapped.clone(),
                },
                vec![x],
                vec![],
            )?,
            _ => {
                let size = k.as_usize()?;
                let columns = 1 + self.below(9);
                match self.chance(2) {
                    true => self.constant(vec![size, columns]),
                    false => {
                        let w = self.constant(vec![columns, size]);
                        self.push(
                            Op::Transpose {
                                permutation: vec![1, 0],
                            },
                            vec![w],
                            vec![],
                        )?
                    }
                }
            }
        };
        let mut left = x;
        if self.chance(4) && self.shape(right).len() == rank {
            // (a b)^T = b^T a^T
            let a = self.push(
                Op::Transpose {
                    permutation: swapped.clone(),
                },
                vec![right],
                vec![],
            )?;
            right = self.push(
                Op::Transpose {
                    permutation: swapped.clone(),
                },
                vec![x],
                vec![],
            )?;
            left = a;
        }
        let plain = Op::MatMul { epilogue: None };
        let types = infer(&self.graph, &plain, &[left, right], &[]).ok()?;
        let shape = types[0].shape.clone();
        let mut operands = vec![left, right];
        let epilogue = match self.chance(2) {
            true => Some(self.epilogue(&shape, &mut operands)),
            false => None,
        };
        let product = self.push(Op::MatMul { epilogue }, operands, vec![])?;
        if self.chance(3) {
            let mut permutation: Vec<usize> = (0..shape.len()).collect();
            if shape.len() > 2 {
                permutation.swap(shape.len() - 3, shape.len() - 2);
            } else {
                permutation.swap(0, 1);
            }
            self.pool.retain(|&value| value != product);
            return self.push(Op::Transpose { permutation }, vec![product], vec![]);
        }
        Some(product)
    }

    fn epilogue(&mut self, shape: &[Dim], operands: &mut Vec<ValueId>) -> Epilogue {
        let mut extras = self.fitting(shape, true);
        if let Some(columns) = shape[shape.len() - 1].as_usize() {
            extras.push(self.constant(vec![columns]));
        }
        if let Some(rows) = shape[shape.len() - 2].as_usize() {
            extras.push(self.constant(vec![rows, 1]));
        }
        let count = self.below(3).min(extras.len());
        for _ in 0..count {
            operands.push(extras[self.below(extras.len())]);
        }
        Epilogue {
            expr: self.expr(count + 1),
        }
    }

    fn rows(&mut self, x: ValueId) -> Option<ValueId> {
        let shape = self.shape(x);
        let rank = shape.len();
        if rank == 0 {
            return None;
        }
        let axis = self.below(rank);
        let op = match self.below(6) {
            0 => Op::Softmax {
                axis,
                log: self.chance(2),
            },
            1 => {
                let mut operands = vec![x];
                let sizes: Option<Vec<usize>> = shape[axis..].iter().map(Dim::as_usize).collect();
                let scale = sizes.is_some() && self.chance(2);
                let bias = scale && self.chance(2);
                for _ in 0..usize::from(scale) + usize::from(bias) {
                    operands.push(self.constant(sizes.clone()?));
                }
                let kind = [NormalizeKind::Layer, NormalizeKind::Rms][self.below(2)];
                let op = Op::Normalize {
                    kind,
                    axis,
                    epsilon: 0.125,
                    scale,
                    bias,
                };
                return self.push(op, operands, vec![]);
            }
            2 => Op::CumSum {
                axis,
                exclusive: self.chance(2),
                reverse: self.chance(2),
            },
            3 => {
                let op = Op::ArgReduce {
                    largest: self.chance(2),
                    axis,
                    keep_dims: self.chance(2),
                    last: self.chance(2),
                };
                let found = self.push(op, vec![x], vec![])?;
                let shape = self.shape(found);
                let expr = Expr::cast(DType::I64, DType::F32);
                return self.push(Op::Elementwise { expr, shape }, vec![found], vec![]);
            }
            _ => {
                let axes: Vec<usize> = (0..rank).filter(|_| self.chance(2)).collect();
                use ReduceKind::*;
                let kind = [Mean, Max, Min, Sum, L2, L1, LogSumExp][self.below(7)];
                Op::Reduce {
                    kind,
                    axes,
                    keep_dims: self.chance(2),
                }
            }
        };
        self.push(op, vec![x], vec![])
    }

    fn gather(&mut self, x: ValueId) -> Option<ValueId> {
        let shape = self.shape(x);
        let axis = self.below(shape.len().max(1));
        let (low, high) = match shape.get(axis)?.as_const() {
            Some(size) => (-size, size - 1),
            None => (-1, 0),
        };
        let indices = [vec![], vec![3], vec![2, 2]][self.below(3)].clone();
        let indices = self.indices(indices, low, high);
        self.push(Op::Gather { axis }, vec![x, indices], vec![])
    }

    fn window(&mut self, x: ValueId) -> Option<ValueId> {
        let images: Vec<ValueId> = self
            .pool
            .iter()
            .copied()
            .filter(|&v| self.shape(v).len() == 4)
            .collect();
        let x = match images.is_empty() || self.chance(4) {
            true => x,
            false => images[self.below(images.len())],
        };
        let shape = self.shape(x);
        let spatial = shape
            .len()
            .checked_sub(2)
            .filter(|&spatial| spatial == 1 || spatial == 2)?;
        let mut list = |low: i64, high: i64| -> Vec<usize> {
            (0..spatial).map(|_| self.rng.integer(low, high) as usize).collect()
        };
        let window = Window {
            kernel: list(1, 3),
            strides: list(1, 2),
            dilations: list(1, 2),
            pads_before: list(0, 1).into_iter().map(Dim::from).collect(),
            pads_after: list(0, 1).into_iter().map(Dim::from).collect(),
        };
        let kernel = window.kernel.clone();
        // Every window must lie within the padded input, and see an element of it.
        for axis in 0..spatial {
            let low = shape[2 + axis].range(&self.graph.bounds).low;
            if low < ((window.kernel[axis] - 1) * window.dilations[axis] + 1) as i64 || kernel[axis] < 2 && low < 2 {
                return None;
            }
        }
        if self.chance(3) {
            let kind = match self.chance(2) {
                true => PoolKind::Max,
                false => PoolKind::Average {
                    count_include_pad: self.chance(2),
                },
            };
            if kernel.contains(&1) {
                return None;
            }
            let ceil_mode = self.chance(2);
            return self.push(
                Op::Pool {
                    kind,
                    window,
                    ceil_mode,
                },
                vec![x],
                vec![],
            );
        }
        let channels = shape[1].as_usize()?;
        let groups = [1, channels, if channels % 2 == 0 { 2 } else { 1 }][self.below(3)];
        let out = groups * (1 + self.below(3));
        let transposed = self.chance(3);
        let weights = match transposed {
            true => [vec![channels, out / groups], kernel].concat(),
            false => [vec![out, channels / groups], kernel].concat(),
        };
        let mut operands = vec![x, self.constant(weights)];
        let bias = self.chance(2);
        if bias {
            operands.push(self.constant(vec![out]));
        }
        let make = |epilogue: Option<Epilogue>| match transposed {
            true => Op::ConvTranspose {
                window: window.clone(),
                output_padding: vec![0; spatial],
                groups,
                bias,
                epilogue,
            },
            false => Op::Conv {
                pad_value: 0,
                window: window.clone(),
                groups,
                bias,
                epilogue,
            },
        };
        let result = infer(&self.graph, &make(None), &operands, &[]).ok()?[0].shape.clone();
        let epilogue = match self.chance(2) {
            true => Some(self.epilogue(&result, &mut operands)),
            false => None,
        };
        self.push(make(epilogue), operands, vec![])
    }

    fn pad_or_resize(&mut self, x: ValueId) -> Option<ValueId> {
        let shape = self.shape(x);
        let rank = shape.len();
        if self.chance(2) {
            let mode = [PadMode::Constant, PadMode::Edge, PadMode::Reflect, PadMode::Wrap][self.below(4)];
            let mut pads = || -> Vec<Dim> {
                let pad = |size: &Dim| match size.range(&self.graph.bounds).low {
                    0 | 1 => 0,
                    _ => self.rng.integer(0, 1),
                };
                shape.iter().map(pad).map(Dim::from).collect()
            };
            let (before, after) = (pads(), pads());
            let mut operands = vec![x];
            if mode == PadMode::Constant {
                operands.push(self.constant(vec![]));
            }
            return self.push(Op::Pad { mode, before, after }, operands, vec![]);
        }
        let mut target = shape.clone();
        let mut scales = vec![1.0; rank];
        for axis in rank.checked_sub(2)?..rank {
            let factor = self.rng.integer(1, 3);
            target[axis] = shape[axis].clone() * Dim::from(factor);
            scales[axis] = factor as f32;
        }
        let rounding = [
            NearestRounding::Floor,
            NearestRounding::RoundPreferFloor,
            NearestRounding::Ceil,
        ][self.below(3)];
        let mode = [ResizeMode::Linear, ResizeMode::Nearest(rounding)][self.below(2)];
        let coordinates = [
            ResizeCoordinates::HalfPixel,
            ResizeCoordinates::Asymmetric,
            ResizeCoordinates::AlignCorners,
            ResizeCoordinates::PytorchHalfPixel,
        ][self.below(4)];
        let scales = self.chance(2).then_some(scales);
        self.push(
            Op::Resize {
                mode,
                coordinates,
                scales,
                shape: target,
            },
            vec![x],
            vec![],
        )
    }

    fn attention(&mut self, x: ValueId) -> Option<ValueId> {
        let shape = self.shape(x);
        let rank = shape.len();
        if rank < 2 {
            return None;
        }
        let mut operands = vec![x];
        for _ in 0..2 {
            let next = match self.chance(2) {
                true => x,
                false => self.unary(x)?,
            };
            operands.push(next);
        }
        let scores = [&shape[..rank - 1], &shape[rank - 2..rank - 1]].concat();
        let masks = self.fitting(&scores, true);
        let mask = !masks.is_empty() && self.chance(2);
        if mask {
            operands.push(masks[self.below(masks.len())]);
        }
        let causal = !mask && self.chance(2);
        self.push(
            Op::Attention {
                scale: 0.5,
                mask,
                causal,
            },
            operands,
            vec![],
        )
    }

    /// A node of a region.
    fn inner(&mut self, block: &mut Block, shape: &[Dim], operands: &[ValueId]) -> ValueId {
        let expr = self.expr(operands.len());
        let value = self.graph.add_value(TensorType::new(DType::F32, shape.to_vec()), None);
        block.nodes.push(Node {
            op: Op::Elementwise {
                expr,
                shape: shape.to_vec(),
            },
            inputs: operands.to_vec(),
            outputs: vec![value],
            regions: Vec::new(),
            origin: vec!["inner".into()],
        });
        value
    }

    /// Now and then a view of a square value instead of the value.
    fn inner_view(&mut self, block: &mut Block, value: ValueId) -> ValueId {
        let shape = self.shape(value);
        if shape.len() < 2 || shape[0] != shape[1] || self.chance(2) {
            return value;
        }
        let mut permutation: Vec<usize> = (0..shape.len()).collect();
        permutation.swap(0, 1);
        let view = self.graph.add_value(TensorType::new(DType::F32, shape), None);
        block.nodes.push(Node {
            op: Op::Transpose { permutation },
            inputs: vec![value],
            outputs: vec![view],
            regions: Vec::new(),
            origin: vec!["inner view".into()],
        });
        view
    }

    fn scan(&mut self, x: ValueId) -> Option<ValueId> {
        let shape = self.shape(x);
        let element = shape.get(1..)?.to_vec();
        let captured = self.fitting(&element, true);
        let state = captured.iter().copied().find(|&value| self.shape(value) == element);
        let mut block = Block::default();
        let mut operands = Vec::new();
        let ty = TensorType::new(DType::F32, element.clone());
        let mut parts = Vec::new();
        if let Some(state) = state {
            operands.push(state);
            let param = self.graph.add_value(ty.clone(), None);
            block.params.push(param);
            parts.push(param);
        }
        operands.push(x);
        let param = self.graph.add_value(ty, None);
        block.params.push(param);
        parts.push(param);
        if !captured.is_empty() {
            parts.push(captured[self.below(captured.len())]);
        }
        let sum = self.inner(&mut block, &element, &parts);
        let more = self.inner(&mut block, &element, &[sum, param]);
        if state.is_some() {
            block.results.push(more);
        }
        block.results.push(if self.chance(2) { sum } else { param });
        self.push(
            Op::Scan {
                carried: usize::from(state.is_some()),
            },
            operands,
            vec![block],
        )
    }

    /// A loop that carries three values and rotates them.
    fn repeat(&mut self, x: ValueId) -> Option<ValueId> {
        let shape = self.shape(x);
        let same: Vec<ValueId> = self
            .pool
            .iter()
            .copied()
            .filter(|&value| self.shape(value) == shape)
            .collect();
        let start = [x, same[self.below(same.len())], same[self.below(same.len())]];
        let trips = self.below(4);
        let count = self.define(Tensor::scalar(trips as i64), TensorType::scalar(DType::I64));
        let truth = self.define(
            Tensor::from_bytes(DType::Bool, vec![], vec![1u8].into()),
            TensorType::scalar(DType::Bool),
        );
        let mut block = Block::default();
        for ty in [TensorType::scalar(DType::I64), TensorType::scalar(DType::Bool)] {
            let param = self.graph.add_value(ty, None);
            block.params.push(param);
        }
        for _ in 0..3 {
            let param = self.graph.add_value(TensorType::new(DType::F32, shape.clone()), None);
            block.params.push(param);
        }
        let (go_on, [a, b, c]) = (block.params[1], [block.params[2], block.params[3], block.params[4]]);
        let captured = self.fitting(&shape, true);
        let captured = captured[self.below(captured.len())];
        let sum = self.inner(&mut block, &shape, &[a, captured, c]);
        let a = self.inner_view(&mut block, a);
        let b = self.inner_view(&mut block, b);
        let mut next = [b, sum, a];
        if self.chance(3) {
            next.rotate_left(1);
        }
        block.results = [vec![go_on], next.to_vec(), vec![sum]].concat();
        self.push(
            Op::Loop {
                carried: 3,
                trips: Dim::from(trips),
            },
            [vec![count, truth], start.to_vec()].concat(),
            vec![block],
        )
    }

    fn branch(&mut self, x: ValueId) -> Option<ValueId> {
        let shape = self.shape(x);
        let all: Vec<usize> = (0..shape.len()).collect();
        // A maximum, because the sign of a sum may depend on rounding.
        let largest = self.push(
            Op::Reduce {
                kind: ReduceKind::Max,
                axes: all,
                keep_dims: false,
            },
            vec![x],
            vec![],
        )?;
        let mut expr = Expr::empty();
        let value = expr.input(0, DType::F32);
        let zero = expr.float(0.0, DType::F32);
        expr.apply2(BinaryOp::Gt, value, zero);
        let positive = self.push(Op::Elementwise { expr, shape: vec![] }, vec![largest], vec![])?;
        let same: Vec<ValueId> = self
            .pool
            .iter()
            .copied()
            .filter(|&value| self.shape(value) == shape)
            .collect();
        let other = same[self.below(same.len())];
        let (mut yes, mut no) = (Block::default(), Block::default());
        let inner = self.inner(&mut yes, &shape, &[x, other]);
        let more = self.inner(&mut yes, &shape, &[inner, x]);
        yes.results = vec![inner, more];
        let view = self.inner_view(&mut no, x);
        let inner = self.inner(&mut no, &shape, &[view, other, x]);
        no.results = if self.chance(2) {
            vec![other, inner]
        } else {
            vec![view, view]
        };
        self.push(Op::If, vec![positive], vec![yes, no])
    }

    /// Makes outputs of the values that nobody reads and of a few others, one of them twice.
    fn finish(&mut self) {
        let uses = self.graph.use_counts();
        let unused = |value: &&ValueId| uses.get(value).is_none_or(|&count| count == 0);
        let mut results: Vec<ValueId> = self.pool.iter().filter(unused).copied().collect();
        for _ in 0..2 {
            results.push(self.pick());
        }
        if self.chance(2) {
            results.push(self.pool[0]);
        }
        self.graph.outputs = (0..results.len()).map(|i| Port::tensor(format!("y{i}"))).collect();
        self.graph.body.results = results;
    }
}
