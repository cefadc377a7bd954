//! Operators that the user provides.

use super::*;

/// A model with one node of `my.domain`, `Op`.
fn build(signature: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attribute)]) -> Build {
    registered(
        Operator::new("my.domain", "Op")
            .function("crate::op")
            .signature(signature),
        inputs,
        outputs,
        attributes,
    )
}

fn registered(operator: Operator, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attribute)]) -> Build {
    let mut build = Build::new(17);
    for input in inputs {
        if let Some((name, dims)) = input.split_once(": ") {
            build = build.input(name, dims);
        }
    }
    let names: Vec<&str> = inputs
        .iter()
        .map(|input| input.split(": ").next().unwrap_or(""))
        .collect();
    build = build.node("Op", &names, outputs, attributes);
    build.model.graph.nodes[0].domain = "my.domain".into();
    build.operators.push(operator);
    outputs.iter().fold(build, |build, output| build.output(output))
}

fn text(build: &Build) -> String {
    let dims = dynamic_dims(&build.model);
    let bounds: Vec<_> = dims.iter().map(|name| (name.as_str(), 1, 8)).collect();
    let graph = build.import(&bounds).unwrap();
    ir::verify(&graph).unwrap();
    graph.to_string().split_once("\n  input").unwrap().1.to_owned()
}

fn fault(build: &Build) -> String {
    let dims = dynamic_dims(&build.model);
    let bounds: Vec<_> = dims.iter().map(|name| (name.as_str(), 1, 8)).collect();
    build.error(&bounds).replace("cannot compile model.onnx\n", "")
}

#[test]
fn results_follow_from_the_signature() {
    let attributes = [
        ("factor", Attribute::Int(3)),
        ("table", Attribute::Tensor(floats(&[2], &[0.5, 1.0]))),
        ("mode", Attribute::String("fast".into())),
    ];
    let build = build(
        "(f32[n, k], f32[k]?, T[..], factor: int, scale: float = 0.5, table: f32[m], mode: string) \
         -> Result<(f32[factor * n + m, k / 2], T[.., k])>",
        &["x: batch 5", "", "z: 2 7"],
        &["a", "b"],
        &attributes,
    );
    insta::assert_snapshot!(text(&build), @r#"
     "x" %0 "x": f32[batch, 5]
      input "z" %1 "z": f32[2, 7]
      %2: f32[2] = constant [0.5, 1.0] from "op_0"
      %3 "a": f32[3*batch + 2, 2], %4 "b": f32[2, 7, 5] = opaque(operator = "my.domain::Op", function = "crate::op", arguments = [operand, absent, operand, int 3, float 0.5, operand, string "fast"], fallible) %0, %1, %2 from "op_0"
      output "a" %3
      output "b" %4
    }
    "#);
}

#[test]
fn sizes_that_cannot_be_compared_are_checked_by_the_run() {
    let build = build("(f32[n, k], f32[n]) -> f32[k]", &["x: a 3", "y: b"], &["z"], &[]);
    let graph = build.import(&[("a", 1, 8), ("b", 1, 8)]).unwrap();
    let constraint = &graph.constraints[0];
    assert_eq!(
        (constraint.left.to_string(), constraint.right.to_string()),
        ("b".into(), "a".into())
    );
}

#[test]
fn a_closure_sees_types_names_attributes_and_constants() {
    let operator = Operator::new("my.domain", "Op")
        .function("crate::op")
        .signature("(f32[n, k], i64[2], border: ints)")
        .shape(|call| {
            assert!(call.input(2).is_err() && call.float("border").is_err());
            let border = call.ints("border")?[0];
            let rows = call.elements(1)?[1].clone();
            let mut ty = call.input(0)?.clone();
            ty.shape[0] = rows + ir::Dim::from(border);
            ty.shape.push(call.size("k")?);
            Ok(vec![ty])
        });
    let mut build = registered(
        operator,
        &["x: batch 5", "s"],
        &["y"],
        &[("border", Attribute::Ints(vec![2]))],
    );
    build = build.constant("s", ints(&[2], &[4, 6]));
    let graph = build.import(&[("batch", 1, 8)]).unwrap();
    assert_eq!(graph.ty(graph.body.results[0]).to_string(), "f32[8, 5, 5]");
    let without = Operator::new("my.domain", "Op").function("crate::op");
    let same = without.shape(|call| Ok(vec![call.input(1)?.clone()]));
    let graph = registered(same, &["x: 2", "y: 3 4"], &["z"], &[]).import(&[]).unwrap();
    assert_eq!(graph.ty(graph.body.results[0]).to_string(), "f32[3, 4]");
}

#[test]
fn a_registered_operator_replaces_a_known_one_and_functions() {
    let erf: Operator = "Erf = crate::erf: (T[..]) -> T[..]".parse().unwrap();
    let mut build = Build::new(17)
        .input("x", "2 3")
        .node("Erf", &["x"], &["y"], &[])
        .output("y");
    build.operators.push(erf);
    let graph = build.import(&[]).unwrap();
    assert!(matches!(&graph.body.nodes[..], [node] if matches!(node.op, Op::Opaque(_))));
    let mut build = super::operators::build("(f32[n]) -> f32[n]", &["x: 4"], &["y"], &[]);
    let function = Function {
        inputs: vec!["a".into()],
        outputs: vec!["b".into()],
        attributes: BTreeMap::new(),
        opsets: BTreeMap::from([(String::new(), 17)]),
        nodes: vec![node("Relu", &["a"], &["b"], &[])],
    };
    build
        .model
        .functions
        .insert(function_id(&build.model.graph.nodes[0]), function);
    assert!(text(&build).contains("opaque"));
    build.operators.clear();
    assert!(!text(&build).contains("opaque"));
}

