//! Working memory, bounded arenas and the order of steps.

use super::images::square_conv;
use super::*;
use crate::ir::op::ReduceKind;

/// A convolution for which tiles are faster, after a product whose result is larger than the images.
fn image_after_a_large_value(b: &mut Builder) -> ValueId {
    let x = b.input("x", &dims(&[512, 384]));
    let w = b.weights(&[384, 384]);
    let large = b.node(Op::MatMul { epilogue: None }, &[x, w]);
    let mean = b.node(
        Op::Reduce {
            kind: ReduceKind::Mean,
            axes: vec![0, 1],
            keep_dims: false,
        },
        &[large],
    );
    let image = b.node(
        Op::Broadcast {
            shape: dims(&[1, 64, 28, 28]),
        },
        &[mean],
    );
    let image = b.unary(image);
    square_conv(b, image, 64)
}

fn with_ram(graph: &Graph, ram: Option<usize>) -> Result<Plan, Vec<PlanError>> {
    let options = PlanOptions {
        ram,
        ..PlanOptions::default()
    };
    Plan::with(graph, &options)
}

fn graph_of(build: &dyn Fn(&mut Builder) -> ValueId) -> Graph {
    let mut b = Builder::new();
    let result = build(&mut b);
    b.0.outputs.push(Port::tensor("y"));
    b.0.body.results.push(result);
    b.0
}

#[test]
fn working_memory_takes_what_is_free_anyway() {
    let graph = graph_of(&image_after_a_large_value);
    let plan = with_ram(&graph, None).unwrap();
    check_lives(&plan);
    let scratch = |plan: &Plan| {
        let step = plan.steps.iter().find(|step| step.scratch.is_some()).unwrap();
        let Some(Base::Buffer(id)) = step.scratch.as_ref().map(|scratch| scratch.base) else {
            panic!("{plan}");
        };
        plan.buffers[id.0].bytes()
    };
    let image = 64 * 28 * 28 * 4;
    // The value and its mean.
    let large = 512 * 384 * 4 + 64;
    assert_eq!(plan.certificate.arena_bytes, large, "{plan}");
    assert_eq!(plan.certificate.lower_bound, large, "{plan}");
    let free = scratch(&plan);
    assert!(free <= large - 2 * image, "{free}\n{plan}");
    // A plan that does nothing for memory takes what is fastest.
    let options = PlanOptions {
        plain: true,
        ..PlanOptions::default()
    };
    let plain = Plan::with(&graph, &options).unwrap();
    assert!(scratch(&plain) > free, "{plain}");
    assert!(plain.certificate.arena_bytes > large, "{plain}");
}

#[test]
fn a_bound_costs_tiles_last() {
    let graph = graph_of(&|b| {
        let x = b.input("x", &dims(&[1, 64, 28, 28]));
        let image = square_conv(b, x, 64);
        let y = square_conv(b, image, 64);
        b.unary(y)
    });
    let image = 64 * 28 * 28 * 4;
    let is_tiled = |plan: &Plan| plan.steps[1].kernel.to_string().contains("Winograd");
    let fast = with_ram(&graph, None).unwrap();
    assert!(is_tiled(&fast), "{fast}");
    let less = fast.certificate.arena_bytes - 64;
    let slower = with_ram(&graph, Some(less)).unwrap();
    assert!(slower.certificate.arena_bytes <= less && is_tiled(&slower), "{slower}");
    let direct = with_ram(&graph, Some(2 * image)).unwrap();
    assert!(
        direct.certificate.arena_bytes == 2 * image && !is_tiled(&direct),
        "{direct}"
    );
    // The packed weights of its tiles are gone.
    let packings = direct.weights.entries.iter().map(|entry| &entry.packing);
    let tiled = packings.filter(|packing| matches!(packing, Packing::WinogradConv(_)));
    assert_eq!((tiled.count(), direct.weights.entries.len()), (1, 2));
    let smallest = Plan::smallest(&graph, &PlanOptions::default()).unwrap();
    assert_eq!(smallest.certificate.arena_bytes, 2 * image);
    let errors = with_ram(&graph, Some(2 * image - 64)).unwrap_err();
    let [memory, step, _] = &errors[..] else {
        panic!("{errors:?}");
    };
    assert_eq!(
        memory.message,
        "an arena of 401344 bytes is too small, the smallest arena found has 401408 bytes; in 2 of 3 steps more is \
         alive than fits"
    );
    assert_eq!(step.operator, "convolution");
    assert!(
        step.message.starts_with("401408 bytes are alive: 200704 "),
        "{}",
        step.message
    );
}

