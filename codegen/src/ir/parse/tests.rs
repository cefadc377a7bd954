use super::*;
use crate::ir::Constants;
use crate::ir::dim::Dim;
use crate::ir::expr::{BinaryOp, Expr, UnaryOp};
use crate::ir::op::Op;
use crate::ir::tensor::Tensor;

/// Every operation, every attribute, and what is special about names and types.
const EVERYTHING: &str = include_str!("everything.oxir");

#[test]
fn text_of_everything_is_read_back() {
    let graph = parse(EVERYTHING).unwrap();
    let text = graph.to_text(Constants::Full);
    assert_eq!(text, EVERYTHING);
    assert_eq!(parse(&text).unwrap(), graph);
}

#[test]
fn every_operation_is_covered() {
    fn names(block: &Block, found: &mut Vec<&'static str>) {
        for node in &block.nodes {
            found.push(node.op.name());
            node.regions.iter().for_each(|region| names(region, found));
        }
    }
    let mut found = Vec::new();
    names(&parse(EVERYTHING).unwrap().body, &mut found);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 31, "{found:?}");
}

fn constant(text: &str) -> Tensor {
    let graph = parse(&format!("graph \"\" {{ %0: f32[] = constant {text} }}")).unwrap();
    match &graph.body.nodes[0].op {
        Op::Constant(tensor) => tensor.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn forms_of_constants() {
    assert_eq!(constant("i8[2, 2] iota"), Tensor::new(vec![2, 2], &[0i8, 1, 2, 3]));
    assert_eq!(constant("f64[3] splat(-2.5)"), Tensor::new(vec![3], &[-2.5f64; 3]));
    assert_eq!(constant("u16[2] hex \"0100ff00\""), Tensor::new(vec![2], &[1u16, 255]));
    assert_eq!(constant("bool[2] [true, false]"), Tensor::new(vec![2], &[true, false]));
    assert_eq!(constant("f32[5] random(7)"), Tensor::random(DType::F32, vec![5], 7));
    assert_ne!(constant("f32[5] random(7)"), constant("f32[5] random(8)"));
    let halves = constant("f16[3] [1.0, -inf, bits(0x7e01)]");
    assert_eq!(halves.data[..], [0x00, 0x3c, 0x00, 0xfc, 0x01, 0x7e]);
}

#[test]
fn large_constants_are_elided_or_in_full() {
    let graph = parse("graph \"g\" { %0: u8[20] = constant iota }").unwrap();
    let text = graph.to_string();
    assert!(text.contains("%0: u8[20] = constant elided("), "{text}");
    assert_eq!(
        parse(&text).unwrap_err().to_string(),
        "2:25: the elements of this constant have been elided"
    );
    assert_eq!(parse(&graph.to_text(Constants::Full)).unwrap(), graph);
}

#[test]
fn errors_say_where() {
    for (text, error) in [
        ("", "1:1: expected `graph`, found the end"),
        ("graph g", "1:7: expected a quoted text, found `g`"),
        (
            "graph \"g\" {\n  %0: f32[2] = sofmax(axis = 0) %1\n}",
            "2:16: unknown operation `sofmax`",
        ),
        (
            "graph \"g\" {\n  %0: f32[2] = softmax %1\n}",
            "2:16: softmax needs the attribute `axis`",
        ),
        (
            "graph \"g\" {\n  %0: f32[2] = softmax(axis = -1) %1\n}",
            "2:31: -1 is out of range",
        ),
        (
            "graph \"g\" {\n  %0: f32[2] = softmax(axis = 1 2) %1\n}",
            "2:33: expected `,` or `)`, found `2`",
        ),
        (
            "graph \"g\" {\n  %0: f32[2] = softmax(axis = 1, exp) %1\n}",
            "2:34: softmax has no attribute `exp`, or has it already",
        ),
        (
            "graph \"g\" { %0: f31[2] = softmax(axis = 1) %1 }",
            "1:17: expected an element type, found `f31`",
        ),
        (
            "graph \"g\" { %0: f32[2] = elementwise { frob(x0) } %1 }",
            "1:40: unknown function `frob`",
        ),
        (
            "graph \"g\" { %0: f32[2] = elementwise { add(x0, 1.0) } %0 }",
            "1:51: expected `:`, found `)`",
        ),
        (
            "graph \"g\" { %0: f32[2] = elementwise { x1 } %0 }",
            "1:40: the type is not known: write it behind a colon",
        ),
        (
            "graph \"g\" { %0: f32[floor(h, 0)] = softmax(axis = 0) %0 }",
            "1:21: division by 0",
        ),
        (
            "graph \"g\" { %0: f32[2] = constant [1.0] }",
            "1:35: 1 elements for a constant of type f32[2]",
        ),
        (
            "graph \"g\" { %0: f32[s] = constant [1.0] }",
            "1:35: a constant of type f32[s]",
        ),
        ("graph \"g\" { %0: i8[1] = constant [1.5] }", "1:35: `1.5` is no i8"),
        (
            "graph \"g\" { %99999999: i8[1] = constant [1] }",
            "1:13: value numbers end at 16777216",
        ),
        ("graph \"g", "1:9: a quote is not closed"),
        ("graph \"g\" { # }", "1:13: unexpected '#'"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), error, "{text}");
    }
    let deep = format!(
        "graph \"g\" {{ %0: f32[{}1{}] = if %0 }}",
        "(".repeat(500),
        ")".repeat(500)
    );
    assert!(parse(&deep).unwrap_err().message.contains("nested deeper"));
}

fn elementwise(expr: Expr) -> Graph {
    let mut graph = Graph::new("g");
    let x = graph.add_value(TensorType::scalar(DType::F32), None);
    let y = graph.add_value(TensorType::scalar(expr.dtype()), None);
    graph.body.params.push(x);
    graph.body.nodes.push(Node {
        op: Op::Elementwise { expr, shape: vec![] },
        inputs: vec![x],
        outputs: vec![y],
        regions: vec![],
        origin: vec![],
    });
    graph
}

#[test]
fn shared_and_deep_parts_are_named() {
    let mut expr = Expr::empty();
    let x = expr.input(0, DType::F32);
    let e = expr.apply1(UnaryOp::Exp, x);
    let r = expr.apply1(UnaryOp::Recip, e);
    expr.apply2(BinaryOp::Sub, e, r);
    let graph = elementwise(expr);
    let text = graph.to_string();
    assert!(text.contains("{ let t1 = exp(x0); sub(t1, recip(t1)) }"), "{text}");
    assert_eq!(parse(&text).unwrap(), graph);

    // An order that nesting would change.
    let mut expr = Expr::empty();
    let c = expr.float(0.1, DType::F32);
    let x = expr.input(0, DType::F32);
    expr.apply2(BinaryOp::Sub, x, c);
    let graph = elementwise(expr);
    let text = graph.to_string();
    assert!(
        text.contains("{ let t0 = 0.1:f32; let t1 = x0; sub(t1, t0) }"),
        "{text}"
    );
    assert_eq!(parse(&text).unwrap(), graph);

    let mut expr = Expr::empty();
    let mut x = expr.input(0, DType::F32);
    for index in 0..1000 {
        x = expr.apply1(if index % 3 == 0 { UnaryOp::Sin } else { UnaryOp::Cos }, x);
    }
    let graph = elementwise(expr);
    assert_eq!(parse(&graph.to_string()).unwrap(), graph);
}

#[test]
fn renumbering_closes_gaps() {
    let text = "graph \"g\" { input \"x\" %5: f32[] %9: f32[] = elementwise { neg(x0) } %5 output \"y\" %9 }";
    let mut graph = parse(text).unwrap();
    assert_eq!(graph.value_count(), 10);
    graph.renumber();
    assert_eq!(graph.value_count(), 2);
    assert_eq!(parse(&graph.to_string()).unwrap(), graph);
    assert_eq!(graph.ty(ValueId(1)).shape, Vec::<Dim>::new());
}