#[test]
fn what_does_not_fit_is_said() {
    let int = ("factor", Attribute::Int(0));
    let texts: Vec<String> = [
        build("(f32[n]) -> f32[n]", &["x: 2 3"], &["y"], &[]),
        build("(f64[..]) -> f64[..]", &["x: 2 3"], &["y"], &[]),
        build("(f32[n, n]) -> f32[n]", &["x: 2 3"], &["y"], &[]),
        build("(f32[n, n + 2]) -> f32[n]", &["x: 2 3"], &["y"], &[]),
        build("(f32[..], f32[..]) -> f32[..]", &["x: 2 3", "z: 3 3"], &["y"], &[]),
        build("(f32[..]) -> f32[..]", &["x: 2 3", "z: 3 3"], &["y"], &[]),
        build("(f32[..], f32[n]) -> f32[n]", &["x: 2 3"], &["y"], &[]),
        build("(f32[..], f32[n]?) -> f32[n]", &["x: 2 3"], &["y"], &[]),
        build("(f32[..]) -> f32[..]", &["x: 2 3"], &["y", "z"], &[]),
        build("(f32[..]) -> f32[..]", &["x: 2 3"], &["y"], std::slice::from_ref(&int)),
        build("(f32[..], factor: int) -> f32[..]", &["x: 2 3"], &["y"], &[]),
        build(
            "(f32[..], factor: ints) -> f32[..]",
            &["x: 2 3"],
            &["y"],
            std::slice::from_ref(&int),
        ),
        build(
            "(f32[n, k], factor: int) -> f32[n / factor]",
            &["x: 2 3"],
            &["y"],
            std::slice::from_ref(&int),
        ),
        build("(f32[n, k]) -> f32[n - k]", &["x: 2 3"], &["y"], &[]),
        registered(
            Operator::new("my.domain", "Op")
                .function("crate::op")
                .shape(|_| Err("only squares can be unrolled".into())),
            &["x: 2 3"],
            &["y"],
            &[],
        ),
        registered(
            Operator::new("my.domain", "Op").function("crate::op").shape(|call| {
                let mut ty = call.input(0)?.clone();
                ty.shape[0] = ir::Dim::symbol("rows");
                Ok(vec![ty])
            }),
            &["x: 2 3"],
            &["y"],
            &[],
        ),
    ]
    .iter()
    .map(fault)
    .collect();
    insta::assert_snapshot!(texts.join("\n"), @r"
    my.domain.Op: operand 0 is f32[2, 3], not f32[n]
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(f32[n]) -> f32[n]`
    my.domain.Op: operand 0 is f32[2, 3], not f64[..]
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(f64[..]) -> f64[..]`
    my.domain.Op: operand 0 is f32[2, 3], where n is 2: 3 is not 2
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(f32[n, n]) -> f32[n]`
    my.domain.Op: operand 0 is f32[2, 3], where n + 2 is 4: 3 is not 4
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(f32[n, n + 2]) -> f32[n]`
    my.domain.Op: operand 1 is f32[3, 3], where .. is [2, 3]: 3 is not 2
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(f32[..], f32[..]) -> f32[..]`
    my.domain.Op: the node has 2 operands, but the signature 1
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(f32[..]) -> f32[..]`
    my.domain.Op: operand 1 is missing
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(f32[..], f32[n]) -> f32[n]`
    my.domain.Op: `n` is the size of no axis that the node has
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(f32[..], f32[n]?) -> f32[n]`
    my.domain.Op: the node has 2 results, but the function 1
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(f32[..]) -> f32[..]`
    my.domain.Op: attribute `factor` of the node is none of the signature
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(f32[..]) -> f32[..]`
    my.domain.Op: attribute `factor` is missing
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(f32[..], factor: int) -> f32[..]`
    my.domain.Op: attribute `factor` is an integer, but the signature says `ints`
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(f32[..], factor: ints) -> f32[..]`
    my.domain.Op: the size floor(n, factor) divides by 0, which may not be positive
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(f32[n, k], factor: int) -> f32[floor(n, factor)]`
    my.domain.Op: the shape [-1] has the size -1
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(f32[n, k]) -> f32[n - k]`
    my.domain.Op: only squares can be unrolled
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(..)`
    my.domain.Op: the shape rule gives a size with the unknown name `rows`
      at `op_0` (#0)
      help: the signature of my.domain::Op is `(..)`
    ");
}

#[test]
fn advice_for_an_unknown_operator_is_that_of_the_road() {
    let mut build = build("(f32[n]) -> f32[n]", &["x: 4"], &["y"], &[]);
    build.operators.clear();
    let text = |front| {
        let options = Options {
            front,
            ..Options::default()
        };
        import(&build.model, &options).unwrap_err().to_string()
    };
    insta::assert_snapshot!(text(Front::Library), @r#"
    cannot compile model.onnx
      my.domain.Op: the operator is not supported
        at `op_0` (#0)
        help: register a function for it, such as `.operator("my.domain::Op = crate::op: (f32[n]) -> f32[n]".parse()?)`
    "#);
    insta::assert_snapshot!(text(Front::Macro), @r#"
    cannot compile model.onnx
      my.domain.Op: the operator is not supported
        at `op_0` (#0)
        help: register a function for it, such as `operators("my.domain::Op" => crate::op: (f32[n]) -> f32[n])`
    "#);
    insta::assert_snapshot!(text(Front::Command), @r"
    cannot compile model.onnx
      my.domain.Op: the operator is not supported
        at `op_0` (#0)
        help: register a function for it, such as `--operator 'my.domain::Op = crate::op: (f32[n]) -> f32[n]'`
    ");
}
