use super::*;
use crate::ir::expr::{Expr, Literal, ScalarNode};
use crate::ir::op::Op;
use crate::ir::parse;
use crate::ir::tensor::Tensor;
use crate::ir::{DType, UnaryOp};

/// The violations of a graph that is written as the statements after its inputs: `%0` and `%1` are `f32[b, 4]`, `%2` is
/// `bool[]`, `%3` is `i64[]`.
fn violations(statements: &str) -> Vec<String> {
    let text = format!(
        "graph \"g\" {{
            bounds {{ b: 1..=8 }}
            input \"x\" %0: f32[b, 4]
            input \"y\" %1: f32[b, 4]
            input \"flag\" %2: bool[]
            input \"count\" %3: i64[]
            {statements}
        }}"
    );
    found(&parse(&text).unwrap())
}

fn found(graph: &Graph) -> Vec<String> {
    verify(graph)
        .err()
        .unwrap_or_default()
        .iter()
        .map(Violation::to_string)
        .collect()
}

#[track_caller]
fn rejects(statements: &str, expected: &str) {
    assert_eq!(violations(statements), [expected], "{statements}");
}

#[test]
fn sound_graphs_pass() {
    let sound = "
        %4: f32[4, 4] = constant splat(0.5)
        %5: f32[b, 4] = matmul epilogue { max(add(x0, x1), 0.0:f32) } %0, %4, %1
        %6: f32[b, 4] = if %2 {
          %7: f32[b, 4] = softmax(axis = 1) %5
          yield %7
        } else {
          yield %5
        }
        %8: f32[b, 4] = loop(carried = 1, trips = b) %3, %2, %6 (%9: i64[], %10: bool[], %11: f32[b, 4]) {
          %12: f32[b, 4] = elementwise { add(x0, x1) } %11, %5
          yield %10, %12
        }
        output \"z\" %8";
    assert_eq!(violations(sound), Vec::<String>::new());
}

#[test]
fn values() {
    let mut graph = parse("graph \"g\" { }").unwrap();
    graph.body.results.push(ValueId(7));
    graph.outputs.push(Port::tensor("z"));
    assert_eq!(found(&graph), ["the graph: %7 is no value of the graph"]);
    rejects(
        "%4: f32[b, 4] = softmax(axis = 1) %9",
        "softmax %4: %9 has no definition",
    );
    rejects(
        "%4: f32[b, 4] = softmax(axis = 1) %0 %4: f32[b, 4] = softmax(axis = 1) %1",
        "softmax %4: %4 is defined twice",
    );
    rejects(
        "%0: f32[b, 4] = softmax(axis = 1) %1",
        "softmax %0: %0 is defined twice",
    );
    rejects(
        "%4: f32[b, 4] = softmax(axis = 1) %5 from \"s\" %5: f32[b, 4] = softmax(axis = 1) %0",
        "softmax %4 from \"s\": %5 is used before its definition",
    );
    rejects(
        "%4: f32[b, 4] = softmax(axis = 1) %4",
        "softmax %4: %4 is used before its definition",
    );
    rejects(
        "%4: f32[b, 4] = if %2 { %5: f32[b, 4] = softmax(axis = 1) %0 yield %5 } else { yield %0 }
         %6: f32[b, 4] = softmax(axis = 1) %5",
        "softmax %6: %5 is used outside of the region that defines it",
    );
    rejects(
        "%4: f32[b, 4] = if %2 { %5: f32[b, 4] = softmax(axis = 1) %0 yield %5 } else { yield %5 }",
        "if %4: %5 is used outside of the region that defines it",
    );
    rejects("input \"z\" %4: f32[b - 9]", "%4: size b - 9 is negative");
}

#[test]
fn symbols() {
    let with = |bounds: &str, statement: &str| {
        found(&parse(&format!("graph \"g\" {{ bounds {{ {bounds} }} {statement} }}")).unwrap())
    };
    assert_eq!(with("b: 3..=2", ""), ["symbol b: bounds 3..=2"]);
    assert_eq!(with("b: -1..=2", ""), ["symbol b: bounds -1..=2"]);
    assert_eq!(
        with("b: 1..=2", "where b == s + t from \"n\""),
        ["the constraint of \"n\": no bounds of s, t"]
    );
    assert_eq!(with("b: 1..=2", "input \"x\" %0: f32[s]"), ["%0: no bounds of s"]);
    rejects(
        "%4: f32[b, 4] = elementwise { mul(x0, f32(dim(s))) } %0",
        "elementwise %4: no bounds of s",
    );
    rejects("%4: f32[b, 4] = slice(starts = [s, 0]) %0", "slice %4: no bounds of s");
}

