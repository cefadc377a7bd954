use super::*;
use crate::ir::{Part, eval};

fn tensor_type(element: ElementType, dims: Option<&str>) -> ValueType {
    let shape = dims.map(|dims| dims.split_whitespace().map(dim).collect());
    ValueType::Tensor { element, shape }
}

fn sequence(dims: Option<&str>) -> ValueType {
    ValueType::Sequence(Box::new(tensor_type(ElementType::Float, dims)))
}

fn optional(held: ValueType) -> ValueType {
    ValueType::Optional(Box::new(held))
}

fn value(name: &str, ty: Option<ValueType>) -> ValueInfo {
    ValueInfo { name: name.into(), ty }
}

fn graph(inputs: &[&str], nodes: Vec<Node>, outputs: &[&str]) -> Attribute {
    Attribute::Graph(Box::new(ModelGraph {
        inputs: inputs.iter().map(|name| value(name, None)).collect(),
        outputs: outputs.iter().map(|name| value(name, None)).collect(),
        nodes,
        ..ModelGraph::default()
    }))
}

impl Build {
    fn passed(mut self, name: &str, ty: ValueType) -> Self {
        self.model.graph.inputs.push(value(name, Some(ty)));
        self
    }

    fn scalar(self, name: &str, element: ElementType) -> Self {
        self.passed(name, tensor_type(element, Some("")))
    }
}

/// The tensors of a graph's inputs: whole ones as they are, the parts of sequences from shapes and elements.
fn rows(capacity: usize, width: usize, columns: usize, tensors: &[(&[i64], &[f32])]) -> [ir::Tensor; 2] {
    let (mut elements, mut shapes) = (vec![0.0f32; capacity * width], vec![-1i64; capacity * columns]);
    for (row, (shape, data)) in tensors.iter().enumerate() {
        elements[row * width..][..data.len()].copy_from_slice(data);
        shapes[row * columns..][..shape.len()].copy_from_slice(shape);
    }
    [
        ir::Tensor::new(vec![capacity, width], &elements),
        ir::Tensor::new(vec![capacity, columns], &shapes),
    ]
}

fn parts(graph: &Graph) -> Vec<String> {
    let part = |part: &Part| match part {
        Part::Whole => "whole".to_owned(),
        Part::Text => "text".to_owned(),
        Part::Present => "present".to_owned(),
        Part::Elements { sizes, mixed } => {
            let sizes: Vec<_> = sizes
                .iter()
                .map(|size| format!("{}..={}", size.low, size.high))
                .collect();
            format!("elements [{}]{}", sizes.join(", "), if *mixed { " mixed" } else { "" })
        }
        Part::Shapes => "shapes".to_owned(),
        Part::Length => "length".to_owned(),
    };
    graph.inputs.iter().map(|port| part(&port.part)).collect()
}

#[test]
fn a_list_of_tensors_leaves_no_trace() {
    let graph = Build::new(17)
        .input("x", "2 3")
        .input("y", "2 1")
        .constant("first", ints(&[], &[0]))
        .constant("last", ints(&[], &[-1]))
        .node("SequenceConstruct", &["x"], &["s"], &[])
        .node("SequenceInsert", &["s", "y", "first"], &["t"], &[])
        .node("SequenceAt", &["t", "last"], &["z"], &[])
        .node("ConcatFromSequence", &["t"], &["w"], &[("axis", Attribute::Int(1))])
        .output("w")
        .output("z")
        .import(&[])
        .unwrap();
    insta::assert_snapshot!(listing(&graph), @"concat f32[2, 4]");
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let y = [7.0, 8.0];
    let result = run(&graph, &[(&[2, 3], &x), (&[2, 1], &y)]);
    assert_eq!(result, [7.0, 1.0, 2.0, 3.0, 8.0, 4.0, 5.0, 6.0]);
}

