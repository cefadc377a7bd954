//! Steps of images.

use super::*;
use crate::ir::op::{NearestRounding, PoolKind, ResizeCoordinates, ResizeMode, Window};

/// The window of a kernel of this size that keeps the size of an image.
fn window(kernel: usize) -> Window {
    let pads = dims(&[kernel as i64 / 2; 2]);
    Window {
        kernel: vec![kernel; 2],
        strides: vec![1, 1],
        dilations: vec![1, 1],
        pads_before: pads.clone(),
        pads_after: pads,
    }
}

/// A convolution with a square kernel that keeps the size of an image.
pub(super) fn conv(
    b: &mut Builder,
    image: ValueId,
    [inputs, outputs]: [usize; 2],
    kernel: usize,
    groups: usize,
) -> ValueId {
    let w = b.weights(&[outputs, inputs / groups, kernel, kernel]);
    let conv = Op::Conv {
        window: window(kernel),
        groups,
        bias: false,
        pad_value: 0,
        epilogue: None,
    };
    b.node(conv, &[image, w])
}

/// A convolution of 3 by 3 with as many channels on both sides.
pub(super) fn square_conv(b: &mut Builder, image: ValueId, channels: usize) -> ValueId {
    conv(b, image, [channels, channels], 3, 1)
}

#[test]
fn threads_expand_no_rows_twice_and_share_few_rows_by_channels() {
    let expands = |rows: i64, threads: usize| {
        let mut b = Builder::new();
        let x = b.input("x", &dims(&[1, 16, rows, 80]));
        let image = conv(&mut b, x, [16, 16], 1, 1);
        let expanded = conv(&mut b, image, [16, 480], 1, 1);
        let filtered = conv(&mut b, expanded, [480, 480], 5, 480);
        let projected = conv(&mut b, filtered, [480, 16], 1, 1);
        let plan = b.plan_for(&[projected], threads);
        let blocks = plan.steps.iter().filter_map(|step| match &step.kernel {
            Kernel::DepthwiseBlock(block) => Some(block.expand.is_some()),
            _ => None,
        });
        blocks.collect::<Vec<_>>()
    };
    assert_eq!(expands(3, 1), [true]);
    // Both of two threads see all of three rows, and one of them would have twice as many as the other.
    assert_eq!(expands(3, 2), []);
    // Each half of four rows sees all of them.
    assert_eq!(expands(4, 2), [false]);
    assert_eq!(expands(64, 2), [true]);
}

#[test]
fn a_single_pixel_is_pooled_as_its_image_lies() {
    let pooled = |image: &dyn Fn(&mut Builder) -> ValueId| {
        let mut b = Builder::new();
        let image = image(&mut b);
        let pool = Op::Pool {
            kind: PoolKind::Average {
                count_include_pad: false,
            },
            window: Window {
                kernel: vec![9, 7],
                strides: vec![9, 7],
                pads_before: dims(&[0, 0]),
                pads_after: dims(&[0, 0]),
                ..window(1)
            },
            ceil_mode: false,
        };
        let result = b.node(pool, &[image]);
        let plan = b.plan(&[result]);
        let pools = plan.steps.iter().filter_map(|step| match &step.kernel {
            Kernel::Pool(pool) => Some(pool.y.clone()),
            _ => None,
        });
        pools.collect::<Vec<_>>()
    };
    let planar = |b: &mut Builder| b.input("x", &dims(&[1, 40, 9, 7]));
    assert_eq!(pooled(&planar), [kernel::PoolResult::Planes(Dim::from(1i64))]);
    let by_channel = |b: &mut Builder| {
        let x = planar(b);
        square_conv(b, x, 40)
    };
    assert_eq!(pooled(&by_channel), [kernel::PoolResult::Pixels(Dim::from(40i64))]);
}

#[test]
fn whole_images_are_divided_where_they_are_as_many_as_it_takes() {
    let divided = |batch: i64, rows: i64, threads: usize| {
        let mut b = Builder::new();
        let x = b.input("x", &dims(&[batch, 16, rows, rows]));
        let y = conv(&mut b, x, [16, 32], 3, 1);
        let plan = b.plan_for(&[y], threads);
        let step = plan.steps.iter().find(|step| matches!(step.kernel, Kernel::Conv(_)));
        let step = step.unwrap();
        (step.divides_loop, step.parts.as_const().unwrap())
    };
    assert_eq!(divided(8, 8, 2), (true, 2));
    assert_eq!(divided(8, 8, 4), (true, 4));
    assert_eq!(divided(8, 8, 1), (false, 1));
    // Three images are no even shares of two: large ones are divided themselves, and small ones if they are more.
    assert_eq!(divided(3, 32, 2), (false, 2));
    assert_eq!(divided(3, 5, 2), (false, 1));
    assert_eq!(divided(7, 6, 2), (true, 2));
    // One image, or too little to do.
    assert_eq!(divided(1, 32, 2), (false, 2));
    assert_eq!(divided(4, 2, 2), (false, 1));
}

#[test]
fn a_step_is_divided_if_what_it_reads_is() {
    let parts = |around: bool| {
        let mut b = Builder::new();
        let mut y = b.input("x", &dims(&[1, 64, 25, 5]));
        if around {
            y = conv(&mut b, y, [64, 128], 1, 1);
            y = conv(&mut b, y, [128, 64], 1, 1);
        }
        y = conv(&mut b, y, [64, 64], 3, 64);
        if around {
            y = conv(&mut b, y, [64, 128], 1, 1);
        }
        let plan = b.plan_for(&[y], 2);
        let depthwise = plan.steps.iter().find_map(|step| match &step.kernel {
            Kernel::Conv(conv) if conv.kind == kernel::ConvKind::Depthwise => Some(step.parts.as_const()),
            _ => None,
        });
        depthwise.unwrap_or_else(|| panic!("{plan}"))
    };
    assert_eq!(parts(false), Some(1));
    assert_eq!(parts(true), Some(2));
}

#[test]
fn images_are_resized_as_they_lie() {
    let resized = |by_channel: bool, joined: bool| {
        let mut b = Builder::new();
        let mut image = b.input("x", &dims(&[2, 16, 8, 6]));
        if by_channel {
            image = square_conv(&mut b, image, 16);
        }
        let resize = Op::Resize {
            mode: ResizeMode::Nearest(NearestRounding::Floor),
            coordinates: ResizeCoordinates::Asymmetric,
            scales: None,
            shape: dims(&[2, 16, 16, 12]),
        };
        let mut result = b.node(resize, &[image]);
        if joined {
            let other = b.input("y", &dims(&[2, 4, 16, 12]));
            let other = conv(&mut b, other, [4, 4], 3, 1);
            result = b.node(Op::Concat { axis: 1 }, &[result, other]);
        }
        let result = b.unary(result);
        let plan = b.plan(&[result]);
        let resizes = plan.steps.iter().filter_map(|step| match &step.kernel {
            Kernel::Resize(resize) => {
                Some([&resize.images, &resize.channels, &resize.y_pixel].map(|dim| dim.as_const()))
            }
            _ => None,
        });
        resizes.map(|sizes| sizes.map(Option::unwrap)).collect::<Vec<_>>()
    };
    assert_eq!(resized(false, false), [[32, 1, 1]]);
    assert_eq!(resized(true, false), [[2, 16, 16]]);
    // Among the channels of others.
    assert_eq!(resized(true, true), [[2, 16, 20]]);
}
