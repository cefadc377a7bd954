//! Axes and sizes that only the run knows.

use super::*;
use crate::ir::Tensor as Values;
use crate::ir::eval::evaluate;

const INT64: ElementType = ElementType::Int64;

/// The shape and the elements of the first result.
fn result(graph: &Graph, inputs: &[Values]) -> (Vec<usize>, Vec<f64>) {
    let result = evaluate(graph, inputs).unwrap().swap_remove(0);
    let elements = match result.to_floats() {
        Some(floats) => floats,
        None => result
            .to_ints()
            .unwrap()
            .into_iter()
            .map(|value| value as f64)
            .collect(),
    };
    (result.shape.clone(), elements)
}

fn error(graph: &Graph, inputs: &[Values]) -> String {
    evaluate(graph, inputs).unwrap_err()
}

/// Zero, one and so on.
fn counted(shape: &[usize]) -> Values {
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|value| value as f32).collect();
    Values::new(shape.to_vec(), &values)
}

fn list(values: &[i64]) -> Values {
    Values::new(vec![values.len()], values)
}

#[test]
fn a_slice_starts_ends_and_steps_where_the_run_says() {
    let model = Build::new(13)
        .input("x", "4 5")
        .typed_input("starts", INT64, "1")
        .typed_input("ends", INT64, "1")
        .typed_input("axes", INT64, "1")
        .typed_input("steps", INT64, "1")
        .node("Slice", &["x", "starts", "ends", "axes", "steps"], &["y"], &[])
        .declared_output("y", "4 5");
    let graph = model.import(&[]).unwrap();
    let run = |slice: [i64; 4]| {
        let mut inputs = vec![counted(&[4, 5])];
        inputs.extend(slice.map(|value| list(&[value])));
        evaluate(&graph, &inputs).map(|results| (results[0].shape.clone(), results[0].to_floats().unwrap()))
    };
    assert_eq!(run([1, 2, 0, 1]).unwrap(), (vec![1, 5], vec![5.0, 6.0, 7.0, 8.0, 9.0]));
    // Backward from the end to before the first one; ends beyond the tensor are clamped.
    let (shape, elements) = run([-1, i64::MIN, 1, -2]).unwrap();
    assert_eq!((shape, &elements[..3]), (vec![4, 3], &[4.0, 2.0, 0.0][..]));
    assert_eq!(run([0, i64::MAX, -1, i64::MAX]).unwrap().0, [4, 1]);
    assert_eq!(run([3, 1, 0, 1]).unwrap(), (vec![0, 5], vec![]));
    assert_eq!(
        run([0, 1, 2, 1]).unwrap_err(),
        "assert (slice_0): axes are those of a tensor of rank 2, each at most once"
    );
    assert_eq!(run([0, 1, 0, 0]).unwrap_err(), "assert (slice_0): steps are not 0");
}

#[test]
fn padding_of_either_sign_follows_its_mode() {
    for (mode, front, back, expected) in [
        ("constant", 1, 2, vec![9.0, 0.0, 1.0, 2.0, 9.0, 9.0]),
        ("edge", 2, 1, vec![0.0, 0.0, 0.0, 1.0, 2.0, 2.0]),
        ("reflect", 3, 0, vec![1.0, 2.0, 1.0, 0.0, 1.0, 2.0]),
        ("wrap", 1, 2, vec![2.0, 0.0, 1.0, 2.0, 0.0, 1.0]),
        // What is cropped comes back in no mode.
        ("edge", -1, 2, vec![1.0, 2.0, 2.0, 2.0]),
        ("wrap", -1, 2, vec![1.0, 2.0, 1.0, 2.0]),
        ("constant", -2, -1, vec![]),
    ] {
        let model = Build::new(19)
            .input("x", "3")
            .typed_input("pads", INT64, "2")
            .constant("value", floats(&[], &[9.0]))
            .node(
                "Pad",
                &["x", "pads", "value"],
                &["y"],
                &[("mode", Attribute::String(mode.into()))],
            )
            .declared_output("y", "6");
        let graph = model.import(&[]).unwrap();
        let found = result(&graph, &[counted(&[3]), list(&[front, back])]);
        assert_eq!(found, (vec![expected.len()], expected), "{mode} {front} {back}");
        if mode == "edge" {
            // The declared size is the capacity.
            let found = error(&graph, &[counted(&[3]), list(&[2, 2])]);
            assert_eq!(found, "bind (pad_0): pad_0_1 is 7, not 0 to 6");
        }
    }
}

