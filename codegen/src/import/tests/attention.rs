use super::*;
use crate::passes::optimize;

/// `count` numbers from -1 to 1 without a pattern.
fn noise(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + seed * 11) as f32 * 0.7).sin()).collect()
}

fn primitives(mut graph: Graph) -> Vec<&'static str> {
    optimize(&mut graph, &mut |_, _| {});
    graph.body.nodes.iter().map(|node| node.op.name()).collect()
}

fn four(k_heads: usize, attributes: &[(&str, Attribute)]) -> Build {
    Build::new(24)
        .input("q", "1 4 3 8")
        .input("k", &format!("1 {k_heads} 5 8"))
        .input("v", &format!("1 {k_heads} 5 6"))
        .input("mask", "3 5")
        .node("Attention", &["q", "k", "v", "mask"], &["y"], attributes)
        .output("y")
}

#[test]
fn usual_attention_becomes_one_operation() {
    let causal = [("is_causal", Attribute::Int(1))];
    for heads in [4, 2, 1] {
        let found = primitives(four(heads, &causal).import(&[]).unwrap());
        assert!(found.contains(&"attention") && !found.contains(&"softmax"), "{found:?}");
    }
    let mut attributes = causal.to_vec();
    attributes.push(("softcap", Attribute::Float(5.0)));
    let found = primitives(four(2, &attributes).import(&[]).unwrap());
    assert!(found.contains(&"softmax"), "{found:?}");
}

#[test]
fn queries_that_see_no_key_give_zero() {
    let graph = four(2, &[]).import(&[]).unwrap();
    let mut mask = [0.0; 15];
    mask[5..10].fill(f32::NEG_INFINITY);
    let (q, mut k, v) = (noise(96, 1), noise(80, 2), noise(60, 3));
    k[3] = f32::INFINITY;
    let y = run(
        &graph,
        &[
            (&[1, 4, 3, 8], &q),
            (&[1, 2, 5, 8], &k),
            (&[1, 2, 5, 6], &v),
            (&[3, 5], &mask),
        ],
    );
    for head in y.chunks(18) {
        assert!(head[6..12].iter().all(|&x| x == 0.0), "{head:?}");
    }
    assert!(y[36..42].iter().any(|&x| x != 0.0), "{y:?}");
}

#[test]
fn steps_with_a_cache_are_those_of_the_whole() {
    let attributes = [
        ("is_causal", Attribute::Int(1)),
        ("q_num_heads", Attribute::Int(4)),
        ("kv_num_heads", Attribute::Int(2)),
        ("left_window_size", Attribute::Int(2)),
        ("softcap", Attribute::Float(2.0)),
    ];
    let whole = Build::new(25)
        .input("q", "1 5 16")
        .input("k", "1 5 8")
        .input("v", "1 5 6")
        .node("Attention", &["q", "k", "v"], &["y"], &attributes)
        .output("y");
    let step = Build::new(25)
        .input("q", "1 1 16")
        .input("k", "1 1 8")
        .input("v", "1 1 6")
        .input("pk", "1 2 past 4")
        .input("pv", "1 2 past 3")
        .node("Attention", &["q", "k", "v", "", "pk", "pv"], &["y"], &attributes)
        .output("y");
    let (q, k, v) = (noise(80, 1), noise(40, 2), noise(30, 3));
    let expected = run(
        &whole.import(&[]).unwrap(),
        &[(&[1, 5, 16], &q), (&[1, 5, 8], &k), (&[1, 5, 6], &v)],
    );
    let step = step.import(&[("past", 1, 8)]).unwrap();
    for at in 1..5 {
        // Heads come before positions in a cache.
        let cache = |x: &[f32], size: usize| -> Vec<f32> {
            let of = |head: usize| (0..at).map(move |i| (i * 2 + head) * size);
            (0..2)
                .flat_map(of)
                .flat_map(|start| x[start..start + size].to_vec())
                .collect()
        };
        let y = run(
            &step,
            &[
                (&[1, 1, 16], &q[at * 16..][..16]),
                (&[1, 1, 8], &k[at * 8..][..8]),
                (&[1, 1, 6], &v[at * 6..][..6]),
                (&[1, 2, at, 4], &cache(&k, 4)),
                (&[1, 2, at, 3], &cache(&v, 3)),
            ],
        );
        for (a, b) in y.iter().zip(&expected[at * 12..]) {
            assert!(
                (a - b).abs() < 1e-6,
                "step {at}: {y:?} for {:?}",
                &expected[at * 12..][..12]
            );
        }
    }
}

