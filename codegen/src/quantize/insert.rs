//! Quantization of a graph: numbers of 8 bits before layers, and in the place of their weights.

use std::collections::{BTreeSet, HashMap};

use super::layers::{Kind, Layer, Scales, definitions, moves};
use super::weights::{Numbers, Weights};
use crate::ir::infer::infer;
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, DType, Dim, Expr, Graph, Node, Op, ScalarId, Tensor, UnaryOp, ValueId};

/// How numbers of `u8` stand for others: a scale times the difference to a zero point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Encoding {
    pub(super) scale: f32,
    pub(super) zero: u8,
}

impl Encoding {
    /// The encoding of a range; it has zero, which padding and activations need, exactly. `None` for a range of zero alone,
    /// or almost, which says nothing of a scale.
    pub(super) fn new(low: f64, high: f64) -> Option<Encoding> {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((high - low) / 255.0) as f32;
        if !scale.is_normal() || !(1.0 / scale).is_normal() {
            return None;
        }
        let zero = (-low / f64::from(scale)).round_ties_even().clamp(0.0, 255.0);
        Some(Encoding {
            scale,
            zero: zero as u8,
        })
    }
}

/// A layer with what it is quantized to.
pub(super) struct Target<'a> {
    pub(super) layer: &'a Layer,
    pub(super) weights: &'a Weights,
    /// What is added to each output.
    pub(super) correction: Option<&'a [f32]>,
}

/// What is quantized, and how.
pub(super) enum Activations<'a> {
    /// Each value by the encoding of its scale.
    Static {
        scales: &'a Scales,
        /// By the value that stands for all with the scale.
        encodings: &'a HashMap<ValueId, Encoding>,
    },
    /// Each row by its own range.
    Dynamic,
    /// They stay in floats.
    Float,
}

/// The graph with layers of which both factors, or the weights alone, are quantized. Passes find products of integers in it.
///
/// A value that a convolution reads is stored as bytes: who reads it elsewhere has what the bytes stand for, so that there is
/// nothing but bytes between convolutions. What a product reads stays beside its bytes for others, as the sums of
/// transformers, to which little is added in each layer, have no bits to lose.
pub(super) fn quantized(graph: &Graph, targets: &[Target<'_>], activations: &Activations<'_>) -> Graph {
    let moved: HashMap<ValueId, Node> = definitions(graph)
        .into_iter()
        .filter(|(_, node)| moves(&node.op))
        .map(|(value, node)| (value, node.clone()))
        .collect();
    let images = targets
        .iter()
        .filter(|target| matches!(target.layer.kind, Kind::Convolution { .. }));
    let mut insertion = Insertion {
        graph: graph.clone(),
        activations,
        moved,
        stored: images.map(|target| target.layer.input).collect(),
        nodes: Vec::new(),
        bytes: HashMap::new(),
        rows: HashMap::new(),
        numbers: HashMap::new(),
    };
    let by_result: HashMap<ValueId, &Target<'_>> = targets.iter().map(|target| (target.layer.result, target)).collect();
    for mut node in std::mem::take(&mut insertion.graph.body.nodes) {
        match node.outputs.first().and_then(|result| by_result.get(result)) {
            Some(target) => insertion.layer(node, target),
            None => {
                if !moves(&node.op) {
                    for input in &mut node.inputs {
                        if insertion.stored.contains(input)
                            && let Some(value) = insertion.dequantized(*input, &node.origin)
                        {
                            *input = value;
                        }
                    }
                }
                insertion.nodes.push(node);
            }
        }
    }
    insertion.graph.body.nodes = insertion.nodes;
    insertion.graph
}

struct Insertion<'a> {
    graph: Graph,
    activations: &'a Activations<'a>,
    /// The operations that only move elements, by their results.
    moved: HashMap<ValueId, Node>,
    /// The values that are stored as bytes.
    stored: BTreeSet<ValueId>,
    nodes: Vec<Node>,
    /// The bytes of values.
    bytes: HashMap<ValueId, ValueId>,
    /// Scale and zero point of the rows of values.
    rows: HashMap<ValueId, [ValueId; 2]>,
    /// What the bytes of values stand for.
    numbers: HashMap<ValueId, ValueId>,
}