#[test]
fn operations() {
    rejects(
        "%4: f32[b, 5] = softmax(axis = 1) %0",
        "softmax %4: %4 has type f32[b, 5], not f32[b, 4]",
    );
    rejects(
        "%4: f64[b, 4] = softmax(axis = 1) %0",
        "softmax %4: %4 has type f64[b, 4], not f32[b, 4]",
    );
    rejects(
        "%4: f32[b, 4] = softmax(axis = 2) %0",
        "softmax %4: axis 2 of a tensor of rank 2",
    );
    rejects(
        "%4: f32[b, 4], %5: f32[b] = softmax(axis = 1) %0",
        "softmax %4, %5: 2 results, not 1",
    );
    rejects("= softmax(axis = 1) %0", "softmax: 0 results, not 1");
    rejects(
        "%4: f32[2] = constant f32[3] splat(1.0)",
        "constant %4: %4 has type f32[2], not f32[3]",
    );
    rejects(
        "%4: f32[] = reduce(kind = sum, axes = [1, 0]) %0",
        "reduce %4: axes [1, 0] are not ascending",
    );
    rejects(
        "%4: f32[] = reduce(kind = sum, axes = [1, 1]) %0",
        "reduce %4: axes [1, 1] are not ascending",
    );
    let mut graph = parse("graph \"g\" { %0: f32[2] = constant [1.0, 2.0] }").unwrap();
    graph.body.nodes[0].op = Op::Constant(Tensor {
        dtype: DType::F32,
        shape: vec![2],
        data: vec![0; 7].into(),
    });
    assert_eq!(found(&graph), ["constant %0: 7 bytes of data for f32[2]"]);
}

#[test]
fn windows() {
    let with = |op: &str| {
        violations(&format!(
            "%4: f32[b, 4, 1] = reshape %0
             %5: f32[4, 4, 1] = constant splat(1.0)
             %6: f32[b, 4, 1] = {op}"
        ))
    };
    assert_eq!(with("conv(kernel = [1]) %4, %5"), Vec::<String>::new());
    assert_eq!(
        with("conv(kernel = [1], strides = [1, 1]) %4, %5"),
        ["conv %6: a window of rank 1 whose lists have other lengths"]
    );
    assert_eq!(
        with("pool(kind = max, kernel = [1], dilations = [0]) %4"),
        ["pool %6: a window with a size, stride or dilation of 0"]
    );
    assert_eq!(with("conv(kernel = [1], groups = 0) %4, %5"), ["conv %6: no groups"]);
    assert_eq!(
        with("conv_transpose(kernel = [1], output_padding = []) %4, %5"),
        ["conv_transpose %6: output padding [] for [1]"]
    );
    assert_eq!(
        with("resize(mode = linear, coordinates = asymmetric, scales = [1.0, 1.0, -1.0]) %4"),
        ["resize %6: scales [1.0, 1.0, -1.0]"]
    );
}

#[test]
fn element_types() {
    rejects("%4: i64[] = softmax(axis = 0) %3", "softmax %4: no meaning for i64");
    rejects(
        "%4: bool[] = reduce(kind = sum, axes = []) %2",
        "reduce %4: no meaning for bool",
    );
    assert!(violations("%4: bool[] = reduce(kind = max, axes = []) %2").is_empty());
    rejects(
        "%4: f32[b, 4] = pad(mode = constant, before = [0, 0], after = [0, 0]) %0, %3",
        "pad %4: element types f32 and i64",
    );
    rejects(
        "%4: f32[b, 4] = pad(mode = constant, before = [0, 0], after = [0, 0]) %0, %1",
        "pad %4: padding with a value that has axes",
    );
    rejects(
        "%4: f64[4] = constant splat(1.0) %5: f32[b, 4] = normalize(kind = rms, axis = 1, epsilon = 0.0, scale) %0, %4",
        "normalize %5: element types f32 and f64",
    );
}