#[test]
fn the_position_in_a_sequence_may_be_known_to_a_run_only() {
    let graph = Build::new(17)
        .passed("s", sequence(Some("n 2")))
        .scalar("at", ElementType::Int64)
        .node("SequenceAt", &["s", "at"], &["y"], &[])
        .output("y")
        .import(&[("s_len", 0, 3), ("n", 0, 2)])
        .unwrap();
    assert_eq!(parts(&graph), ["elements [0..=2, 2..=2]", "shapes", "length", "whole"]);
    let at = |index: i64| {
        let [elements, shapes] = rows(3, 4, 2, &[(&[1, 2], &[1.0, 2.0]), (&[2, 2], &[3.0, 4.0, 5.0, 6.0])]);
        let inputs = [elements, shapes, ir::Tensor::scalar(2i64), ir::Tensor::scalar(index)];
        eval::evaluate(&graph, &inputs).map(|results| results[0].clone())
    };
    assert_eq!(at(1), Ok(ir::Tensor::new(vec![2, 2], &[3.0f32, 4.0, 5.0, 6.0])));
    assert_eq!(at(-2), Ok(ir::Tensor::new(vec![1, 2], &[1.0f32, 2.0])));
    assert!(at(2).unwrap_err().contains("the position is inside of the sequence"));
    assert!(at(-3).is_err());
}

#[test]
fn elements_of_any_size_concatenate() {
    for (new_axis, expected) in [
        (false, Ok(ir::Tensor::new(vec![1, 3], &[1.0f32, 2.0, 3.0]))),
        (true, Err("same sizes")),
    ] {
        let attributes = [
            ("axis", Attribute::Int(1)),
            ("new_axis", Attribute::Int(new_axis.into())),
        ];
        let graph = Build::new(17)
            .passed("s", sequence(Some("1 n")))
            .node("ConcatFromSequence", &["s"], &["y"], &attributes)
            .output("y")
            .import(&[("s_len", 0, 3), ("n", 0, 2)])
            .unwrap();
        let [elements, shapes] = rows(3, 2, 2, &[(&[1, 1], &[1.0]), (&[1, 0], &[]), (&[1, 2], &[2.0, 3.0])]);
        let found = eval::evaluate(&graph, &[elements, shapes, ir::Tensor::scalar(3i64)]);
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found[0], expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, _) => panic!("{found:?}"),
        }
    }
}

/// A loop that runs `n` times and grows a tensor by its own first row each time.
fn growing(dims: &[(&str, i64, i64)]) -> Result<Graph, Diagnostics> {
    let body = graph(
        &["i", "go", "t"],
        vec![
            node("Identity", &["go"], &["go_on"], &[]),
            node("Concat", &["t", "x"], &["longer"], &[("axis", Attribute::Int(0))]),
        ],
        &["go_on", "longer"],
    );
    Build::new(17)
        .scalar("n", ElementType::Int64)
        .input("x", "1 2")
        .node("Loop", &["n", "", "x"], &["y"], &[("body", body)])
        .output("y")
        .import(dims)
}

#[test]
fn what_a_loop_carries_may_grow_up_to_a_bound() {
    let message = growing(&[]).unwrap_err().to_string();
    assert!(
        message.contains("axis 0 of which grows with each iteration"),
        "{message}"
    );
    assert!(message.contains("give `y_0` the largest size"), "{message}");
    let graph = growing(&[("y_0", 1, 3)]).unwrap();
    let run = |n: i64| {
        let x = ir::Tensor::new(vec![1, 2], &[1.0f32, 2.0]);
        eval::evaluate(&graph, &[ir::Tensor::scalar(n), x]).map(|results| results[0].shape.clone())
    };
    assert_eq!((run(0), run(2)), (Ok(vec![1, 2]), Ok(vec![3, 2])));
    assert!(run(3).is_err());
}

#[test]
fn stacked_results_have_as_many_elements_as_iterations() {
    let body = graph(
        &["i", "go", "t"],
        vec![
            node("Add", &["t", "t"], &["double"], &[]),
            node("Less", &["double", "limit"], &["go_on"], &[]),
        ],
        &["go_on", "double", "double"],
    );
    let build = Build::new(17)
        .input("t0", "")
        .input("limit", "")
        .node("Loop", &["", "", "t0"], &["last", "all"], &[("body", body)])
        .output("all");
    let message = build.error(&[]);
    assert!(message.contains("give `all_0` its largest size"), "{message}");
    let graph = build.import(&[("all_0", 0, 4)]).unwrap();
    let run = |limit: f32| {
        let inputs = [ir::Tensor::scalar(1.0f32), ir::Tensor::scalar(limit)];
        eval::evaluate(&graph, &inputs).map(|results| results[0].to_floats().unwrap())
    };
    assert_eq!(run(5.0), Ok(vec![2.0, 4.0, 8.0]));
    assert!(run(100.0).unwrap_err().contains("the loop runs at most 4 times"));
}

