mod images;
mod integers;
mod memory;
mod tuning;

use super::*;
use crate::ir::graph::{Node, Port};
use crate::ir::infer::infer;
use crate::ir::{BinaryOp, Bounds, Expr, Interval, Op, Tensor, UnaryOp, ValueId};

struct Builder(Graph);

impl Builder {
    fn new() -> Builder {
        let mut graph = Graph::new("test");
        graph.bounds = Bounds::new();
        graph.bounds.insert("s", Interval { low: 1, high: 16 });
        Builder(graph)
    }

    fn input(&mut self, name: &str, shape: &[Dim]) -> ValueId {
        let value = self
            .0
            .add_value(TensorType::new(DType::F32, shape.to_vec()), Some(name.into()));
        self.0.inputs.push(Port::tensor(name));
        self.0.body.params.push(value);
        value
    }

    fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let types = infer(&self.0, &op, inputs, &[]).unwrap();
        let outputs: Vec<ValueId> = types.into_iter().map(|ty| self.0.add_value(ty, None)).collect();
        let output = outputs[0];
        self.0.body.nodes.push(Node {
            op,
            inputs: inputs.to_vec(),
            outputs,
            regions: vec![],
            origin: vec![format!("/node{}", self.0.body.nodes.len())],
        });
        output
    }

    fn unary(&mut self, x: ValueId) -> ValueId {
        let shape = self.0.ty(x).shape.clone();
        self.node(
            Op::Elementwise {
                expr: Expr::unary(UnaryOp::Exp, DType::F32),
                shape,
            },
            &[x],
        )
    }

    fn weights(&mut self, shape: &[usize]) -> ValueId {
        let len = shape.iter().product();
        self.node(Op::Constant(Tensor::new(shape.to_vec(), &vec![1f32; len])), &[])
    }

    fn plan(self, results: &[ValueId]) -> Plan {
        self.plan_for(results, 1)
    }

    fn plan_for(mut self, results: &[ValueId], threads: usize) -> Plan {
        for (number, &result) in results.iter().enumerate() {
            self.0.outputs.push(Port::tensor(format!("y{number}")));
            self.0.body.results.push(result);
        }
        let plan = Plan::with(
            &self.0,
            &PlanOptions {
                threads,
                ..PlanOptions::default()
            },
        )
        .unwrap();
        check_lives(&plan);
        plan
    }
}

/// Every value that a step reads was written before, and places of values that live together are disjoint.
fn check_lives(plan: &Plan) {
    for (i, a) in plan.buffers.iter().enumerate() {
        assert_eq!(a.offset % place::ALIGNMENT, 0);
        assert!(a.offset + a.bytes() <= plan.certificate.arena_bytes);
        for b in &plan.buffers[i + 1..] {
            let together = a.first <= b.last && b.first <= a.last;
            let apart = a.offset + a.bytes() <= b.offset || b.offset + b.bytes() <= a.offset;
            assert!(apart || !together, "{plan}");
        }
    }
}

fn dims(sizes: &[i64]) -> Vec<Dim> {
    sizes.iter().map(|&size| Dim::from(size)).collect()
}

#[test]
fn a_chain_of_elementwise_steps_runs_in_one_buffer() {
    let mut b = Builder::new();
    let x = b.input("x", &dims(&[4, 8]));
    let y = b.unary(x);
    let z = b.unary(y);
    let w = b.unary(z);
    let plan = b.plan(&[w]);
    assert_eq!((plan.buffers.len(), plan.certificate.arena_bytes), (1, 128), "{plan}");
}

#[test]
fn a_value_that_is_read_later_is_not_overwritten() {
    let mut b = Builder::new();
    let x = b.input("x", &dims(&[4, 8]));
    let y = b.unary(x);
    let z = b.unary(y);
    let sum = b.node(
        Op::Elementwise {
            expr: Expr::binary(BinaryOp::Add, DType::F32),
            shape: dims(&[4, 8]),
        },
        &[y, z],
    );
    let plan = b.plan(&[sum]);
    assert_eq!(plan.buffers.len(), 2, "{plan}");
}

#[test]
fn a_view_keeps_its_source_alive() {
    let mut b = Builder::new();
    let x = b.input("x", &dims(&[4, 8]));
    let y = b.unary(x);
    let view = b.node(
        Op::Transpose {
            permutation: vec![1, 0],
        },
        &[y],
    );
    let z = b.unary(y);
    let flat = b.node(Op::Reshape { shape: dims(&[8, 4]) }, &[z]);
    let sum = b.node(
        Op::Elementwise {
            expr: Expr::binary(BinaryOp::Add, DType::F32),
            shape: dims(&[8, 4]),
        },
        &[view, flat],
    );
    let plan = b.plan(&[sum]);
    assert_eq!((plan.steps.len(), plan.buffers.len()), (3, 2), "{plan}");
}

#[test]
fn concatenated_values_are_written_in_place() {
    let mut b = Builder::new();
    let x = b.input("x", &dims(&[2, 3, 4]));
    let (y, z) = (b.unary(x), b.unary(x));
    let joined = b.node(Op::Concat { axis: 1 }, &[y, z, x]);
    let plan = b.plan(&[joined]);
    // Two maps that write into the concatenation, and a copy of the input, which lies elsewhere.
    assert_eq!((plan.steps.len(), plan.buffers.len()), (3, 1), "{plan}");
}

