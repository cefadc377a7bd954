use super::*;
use crate::import::rules;

#[test]
fn unsupported_operators_are_all_listed() {
    let branch = |op: &str| ModelGraph {
        nodes: vec![node(op, &["x"], &["inner"], &[])],
        outputs: vec![ValueInfo {
            name: "inner".into(),
            ty: None,
        }],
        ..ModelGraph::default()
    };
    let graph = |op: &str| Attribute::Graph(Box::new(branch(op)));
    let model = Build::new(17)
        .input("x", "2 3")
        .node("Baz", &["x"], &["a"], &[])
        .node("Foo", &["a"], &["b"], &[])
        .node("Foo", &["x"], &["c"], &[])
        .node(
            "If",
            &["b"],
            &["d"],
            &[("then_branch", graph("Bar")), ("else_branch", graph("Relu"))],
        )
        .node("Relu", &["x"], &["y"], &[])
        .output("y")
        .output("d");
    insta::assert_snapshot!(model.error(&[]), @r"
    cannot compile model.onnx (3 problems)
      Baz: the operator is not supported
        at `baz_0` (#0)
      Foo: the operator is not supported
        at `foo_1` (#1), `foo_2` (#2)
      Bar: the operator is not supported
        at #0
    ");
}

#[test]
fn dynamic_dimensions_need_bounds() {
    let model = Build::new(17)
        .input("image", "batch 3 ? width")
        .input("mask", "batch")
        .node("Relu", &["image"], &["y"], &[])
        .output("y");
    insta::assert_snapshot!(model.error(&[("bach", 1, 8), ("width", 9, 3)]), @r"
    cannot compile model.onnx (3 problems)
      the dimension `width` cannot have sizes from 9 to 3
      dynamic dimensions need a size or bounds:
        `batch` in image [batch, 3, image_2, width], mask [batch]
        `image_2` in image [batch, 3, image_2, width]
        help: give each one size, or the smallest and the largest: `batch = 1` or `batch = 1..=8`, `image_2 = 1` or `image_2 = 1..=8`
      the model has no dynamic dimension `bach`; it has `batch`, `image_2`, `width`
    ");
    assert_eq!(dynamic_dims(&model.model), ["batch", "image_2", "width"]);
    let graph = model
        .import(&[("batch", 1, 8), ("image_2", 5, 5), ("width", 1, 9)])
        .unwrap();
    assert_eq!(graph.ty(graph.body.results[0]).to_string(), "f32[batch, 3, 5, width]");
}

#[test]
fn operands_and_attributes_are_checked() {
    let int = Attribute::Int;
    let texts: Vec<_> = [
        Build::new(17).input("x", "2 3").node("Add", &["x"], &["y"], &[]),
        Build::new(17)
            .input("x", "2 3")
            .input("z", "4")
            .node("Add", &["x", "z"], &["y"], &[]),
        Build::new(17)
            .input("x", "b 3")
            .input("z", "5 4")
            .node("MatMul", &["x", "z"], &["y"], &[]),
        Build::new(17)
            .input("x", "2 3")
            .node("Softmax", &["x"], &["y"], &[("axis", int(2))]),
        Build::new(17)
            .input("x", "2 3")
            .node("Softmax", &["x"], &["y"], &[("axis", Attribute::Float(1.0))]),
        Build::new(17)
            .input("x", "2 3")
            .node("Relu", &["x"], &["y"], &[("slope", int(1)), ("bias", int(1))]),
        Build::new(17)
            .input("x", "2 3")
            .input("s", "2")
            .node("Reshape", &["x", "s"], &["y"], &[]),
        Build::new(17)
            .input("x", "2 3")
            .constant("s", ints(&[2], &[4, -1]))
            .node("Reshape", &["x", "s"], &["y"], &[]),
        Build::new(17)
            .input("x", "2 3")
            .node("MaxPool", &["x"], &["y", "indices"], &[]),
        Build::new(17)
            .input("x", "b 4 9")
            .constant("w", zeros(&[6, 3, 3]))
            .node("Conv", &["x", "w"], &["y"], &[("group", int(2))]),
        Build::new(17)
            .input("x", "1 4 9")
            .constant("w", zeros(&[6, 4, 3]))
            .node(
                "Conv",
                &["x", "w"],
                &["y"],
                &[
                    ("strides", Attribute::Ints(vec![0])),
                    ("pads", Attribute::Ints(vec![1])),
                ],
            ),
        Build::new(17)
            .input("x", "1 4 1")
            .constant("w", zeros(&[6, 4, 3]))
            .node("Conv", &["x", "w"], &["y"], &[]),
    ]
    .into_iter()
    .map(|model| {
        let dims: &[_] = if dynamic_dims(&model.model).is_empty() {
            &[]
        } else {
            &[("b", 1, 8)]
        };
        model.output("y").error(dims).replace("cannot compile model.onnx\n", "")
    })
    .collect();
    insta::assert_snapshot!(texts.join("\n"), @r"
    Add: operand 1 is missing
      at `add_0` (#0)
    Add: shapes [2, 3] and [4] do not broadcast: 3 against 4
      at `add_0` (#0)
    MatMul: inner sizes of the matrix product of [b, 3] and [5, 4]: 3 is not 5
      at `matmul_0` (#0)
    Softmax: axis 2 of a tensor of rank 2
      at `softmax_0` (#0)
    Softmax: attribute `axis` is a float, not an integer
      at `softmax_0` (#0)
    Relu: attribute `bias`, `slope` is not supported
      at `relu_0` (#0)
    Reshape: the sizes are f32[2], not a list of integers of fixed length
      at `reshape_0` (#0)
    Reshape: a tensor of shape [2, 3] cannot have shape [4, 1]: number of elements: 6 is not 4
      at `reshape_0` (#0)
    MaxPool: pooling of [2, 3]
      at `maxpool_0` (#0)
    Conv: channels of the input and of weights [6, 3, 3] in 2 groups: 4 is not 6
      at `conv_0` (#0)
    Conv: attribute `strides` = [0], where 1 sizes from 1 on are expected
      at `conv_0` (#0)
    Conv: the result has size -1
      at `conv_0` (#0)
    ");
}

#[test]
fn a_condition_on_an_open_size_names_the_dimension() {
    let branch = |op: &str, attributes: &[(&str, Attribute)]| {
        Attribute::Graph(Box::new(ModelGraph {
            nodes: vec![node(op, &["x"], &["inner"], attributes)],
            outputs: vec![ValueInfo {
                name: "inner".into(),
                ty: None,
            }],
            ..ModelGraph::default()
        }))
    };
    let model = Build::new(12)
        .input("x", "sequence 4")
        .constant("one", ints(&[], &[1]))
        .constant("zero", ints(&[], &[0]))
        .node("Shape", &["x"], &["shape"], &[])
        .node("Gather", &["shape", "zero"], &["size"], &[])
        .node("Equal", &["size", "one"], &["single"], &[])
        .node(
            "If",
            &["single"],
            &["y"],
            &[
                ("then_branch", branch("Squeeze", &[("axes", Attribute::Ints(vec![0]))])),
                ("else_branch", branch("Identity", &[])),
            ],
        )
        .output("y");
    insta::assert_snapshot!(model.error(&[("sequence", 1, 8)]), @r"
    cannot compile model.onnx
      If: the branches give f32[4] and f32[sequence, 4], and the condition is not known while compiling
        at `if_3` (#3)
        help: the condition depends on `sequence`: fix it to one size
    ");
    let shape = |low, high| {
        let graph = model.import(&[("sequence", low, high)]).unwrap();
        graph.ty(graph.body.results[0]).to_string()
    };
    assert_eq!(shape(1, 1), "f32[4]");
    assert_eq!(shape(2, 8), "f32[sequence, 4]");
}

#[test]
fn no_rule_panics_on_odd_operands() {
    let attributes = [
        ("axis", Attribute::Int(i64::MIN)),
        ("axes", Attribute::Ints(vec![i64::MAX, -1])),
        ("perm", Attribute::Ints(vec![0, 0])),
        ("kernel_shape", Attribute::Ints(vec![0, 1 << 29])),
        ("strides", Attribute::Ints(vec![0, -1])),
        ("pads", Attribute::Ints(vec![1 << 40, 0, 0, 0])),
        ("group", Attribute::Int(0)),
        ("blocksize", Attribute::Int(0)),
        ("to", Attribute::Int(-7)),
        ("value", Attribute::Tensor(zeros(&[2, 2]))),
        ("equation", Attribute::String("ab,,c->->z".into())),
        ("num_groups", Attribute::Int(0)),
        ("num_scan_inputs", Attribute::Int(i64::MAX)),
        ("size", Attribute::Int(i64::MAX)),
        ("scales", Attribute::Floats(vec![f32::NAN, -1.0])),
        ("p", Attribute::Int(0)),
        ("start", Attribute::Int(i64::MIN)),
        ("end", Attribute::Int(i64::MAX)),
        ("batch_dims", Attribute::Int(i64::MAX)),
        ("body", Attribute::Graph(Box::default())),
        ("then_branch", Attribute::Graph(Box::default())),
        ("else_branch", Attribute::Graph(Box::default())),
    ];
    let operands = ["x", "image", "huge", "ints", "empty", "flag", "scalar", "i32"];
    let mut seen = BTreeSet::new();
    for (domain, op) in rules::operators() {
        assert!(seen.insert((domain, op)), "{op} has two rules");
        for opset in [7, 18] {
            for count in [0, 1, 2, 3, 6] {
                for first in 0..operands.len() / 2 {
                    let inputs: Vec<_> = (0..count)
                        .map(|i| operands[(2 * first + i * (first + 1)) % operands.len()])
                        .collect();
                    // Each attribute alone, none, and all at once.
                    for set in 0..attributes.len() + 2 {
                        let given = match set {
                            0 => &attributes[..0],
                            1 => &attributes[..],
                            _ => &attributes[set - 2..set - 1],
                        };
                        // Attributes that no rule knows have been tried once.
                        if set > 1 && (first > 1 || opset != 18 || !(1..=3).contains(&count)) {
                            continue;
                        }
                        let mut model = Build::new(opset)
                            .input("x", "b 0")
                            .input("image", "b 3 h 8")
                            .typed_input("i32", ElementType::Int32, "b")
                            .constant("huge", ints(&[4], &[i64::MAX, i64::MIN, -1, 0]))
                            .constant("ints", ints(&[4], &[1, 2, 0, -1]))
                            .constant("empty", ints(&[0], &[]))
                            .constant("scalar", floats(&[], &[f32::INFINITY]))
                            .typed_input("flag", ElementType::Bool, "")
                            .node(op, &inputs, &["y", "z"], given)
                            .output("y");
                        model.model.graph.nodes[0].domain = domain.into();
                        let _ = model.import(&[("b", 0, 8), ("h", 1, 1 << 20)]);
                    }
                }
            }
        }
    }
}

#[test]
fn functions_that_explode_are_refused() {
    let mut model = Build::new(17)
        .input("x", "2")
        .node("F0", &["x"], &["y"], &[])
        .output("y");
    for i in 0..28 {
        let callee = format!("F{}", i + 1);
        let id = FunctionId {
            domain: String::new(),
            name: format!("F{i}"),
            overload: String::new(),
        };
        let callee = if i == 27 { "Identity" } else { &callee };
        let nodes = vec![node(callee, &["a"], &["b"], &[]), node(callee, &["b"], &["c"], &[])];
        let function = Function {
            inputs: vec!["a".into()],
            outputs: vec!["c".into()],
            attributes: BTreeMap::new(),
            opsets: model.model.opsets.clone(),
            nodes,
        };
        model.model.functions.insert(id, function);
    }
    let text = model.error(&[]);
    assert!(text.contains("more than 1048576 nodes"), "{text}");
    // A function that calls itself.
    let id = FunctionId {
        domain: String::new(),
        name: "F1".into(),
        overload: String::new(),
    };
    let nodes = vec![node("F1", &["a"], &["c"], &[])];
    model.model.functions.get_mut(&id).unwrap().nodes = nodes;
    insta::assert_snapshot!(model.error(&[]), @r"
    cannot compile model.onnx
      F1: functions call each other more than 32 deep
        at #0
    ");
}