#[test]
fn branches_may_give_different_shapes() {
    let branch = |axis: i64| {
        let double = node("Concat", &["x", "x"], &["d"], &[("axis", Attribute::Int(axis))]);
        graph(&[], vec![double], &["d"])
    };
    let graph = Build::new(17)
        .scalar("c", ElementType::Bool)
        .input("x", "1 2")
        .node(
            "If",
            &["c"],
            &["y"],
            &[("then_branch", branch(0)), ("else_branch", branch(1))],
        )
        .output("y")
        .import(&[])
        .unwrap();
    let run = |condition: bool| {
        let x = ir::Tensor::new(vec![1, 2], &[1.0f32, 2.0]);
        eval::evaluate(&graph, &[ir::Tensor::scalar(condition), x]).unwrap()[0].clone()
    };
    assert_eq!(run(true), ir::Tensor::new(vec![2, 2], &[1.0f32, 2.0, 1.0, 2.0]));
    assert_eq!(run(false), ir::Tensor::new(vec![1, 4], &[1.0f32, 2.0, 1.0, 2.0]));
}

#[test]
fn an_optional_value_is_asked_for() {
    let build = Build::new(18)
        .passed("o", optional(tensor_type(ElementType::Float, Some("n"))))
        .node("OptionalHasElement", &["o"], &["has"], &[])
        .node("OptionalGetElement", &["o"], &["y"], &[])
        .output("y");
    assert!(build.error(&[]).contains("`n` in o"), "{}", build.error(&[]));
    let graph = build.import(&[("n", 1, 3)]).unwrap();
    assert_eq!(parts(&graph), ["present", "elements [1..=3]", "shapes"]);
    let [elements, shapes] = rows(1, 3, 1, &[(&[2], &[1.0, 2.0])]);
    let run = |present: bool| {
        let inputs = [ir::Tensor::scalar(present), elements.clone(), shapes.clone()];
        eval::evaluate(&graph, &inputs).map(|results| results[0].clone())
    };
    assert_eq!(run(true), Ok(ir::Tensor::new(vec![2], &[1.0f32, 2.0])));
    assert!(run(false).unwrap_err().contains("the optional value is there"));
}

#[test]
fn a_scan_of_a_batch_has_lengths() {
    let body = graph(
        &["sum", "x"],
        vec![node("Add", &["sum", "x"], &["next"], &[])],
        &["next", "next"],
    );
    let graph = Build::new(8)
        .typed_input("lengths", ElementType::Int64, "2")
        .input("sum", "2 1")
        .input("x", "2 3 1")
        .node(
            "Scan",
            &["lengths", "sum", "x"],
            &["last", "all"],
            &[("body", body), ("num_scan_inputs", Attribute::Int(1))],
        )
        .output("last")
        .output("all")
        .import(&[])
        .unwrap();
    let inputs = [
        ir::Tensor::new(vec![2], &[3i64, 1]),
        ir::Tensor::new(vec![2, 1], &[0.0f32, 10.0]),
        ir::Tensor::new(vec![2, 3, 1], &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]),
    ];
    let results = eval::evaluate(&graph, &inputs).unwrap();
    assert_eq!(results[0], ir::Tensor::new(vec![2, 1], &[6.0f32, 14.0]));
    assert_eq!(
        results[1],
        ir::Tensor::new(vec![2, 3, 1], &[1.0f32, 3.0, 6.0, 14.0, 0.0, 0.0])
    );
}

#[test]
fn sequences_are_not_tensors() {
    let message = Build::new(17)
        .input("x", "2")
        .node("SequenceConstruct", &["x"], &["s"], &[])
        .node("Relu", &["s"], &["y"], &[])
        .output("y")
        .error(&[]);
    assert!(
        message.contains("the operator takes tensors, but an operand is a sequence"),
        "{message}"
    );
    let message = Build::new(17)
        .input("x", "2")
        .node("SequenceLength", &["x"], &["n"], &[])
        .output("n")
        .error(&[]);
    assert!(message.contains("operand 0 is a tensor, not a sequence"), "{message}");
}