#[test]
fn a_reduction_keeps_the_axes_that_the_run_leaves() {
    let model = |keep: i64, shape: &str| {
        Build::new(18)
            .input("x", "2 3")
            .typed_input("axes", INT64, "1")
            .node(
                "ReduceLogSumExp",
                &["x", "axes"],
                &["y"],
                &[("keepdims", Attribute::Int(keep))],
            )
            .declared_output("y", shape)
    };
    let graph = model(1, "2 3").import(&[]).unwrap();
    let two = Values::new(
        vec![2, 3],
        &[0f32, f32::NEG_INFINITY, 1000.0, 0.0, f32::NEG_INFINITY, 1000.0],
    );
    let (shape, elements) = result(&graph, &[two.clone(), list(&[0])]);
    assert_eq!(shape, [1, 3]);
    assert!((elements[0] - 2f64.ln()).abs() < 1e-6 && elements[1] == f64::NEG_INFINITY);
    assert!((elements[2] - (1000.0 + 2f64.ln())).abs() < 1e-3);
    assert_eq!(result(&graph, &[two.clone(), list(&[-1])]).0, [2, 1]);

    let graph = model(0, "3").import(&[]).unwrap();
    assert_eq!(result(&graph, &[two.clone(), list(&[0])]).0, [3]);
    assert_eq!(result(&graph, &[two, list(&[1])]).0, [2]);
}

#[test]
fn axes_occur_once() {
    let model = Build::new(18)
        .input("x", "2 3")
        .typed_input("axes", INT64, "2")
        .node("ReduceProd", &["x", "axes"], &["y"], &[])
        .output("y");
    let graph = model.import(&[]).unwrap();
    assert_eq!(
        result(&graph, &[counted(&[2, 3]), list(&[-1, 0])]),
        (vec![1, 1], vec![0.0])
    );
    let found = error(&graph, &[counted(&[2, 3]), list(&[1, -1])]);
    assert_eq!(
        found,
        "assert (reduceprod_0): axes are those of a tensor of rank 2, each at most once"
    );
}

#[test]
fn axes_of_size_one_come_and_go() {
    let model = |op: &str, shape: &str, result: &str| {
        Build::new(13)
            .input("x", shape)
            .typed_input("axes", INT64, "2")
            .node(op, &["x", "axes"], &["y"], &[])
            .declared_output("y", result)
    };
    let graph = model("Unsqueeze", "2 3", "2 3 3 3").import(&[]).unwrap();
    assert_eq!(result(&graph, &[counted(&[2, 3]), list(&[-1, 0])]).0, [1, 2, 3, 1]);
    assert_eq!(result(&graph, &[counted(&[2, 3]), list(&[2, 1])]).0, [2, 1, 1, 3]);
    let graph = model("Squeeze", "1 3 1 1", "3 3").import(&[]).unwrap();
    assert_eq!(result(&graph, &[counted(&[1, 3, 1, 1]), list(&[0, 2])]).0, [3, 1]);
    let found = error(&graph, &[counted(&[1, 3, 1, 1]), list(&[1, 2])]);
    assert_eq!(found, "assert (squeeze_0): squeezed axes have size 1");
}

#[test]
fn running_products_go_along_an_axis_of_the_run() {
    let flags = [("exclusive", Attribute::Int(1)), ("reverse", Attribute::Int(1))];
    let model = Build::new(14)
        .input("x", "2 3")
        .typed_input("axis", INT64, "")
        .node("CumProd", &["x", "axis"], &["y"], &flags)
        .output("y");
    let graph = model.import(&[]).unwrap();
    let run = |axis: i64| result(&graph, &[counted(&[2, 3]), Values::scalar(axis)]).1;
    assert_eq!(run(1), [2.0, 2.0, 1.0, 20.0, 5.0, 1.0]);
    assert_eq!(run(-2), [3.0, 4.0, 5.0, 1.0, 1.0, 1.0]);
}

#[test]
fn ranges_count_down_and_may_be_empty() {
    let model = Build::new(11)
        .typed_input("start", INT64, "")
        .typed_input("limit", INT64, "")
        .typed_input("delta", INT64, "")
        .node("Range", &["start", "limit", "delta"], &["y"], &[])
        .declared_output("y", "4");
    let graph = model.import(&[]).unwrap();
    let of = |values: [i64; 3]| values.map(Values::scalar);
    assert_eq!(result(&graph, &of([7, 0, -2])), (vec![4], vec![7.0, 5.0, 3.0, 1.0]));
    assert_eq!(result(&graph, &of([3, 3, 1])).0, [0]);
    assert_eq!(
        error(&graph, &of([0, 5, 1])),
        "bind (range_0): range_0_1 is 5, not 0 to 4"
    );
    assert_eq!(
        error(&graph, &of([0, 5, 0])),
        "assert (range_0): the delta of a range is not 0"
    );
}

