//! What measurements decide instead of the cost model.

use super::images::{conv, square_conv};
use super::*;
use crate::plan::kernel::ConvKind;
use crate::plan::{Choice, Tuning};
use onnxide_runtime::linear::{WinogradConv2dNhwc, WinogradTile, winograd_conv2d_nhwc_scratch_min};

const F2: Choice = Choice::Winograd(WinogradTile::F2);
const F4: Choice = Choice::Winograd(WinogradTile::F4);

/// A plan of one result with this choice for every node.
fn tuned(mut b: Builder, result: ValueId, every: Choice, options: PlanOptions) -> Plan {
    b.0.outputs.push(Port::tensor("y"));
    b.0.body.results.push(result);
    let tuning = Tuning {
        every: Some(every),
        ..Tuning::default()
    };
    let plan = Plan::with(&b.0, &PlanOptions { tuning, ..options }).unwrap();
    check_lives(&plan);
    plan
}

fn image(rows: i64, channels: usize) -> (Builder, ValueId) {
    let mut b = Builder::new();
    let x = b.input("x", &dims(&[1, channels as i64, rows, rows]));
    (b, x)
}

#[test]
fn algorithms_are_chosen_where_they_apply_and_are_allowed() {
    let kinds = |every: Choice, options: PlanOptions| {
        let (mut b, x) = image(16, 64);
        let square = square_conv(&mut b, x, 64);
        let wide = conv(&mut b, square, [64, 64], 5, 1);
        let plan = tuned(b, wide, every, options);
        let kinds = plan.steps.iter().filter_map(|step| match &step.kernel {
            Kernel::Conv(conv) => Some(conv.kind),
            _ => None,
        });
        (kinds.collect::<Vec<_>>(), plan.decisions)
    };
    for (every, kind) in [
        (Choice::Direct, ConvKind::Direct),
        (F2, ConvKind::Winograd(WinogradTile::F2)),
        (F4, ConvKind::Winograd(WinogradTile::F4)),
    ] {
        let (kinds, decisions) = kinds(every, PlanOptions::default());
        assert_eq!(kinds, [kind, ConvKind::Direct]);
        let [decision] = decisions.as_slice() else {
            panic!("{decisions:?}");
        };
        assert_eq!(decision.chosen, every);
        assert_eq!(decision.others.len(), 2);
        assert!(!decision.others.contains(&every));
    }
    let forbidden = PlanOptions {
        winograd: false,
        ..PlanOptions::default()
    };
    let (kinds, decisions) = kinds(F4, forbidden);
    assert_eq!(kinds, [ConvKind::Direct, ConvKind::Direct]);
    assert!(decisions.is_empty());
}

#[test]
fn depthwise_convolutions_are_streamed_or_not() {
    let blocks = |rows: i64, every: Choice, ram: Option<usize>| {
        let (mut b, x) = image(rows, 32);
        let first = conv(&mut b, x, [32, 32], 1, 1);
        let expanded = conv(&mut b, first, [32, 96], 1, 1);
        let filtered = conv(&mut b, expanded, [96, 96], 3, 96);
        let projected = conv(&mut b, filtered, [96, 32], 1, 1);
        let plan = tuned(
            b,
            projected,
            every,
            PlanOptions {
                ram,
                ..PlanOptions::default()
            },
        );
        let is_block = |step: &&Step| matches!(step.kernel, Kernel::DepthwiseBlock(_));
        (plan.steps.iter().filter(is_block).count(), plan.decisions)
    };
    for rows in [8, 64] {
        assert_eq!(blocks(rows, Choice::Streamed, None).0, 1);
        let (count, decisions) = blocks(rows, Choice::Apart, None);
        assert_eq!(count, 0);
        assert_eq!(
            (decisions[0].chosen, &decisions[0].others),
            (Choice::Apart, &vec![Choice::Streamed])
        );
    }
    // Memory is bounded, whatever was measured.
    assert_eq!(blocks(64, Choice::Apart, Some(1_200_000)).0, 1);
}