#[test]
fn expressions() {
    let with = |expr: &str, expected: &str| {
        rejects(
            &format!("%4: f32[b, 4] = elementwise {{ {expr} }} %0, %2"),
            &format!("elementwise %4: {expected}"),
        );
    };
    with("", "an empty expression");
    with("x2:f32", "a reference to operand 2 of 2");
    with("x0:f64", "part 0 is of type f64, not f32");
    with("add(x0, 300:u8)", "300 is no u8");
    with("add(x0, true:f32)", "true is no f32");
    with("f32(index(0):i32)", "part 0 is of type i32, not i64");
    with("f32(index(2))", "index along axis 2");
    with("f32(dim(b):f32)", "part 0 is of type f32, not i64");
    with("add(x0, 1.0:f64)", "add of f32 and f64");
    with("f32(add(x1, x1))", "add of bool and bool");
    with("f32(lt(x1, x1))", "lt of bool and bool");
    with("f32(sin(index(0)))", "sin of i64");
    with("not(x0)", "not of f32");
    with("f32(bitnot(x1))", "bitnot of bool");
    with("and(x0, x0)", "and of f32 and f32");
    with("shl(x0, x0)", "shl of f32 and f32");
    with("f32(bits(x0):i64)", "the bits of f32 as i64");
    with("lt(x0, x0):f32", "part 1 is of type f32, not bool");
    with("neg(x0):f64", "part 1 is of type f64, not f32");
    with("select(x0, x0, x0)", "a selection by f32 of f32 and f32");
    with("select(x1, x0, 1.0:f64)", "a selection by bool of f32 and f64");
    let mut graph = parse("graph \"g\" { input \"x\" %0: f32[] %1: f32[] = elementwise { x0 } %0 }").unwrap();
    let mut set = |nodes: &[(Scalar, DType)]| {
        let nodes = nodes
            .iter()
            .cloned()
            .map(|(op, dtype)| ScalarNode { op, dtype })
            .collect();
        graph.body.nodes[0].op = Op::Elementwise {
            expr: Expr { nodes },
            shape: vec![],
        };
        found(&graph)
    };
    assert_eq!(
        set(&[
            (Scalar::Unary(UnaryOp::Sin, 1), DType::F32),
            (Scalar::Input(0), DType::F32)
        ]),
        ["elementwise %1: part 0 uses one that is not before it"]
    );
    assert_eq!(
        set(&[(Scalar::Const(Literal::Float(0.1)), DType::F32)]),
        ["elementwise %1: 0.1 is no f32"]
    );
}

#[test]
fn epilogues() {
    let with = |rest: &str| {
        violations(&format!(
            "%4: f32[4, 2] = constant splat(1.0)
             %5: f64[2] = constant splat(1.0)
             %6: f32[b, 2] = matmul {rest}"
        ))
    };
    assert_eq!(with("%0, %4"), Vec::<String>::new());
    assert_eq!(
        with("epilogue { x0:f64 } %0, %4"),
        ["matmul %6: epilogue: part 0 is of type f64, not f32"]
    );
    assert_eq!(
        with("epilogue { add(x0, x1) } %0, %4, %5"),
        ["matmul %6: epilogue: add of f32 and f64"]
    );
    assert_eq!(
        with("epilogue { add(x0, x1) } %0, %4, %1"),
        ["matmul %6: %1 of type f32[b, 4] does not broadcast to f32[b, 2]"]
    );
    assert_eq!(
        with("epilogue { add(x0, f32(index(2))) } %0, %4"),
        ["matmul %6: a coordinate along axis 2 of f32[b, 2]"]
    );
    assert_eq!(
        with("epilogue { x1:f32 } %0, %4"),
        ["matmul %6: epilogue: a reference to operand 1 of 1"]
    );
    assert_eq!(with("%0, %4, %5"), ["matmul %6: 3 operands without epilogue"]);
    assert_eq!(
        with("epilogue { lt(x0, 0.0:f32) } %0, %4"),
        ["matmul %6: %6 has type f32[b, 2], not bool[b, 2]"]
    );
}

#[test]
fn regions_and_ports() {
    rejects(
        "%4: f32[b, 4] = if %2 (%5: f32[]) { yield %0 } else { yield %1 }",
        "if %4: a branch has parameters",
    );
    rejects(
        "%4: f32[b, 4] = softmax(axis = 1) %0 { yield %0 }",
        "softmax %4: softmax has no regions",
    );
    rejects("output \"a\" %0 output \"a\" %1", "output \"a\": the name is taken");
    rejects("output \"a\"", "the graph: 1 outputs and 0 results of the body");
    let input = |statement: &str| found(&parse(&format!("graph \"g\" {{ {statement} }}")).unwrap());
    assert_eq!(
        input("input \"a\""),
        ["the graph: 1 inputs and 0 parameters of the body"]
    );
    assert_eq!(
        input("input %0: f32[]"),
        ["the graph: 0 inputs and 1 parameters of the body"]
    );
    let nested = |depth: usize| {
        let mut text = String::from("yield %0");
        for level in 0..depth {
            let id = 4 + level;
            text = format!("%{id}: f32[b, 4] = if %2 {{ {text} }} else {{ yield %0 }} yield %{id}");
        }
        violations(text.trim_end_matches(&format!(" yield %{}", 3 + depth)))
    };
    assert_eq!(nested(MAX_DEPTH), Vec::<String>::new());
    assert_eq!(nested(MAX_DEPTH + 1), ["the graph: regions nest deeper than 64"]);
}
