//! Convolutions of integers: results that take over places, and images that never exist as a whole.

use super::*;
use crate::ir::parse::parse;
use crate::plan::kernel::{ConvKind, Streamed};

const BYTES: &str = "u8(round(mul(f32(x0), 0.01:f32)))";
const PADS: &str = "pads_before = [1, 1], pads_after = [1, 1]";

fn planned(nodes: &str, result: &str, options: &PlanOptions) -> Plan {
    let text = format!(
        "graph \"test\" {{\n  input \"x\" %0: u8[1, 3, 24, 16]\n  %1: i8[16, 3, 3, 3] = constant random(1)\n  \
         %2: i8[16, 16, 3, 3] = constant random(2)\n  %3: i8[16, 16, 1, 1] = constant random(3)\n  \
         %4: u8[1, 16, 24, 16] = conv(kernel = [3, 3], {PADS}) epilogue {{ {BYTES} }} %0, %1 from \"first\"\n{nodes}\n  \
         output \"y\" {result}\n}}\n"
    );
    let graph = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let plan = Plan::with(&graph, options).unwrap();
    check_lives(&plan);
    plan
}

fn streamed(plan: &Plan) -> Vec<&Streamed> {
    let chains = plan.steps.iter().filter_map(|step| match &step.kernel {
        Kernel::Streamed(streamed) => Some(streamed),
        _ => None,
    });
    chains.collect()
}

#[test]
fn a_result_takes_over_the_place_of_what_its_epilogue_reads_last() {
    let residual = |middle: &str, operands: &str, ty: &str, result: &str| {
        let nodes = format!(
            "  %5: u8[1, 16, 24, 16] = conv(kernel = [3, 3], {PADS}) epilogue {{ {BYTES} }} {middle}, %2 from \"middle\"\n  \
             %6: {ty}[1, 16, 24, 16] = conv(kernel = [3, 3], {PADS}) epilogue {{ {ty}(add(f32(x0), f32(x1))) }} \
             {operands} from \"residual\"\n  %7: f32[1, 16, 24, 16] = elementwise {{ add(f32(x0), f32(x1)) }} %6, {result} \
             from \"read\""
        );
        let plan = planned(&nodes, "%7", &PlanOptions::default());
        let kernels = plan.steps.iter().map(|step| step.kernel.to_string());
        kernels
            .filter(|kernel| kernel.contains("in place") && kernel.contains("conv"))
            .count()
    };
    assert_eq!(residual("%4", "%5, %2, %4", "u8", "%6"), 1);
    // The value is the image of the convolution as well, is read later, or has elements of another size.
    assert_eq!(residual("%4", "%5, %2, %5", "u8", "%6"), 0);
    assert_eq!(residual("%4", "%5, %2, %4", "u8", "%4"), 0);
    assert_eq!(residual("%4", "%5, %2, %4", "f32", "%6"), 0);
}

fn sum(threads: usize, ram: Option<usize>) -> Plan {
    let nodes = format!(
        "  %5: i32[1, 16, 24, 16] = conv(kernel = [3, 3], {PADS}) %4, %2 from \"left\"\n  \
         %6: u8[1, 16, 24, 16] = conv(kernel = [1, 1]) epilogue {{ u8(round(mul(f32(add(x0, x1)), 0.01:f32))) }} %4, %3, %5 \
         from \"right\""
    );
    let options = PlanOptions {
        threads,
        ram,
        ..PlanOptions::default()
    };
    planned(&nodes, "%6", &options)
}

#[test]
fn sums_that_become_bytes_are_no_image() {
    let bytes = 16 * 24 * 16;
    let plan = sum(1, None);
    let [chain] = streamed(&plan)[..] else {
        panic!("{plan}");
    };
    let rows = chain.rows;
    assert!(rows > 1 && rows < 24 && chain.height() == 24, "{plan}");
    assert_eq!(plan.steps[1].origin, ["left", "right"]);
    // Less than the images on both sides and the sums of all rows.
    assert!(plan.certificate.arena_bytes < 2 * bytes + 4 * bytes, "{plan}");
    let limit = plan.certificate.arena_bytes - 1024;
    let plan = sum(1, Some(limit));
    assert!(plan.certificate.arena_bytes <= limit, "{plan}");
    assert!(streamed(&plan)[0].rows < rows, "{plan}");
}

#[test]
fn threads_have_equal_shares_of_bands() {
    for threads in [1, 2, 3, 4, 5, 24, 30] {
        let plan = sum(1, None);
        let chain = streamed(&plan)[0];
        for room in [0, 500, 2000, 5000, usize::MAX] {
            let rows = chain.rows_within(threads, room);
            let share = (24 / rows).div_ceil(threads) * rows;
            assert_eq!((24 % rows, share), (0, 24usize.div_ceil(threads)), "{threads} {room}");
            let used = chain.scratch_within(threads, room.max(chain.scratch_min()));
            assert_eq!(
                chain.rows_within(threads, used),
                chain.rows_within(threads, room.max(used))
            );
        }
    }
}

#[test]
fn a_convolution_waits_for_the_one_that_adds_it() {
    let nodes = |reader: &str| {
        format!(
            "  %5: i32[1, 16, 24, 16] = conv(kernel = [1, 1]) %4, %3 from \"left\"\n  \
             %6: u8[1, 16, 24, 16] = conv(kernel = [3, 3], {PADS}) epilogue {{ {BYTES} }} %4, %2 from \"between\"\n  \
             %7: u8[1, 16, 24, 16] = conv(kernel = [3, 3], {PADS}) epilogue {{ u8(round(mul(f32(add(x0, x1)), \
             0.01:f32))) }} {reader}, %2, %5 from \"right\""
        )
    };
    let plan = planned(&nodes("%6"), "%7", &PlanOptions::default());
    let origins: Vec<&[String]> = plan.steps.iter().map(|step| step.origin.as_slice()).collect();
    assert_eq!(origins[1], ["between"], "{plan}");
    assert_eq!(origins[2], ["left", "right"], "{plan}");
}