impl Insertion<'_> {
    /// Adds a node with one result. `None` if the operation does not accept the operands.
    fn emit(&mut self, op: Op, inputs: &[ValueId], origin: &[String]) -> Option<ValueId> {
        let ty = infer(&self.graph, &op, inputs, &[]).ok()?.into_iter().next()?;
        let output = self.graph.add_value(ty, None);
        self.nodes.push(Node {
            op,
            inputs: inputs.to_vec(),
            outputs: vec![output],
            regions: Vec::new(),
            origin: origin.to_vec(),
        });
        Some(output)
    }

    fn elementwise(&mut self, expr: Expr, inputs: &[ValueId], like: ValueId, origin: &[String]) -> Option<ValueId> {
        let shape = self.graph.ty(like).shape.clone();
        self.emit(Op::Elementwise { expr, shape }, inputs, origin)
    }

    fn layer(&mut self, mut node: Node, target: &Target<'_>) {
        let origin = node.origin.clone();
        let Some([input, weights]) = self.factors(&node, target) else {
            self.nodes.push(node);
            return;
        };
        let place = usize::from(target.layer.kind != Kind::Table);
        node.inputs[place] = weights;
        node.inputs[1 - place] = input;
        let Some(correction) = target.correction else {
            self.nodes.push(node);
            return;
        };
        match &mut node.op {
            Op::Conv { bias, .. } => {
                let correction = Tensor::new(vec![correction.len()], correction);
                let Some(mut value) = self.emit(Op::Constant(correction), &[], &origin) else {
                    return self.nodes.push(node);
                };
                if *bias {
                    let sum = Expr::binary(BinaryOp::Add, DType::F32);
                    match self.elementwise(sum, &[node.inputs[2], value], value, &origin) {
                        Some(sum) => value = sum,
                        None => return self.nodes.push(node),
                    }
                    node.inputs[2] = value;
                } else {
                    *bias = true;
                    node.inputs.push(value);
                }
                self.nodes.push(node);
            }
            _ => {
                // The sum takes the number of the product, which gets a new one.
                let result = node.outputs[0];
                let ty = self.graph.ty(result).clone();
                let product = self.graph.add_value(ty.clone(), None);
                node.outputs[0] = product;
                self.nodes.push(node);
                let correction = Tensor::new(vec![correction.len()], correction);
                let ty_of = crate::ir::TensorType::new(DType::F32, vec![Dim::from(correction.shape[0])]);
                let value = self.graph.add_value(ty_of, None);
                self.nodes.push(Node {
                    op: Op::Constant(correction),
                    inputs: Vec::new(),
                    outputs: vec![value],
                    regions: Vec::new(),
                    origin: origin.clone(),
                });
                self.nodes.push(Node {
                    op: Op::Elementwise {
                        expr: Expr::binary(BinaryOp::Add, DType::F32),
                        shape: ty.shape,
                    },
                    inputs: vec![product, value],
                    outputs: vec![result],
                    regions: Vec::new(),
                    origin,
                });
            }
        }
    }

    /// Both factors of a layer as what their bytes stand for.
    fn factors(&mut self, node: &Node, target: &Target<'_>) -> Option<[ValueId; 2]> {
        let input = self.dequantized(target.layer.input, &node.origin)?;
        let weights = match target.weights {
            Weights::Outputs(numbers) => self.scaled(numbers, target.layer, &node.origin)?,
            Weights::Blocks(blocks) => {
                let constants = [Some(&blocks.numbers), Some(&blocks.scales), blocks.zeros.as_ref()];
                let constants = constants.into_iter().flatten();
                let inputs = constants.map(|tensor| self.emit(Op::Constant(tensor.clone()), &[], &node.origin));
                let inputs = inputs.collect::<Option<Vec<ValueId>>>()?;
                self.emit(Op::Dequantize { rows: blocks.rows }, &inputs, &node.origin)?
            }
        };
        Some([input, weights])
    }

    /// Numbers times the scales of outputs.
    fn scaled(&mut self, weights: &Numbers, layer: &Layer, origin: &[String]) -> Option<ValueId> {
        let numbers = self.emit(Op::Constant(weights.numbers.clone()), &[], origin)?;
        let mut shape = vec![weights.scales.len()];
        if layer.kind != Kind::Product {
            shape.resize(layer.weights.shape.len(), 1);
        }
        let scales = self.emit(Op::Constant(Tensor::new(shape, &weights.scales)), &[], origin)?;
        let mut expr = Expr::empty();
        let (number, scale) = (expr.input(0, DType::I8), expr.input(1, DType::F32));
        let number = expr.convert(number, DType::F32);
        expr.apply2(BinaryOp::Mul, number, scale);
        self.elementwise(expr, &[numbers, scales], numbers, origin)
    }

    /// What the bytes of a value stand for.
    fn dequantized(&mut self, value: ValueId, origin: &[String]) -> Option<ValueId> {
        if let Some(&known) = self.numbers.get(&value) {
            return Some(known);
        }
        let result = match self.activations {
            Activations::Float => return Some(value),
            Activations::Static { .. } => {
                let encoding = self.encoding(value)?;
                let bytes = self.bytes(value, encoding, origin)?;
                let mut expr = Expr::empty();
                let number = expr.input(0, DType::U8);
                let zero = (encoding.zero != 0).then(|| expr.int(encoding.zero.into(), DType::I32));
                let scale = expr.float(encoding.scale.into(), DType::F32);
                dequantize(&mut expr, number, zero, scale);
                self.elementwise(expr, &[bytes], value, origin)?
            }
            Activations::Dynamic => {
                let (bytes, [scale, zero]) = self.rows(value, origin)?;
                let mut expr = Expr::empty();
                let number = expr.input(0, DType::U8);
                let (scale_id, zero_id) = (expr.input(1, DType::F32), expr.input(2, DType::U8));
                let zero_id = expr.convert(zero_id, DType::I32);
                dequantize(&mut expr, number, Some(zero_id), scale_id);
                self.elementwise(expr, &[bytes, scale, zero], value, origin)?
            }
        };
        self.numbers.insert(value, result);
        Some(result)
    }

    fn encoding(&self, value: ValueId) -> Option<Encoding> {
        let Activations::Static { scales, encodings } = self.activations else {
            return None;
        };
        encodings.get(&scales.leader(value)?).copied()
    }

    /// The bytes of a value. What is only moved is moved as bytes.
    fn bytes(&mut self, value: ValueId, encoding: Encoding, origin: &[String]) -> Option<ValueId> {
        if let Some(&known) = self.bytes.get(&value) {
            return Some(known);
        }
        let result = match self.moved.get(&value).cloned() {
            Some(node) => {
                let inputs: Option<Vec<ValueId>> = node
                    .inputs
                    .iter()
                    .map(|&input| self.bytes(input, encoding, origin))
                    .collect();
                self.emit(node.op, &inputs?, &node.origin)?
            }
            None => {
                let mut expr = Expr::empty();
                let x = expr.input(0, DType::F32);
                let scale = expr.float(encoding.scale.into(), DType::F32);
                let zero = (encoding.zero != 0).then(|| expr.float(encoding.zero.into(), DType::F32));
                quantize(&mut expr, x, scale, zero);
                self.elementwise(expr, &[value], value, origin)?
            }
        };
        self.bytes.insert(value, result);
        Some(result)
    }

    /// The bytes of a matrix, and the scale and zero point of each row, over the range of the row.
    fn rows(&mut self, value: ValueId, origin: &[String]) -> Option<(ValueId, [ValueId; 2])> {
        if let (Some(&bytes), Some(&parameters)) = (self.bytes.get(&value), self.rows.get(&value)) {
            return Some((bytes, parameters));
        }
        let last = self.graph.ty(value).rank().checked_sub(1)?;
        let [low, high] = [ReduceKind::Min, ReduceKind::Max].map(|kind| {
            let (axes, keep_dims) = (vec![last], true);
            self.emit(Op::Reduce { kind, axes, keep_dims }, &[value], origin)
        });
        let (low, high) = (low?, high?);
        let mut expr = Expr::empty();
        let (low_id, high_id) = (expr.input(0, DType::F32), expr.input(1, DType::F32));
        let none = expr.float(0.0, DType::F32);
        let least = expr.apply2(BinaryOp::Min, low_id, none);
        let most = expr.apply2(BinaryOp::Max, high_id, none);
        let span = expr.apply2(BinaryOp::Sub, most, least);
        let steps = expr.float(1.0 / 255.0, DType::F32);
        let scale = expr.apply2(BinaryOp::Mul, span, steps);
        // The scale of a row of zeros, or almost, divides nothing.
        let smallest = expr.float(f64::from(f32::MIN_POSITIVE), DType::F32);
        expr.apply2(BinaryOp::Max, scale, smallest);
        let scale = self.elementwise(expr, &[low, high], low, origin)?;
        let mut expr = Expr::empty();
        let (low_id, scale_id) = (expr.input(0, DType::F32), expr.input(1, DType::F32));
        let below = expr.apply1(UnaryOp::Neg, low_id);
        quantize(&mut expr, below, scale_id, None);
        let zero = self.elementwise(expr, &[low, scale], low, origin)?;
        let mut expr = Expr::empty();
        let (x, scale_id) = (expr.input(0, DType::F32), expr.input(1, DType::F32));
        let zero_id = expr.input(2, DType::U8);
        let zero_id = expr.convert(zero_id, DType::F32);
        quantize(&mut expr, x, scale_id, Some(zero_id));
        let bytes = self.elementwise(expr, &[value, scale, zero], value, origin)?;
        self.bytes.insert(value, bytes);
        self.rows.insert(value, [scale, zero]);
        Some((bytes, [scale, zero]))
    }
}

/// `saturate(round(x / scale) + zero)`.
fn quantize(expr: &mut Expr, x: ScalarId, scale: ScalarId, zero: Option<ScalarId>) -> ScalarId {
    let ratio = expr.apply2(BinaryOp::Div, x, scale);
    let mut value = expr.apply1(UnaryOp::Round, ratio);
    if let Some(zero) = zero {
        value = expr.apply2(BinaryOp::Add, value, zero);
    }
    let (low, high) = (expr.float(0.0, DType::F32), expr.float(255.0, DType::F32));
    let value = expr.apply2(BinaryOp::Max, value, low);
    let value = expr.apply2(BinaryOp::Min, value, high);
    expr.convert(value, DType::U8)
}

/// `(number - zero) scale`.
fn dequantize(expr: &mut Expr, number: ScalarId, zero: Option<ScalarId>, scale: ScalarId) -> ScalarId {
    let mut value = number;
    if let Some(zero) = zero {
        let number = expr.convert(number, DType::I32);
        value = expr.apply2(BinaryOp::Sub, number, zero);
    }
    let value = expr.convert(value, DType::F32);
    expr.apply2(BinaryOp::Mul, value, scale)
}
