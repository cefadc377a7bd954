use super::*;

#[test]
fn convolutions() {
    let conv = |window, groups, bias| Op::Conv {
        window,
        groups,
        bias,
        pad_value: 0,
        epilogue: None,
    };
    let x = counting(&[1, 1, 3, 3]);
    let w = f32s(&[1, 1, 2, 2], &[1., 2., 3., 4.]);
    let plain = window(&[2, 2], &[1, 1], &[1, 1], &[0, 0], &[0, 0]);
    check(
        conv(plain, 1, true),
        &[&x, &w, &f32s(&[1], &[0.5])],
        &[1, 1, 2, 2],
        &[27.5, 37.5, 57.5, 67.5],
    );
    let strided = window(&[2, 2], &[2, 2], &[2, 2], &[1, 1], &[1, 1]);
    check(conv(strided, 1, false), &[&x, &w], &[1, 1, 2, 2], &[16., 12., 8., 4.]);
    let depthwise = window(&[2], &[1], &[1], &[0], &[0]);
    let (x2, w2) = (counting(&[1, 2, 3]), f32s(&[2, 1, 2], &[1., 1., 1., -1.]));
    check(
        conv(depthwise.clone(), 2, false),
        &[&x2, &w2],
        &[1, 2, 2],
        &[1., 3., -1., -1.],
    );
    let transposed = |window, output_padding: &[usize], groups| Op::ConvTranspose {
        window,
        output_padding: output_padding.to_vec(),
        groups,
        bias: false,
        epilogue: None,
    };
    let upsample = window(&[3], &[2], &[1], &[1], &[1]);
    let (line, weights) = (f32s(&[1, 1, 2], &[1., 10.]), f32s(&[1, 1, 3], &[1., 2., 3.]));
    check(
        transposed(upsample, &[1], 1),
        &[&line, &weights],
        &[1, 1, 4],
        &[2., 13., 20., 30.],
    );
    let w3 = f32s(&[2, 1, 2], &[1., 2., 10., 20.]);
    check(
        transposed(depthwise, &[0], 2),
        &[&x2, &w3],
        &[1, 2, 4],
        &[0., 1., 4., 4., 30., 100., 130., 100.],
    );
}

#[test]
fn pooling() {
    let x = counting(&[1, 1, 4]);
    let pool = |kind, window, ceil_mode| Op::Pool {
        kind,
        window,
        ceil_mode,
    };
    let padded = || window(&[3], &[2], &[1], &[1], &[0]);
    check(pool(PoolKind::Max, padded(), false), &[&x], &[1, 1, 2], &[1., 3.]);
    let average = |count_include_pad| PoolKind::Average { count_include_pad };
    check(pool(average(false), padded(), false), &[&x], &[1, 1, 2], &[0.5, 2.]);
    check(pool(average(true), padded(), false), &[&x], &[1, 1, 2], &[1. / 3., 2.]);
    // The last window overhangs the padded tensor by one element, which is no padding.
    let overhang = || window(&[3], &[3], &[1], &[0], &[1]);
    check(pool(average(true), overhang(), true), &[&x], &[1, 1, 2], &[1., 1.5]);
    check(
        pool(PoolKind::Max, window(&[1], &[3], &[1], &[0], &[2]), true),
        &[&x],
        &[1, 1, 2],
        &[0., 3.],
    );
    check(
        pool(PoolKind::Lp { p: 2 }, window(&[2], &[2], &[2], &[0], &[0]), false),
        &[&x],
        &[1, 1, 1],
        &[2.],
    );
    let bytes = Tensor::new(vec![1, 1, 3], &[-5i8, -3, -4]);
    let result = one(
        pool(PoolKind::Max, window(&[2], &[1], &[1], &[0], &[0]), false),
        &[&bytes],
    );
    assert_eq!(result.to_vec::<i8>().unwrap(), [-3, -3]);
}

#[test]
fn interpolation() {
    let x = f32s(&[1, 1, 2], &[1., 3.]);
    let resize = |mode, coordinates, size: i64, scale: Option<f32>| Op::Resize {
        mode,
        coordinates,
        scales: scale.map(|scale| vec![1., 1., scale]),
        shape: dims(&[1, 1, size]),
    };
    let linear = ResizeMode::Linear;
    check(
        resize(linear, ResizeCoordinates::HalfPixel, 4, None),
        &[&x],
        &[1, 1, 4],
        &[1., 1.5, 2.5, 3.],
    );
    check(
        resize(linear, ResizeCoordinates::AlignCorners, 3, None),
        &[&x],
        &[1, 1, 3],
        &[1., 2., 3.],
    );
    check(
        resize(linear, ResizeCoordinates::Asymmetric, 4, None),
        &[&x],
        &[1, 1, 4],
        &[1., 2., 3., 3.],
    );
    check(
        resize(linear, ResizeCoordinates::HalfPixel, 1, None),
        &[&x],
        &[1, 1, 1],
        &[2.],
    );
    check(
        resize(linear, ResizeCoordinates::PytorchHalfPixel, 1, None),
        &[&x],
        &[1, 1, 1],
        &[1.],
    );
    let y = counting(&[1, 1, 5]);
    let at = |rounding| {
        resize(
            ResizeMode::Nearest(rounding),
            ResizeCoordinates::Asymmetric,
            3,
            Some(2. / 3.),
        )
    };
    check(at(NearestRounding::RoundPreferFloor), &[&y], &[1, 1, 3], &[0., 1., 3.]);
    check(at(NearestRounding::RoundPreferCeil), &[&y], &[1, 1, 3], &[0., 2., 3.]);
    check(at(NearestRounding::Floor), &[&y], &[1, 1, 3], &[0., 1., 3.]);
    check(at(NearestRounding::Ceil), &[&y], &[1, 1, 3], &[0., 2., 3.]);
    let cubic = |exclude_outside| ResizeMode::Cubic {
        coefficient: -0.75,
        exclude_outside,
    };
    // The weights at a quarter are -0.10546875, 0.87890625, 0.26171875 and -0.03515625.
    let half = ResizeCoordinates::HalfPixel;
    check(
        resize(cubic(false), half, 4, None),
        &[&x],
        &[1, 1, 4],
        &[0.7890625, 1.453125, 2.546875, 3.2109375],
    );
    let (inner, outer) = (0.87890625, 0.26171875);
    let mixed = (inner + 3. * outer) / (inner + outer);
    check(
        resize(cubic(true), half, 4, None),
        &[&x],
        &[1, 1, 4],
        &[
            (inner - 3. * 0.10546875) / (inner - 0.10546875),
            mixed,
            4. - mixed,
            4. - (inner - 3. * 0.10546875) / (inner - 0.10546875),
        ],
    );
}