#[test]
fn a_bound_makes_chains_of_convolutions() {
    // A depthwise convolution with a stride between pointwise ones, the first of which makes a large image.
    let nodes = format!(
        "  %5: i8[64, 16, 1, 1] = constant random(4)\n  %6: i8[64, 1, 3, 3] = constant random(5)\n  \
         %7: i8[16, 64, 1, 1] = constant random(6)\n  \
         %8: u8[1, 64, 24, 16] = conv(kernel = [1, 1]) epilogue {{ {BYTES} }} %4, %5 from \"expand\"\n  \
         %9: u8[1, 64, 12, 8] = conv(kernel = [3, 3], strides = [2, 2], {PADS}, groups = 64) epilogue {{ {BYTES} }} %8, \
         %6 from \"filter\"\n  %10: u8[1, 16, 12, 8] = conv(kernel = [1, 1]) epilogue {{ {BYTES} }} %9, %7 from \
         \"project\""
    );
    let with_ram = |ram: Option<usize>, threads: usize| {
        let options = PlanOptions {
            ram,
            threads,
            ..PlanOptions::default()
        };
        planned(&nodes, "%10", &options)
    };
    let large = 64 * 24 * 16;
    let fast = with_ram(None, 1);
    assert!(
        fast.certificate.arena_bytes > large && streamed(&fast).is_empty(),
        "{fast}"
    );
    for threads in [1, 2] {
        let limit = large / 2;
        let plan = with_ram(Some(limit), threads);
        assert!(plan.certificate.arena_bytes <= limit, "{plan}");
        let chain = streamed(&plan)[0];
        // A row of the result sees three rows of the large image.
        let sees = chain.bands(1);
        let expands = chain.members.iter().position(|member| member.image == [24, 16, 64]);
        assert_eq!(sees[expands.unwrap()], 3, "{plan}");
        assert_eq!(12 % chain.rows, 0, "{plan}");
    }
    // With room for them, no rows are computed twice.
    let roomy = with_ram(Some(fast.certificate.arena_bytes), 1);
    assert!(streamed(&roomy).is_empty(), "{roomy}");
}

#[test]
fn an_image_that_is_seen_with_other_rows_ends_a_chain() {
    let nodes = format!(
        "  %5: u8[1, 16, 24, 16] = conv(kernel = [1, 1]) epilogue {{ {BYTES} }} %4, %3 from \"pointwise\"\n  \
         %6: u8[1, 24, 16, 16] = transpose(permutation = [0, 2, 3, 1]) %5\n  \
         %10: u8[1, 384, 16] = reshape(shape = [1, 384, 16]) %6\n  \
         %11: u8[1, 32, 12, 16] = reshape(shape = [1, 32, 12, 16]) %10\n  \
         %12: u8[1, 16, 32, 12] = transpose(permutation = [0, 3, 1, 2]) %11\n  \
         %13: u8[1, 16, 32, 12] = conv(kernel = [3, 3], {PADS}) epilogue {{ {BYTES} }} %12, %2 from \"seen otherwise\""
    );
    let options = PlanOptions {
        ram: Some(16 * 24 * 16 * 2 + 256),
        ..PlanOptions::default()
    };
    let plan = planned(&nodes, "%13", &options);
    for chain in streamed(&plan) {
        let planes: Vec<[usize; 3]> = chain.members.iter().map(|member| member.image).collect();
        assert!(planes.iter().all(|image| *image == planes[0]), "{plan}");
    }
}

/// The image of the last convolution cannot be a strip, because its result takes over that of the first.
#[test]
fn a_bound_leaves_integers_what_they_are() {
    let text = format!(
        "graph \"test\" {{\n  input \"x\" %0: u8[1, 16, 24, 16]\n  %1: i8[16, 16, 3, 3] = constant random(1)\n  \
         %2: u8[1, 16, 24, 16] = conv(kernel = [3, 3], {PADS}) epilogue {{ {BYTES} }} %0, %1 from \"first\"\n  \
         %3: u8[1, 16, 24, 16] = conv(kernel = [3, 3], {PADS}) epilogue {{ {BYTES} }} %2, %1 from \"second\"\n  \
         %4: u8[1, 16, 24, 16] = conv(kernel = [3, 3], {PADS}) epilogue {{ u8(add(f32(x0), f32(x1))) }} %3, %1, %2 \
         from \"third\"\n  output \"y\" %4\n}}\n"
    );
    let graph = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    for ram in (11 << 10..14 << 10).step_by(64) {
        let options = PlanOptions {
            ram: Some(ram),
            ..PlanOptions::default()
        };
        let Ok(plan) = Plan::with(&graph, &options) else {
            assert!(ram < 13 << 10, "there is room for {ram} bytes");
            continue;
        };
        check_lives(&plan);
        let kernels: Vec<String> = plan.steps.iter().map(|step| step.kernel.to_string()).collect();
        let is_integer = |step: &Step| match &step.kernel {
            Kernel::Conv(conv) => matches!(conv.kind, ConvKind::Int8(_)),
            _ => true,
        };
        assert!(plan.steps.iter().all(is_integer), "{ram}: {kernels:?}");
    }
}
