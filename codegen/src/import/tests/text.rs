//! Tensors of strings and operators of `ai.onnx.ml`.

use super::*;
use crate::ir::Part;

fn strings(values: &[&str]) -> Tensor {
    let values = values.iter().map(|text| text.as_bytes().to_vec().into());
    Tensor {
        element: ElementType::String,
        shape: vec![values.len()],
        data: TensorData::Strings(values.collect()),
    }
}

/// The strings that a graph without inputs gives.
fn texts(graph: &Graph) -> Vec<String> {
    let result = ir::eval::evaluate(graph, &[]).unwrap().swap_remove(0);
    let width = result.shape[result.shape.len() - 1];
    let text = |row: &[u8]| {
        String::from_utf8(row.to_vec())
            .unwrap()
            .trim_end_matches('\0')
            .to_owned()
    };
    result.data.chunks(width).map(text).collect()
}

/// Makes the last node one of `ai.onnx.ml`.
fn ml(mut build: Build) -> Build {
    build.model.opsets.insert("ai.onnx.ml".into(), 3);
    build.model.graph.nodes.last_mut().unwrap().domain = "ai.onnx.ml".into();
    build
}

fn list(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

fn words(values: &[&str]) -> Attribute {
    Attribute::Strings(values.iter().map(|text| text.as_bytes().to_vec().into()).collect())
}

#[test]
fn strings_move_like_numbers() {
    let graph = Build::new(17)
        .constant("a", strings(&["one", "two", "three"]))
        .constant("b", strings(&["größe", ""]))
        .constant("places", ints(&[2, 1], &[4, 0]))
        .node("Concat", &["b", "a"], &["all"], &[("axis", Attribute::Int(0))])
        .node("Gather", &["all", "places"], &["chosen"], &[])
        .node("Transpose", &["chosen"], &["turned"], &[])
        .output("turned")
        .import(&[])
        .unwrap();
    assert_eq!(graph.outputs[0].part, Part::Text);
    assert_eq!(texts(&graph), ["three", "größe"]);
    assert_eq!(graph.ty(graph.body.results[0]).to_string(), "u8[1, 2, 7]");
}

#[test]
fn an_input_has_room_for_the_bytes_that_it_is_given() {
    let model = |dims: &[(&str, i64, i64)]| {
        Build::new(17)
            .typed_input("x", ElementType::String, "rows 2")
            .node("Identity", &["x"], &["y"], &[])
            .output("y")
            .import(dims)
    };
    let ty = |graph: &Graph| graph.ty(graph.body.params[0]).to_string();
    assert_eq!(ty(&model(&[("rows", 1, 3)]).unwrap()), "u8[rows, 2, 64]");
    assert_eq!(
        ty(&model(&[("rows", 1, 3), ("x_bytes", 1, 9)]).unwrap()),
        "u8[rows, 2, 9]"
    );
    insta::assert_snapshot!(model(&[("rows", 1, 3), ("y_bytes", 1, 9)]).unwrap_err().to_string(), @r"
    cannot compile model.onnx
      the model has no dynamic dimension `y_bytes`; it has `rows`, `x_bytes`
    ");
}

#[test]
fn numbers_of_strings_are_seen_by_no_other_operator() {
    let model = Build::new(17)
        .typed_input("x", ElementType::String, "2")
        .node("Add", &["x", "x"], &["y"], &[])
        .output("y");
    insta::assert_snapshot!(model.error(&[]), @r"
    cannot compile model.onnx
      Add: `x` is a tensor of strings, which the operator does not take
        at `add_0` (#0)
    ");
    let model = Build::new(17)
        .typed_input("c", ElementType::Bool, "")
        .typed_input("x", ElementType::String, "2");
    let branch = |input: &str| {
        let graph = ModelGraph {
            nodes: vec![node("Identity", &[input], &["inner"], &[])],
            outputs: vec![ValueInfo {
                name: "inner".into(),
                ty: None,
            }],
            ..ModelGraph::default()
        };
        Attribute::Graph(Box::new(graph))
    };
    let branches = [("then_branch", branch("x")), ("else_branch", branch("x"))];
    let model = model.node("If", &["c"], &["y"], &branches).output("y");
    let error = model.error(&[]);
    assert!(
        error.contains("strings in sequences, branches and loops are not supported"),
        "{error}"
    );
}

#[test]
fn strings_that_cannot_be_stored_are_told() {
    let error = Build::new(17).constant("x", strings(&["a\0b"])).output("x").error(&[]);
    assert!(
        error.contains("initializer `x`: a string contains a zero byte"),
        "{error}"
    );
}

#[test]
fn patterns_that_are_none_are_told() {
    let model = Build::new(20)
        .typed_input("x", ElementType::String, "2")
        .node(
            "RegexFullMatch",
            &["x"],
            &["y"],
            &[("pattern", Attribute::String("(a".into()))],
        )
        .output("y");
    let error = model.error(&[]);
    assert!(
        error.contains("the pattern `(a` is not supported") && error.contains("unclosed group"),
        "{error}"
    );
}

/// One tree over one feature with the nodes that both branches lead to.
fn tree(yes: i64, no: i64) -> Build {
    let attributes = [
        ("nodes_treeids", list(&[0, 0])),
        ("nodes_nodeids", list(&[0, 1])),
        ("nodes_featureids", list(&[0, 0])),
        ("nodes_modes", words(&["BRANCH_LEQ", "LEAF"])),
        ("nodes_values", Attribute::Floats(vec![0.5, 0.0])),
        ("nodes_truenodeids", list(&[yes, 0])),
        ("nodes_falsenodeids", list(&[no, 0])),
        ("target_treeids", list(&[0])),
        ("target_nodeids", list(&[1])),
        ("target_ids", list(&[0])),
        ("target_weights", Attribute::Floats(vec![2.0])),
    ];
    let build = Build::new(17).input("x", "2 1");
    ml(build.node("TreeEnsembleRegressor", &["x"], &["y"], &attributes)).output("y")
}

#[test]
fn trees_lead_to_leaves() {
    let graph = tree(1, 1).import(&[]).unwrap();
    assert_eq!(run(&graph, &[(&[2, 1], &[0.0, 1.0])]), [2.0, 2.0]);
    let error = tree(1, 0).error(&[]);
    assert!(error.contains("a tree leads back to a node above"), "{error}");
    let error = tree(1, 5).error(&[]);
    assert!(error.contains("tree 0 has no node 5"), "{error}");
}

#[test]
fn maps_are_tensors() {
    let zip = |labels: &[i64]| {
        let build = Build::new(17).input("x", "2 3");
        ml(build.node("ZipMap", &["x"], &["y"], &[("classlabels_int64s", list(labels))])).output("y")
    };
    let graph = zip(&[4, 5, 6]).import(&[]).unwrap();
    assert_eq!(graph.ty(graph.body.results[0]).to_string(), "f32[2, 3]");
    let error = zip(&[4, 5]).error(&[]);
    assert!(
        error.contains("the labels and the columns of the scores: 3 is not 2"),
        "{error}"
    );
    let build = Build::new(17).input("x", "3");
    let error = ml(build.node("DictVectorizer", &["x"], &["y"], &[]))
        .output("y")
        .error(&[]);
    assert!(
        error.contains("give the model a tensor in the place of the map"),
        "{error}"
    );
}

#[test]
fn what_is_no_category_ends_the_run() {
    let build = Build::new(17).typed_input("x", ElementType::Int64, "2");
    let attributes = [("cats_int64s", list(&[3, 8])), ("zeros", Attribute::Int(0))];
    let model = ml(build.node("OneHotEncoder", &["x"], &["y"], &attributes)).output("y");
    let graph = model.import(&[]).unwrap();
    let run = |values: [i64; 2]| ir::eval::evaluate(&graph, &[ir::Tensor::new(vec![2], &values)]);
    assert_eq!(run([8, 3]).unwrap()[0].to_floats().unwrap(), [0.0, 1.0, 1.0, 0.0]);
    assert!(
        run([8, 4])
            .unwrap_err()
            .contains("every element is one of the categories")
    );
}
