use super::*;

#[test]
fn views() {
    let x = counting(&[2, 3, 2]);
    check(
        Op::Transpose {
            permutation: vec![2, 0, 1],
        },
        &[&x],
        &[2, 2, 3],
        &[0., 2., 4., 6., 8., 10., 1., 3., 5., 7., 9., 11.],
    );
    check(
        Op::Reshape { shape: dims(&[4, 3]) },
        &[&x],
        &[4, 3],
        &(0..12).map(|i| i as f32).collect::<Vec<_>>(),
    );
    let slice = |starts: &[i64], steps: &[i64], shape: &[i64]| Op::Slice {
        starts: dims(starts),
        steps: steps.to_vec(),
        shape: dims(shape),
    };
    check(
        slice(&[1, 2, 0], &[1, -1, 1], &[1, 3, 2]),
        &[&x],
        &[1, 3, 2],
        &[10., 11., 8., 9., 6., 7.],
    );
    check(
        slice(&[0, 0, 1], &[1, 2, 1], &[2, 2, 1]),
        &[&x],
        &[2, 2, 1],
        &[1., 5., 7., 11.],
    );
    check(slice(&[7, 0, 0], &[1, 1, 1], &[0, 3, 2]), &[&x], &[0, 3, 2], &[]);
    assert!(eval(&slice(&[0, 1, 0], &[1, 1, 1], &[2, 3, 2]), &[&x]).is_err());
    check(
        Op::Broadcast {
            shape: dims(&[2, 2, 3]),
        },
        &[&f32s(&[2, 1], &[1., 2.])],
        &[2, 2, 3],
        &[1., 1., 1., 2., 2., 2., 1., 1., 1., 2., 2., 2.],
    );
    check(
        Op::Concat { axis: 1 },
        &[&counting(&[2, 2]), &f32s(&[2, 1], &[8., 9.])],
        &[2, 3],
        &[0., 1., 8., 2., 3., 9.],
    );
}

#[test]
fn padding() {
    let pad = |mode, before: &[i64], after: &[i64]| Op::Pad {
        mode,
        before: dims(before),
        after: dims(after),
    };
    let value = f32s(&[], &[9.]);
    let x = counting(&[2, 2]);
    check(
        pad(PadMode::Constant, &[1, 0], &[0, 1]),
        &[&x, &value],
        &[3, 3],
        &[9., 9., 9., 0., 1., 9., 2., 3., 9.],
    );
    check(
        pad(PadMode::Constant, &[1, 0], &[0, 0]),
        &[&x, &value],
        &[3, 2],
        &[9., 9., 0., 1., 2., 3.],
    );
    check(
        pad(PadMode::Constant, &[-1, 1], &[0, 0]),
        &[&x, &value],
        &[1, 3],
        &[9., 2., 3.],
    );
    let line = counting(&[3]);
    check(
        pad(PadMode::Reflect, &[3], &[3]),
        &[&line],
        &[9],
        &[1., 2., 1., 0., 1., 2., 1., 0., 1.],
    );
    check(
        pad(PadMode::Edge, &[2], &[1]),
        &[&line],
        &[6],
        &[0., 0., 0., 1., 2., 2.],
    );
    check(
        pad(PadMode::Wrap, &[2], &[4]),
        &[&line],
        &[9],
        &[1., 2., 0., 1., 2., 0., 1., 2., 0.],
    );
    check(
        pad(PadMode::Constant, &[1], &[1]),
        &[&f32s(&[0], &[]), &value],
        &[2],
        &[9., 9.],
    );
    assert!(eval(&pad(PadMode::Edge, &[1], &[0]), &[&f32s(&[0], &[])]).is_err());
}

#[test]
fn gathers() {
    let x = counting(&[3, 2]);
    let indices = Tensor::new(vec![2, 1], &[-1i64, 0]);
    check(Op::Gather { axis: 0 }, &[&x, &indices], &[2, 1, 2], &[4., 5., 0., 1.]);
    check(
        Op::Gather { axis: 1 },
        &[&x, &indices],
        &[3, 2, 1],
        &[1., 0., 3., 2., 5., 4.],
    );
    check(Op::GatherElements { axis: 1 }, &[&x, &indices], &[2, 1], &[1., 2.]);
    let outside = Tensor::new(vec![1], &[3i64]);
    assert_eq!(
        eval(&Op::Gather { axis: 0 }, &[&x, &outside]).unwrap_err(),
        "index 3 of an axis of size 3"
    );
}

#[test]
fn movement_of_dimensions() {
    let s = Dim::symbol("s");
    let shape = [Dim::from(2i64), s.clone()];
    let (found, elements) = movement(&Op::Gather { axis: 0 }, &[&[2], &[1]], &[&shape, &[]], &[1]).unwrap();
    assert_eq!((found, elements), (vec![1], vec![s.clone()]));
    let (found, elements) = movement(&Op::Concat { axis: 0 }, &[&[2], &[2]], &[&shape, &shape], &[]).unwrap();
    assert_eq!(found, [4]);
    assert_eq!(elements[3], s);
    let symbolic = Op::Reshape { shape: vec![s] };
    assert_eq!(movement(&symbolic, &[&[2]], &[&shape], &[]), None);
    assert_eq!(movement(&Op::Concat { axis: 0 }, &[&[3]], &[&shape], &[]), None);
}