#[test]
fn heads_are_split_and_merged_without_copies() {
    let mut b = Builder::new();
    let s = Dim::symbol("s");
    let x = b.input("x", &[Dim::from(2i64), s.clone(), Dim::from(32i64)]);
    let split = [Dim::from(2i64), s.clone(), Dim::from(4i64), Dim::from(8i64)];
    let mut heads = Vec::new();
    for _ in 0..3 {
        let w = b.weights(&[32, 32]);
        let projected = b.node(Op::MatMul { epilogue: None }, &[x, w]);
        let shaped = b.node(Op::Reshape { shape: split.to_vec() }, &[projected]);
        heads.push(b.node(
            Op::Transpose {
                permutation: vec![0, 2, 1, 3],
            },
            &[shaped],
        ));
    }
    let attended = b.node(
        Op::Attention {
            scale: 1.0,
            mask: false,
            causal: false,
        },
        &heads,
    );
    let back = b.node(
        Op::Transpose {
            permutation: vec![0, 2, 1, 3],
        },
        &[attended],
    );
    let merged = b.node(
        Op::Reshape {
            shape: vec![Dim::from(2i64), s.clone(), Dim::from(32i64)],
        },
        &[back],
    );
    let w = b.weights(&[32, 32]);
    let result = b.node(Op::MatMul { epilogue: None }, &[merged, w]);
    let plan = b.plan(&[result]);
    let kernels: Vec<String> = plan.steps.iter().map(|step| step.kernel.to_string()).collect();
    assert_eq!(
        kernels,
        ["gemm 2*s x32x32 Zero"; 3]
            .iter()
            .map(|text| text.replace(" x", "x"))
            .chain(["attention [2, 4] sxsx8".into(), "gemm 2*sx32x32 Zero".into()])
            .collect::<Vec<_>>(),
        "{plan}"
    );
}

#[test]
fn an_output_is_dense_and_in_a_buffer_of_its_own() {
    let mut b = Builder::new();
    let x = b.input("x", &dims(&[4, 8]));
    let y = b.unary(x);
    let turned = b.node(
        Op::Transpose {
            permutation: vec![1, 0],
        },
        &[y],
    );
    let plan = b.plan(&[y, turned, x]);
    assert_eq!((plan.steps.len(), plan.buffers.len()), (3, 3), "{plan}");
}

#[test]
fn a_backward_slice_gathers() {
    let mut b = Builder::new();
    let x = b.input("x", &dims(&[4, 8]));
    let y = b.node(
        Op::Slice {
            starts: dims(&[3, 0]),
            steps: vec![-1, 1],
            shape: dims(&[4, 8]),
        },
        &[x],
    );
    let plan = b.plan(&[y]);
    assert_eq!(plan.steps.len(), 2, "{plan}");
    assert!(matches!(plan.steps[1].kernel, Kernel::Gather { .. }), "{plan}");
}

#[test]
fn steps_are_divided_where_it_pays() {
    let product = |m: Dim, n: i64, threads: usize| {
        let mut b = Builder::new();
        let x = b.input("x", &[m, Dim::from(64i64)]);
        let w = b.weights(&[64, n as usize]);
        let y = b.node(Op::MatMul { epilogue: None }, &[x, w]);
        let plan = b.plan_for(&[y], threads);
        (plan.steps[0].parts.to_string(), plan.to_string())
    };
    for (m, n, threads, parts) in [
        (8, 256, 2, "1"),
        (64, 64, 2, "1"),
        (64, 256, 2, "2"),
        (64, 256, 8, "8"),
        (4096, 64, 8, "8"),
        (4096, 64, 1, "1"),
    ] {
        let (actual, plan) = product(Dim::from(m as i64), n, threads);
        assert_eq!(actual, parts, "{m} {n} on {threads} threads: {plan}");
    }
    // As many rows as the run has; the divisor is what one part is worth.
    let (parts, plan) = product(Dim::symbol("s"), 2048, 4);
    assert_eq!(parts, "min(4, floor(s, 2))", "{plan}");
    // Weights are read for a single row, too.
    let (parts, plan) = product(Dim::symbol("s"), 4096, 4);
    assert_eq!(parts, "4", "{plan}");
    let (parts, plan) = product(Dim::symbol("s"), 1024, 4);
    assert_eq!(parts, "min(4, floor(s, 3))", "{plan}");
    let (parts, _) = product(Dim::symbol("s"), 16, 4);
    assert_eq!(parts, "1");
}

#[test]
fn every_part_has_scratch() {
    let product = |threads: usize| {
        let mut b = Builder::new();
        let (x, w) = (b.input("x", &dims(&[512, 64])), b.input("w", &dims(&[64, 512])));
        let y = b.node(Op::MatMul { epilogue: None }, &[x, w]);
        let plan = b.plan_for(&[y], threads);
        let scratch = plan.steps[0].scratch.clone().expect("the right matrix is packed");
        let Base::Buffer(id) = scratch.base else {
            panic!("{plan}");
        };
        plan.buffers[id.0].capacity
    };
    assert_eq!(product(3), 3 * product(1));
}
