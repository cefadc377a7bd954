use super::*;

/// `count` numbers from -1 to 1 without a pattern.
fn noise(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + seed * 11) as f32 * 0.7).sin()).collect()
}

/// A layer of state size 3 over sequences of 2 features, weights included, whose result `output` is the model's.
fn layer(op: &str, steps: usize, lengths: Option<&[i64]>, output: usize, attributes: &[(&str, Attribute)]) -> Build {
    let gates = match op {
        "LSTM" => 4,
        "GRU" => 3,
        _ => 1,
    };
    let both = attributes.iter().any(|(name, _)| *name == "direction");
    let directions = if both { 2 } else { 1 };
    let weights =
        |name: &'static str, shape: &[usize], seed| (name, floats(shape, &noise(shape.iter().product(), seed)));
    let rows = gates * 3;
    let mut model = Build::new(22).input("x", &format!("{steps} 2 2"));
    for (name, tensor) in [
        weights("w", &[directions, rows, 2], 1),
        weights("r", &[directions, rows, 3], 2),
        weights("b", &[directions, 2 * rows], 3),
        weights("h", &[directions, 2, 3], 4),
    ] {
        model = model.constant(name, tensor);
    }
    if let Some(lengths) = lengths {
        model = model.constant("lengths", ints(&[2], lengths));
    }
    let length = lengths.map_or("", |_| "lengths");
    let names = ["y", "last", "memory"];
    model
        .node(
            op,
            &["x", "w", "r", "b", length, "h"],
            &names[..if op == "LSTM" { 3 } else { 2 }],
            attributes,
        )
        .output(names[output])
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 1e-6, "{a} for {b}");
    }
}

#[test]
fn loops_and_kernels_compute_the_same_layers() {
    let before = ("linear_before_reset", Attribute::Int(1));
    let both = ("direction", Attribute::String("bidirectional".into()));
    // A bound that nothing reaches makes a loop of a layer that would be one operation.
    let clip = ("clip", Attribute::Float(1e9));
    for (op, attributes) in [
        ("LSTM", vec![]),
        ("LSTM", vec![both.clone()]),
        ("GRU", vec![both]),
        ("GRU", vec![before]),
    ] {
        for output in 0..2 {
            let plain = layer(op, 4, None, output, &attributes).import(&[]).unwrap();
            let unusual: Vec<_> = attributes.iter().cloned().chain([clip.clone()]).collect();
            let looped = layer(op, 4, None, output, &unusual).import(&[]).unwrap();
            assert!(listing(&plain).contains("recurrent") && listing(&looped).contains("scan"));
            let x = noise(16, 5);
            let inputs: &[(&[usize], &[f32])] = &[(&[4, 2, 2], &x)];
            close(&run(&looped, inputs), &run(&plain, inputs));
        }
    }
}

#[test]
fn sequences_end_at_their_lengths() {
    let both = [("direction", Attribute::String("bidirectional".into()))];
    let x = noise(20, 5);
    for op in ["LSTM", "GRU", "RNN"] {
        // Both sequences have length 3, of 5 steps.
        let long = |output| layer(op, 5, Some(&[3, 3]), output, &both).import(&[]).unwrap();
        let short = |output| layer(op, 3, None, output, &both).import(&[]).unwrap();
        let (whole, part) = (
            run(&long(0), &[(&[5, 2, 2], &x)]),
            run(&short(0), &[(&[3, 2, 2], &x[..12])]),
        );
        close(&whole[..part.len()], &part);
        assert!(whole[part.len()..].iter().all(|&y| y == 0.0), "{whole:?}");
        close(
            &run(&long(1), &[(&[5, 2, 2], &x)]),
            &run(&short(1), &[(&[3, 2, 2], &x[..12])]),
        );
    }
}

#[test]
fn peepholes_clips_and_functions() {
    let one = |count: usize| floats(&[1, count], &vec![1.0; count]);
    let cube = |rows: usize| floats(&[1, rows, 1], &vec![1.0; rows]);
    let model = Build::new(22)
        .input("x", "1 1 1")
        .constant("w", cube(4))
        .constant("r", cube(4))
        .constant("h", floats(&[1, 1, 1], &[0.5]))
        .constant("c", floats(&[1, 1, 1], &[2.0]))
        .constant("p", one(3))
        .node(
            "LSTM",
            &["x", "w", "r", "", "", "h", "c", "p"],
            &["y"],
            &[
                ("clip", Attribute::Float(3.0)),
                ("input_forget", Attribute::Int(1)),
                (
                    "activations",
                    Attribute::Strings(vec!["HardSigmoid".into(), "affine".into(), "Relu".into()]),
                ),
                ("activation_alpha", Attribute::Floats(vec![0.1, 2.0])),
                ("activation_beta", Attribute::Floats(vec![0.5, 1.0])),
            ],
        )
        .output("y");
    // The gates are 1.5, those that see the memory 3.5, which is clipped to 3.
    let (input, candidate) = (0.1 * 3.0 + 0.5, 2.0 * 1.5 + 1.0);
    let memory: f64 = (1.0 - input) * 2.0 + input * candidate;
    let output = 0.1 * f64::min(1.5 + memory, 3.0) + 0.5;
    let y = run(&model.import(&[]).unwrap(), &[(&[1, 1, 1], &[1.0])]);
    close(&y, &[output * memory]);
}

#[test]
fn functions_that_no_cell_has_are_told() {
    let named = [("activations", Attribute::Strings(vec!["Sine".into()]))];
    insta::assert_snapshot!(layer("RNN", 4, None, 0, &named).error(&[]), @r"
    cannot compile model.onnx
      RNN: `activations` = Sine is not supported
        at `rnn_0` (#0)
    ");
}