#[test]
fn heads_that_do_not_fit_are_told() {
    let mut model = four(3, &[]);
    insta::assert_snapshot!(model.error(&[]), @r"
    cannot compile model.onnx
      Attention: 4 heads of queries do not share 3 heads of keys
        at `attention_0` (#0)
    ");
    model = Build::new(24)
        .input("x", "1 3 10")
        .node(
            "Attention",
            &["x", "x", "x"],
            &["y"],
            &[("q_num_heads", Attribute::Int(4)), ("kv_num_heads", Attribute::Int(4))],
        )
        .output("y");
    insta::assert_snapshot!(model.error(&[]), @r"
    cannot compile model.onnx
      Attention: 4 heads in a tensor of shape [1, 3, 10]
        at `attention_0` (#0)
    ");
}

#[test]
fn a_rotation_by_no_angle_changes_nothing() {
    for interleaved in [0, 1] {
        let model = Build::new(23)
            .input("x", "1 2 3 8")
            .input("cos", "1 3 3")
            .input("sin", "1 3 3")
            .node(
                "RotaryEmbedding",
                &["x", "cos", "sin"],
                &["y"],
                &[
                    ("interleaved", Attribute::Int(interleaved)),
                    ("rotary_embedding_dim", Attribute::Int(6)),
                ],
            )
            .output("y");
        let (x, graph) = (noise(48, 1), model.import(&[]).unwrap());
        let turned = |cos: f32, sin: f32| {
            run(
                &graph,
                &[(&[1, 2, 3, 8], &x), (&[1, 3, 3], &[cos; 9]), (&[1, 3, 3], &[sin; 9])],
            )
        };
        let same: Vec<_> = x.iter().map(|&x| f64::from(x)).collect();
        assert_eq!(turned(1.0, 0.0), same);
        // A quarter turn takes an element to the other one of its pair.
        let (quarter, other) = (turned(0.0, 1.0), if interleaved == 1 { 1 } else { 3 });
        assert_eq!(quarter[other], same[0]);
        assert_eq!(quarter[0], -same[other]);
        assert_eq!(quarter[6..8], same[6..8]);
    }
}

#[test]
fn the_delta_rule_replaces_what_a_key_stands_for() {
    // One head of size 2 over two steps with the same key: the second value replaces the first.
    let model = Build::new(27)
        .input("q", "1 2 2")
        .input("k", "1 2 2")
        .input("v", "1 2 2")
        .input("beta", "1 2 1")
        .node(
            "LinearAttention",
            &["q", "k", "v", "", "", "beta"],
            &["y", "state"],
            &[
                ("update_rule", Attribute::String("delta".into())),
                ("q_num_heads", Attribute::Int(1)),
                ("kv_num_heads", Attribute::Int(1)),
                ("scale", Attribute::Float(1.0)),
            ],
        )
        .output("y")
        .output("state");
    let key = [1.0, 0.0, 1.0, 0.0];
    let y = run(
        &model.import(&[]).unwrap(),
        &[
            (&[1, 2, 2], &key),
            (&[1, 2, 2], &key),
            (&[1, 2, 2], &[3.0, 4.0, 5.0, 6.0]),
            (&[1, 2, 1], &[1.0, 1.0]),
        ],
    );
    assert_eq!(y, [3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn a_causal_convolution_sees_the_past() {
    let model = Build::new(27)
        .input("x", "1 1 2")
        .constant("w", floats(&[1, 1, 3], &[100.0, 10.0, 1.0]))
        .input("past", "1 1 2")
        .node("CausalConvWithState", &["x", "w", "", "past"], &["y"], &[])
        .output("y");
    let y = run(
        &model.import(&[]).unwrap(),
        &[(&[1, 1, 2], &[3.0, 4.0]), (&[1, 1, 2], &[1.0, 2.0])],
    );
    assert_eq!(y, [123.0, 234.0]);
}
