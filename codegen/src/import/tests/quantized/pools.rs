//! Means of 8-bit numbers.

use super::*;

#[test]
fn averages_over_windows_are_rounded_with_their_zero_point() {
    check(
        "QLinearAveragePool",
        &[
            ("kernel_shape", Attribute::Ints(vec![2, 3])),
            ("strides", Attribute::Ints(vec![1, 2])),
            ("pads", Attribute::Ints(vec![1, 1, 0, 0])),
        ],
        &[
            &numbers(
                DType::U8,
                &[1, 1, 3, 6],
                &[0, 7, 14, 21, 28, 35, 42, 49, 56, 63, 70, 77, 84, 91, 98, 105, 112, 119],
                0.5,
                Some(9),
            ),
            &scheme(DType::U8, 0.25, Some(4)),
        ],
        &[1, 1, 3, 3],
        &[0, 14, 42, 35, 56, 84, 119, 140, 168],
    );
    check(
        "QLinearAveragePool",
        &[
            ("kernel_shape", Attribute::Ints(vec![2, 2])),
            ("pads", Attribute::Ints(vec![1, 1, 1, 1])),
            ("count_include_pad", Attribute::Int(1)),
            ("strides", Attribute::Ints(vec![2, 3])),
        ],
        &[
            &numbers(
                DType::U8,
                &[1, 1, 3, 6],
                &[0, 7, 14, 21, 28, 35, 42, 49, 56, 63, 70, 77, 84, 91, 98, 105, 112, 119],
                0.5,
                None,
            ),
            &scheme(DType::U8, 1.0, Some(5)),
        ],
        &[1, 1, 2, 3],
        &[5, 9, 9, 21, 45, 30],
    );
    check(
        "QLinearAveragePool",
        &[
            ("kernel_shape", Attribute::Ints(vec![2, 2])),
            ("channels_last", Attribute::Int(1)),
            ("ceil_mode", Attribute::Int(1)),
            ("strides", Attribute::Ints(vec![2, 2])),
        ],
        &[
            &numbers(
                DType::I8,
                &[1, 3, 3, 2],
                &[
                    -60, -53, -46, -39, -32, -25, -18, -11, -4, 3, 10, 17, 24, 31, 38, 45, 52, 59,
                ],
                0.5,
                Some(-1),
            ),
            &scheme(DType::I8, 1.0, None),
        ],
        &[1, 2, 2, 2],
        &[-16, -12, -5, -2, 16, 20, 26, 30],
    );
}

/// As `AveragePool` of ONNX, but for windows that overhang padding that counts.
#[test]
fn averages_over_windows_that_overhang() {
    let x = numbers(DType::U8, &[1, 1, 4, 4], &[100; 16], 1.0, Some(0));
    let to = scheme(DType::U8, 1.0, Some(0));
    let pool = |pad: i64, shape: &[usize], expected: &[i128]| {
        let attributes = [
            ("kernel_shape", Attribute::Ints(vec![3, 3])),
            ("strides", Attribute::Ints(vec![2, 2])),
            ("pads", Attribute::Ints(vec![pad; 4])),
            int("count_include_pad", 1),
            int("ceil_mode", 1),
        ];
        check("QLinearAveragePool", &attributes, &[&x, &to], shape, expected);
    };
    pool(0, &[1, 1, 2, 2], &[100, 67, 67, 44]);
    pool(1, &[1, 1, 3, 3], &[44, 67, 22, 67, 100, 33, 22, 33, 11]);
}

#[test]
fn averages_over_channels() {
    check(
        "QLinearGlobalAveragePool",
        &[],
        &[
            &numbers(
                DType::I8,
                &[1, 3, 3, 2],
                &[
                    -60, -53, -46, -39, -32, -25, -18, -11, -4, 3, 10, 17, 24, 31, 38, 45, 52, 59,
                ],
                0.5,
                Some(-1),
            ),
            &scheme(DType::I8, 0.25, Some(3)),
        ],
        &[1, 3, 1, 1],
        &[-80, 4, 88],
    );
    check(
        "QLinearGlobalAveragePool",
        &[("channels_last", Attribute::Int(1))],
        &[
            &numbers(
                DType::I8,
                &[1, 3, 3, 2],
                &[
                    -60, -53, -46, -39, -32, -25, -18, -11, -4, 3, 10, 17, 24, 31, 38, 45, 52, 59,
                ],
                0.5,
                Some(-1),
            ),
            &scheme(DType::I8, 0.25, Some(3)),
        ],
        &[1, 1, 1, 2],
        &[-3, 11],
    );
    check(
        "QLinearGlobalAveragePool",
        &[],
        &[
            &numbers(
                DType::U8,
                &[1, 3, 6],
                &[0, 7, 14, 21, 28, 35, 42, 49, 56, 63, 70, 77, 84, 91, 98, 105, 112, 119],
                0.5,
                Some(9),
            ),
            &scheme(DType::U8, 1.0, Some(3)),
        ],
        &[1, 3, 1],
        &[7, 28, 49],
    );
}

/// There is no implementation in ONNX Runtime; what the operator is follows from `ReduceMean` between conversions.
#[test]
fn means_of_quantized_numbers() {
    let x = numbers(DType::I8, &[2, 3], &[-128, 0, 5, 127, 3, 8], 0.5, Some(2));
    let to = scheme(DType::I8, 0.25, Some(1));
    let mean = |attributes: &[(&str, Attribute)], shape: &[usize], expected: &[i128]| {
        check("QLinearReduceMean", attributes, &[&x, &to], shape, expected);
    };
    // -129 / 6 - 1, 124 / 6 - 1
    let last = [("axes", Attribute::Ints(vec![-1])), ("keepdims", Attribute::Int(0))];
    mean(&last, &[2], &[-85, 89]);
    mean(&[("axes", Attribute::Ints(vec![0, 1]))], &[1, 1], &[2]);
}