#[test]
fn steps_have_the_number_of_threads_that_was_measured() {
    let parts = |every: Choice| {
        let (mut b, x) = image(32, 64);
        let y = conv(&mut b, x, [64, 64], 5, 1);
        let options = PlanOptions {
            threads: 4,
            ..PlanOptions::default()
        };
        let plan = tuned(b, y, every, options);
        let step = plan
            .steps
            .iter()
            .position(|step| matches!(step.kernel, Kernel::Conv(_)));
        (plan.steps[step.unwrap()].parts.as_const(), plan.decisions)
    };
    assert_eq!(parts(Choice::Threads(1)).0, Some(1));
    assert_eq!(parts(Choice::Threads(3)).0, Some(3));
    assert_eq!(parts(Choice::Threads(9)).0, Some(4));
    let (count, decisions) = parts(Choice::Direct);
    assert_eq!(count, Some(4));
    let last = decisions.last().unwrap();
    assert_eq!(
        (last.chosen, &last.others),
        (Choice::Threads(4), &vec![Choice::Threads(1)])
    );
}

#[test]
fn equal_steps_with_other_parts_have_their_own_memory() {
    let (mut b, x) = image(32, 64);
    let first = square_conv(&mut b, x, 64);
    let second = square_conv(&mut b, first, 64);
    b.0.outputs.push(Port::tensor("y"));
    b.0.body.results.push(second);
    let mut tuning = Tuning::default();
    let name =
        b.0.body
            .nodes
            .iter()
            .find(|node| node.outputs[0] == first)
            .unwrap()
            .origin[0]
            .clone();
    tuning.choose(&name, Choice::Threads(2));
    let options = PlanOptions {
        threads: 4,
        tuning,
        ..PlanOptions::default()
    };
    let plan = Plan::with(&b.0, &options).unwrap();
    let convs: Vec<&Step> = plan
        .steps
        .iter()
        .filter(|step| matches!(step.kernel, Kernel::Conv(_)))
        .collect();
    let parts: Vec<_> = convs.iter().map(|step| step.parts.as_const().unwrap()).collect();
    assert_eq!(parts, [2, 4]);
    assert_ne!(convs[0].function, convs[1].function);
    for step in convs {
        let (Kernel::Conv(conv), Some(scratch)) = (&step.kernel, &step.scratch) else {
            panic!("{plan}");
        };
        let (ConvKind::Winograd(tile), Base::Buffer(id)) = (conv.kind, scratch.base) else {
            panic!("{plan}");
        };
        let problem = conv.problem(&plan.bounds());
        let least = winograd_conv2d_nhwc_scratch_min(&WinogradConv2dNhwc { problem, tile });
        assert!(
            plan.buffers[id.0].capacity >= least * step.parts.as_const().unwrap() as usize,
            "{plan}"
        );
    }
}

#[test]
fn a_small_step_has_the_number_of_threads_that_was_measured() {
    let parts = |threads: usize| {
        let (mut b, x) = image(6, 8);
        let y = square_conv(&mut b, x, 8);
        b.0.outputs.push(Port::tensor("y"));
        b.0.body.results.push(y);
        let mut tuning = Tuning::default();
        let node = b.0.body.nodes.iter().find(|node| node.outputs[0] == y);
        tuning.choose(&node.unwrap().origin[0], Choice::Threads(threads));
        let options = PlanOptions {
            threads: 8,
            tuning,
            ..PlanOptions::default()
        };
        let plan = Plan::with(&b.0, &options).unwrap();
        let conv = plan.steps.iter().find(|step| matches!(step.kernel, Kernel::Conv(_)));
        conv.unwrap().parts.as_const()
    };
    assert_eq!(parts(1), Some(1));
    assert_eq!(parts(8), Some(8));
}