#[test]
fn elements_are_chosen_by_their_values() {
    let model = Build::new(13)
        .input("x", "2 3")
        .node("NonZero", &["x"], &["y"], &[])
        .output("y");
    let graph = model.import(&[]).unwrap();
    let x = Values::new(vec![2, 3], &[0f32, 2.0, 0.0, 3.0, 0.0, 1.0]);
    let expected = (vec![2, 3], vec![0.0, 1.0, 1.0, 1.0, 0.0, 2.0]);
    assert_eq!(result(&graph, std::slice::from_ref(&x)), expected);

    let model = Build::new(13)
        .input("x", "2 3")
        .typed_input("condition", ElementType::Bool, "2")
        .node("Compress", &["x", "condition"], &["y"], &[("axis", Attribute::Int(-1))])
        .output("y");
    let graph = model.import(&[]).unwrap();
    let choose = |condition: [bool; 2]| result(&graph, &[x.clone(), Values::new(vec![2], &condition)]);
    assert_eq!(choose([false, true]), (vec![2, 1], vec![2.0, 0.0]));
    assert_eq!(choose([false, false]).0, [2, 0]);

    let model = Build::new(13)
        .input("x", "2 3")
        .typed_input("k", INT64, "1")
        .node("TopK", &["x", "k"], &["values", "y"], &[("axis", Attribute::Int(0))])
        .output("y");
    let graph = model.import(&[]).unwrap();
    assert_eq!(
        result(&graph, &[x.clone(), list(&[1])]),
        (vec![1, 3], vec![1.0, 0.0, 1.0])
    );
    assert_eq!(
        error(&graph, &[x, list(&[3])]),
        "bind (topk_0): topk_0_1 is 3, not 0 to 2"
    );
}

#[test]
fn what_nothing_bounds_needs_a_bound() {
    let model = Build::new(9)
        .typed_input("shape", INT64, "?")
        .node("ConstantOfShape", &["shape"], &["y"], &[])
        .declared_output("y", "? ?");
    insta::assert_snapshot!(model.error(&[("shape_0", 2, 2)]), @r"
    cannot compile model.onnx
      ConstantOfShape: only a run knows size 0 of `y`, which nothing bounds
        at `constantofshape_0` (#0)
        help: give the dimension bounds: `y_0 <= 16`
    ");
    let model = Build::new(9)
        .typed_input("length", INT64, "")
        .typed_input("zero", INT64, "")
        .typed_input("one", INT64, "")
        .node("Range", &["zero", "length", "one"], &["y"], &[])
        .declared_output("y", "count");
    insta::assert_snapshot!(model.error(&[]), @r"
    cannot compile model.onnx
      Range: only a run knows size 0 of `y`, which nothing bounds
        at `range_0` (#0)
        help: give the dimension bounds: `count <= 16`
    ");
    assert!(model.import(&[("count", 0, 16)]).is_ok());
}

#[test]
fn a_new_shape_has_no_more_elements_than_the_old_one() {
    let model = Build::new(14)
        .input("x", "4 4 4 4 4 4 4 4")
        .typed_input("shape", INT64, "4")
        .node("Reshape", &["x", "shape"], &["y"], &[])
        .node("Neg", &["y"], &["z"], &[])
        .output("z");
    let graph = model.import(&[]).unwrap();
    let shape = graph.ty(graph.body.results[0]).shape.clone();
    assert_eq!(graph.most_elements(&shape), 1 << 16);
}

#[test]
fn a_new_shape_keeps_the_sizes_that_are_known() {
    let model = Build::new(14)
        .input("x", "4 3")
        .typed_input("rows", INT64, "1")
        .constant("three", ints(&[1], &[3]))
        .node("Concat", &["rows", "three"], &["shape"], &[("axis", Attribute::Int(0))])
        .node("Reshape", &["x", "shape"], &["y"], &[])
        .output("y");
    let graph = model.import(&[]).unwrap();
    assert!(graph.ty(graph.body.results[0]).shape[1].is(3));
    assert_eq!(result(&graph, &[counted(&[4, 3]), list(&[-1])]).0, [4, 3]);
}