/// Wide values that are made before the first one is read, each of which a narrow one is made of.
fn wide_before_narrow(b: &mut Builder) -> ValueId {
    let x = b.input("x", &dims(&[4, 16]));
    let wide: Vec<ValueId> = (0..6)
        .map(|_| {
            let w = b.weights(&[16, 256]);
            b.node(Op::MatMul { epilogue: None }, &[x, w])
        })
        .collect();
    let narrow: Vec<ValueId> = wide
        .iter()
        .map(|&wide| {
            let w = b.weights(&[256, 8]);
            b.node(Op::MatMul { epilogue: None }, &[wide, w])
        })
        .collect();
    b.node(Op::Concat { axis: 1 }, &narrow)
}

#[test]
fn steps_run_in_the_order_that_needs_least() {
    let graph = graph_of(&wide_before_narrow);
    let plan = with_ram(&graph, None).unwrap();
    check_lives(&plan);
    // One wide value and the concatenation.
    let expected = 4 * 256 * 4 + 4 * 48 * 4;
    assert_eq!(plan.certificate.arena_bytes, expected, "{plan}");
    let options = PlanOptions {
        plain: true,
        ..PlanOptions::default()
    };
    let given = Plan::with(&graph, &options).unwrap();
    assert_eq!(given.certificate.arena_bytes, 6 * 4 * 256 * 4 + 4 * 48 * 4, "{given}");
    // The same order every time.
    assert_eq!(plan.to_string(), with_ram(&graph, None).unwrap().to_string());
}

#[test]
fn the_given_order_stays_where_no_other_needs_less() {
    let graph = graph_of(&|b| {
        let x = b.input("x", &dims(&[4, 256]));
        let (mut left, mut right) = (b.unary(x), b.unary(x));
        for _ in 0..3 {
            right = b.unary(right);
            left = b.unary(left);
        }
        let sum = Op::Elementwise {
            expr: Expr::binary(BinaryOp::Add, DType::F32),
            shape: dims(&[4, 256]),
        };
        b.node(sum, &[left, right])
    });
    let plan = with_ram(&graph, None).unwrap();
    let plain = PlanOptions {
        plain: true,
        ..PlanOptions::default()
    };
    assert_eq!(plan.to_string(), Plan::with(&graph, &plain).unwrap().to_string());
}

#[test]
fn long_wide_graphs_are_reordered_in_bounded_time() {
    // Three thousand steps that could run in any order at first.
    let graph = graph_of(&|b| {
        let x = b.input("x", &dims(&[4, 16]));
        let w = [b.weights(&[16, 256]), b.weights(&[256, 8])];
        let wide: Vec<ValueId> = (0..1500)
            .map(|_| b.node(Op::MatMul { epilogue: None }, &[x, w[0]]))
            .collect();
        let narrow: Vec<ValueId> = wide
            .iter()
            .map(|&wide| b.node(Op::MatMul { epilogue: None }, &[wide, w[1]]))
            .collect();
        b.node(Op::Concat { axis: 1 }, &narrow)
    });
    let plan = with_ram(&graph, None).unwrap();
    let result = 4 * 8 * 1500 * 4;
    assert!(
        plan.certificate.arena_bytes <= result + 2 * 4 * 256 * 4,
        "{}",
        plan.certificate.arena_bytes
    );
}
