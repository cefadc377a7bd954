//! Graphs built by hand, and their comparison before and after passes.

use crate::ir::eval::evaluate;
use crate::ir::infer::{broadcast, infer};
use crate::ir::verify::verify;
use crate::ir::{
    BinaryOp, Block, DType, Dim, Expr, Graph, Interval, Literal, Node, Op, Port, Scalar, Tensor, TensorType, UnaryOp,
    ValueId,
};
use crate::passes::optimize;
use std::collections::HashMap;

/// A graph under construction.
pub(super) struct Builder {
    pub(super) graph: Graph,
    seed: u64,
}

/// A size: a number or the name of a symbol.
pub(super) fn dim(text: &str) -> Dim {
    text.parse::<i64>().map_or_else(|_| Dim::symbol(text), Dim::from)
}

/// A shape as people write it, such as `b 128 s`.
pub(super) fn shape(text: &str) -> Vec<Dim> {
    text.split_whitespace().map(dim).collect()
}

impl Builder {
    pub(super) fn new() -> Builder {
        let mut graph = Graph::new("test");
        for symbol in ["b", "s"] {
            graph.bounds.insert(symbol, Interval { low: 1, high: 16 });
        }
        Builder { graph, seed: 1 }
    }

    pub(super) fn input(&mut self, dtype: DType, dims: &str) -> ValueId {
        let value = self.graph.add_value(TensorType::new(dtype, shape(dims)), None);
        self.graph.body.params.push(value);
        let name = format!("input{}", self.graph.inputs.len());
        self.graph.inputs.push(Port::tensor(name));
        value
    }

    pub(super) fn op(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        self.node(op, inputs, Vec::new())[0]
    }

    pub(super) fn node(&mut self, op: Op, inputs: &[ValueId], regions: Vec<Block>) -> Vec<ValueId> {
        let types = infer(&self.graph, &op, inputs, &regions).unwrap();
        let outputs: Vec<ValueId> = types.into_iter().map(|ty| self.graph.add_value(ty, None)).collect();
        let origin = vec![format!("node{}", self.graph.value_count())];
        self.graph.body.nodes.push(Node {
            op,
            inputs: inputs.to_vec(),
            outputs: outputs.clone(),
            regions,
            origin,
        });
        outputs
    }

    pub(super) fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.op(Op::Constant(tensor), &[])
    }

    pub(super) fn scalar(&mut self, value: f32) -> ValueId {
        self.constant(Tensor::scalar(value))
    }

    /// A constant of pseudo-random numbers.
    pub(super) fn weights(&mut self, shape: &[usize]) -> ValueId {
        self.seed += 1;
        let tensor = random(DType::F32, shape, self.seed);
        self.constant(tensor)
    }

    pub(super) fn unary(&mut self, op: UnaryOp, x: ValueId) -> ValueId {
        let ty = self.graph.ty(x).clone();
        self.op(
            Op::Elementwise {
                expr: Expr::unary(op, ty.dtype),
                shape: ty.shape,
            },
            &[x],
        )
    }

    pub(super) fn binary(&mut self, op: BinaryOp, a: ValueId, b: ValueId) -> ValueId {
        let (left, right) = (self.graph.ty(a), self.graph.ty(b));
        let (shape, _) = broadcast(&self.graph, &[&left.shape, &right.shape]).unwrap();
        let expr = Expr::binary(op, left.dtype);
        self.op(Op::Elementwise { expr, shape }, &[a, b])
    }

    pub(super) fn with_number(&mut self, op: BinaryOp, a: ValueId, value: f32) -> ValueId {
        let value = self.scalar(value);
        self.binary(op, a, value)
    }

    pub(super) fn cast(&mut self, x: ValueId, to: DType) -> ValueId {
        let ty = self.graph.ty(x).clone();
        self.op(
            Op::Elementwise {
                expr: Expr::cast(ty.dtype, to),
                shape: ty.shape,
            },
            &[x],
        )
    }

    pub(super) fn select(&mut self, c: ValueId, a: ValueId, b: ValueId) -> ValueId {
        let shapes = [c, a, b].map(|value| self.graph.ty(value).shape.clone());
        let (shape, _) = broadcast(&self.graph, &[&shapes[0], &shapes[1], &shapes[2]]).unwrap();
        let dtype = self.graph.ty(a).dtype;
        let mut expr = Expr::empty();
        let (x, y, z) = (expr.input(0, DType::Bool), expr.input(1, dtype), expr.input(2, dtype));
        expr.push(Scalar::Select(x, y, z), dtype);
        self.op(Op::Elementwise { expr, shape }, &[c, a, b])
    }

    pub(super) fn matmul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::MatMul { epilogue: None }, &[a, b])
    }

    pub(super) fn reshape(&mut self, x: ValueId, dims: &str) -> ValueId {
        self.op(Op::Reshape { shape: shape(dims) }, &[x])
    }

    pub(super) fn transpose(&mut self, x: ValueId, permutation: &[usize]) -> ValueId {
        self.op(
            Op::Transpose {
                permutation: permutation.to_vec(),
            },
            &[x],
        )
    }

    /// The graph with its results.
    pub(super) fn finish(mut self, outputs: &[ValueId]) -> Graph {
        for &output in outputs {
            let name = format!("output{}", self.graph.outputs.len());
            self.graph.outputs.push(Port::tensor(name));
            self.graph.body.results.push(output);
        }
        self.graph
    }
}

