use super::*;

fn one(opset: i64, op: &str, dims: &str, attributes: &[(&str, Attribute)]) -> Graph {
    Build::new(opset)
        .input("x", dims)
        .node(op, &["x"], &["y"], attributes)
        .output("y")
        .import(if dims.contains('b') { &[("b", 1, 8)] } else { &[] })
        .unwrap()
}

#[test]
fn softmax_before_version_13_flattens() {
    let graph = one(12, "Softmax", "b 2 3", &[]);
    insta::assert_snapshot!(listing(&graph), @r"
    reshape f32[b, 6]
    softmax f32[b, 6]
    reshape f32[b, 2, 3]
    ");
    let x = [1.0, 2.0, 3.0, 1.0, 2.0, 3.0];
    let total: f64 = run(&graph, &[(&[1, 2, 3], &x)]).iter().sum();
    assert!((total - 1.0).abs() < 1e-6, "{total}");
    let graph = one(13, "Softmax", "b 2 3", &[]);
    insta::assert_snapshot!(listing(&graph), @"softmax f32[b, 2, 3]");
    // Trailing axes of size 1 need no flattening.
    insta::assert_snapshot!(listing(&one(11, "Softmax", "b 6 1", &[])), @"softmax f32[b, 6, 1]");
}

#[test]
fn activations_of_known_values() {
    let x = [-2.0f32, -0.5, 0.0, 0.5, 2.0];
    let apply = |op: &str, attributes: &[(&str, Attribute)]| {
        let values = run(&one(20, op, "5", attributes), &[(&[5], &x)]);
        values.into_iter().map(|v| (v * 1e4).round() / 1e4).collect::<Vec<_>>()
    };
    let alpha = |value| [("alpha", Attribute::Float(value))];
    assert_eq!(apply("Relu", &[]), [0.0, 0.0, 0.0, 0.5, 2.0]);
    assert_eq!(apply("LeakyRelu", &alpha(0.5)), [-1.0, -0.25, 0.0, 0.5, 2.0]);
    assert_eq!(apply("Elu", &[]), [-0.8647, -0.3935, 0.0, 0.5, 2.0]);
    assert_eq!(apply("Celu", &alpha(2.0)), [-1.2642, -0.4424, 0.0, 0.5, 2.0]);
    assert_eq!(apply("ThresholdedRelu", &[]), [0.0, 0.0, 0.0, 0.0, 2.0]);
    assert_eq!(apply("HardSigmoid", &[]), [0.1, 0.4, 0.5, 0.6, 0.9]);
    assert_eq!(apply("Softsign", &[]), [-0.6667, -0.3333, 0.0, 0.3333, 0.6667]);
    assert_eq!(
        apply("Shrink", &[("lambd", Attribute::Float(1.0))]),
        [-2.0, 0.0, 0.0, 0.0, 2.0]
    );
    assert_eq!(apply("Hardmax", &[]), [0.0, 0.0, 0.0, 0.0, 1.0]);
}

#[test]
fn same_padding_of_a_dynamic_size() {
    let model = Build::new(17)
        .input("x", "1 2 b")
        .constant("w", zeros(&[4, 2, 3]))
        .node(
            "Conv",
            &["x", "w"],
            &["y"],
            &[
                ("auto_pad", Attribute::String("SAME_UPPER".into())),
                ("strides", Attribute::Ints(vec![2])),
            ],
        )
        .output("y");
    insta::assert_snapshot!(listing(&model.import(&[("b", 1, 64)]).unwrap()), @"conv f32[1, 4, floor(b + 1, 2)]");
}

#[test]
fn batch_normalization_is_affine() {
    let model = Build::new(15)
        .input("x", "b 2 2")
        .constant("scale", floats(&[2], &[2.0, 1.0]))
        .constant("bias", floats(&[2], &[1.0, 0.0]))
        .constant("mean", floats(&[2], &[1.0, -1.0]))
        .constant("variance", floats(&[2], &[4.0, 1.0]))
        .node(
            "BatchNormalization",
            &["x", "scale", "bias", "mean", "variance"],
            &["y"],
            &[("epsilon", Attribute::Float(0.0)), ("momentum", Attribute::Float(0.9))],
        )
        .output("y");
    let graph = model.import(&[("b", 1, 8)]).unwrap();
    assert_eq!(
        run(&graph, &[(&[1, 2, 2], &[1.0, 3.0, 0.0, 2.0])]),
        [1.0, 3.0, 1.0, 3.0]
    );
}

#[test]
fn layer_normalization_with_broadcast_parameters() {
    let model = |scale: &[usize]| {
        Build::new(17)
            .input("x", "b 2 4")
            .constant("scale", zeros(scale))
            .node(
                "LayerNormalization",
                &["x", "scale"],
                &["y"],
                &[("axis", Attribute::Int(-2))],
            )
            .output("y")
    };
    insta::assert_snapshot!(listing(&model(&[2, 4]).import(&[("b", 1, 8)]).unwrap()), @"normalize f32[b, 2, 4]");
    insta::assert_snapshot!(listing(&model(&[4]).import(&[("b", 1, 8)]).unwrap()), @r"
    normalize f32[b, 2, 4]
    elementwise f32[b, 2, 4]
    ");
}

#[test]
fn recurrent_layers_of_two_directions() {
    let model = Build::new(14)
        .input("x", "5 b 3")
        .constant("w", zeros(&[2, 16, 3]))
        .constant("r", zeros(&[2, 16, 4]))
        .node(
            "LSTM",
            &["x", "w", "r"],
            &["y", "h", "c"],
            &[
                ("direction", Attribute::String("bidirectional".into())),
                ("hidden_size", Attribute::Int(4)),
            ],
        )
        .output("y")
        .output("h")
        .output("c");
    insta::assert_snapshot!(listing(&model.import(&[("b", 1, 8)]).unwrap()), @r"
    broadcast f32[b, 4]
    broadcast f32[b, 4]
    recurrent f32[5, b, 4] f32[b, 4] f32[b, 4]
    broadcast f32[b, 4]
    broadcast f32[b, 4]
    recurrent f32[5, b, 4] f32[b, 4] f32[b, 4]
    reshape f32[5, 1, b, 4]
    reshape f32[5, 1, b, 4]
    concat f32[5, 2, b, 4]
    reshape f32[1, b, 4]
    reshape f32[1, b, 4]
    concat f32[2, b, 4]
    reshape f32[1, b, 4]
    reshape f32[1, b, 4]
    concat f32[2, b, 4]
    ");
}

#[test]
fn einsum_becomes_a_matrix_product() {
    let model = Build::new(13)
        .input("q", "b 5 2 8")
        .input("k", "b 7 2 8")
        .node(
            "Einsum",
            &["q", "k"],
            &["y"],
            &[("equation", Attribute::String("bqhd,bkhd->bhqk".into()))],
        )
        .output("y");
    insta::assert_snapshot!(listing(&model.import(&[("b", 1, 8)]).unwrap()), @r"
    transpose f32[b, 2, 5, 8]
    transpose f32[b, 2, 8, 7]
    matmul f32[b, 2, 5, 7]
    ");
}

#[test]
fn gather_at_one_place_is_a_slice() {
    let gather = |index: Tensor| {
        Build::new(13)
            .input("x", "2 b 4")
            .constant("i", index)
            .node("Gather", &["x", "i"], &["y"], &[])
            .output("y")
            .import(&[("b", 1, 8)])
            .unwrap()
    };
    insta::assert_snapshot!(listing(&gather(ints(&[], &[-1]))), @r"
    slice f32[1, b, 4]
    reshape f32[b, 4]
    ");
    insta::assert_snapshot!(listing(&gather(ints(&[2], &[1, 0]))), @"gather f32[2, b, 4]");
}

#[test]
fn resize_in_every_version() {
    let scales = floats(&[4], &[1.0, 1.0, 2.0, 1.5]);
    let with_operand = |opset: i64, op: &str, inputs: &[&str]| {
        let model = Build::new(opset).input("x", "1 2 b 4").constant("s", scales.clone());
        listing(
            &model
                .node(op, inputs, &["y"], &[])
                .output("y")
                .import(&[("b", 1, 8)])
                .unwrap(),
        )
    };
    let attribute = [("scales", Attribute::Floats(vec![1.0, 1.0, 2.0, 1.5]))];
    let model = Build::new(7)
        .input("x", "1 2 b 4")
        .node("Upsample", &["x"], &["y"], &attribute)
        .output("y");
    let expected = "resize f32[1, 2, 2*b, 6]";
    assert_eq!(listing(&model.import(&[("b", 1, 8)]).unwrap()), expected);
    assert_eq!(with_operand(9, "Upsample", &["x", "s"]), expected);
    assert_eq!(with_operand(10, "Resize", &["x", "s"]), expected);
    assert_eq!(with_operand(11, "Resize", &["x", "", "s"]), expected);
    assert_eq!(with_operand(19, "Resize", &["x", "", "s"]), expected);
}

#[test]
fn a_loop_keeps_what_it_carries() {
    let body = ModelGraph {
        inputs: ["i", "go", "value"]
            .map(|name| ValueInfo {
                name: name.into(),
                ty: None,
            })
            .to_vec(),
        outputs: ["go", "next"]
            .map(|name| ValueInfo {
                name: name.into(),
                ty: None,
            })
            .to_vec(),
        nodes: vec![node("Add", &["value", "step"], &["next"], &[])],
        ..ModelGraph::default()
    };
    let model = Build::new(17)
        .input("x", "b 2")
        .constant("n", ints(&[], &[3]))
        .constant("step", floats(&[2], &[1.0, 2.0]))
        .node(
            "Loop",
            &["n", "", "x"],
            &["y"],
            &[("body", Attribute::Graph(Box::new(body)))],
        )
        .output("y");
    let graph = model.import(&[("b", 1, 8)]).unwrap();
    insta::assert_snapshot!(listing(&graph), @"loop f32[b, 2]");
    assert_eq!(run(&graph, &[(&[1, 2], &[0.0, 0.0])]), [3.0, 6.0]);
}

#[test]
fn functions_are_expanded_with_their_attributes() {
    let mut model = Build::new(17)
        .input("x", "2")
        .node("Leaky", &["x"], &["a"], &[("slope", Attribute::Float(0.5))])
        .node("Leaky", &["a"], &["y"], &[])
        .output("y");
    let id = FunctionId {
        domain: "local".into(),
        name: "Leaky".into(),
        overload: String::new(),
    };
    let function = Function {
        inputs: vec!["v".into()],
        outputs: vec!["w".into()],
        attributes: BTreeMap::from([("slope".into(), Some(Attribute::Float(0.25)))]),
        opsets: model.model.opsets.clone(),
        nodes: vec![node(
            "LeakyRelu",
            &["v"],
            &["w"],
            &[("alpha", Attribute::Reference("slope".into()))],
        )],
    };
    model.model.functions.insert(id, function);
    model
        .model
        .graph
        .nodes
        .iter_mut()
        .for_each(|node| node.domain = "local".into());
    let graph = model.import(&[]).unwrap();
    assert_eq!(run(&graph, &[(&[2], &[-8.0, 1.0])]), [-1.0, 1.0]);
    assert_eq!(graph.body.nodes[0].origin, ["leaky_0/w"]);
}
