//! Control flow.

use super::support::{Builder, ops, optimized, shape};
use crate::ir::{BinaryOp, Block, DType, Dim, Expr, Graph, Node, Op, Tensor, TensorType, UnaryOp, ValueId};

/// A region built with the nodes that `build` adds.
fn region(b: &mut Builder, params: Vec<ValueId>, build: impl FnOnce(&mut Builder) -> Vec<ValueId>) -> Block {
    let outer = std::mem::take(&mut b.graph.body.nodes);
    let results = build(b);
    let nodes = std::mem::replace(&mut b.graph.body.nodes, outer);
    Block { params, nodes, results }
}

fn conditional(condition: Option<bool>) -> Graph {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 4");
    let condition = match condition {
        Some(value) => b.constant(Tensor::scalar(value)),
        None => b.input(DType::Bool, ""),
    };
    let branch = |b: &mut Builder, op: UnaryOp| {
        region(b, vec![], |b| {
            let two = b.with_number(BinaryOp::Mul, x, 2.0);
            let first = b.unary(op, two);
            let unused = b.unary(UnaryOp::Tanh, x);
            vec![first, unused]
        })
    };
    let regions = vec![branch(&mut b, UnaryOp::Exp), branch(&mut b, UnaryOp::Sin)];
    let results = b.node(Op::If, &[condition], regions);
    let result = b.unary(UnaryOp::Neg, results[0]);
    optimized(b.finish(&[result]))
}

#[test]
fn decided_conditions_leave_one_branch() {
    assert_eq!(ops(&conditional(Some(true))), "elementwise");
    assert_eq!(ops(&conditional(Some(false))), "elementwise");
}

#[test]
fn undecided_conditions_keep_what_is_used() {
    let graph = conditional(None);
    assert_eq!(ops(&graph), "if elementwise");
    let branches: Vec<&Node> = graph.body.nodes.iter().filter(|node| node.op == Op::If).collect();
    assert_eq!(branches[0].outputs.len(), 1);
    for region in &branches[0].regions {
        assert_eq!(region.nodes.len(), 1, "{:?}", region.nodes);
    }
}

#[test]
fn loops_lose_values_that_nobody_needs() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "4");
    let trips = b.constant(Tensor::scalar(3i64));
    let condition = b.constant(Tensor::scalar(true));
    let f32s = |text: &str| TensorType::new(DType::F32, shape(text));
    let types = [
        TensorType::scalar(DType::I64),
        TensorType::scalar(DType::Bool),
        f32s("4"),
        f32s("4"),
        f32s("4"),
    ];
    let params: Vec<ValueId> = types.into_iter().map(|ty| b.graph.add_value(ty, None)).collect();
    let (go_on, wanted, helper, dead) = (params[1], params[2], params[3], params[4]);
    let body = region(&mut b, params, |b| {
        let next = b.binary(BinaryOp::Add, wanted, helper);
        let helped = b.unary(UnaryOp::Sin, helper);
        let unused = b.unary(UnaryOp::Cos, dead);
        let stacked = b.unary(UnaryOp::Exp, dead);
        vec![go_on, next, helped, unused, stacked]
    });
    let op = Op::Loop {
        carried: 3,
        trips: Dim::from(3i64),
    };
    let results = b.node(op, &[trips, condition, x, x, x], vec![body]);
    let graph = optimized(b.finish(&[results[0]]));
    let node = graph
        .body
        .nodes
        .iter()
        .find(|node| matches!(node.op, Op::Loop { .. }))
        .unwrap();
    assert_eq!(
        node.op,
        Op::Loop {
            carried: 2,
            trips: Dim::from(3i64)
        }
    );
    assert_eq!(
        (node.inputs.len(), node.outputs.len(), node.regions[0].params.len()),
        (4, 2, 4)
    );
}

#[test]
fn values_of_outer_blocks_are_not_computed_again_in_loops() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "4");
    let invariant = b.unary(UnaryOp::Exp, x);
    let carried = b.graph.add_value(TensorType::new(DType::F32, shape("4")), None);
    let element = b.graph.add_value(TensorType::scalar(DType::F32), None);
    let body = region(&mut b, vec![carried, element], |b| {
        let sum = b.binary(BinaryOp::Add, carried, invariant);
        vec![b.binary(BinaryOp::Mul, sum, element)]
    });
    let results = b.node(Op::Scan { carried: 1 }, &[x, x], vec![body]);
    let graph = optimized(b.finish(&results));
    assert_eq!(ops(&graph), "elementwise scan");
    let expr = Expr::unary(UnaryOp::Exp, DType::F32);
    assert!(matches!(&graph.body.nodes[0].op, Op::Elementwise { expr: found, .. } if *found == expr));
}
