use super::*;

/// Shape, Gather, Concat and Reshape as exporters chain them.
fn split_heads() -> Build {
    Build::new(17)
        .input("x", "batch sequence 768")
        .constant("zero", ints(&[], &[0]))
        .constant("one", ints(&[], &[1]))
        .constant("axis", ints(&[1], &[0]))
        .constant("heads", ints(&[2], &[12, -1]))
        .node("Shape", &["x"], &["shape"], &[])
        .node("Gather", &["shape", "zero"], &["b"], &[])
        .node("Gather", &["shape", "one"], &["s"], &[])
        .node("Unsqueeze", &["b", "axis"], &["b1"], &[])
        .node("Unsqueeze", &["s", "axis"], &["s1"], &[])
        .node(
            "Concat",
            &["b1", "s1", "heads"],
            &["target"],
            &[("axis", Attribute::Int(0))],
        )
        .node("Reshape", &["x", "target"], &["y"], &[])
        .output("y")
}

#[test]
fn shape_arithmetic_folds() {
    let graph = split_heads().import(&[("batch", 1, 8), ("sequence", 1, 256)]).unwrap();
    insta::assert_snapshot!(listing(&graph), @"reshape f32[batch, sequence, 12, 64]");
    let graph = split_heads()
        .import(&[("batch", 1, 8), ("sequence", 128, 128)])
        .unwrap();
    insta::assert_snapshot!(listing(&graph), @"reshape f32[batch, 128, 12, 64]");
}

#[test]
fn arithmetic_on_sizes_stays_symbolic() {
    // Resizing to floor(2 * size), computed in floats as older exporters write it.
    let model = Build::new(13)
        .input("x", "1 3 height 8")
        .constant("spatial", ints(&[1], &[2]))
        .constant("end", ints(&[1], &[4]))
        .constant("two", floats(&[], &[2.0]))
        .constant("head", ints(&[2], &[1, 3]))
        .node("Shape", &["x"], &["shape"], &[])
        .node("Slice", &["shape", "spatial", "end"], &["size"], &[])
        .node("Cast", &["size"], &["float"], &[("to", Attribute::Int(1))])
        .node("Mul", &["float", "two"], &["scaled"], &[])
        .node("Floor", &["scaled"], &["floor"], &[])
        .node("Cast", &["floor"], &["sizes"], &[("to", Attribute::Int(7))])
        .node("Concat", &["head", "sizes"], &["all"], &[("axis", Attribute::Int(0))])
        .node("Resize", &["x", "", "", "all"], &["y"], &[])
        .output("y");
    let graph = model.import(&[("height", 1, 64)]).unwrap();
    insta::assert_snapshot!(listing(&graph), @"resize f32[1, 3, 2*height, 16]");
}

#[test]
fn sizes_that_must_agree_become_constraints() {
    let model = Build::new(17)
        .input("x", "m 4")
        .input("z", "n 4")
        .node("Add", &["x", "z"], &["y"], &[])
        .output("y");
    let graph = model.import(&[("m", 1, 8), ("n", 1, 9)]).unwrap();
    insta::assert_snapshot!(listing(&graph), @r"
    elementwise f32[m, 4]
    where m = n
    ");
    // Bounds that do not meet are an error.
    insta::assert_snapshot!(model.error(&[("m", 2, 4), ("n", 5, 9)]), @r"
    cannot compile model.onnx
      Add: shapes [m, 4] and [n, 4] do not broadcast: m against n
        at `add_0` (#0)
    ");
}

#[test]
fn sizes_used_as_numbers_appear_in_the_graph() {
    let model = Build::new(17)
        .input("x", "batch 4")
        .node("Size", &["x"], &["count"], &[])
        .node("Cast", &["count"], &["float"], &[("to", Attribute::Int(1))])
        .node("Div", &["x", "float"], &["y"], &[])
        .node("Shape", &["x"], &["shape"], &[])
        .output("y")
        .output("shape");
    let graph = model.import(&[("batch", 1, 8)]).unwrap();
    insta::assert_snapshot!(listing(&graph), @r"
    elementwise f32[batch, 4]
    elementwise i64[1]
    elementwise i64[1]
    concat i64[2]
    ");
    assert_eq!(run(&graph, &[(&[1, 4], &[4.0, 8.0, 0.0, 2.0])]), [1.0, 2.0, 0.0, 0.5]);
}

#[test]
fn unused_constants_and_shape_nodes_leave_nothing() {
    let model = Build::new(17)
        .input("x", "2 3")
        .constant("unused", zeros(&[5]))
        .node("Shape", &["x"], &["shape"], &[])
        .node("Identity", &["x"], &["y"], &[])
        .output("y");
    let graph = model.import(&[]).unwrap();
    assert!(graph.body.nodes.is_empty());
    assert_eq!(graph.body.params, graph.body.results);
}

#[test]
fn slices_clamp_and_count_from_the_end() {
    let slice = |start: i64, end: i64, step: i64| {
        let model = Build::new(13)
            .input("x", "n")
            .constant("start", ints(&[1], &[start]))
            .constant("end", ints(&[1], &[end]))
            .constant("axis", ints(&[1], &[0]))
            .constant("step", ints(&[1], &[step]))
            .node("Slice", &["x", "start", "end", "axis", "step"], &["y"], &[])
            .output("y");
        let graph = model.import(&[("n", 4, 16)]).unwrap();
        let all: Vec<f32> = (0..9u8).map(f32::from).collect();
        (
            graph.ty(graph.body.results[0]).to_string(),
            run(&graph, &[(&[9], &all)]),
        )
    };
    assert_eq!(slice(1, i64::MAX, 1).0, "f32[n - 1]");
    assert_eq!(slice(-3, i64::MAX, 2), ("f32[2]".into(), vec![6.0, 8.0]));
    assert_eq!(slice(0, -1, 3), ("f32[floor(n + 1, 3)]".into(), vec![0.0, 3.0, 6.0]));
    assert_eq!(
        slice(-1, i64::MIN, -4),
        ("f32[floor(n + 3, 4)]".into(), vec![8.0, 4.0, 0.0])
    );
    assert_eq!(slice(3, 1, 1).0, "f32[0]");
    assert_eq!(slice(2, 6, 1).0, "f32[min(6, n) - 2]");
}