/// A tensor of pseudo-random elements: floating-point numbers in -2..2, small integers, truth values.
pub(super) fn random(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 32
    };
    let count = shape.iter().product();
    let shape = shape.to_vec();
    match dtype {
        DType::F32 => {
            let elements: Vec<f32> = (0..count).map(|_| next() as f32 / 2f32.powi(30) - 2.0).collect();
            Tensor::new(shape, &elements)
        }
        DType::Bool => Tensor::new(shape, &(0..count).map(|_| next() % 2 == 0).collect::<Vec<bool>>()),
        DType::U8 => Tensor::new(shape, &(0..count).map(|_| (next() % 7) as u8).collect::<Vec<u8>>()),
        DType::I8 => Tensor::new(shape, &(0..count).map(|_| next() as i8).collect::<Vec<i8>>()),
        DType::I32 => Tensor::new(
            shape,
            &(0..count).map(|_| (next() % 9) as i32 - 2).collect::<Vec<i32>>(),
        ),
        DType::I64 => Tensor::new(shape, &(0..count).map(|_| (next() % 4) as i64).collect::<Vec<i64>>()),
        other => panic!("random {other}"),
    }
}

/// Inputs for a graph, every symbol with the value that `sizes` gives it.
fn inputs(graph: &Graph, sizes: &HashMap<&str, i64>, seed: u64) -> Vec<Tensor> {
    let params = graph.body.params.iter().enumerate();
    params
        .map(|(index, &param)| {
            let ty = graph.ty(param);
            let size = |dim: &Dim| dim.eval(&|name| sizes.get(name).copied()).unwrap() as usize;
            let shape: Vec<usize> = ty.shape.iter().map(size).collect();
            random(ty.dtype, &shape, seed + index as u64)
        })
        .collect()
}

/// Optimizes a graph and checks, after every pass, that it is well-formed and computes the same.
pub(super) fn optimized(graph: Graph) -> Graph {
    let runs: Vec<(Vec<Tensor>, Vec<Tensor>)> = [(3, 4, 7), (1, 1, 8), (2, 5, 9)]
        .into_iter()
        .map(|(b, s, seed)| {
            let inputs = inputs(&graph, &HashMap::from([("b", b), ("s", s)]), seed);
            let outputs = evaluate(&graph, &inputs).unwrap();
            (inputs, outputs)
        })
        .collect();
    let mut graph = graph;
    optimize(&mut graph, &mut |pass, graph| {
        assert_eq!(verify(graph), Ok(()), "after {pass}: {graph}");
        for (inputs, expected) in &runs {
            let found = evaluate(graph, inputs).unwrap_or_else(|error| panic!("after {pass}: {error}"));
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert_close(found, expected, pass);
            }
        }
    });
    graph
}

fn assert_close(found: &Tensor, expected: &Tensor, pass: &str) {
    assert_eq!(
        (found.dtype, &found.shape),
        (expected.dtype, &expected.shape),
        "after {pass}"
    );
    match (found.to_floats(), expected.to_floats()) {
        (Some(found), Some(expected)) => {
            let magnitude = expected
                .iter()
                .filter(|x| x.is_finite())
                .fold(1.0f64, |most, x| most.max(x.abs()));
            for (a, b) in found.iter().zip(&expected) {
                let same = a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 2e-5 * magnitude;
                assert!(same, "after {pass}: {a} is not {b}");
            }
        }
        _ => assert_eq!(found.data, expected.data, "after {pass}"),
    }
}

/// The operations of the body in order, without constants; `+` marks an epilogue, `b` a bias.
pub(super) fn ops(graph: &Graph) -> String {
    let names = graph
        .body
        .nodes
        .iter()
        .filter(|node| !matches!(node.op, Op::Constant(_)))
        .map(|node| {
            let bias = matches!(
                node.op,
                Op::Conv { bias: true, .. } | Op::ConvTranspose { bias: true, .. }
            );
            let mut name = node.op.name().to_string();
            if bias {
                name.push('b');
            }
            if node.op.epilogue().is_some() {
                name.push('+');
            }
            name
        });
    names.collect::<Vec<_>>().join(" ")
}

/// The expression of the only elementwise node or epilogue, in prefix form: `(mul x0 2)`.
pub(super) fn formula(graph: &Graph) -> String {
    let exprs: Vec<&Expr> = graph
        .body
        .nodes
        .iter()
        .filter_map(|node| match &node.op {
            Op::Elementwise { expr, .. } => Some(expr),
            op => op.epilogue().map(|epilogue| &epilogue.expr),
        })
        .collect();
    assert_eq!(exprs.len(), 1, "{}", ops(graph));
    text(exprs[0], exprs[0].result())
}

/// A node of an expression in prefix form.
pub(super) fn text(expr: &Expr, id: usize) -> String {
    let term = |id: usize| text(expr, id);
    match &expr.nodes[id].op {
        Scalar::Input(index) => format!("x{index}"),
        Scalar::Const(Literal::Float(value)) => format!("{}", *value as f32),
        Scalar::Const(Literal::Int(value)) => format!("{value}"),
        Scalar::Const(Literal::Bool(value)) => format!("{value}"),
        Scalar::Dim(dim) => format!("{dim}"),
        Scalar::Index(axis) => format!("i{axis}"),
        Scalar::Unary(op, x) => format!("({} {})", op.name(), term(*x)),
        Scalar::Binary(op, a, b) => format!("({} {} {})", op.name(), term(*a), term(*b)),
        Scalar::Select(c, a, b) => format!("(select {} {} {})", term(*c), term(*a), term(*b)),
        Scalar::Cast(x) => format!("({} {})", expr.nodes[id].dtype, term(*x)),
        Scalar::At(operand, place) => format!("(at x{operand} {})", term(*place)),
        Scalar::Bits(x) => format!("(bits {})", term(*x)),
    }
}
