//! Functions of tensors of 8-bit numbers.

use super::*;

#[test]
fn sums_are_rounded_with_their_zero_point() {
    check(
        "QLinearAdd",
        &[],
        &[
            &numbers(DType::U8, &[6], &[0, 1, 2, 3, 7, 255], 0.5, Some(3)),
            &numbers(DType::U8, &[6], &[10, 20, 30, 40, 10, 255], 0.25, Some(9)),
            &scheme(DType::U8, 1.0, Some(3)),
        ],
        &[6],
        &[2, 5, 8, 11, 5, 190],
    );
    check(
        "QLinearAdd",
        &[],
        &[
            &numbers(DType::I8, &[2, 2], &[-128, 0, 5, 127], 0.5, None),
            &numbers(DType::I8, &[2], &[1, -3], 0.25, None),
            &scheme(DType::I8, 0.5, Some(-7)),
        ],
        &[2, 2],
        &[-128, -8, -2, 118],
    );
    check(
        "QLinearAdd",
        &[],
        &[
            &numbers(DType::I8, &[4], &[-128, 0, 5, 127], 0.1, Some(4)),
            &numbers(DType::I8, &[4], &[1, -3, 100, 127], 0.3, Some(-9)),
            &scheme(DType::I8, 0.2, None),
        ],
        &[4],
        &[-51, 7, 127, 127],
    );
}

#[test]
fn products_are_rounded_with_their_zero_point() {
    check(
        "QLinearMul",
        &[],
        &[
            &numbers(DType::U8, &[6], &[0, 1, 2, 3, 6, 255], 0.5, Some(3)),
            &numbers(DType::U8, &[6], &[10, 20, 30, 40, 10, 255], 0.25, Some(9)),
            &scheme(DType::U8, 0.25, Some(3)),
        ],
        &[6],
        &[2, 0, 0, 3, 4, 255],
    );
    check(
        "QLinearMul",
        &[],
        &[
            &numbers(DType::I8, &[2, 2, 1], &[-128, 0, 5, 127], 0.5, None),
            &numbers(DType::I8, &[2], &[1, -3], 0.25, Some(2)),
            &scheme(DType::I8, 0.5, Some(-7)),
        ],
        &[2, 2, 2],
        &[25, 127, -7, -7, -8, -13, -39, -128],
    );
}

#[test]
fn leaky_relu() {
    check(
        "QLinearLeakyRelu",
        &[("alpha", Attribute::Float(0.25))],
        &[
            &numbers(DType::U8, &[6], &[0, 1, 2, 3, 6, 255], 0.5, Some(3)),
            &scheme(DType::U8, 0.25, Some(10)),
        ],
        &[6],
        &[8, 9, 10, 10, 16, 255],
    );
    check(
        "QLinearLeakyRelu",
        &[],
        &[
            &numbers(DType::I8, &[6], &[-128, -100, -1, 3, 6, 127], 0.5, None),
            &scheme(DType::I8, 0.25, None),
        ],
        &[6],
        &[-3, -2, 0, 6, 12, 127],
    );
}

#[test]
fn sigmoid() {
    check(
        "QLinearSigmoid",
        &[],
        &[
            &numbers(DType::U8, &[6], &[0, 1, 2, 3, 6, 255], 0.5, Some(3)),
            &scheme(DType::U8, 0.01, Some(10)),
        ],
        &[6],
        &[28, 37, 48, 60, 92, 110],
    );
    check(
        "QLinearSigmoid",
        &[],
        &[
            &numbers(DType::I8, &[6], &[-128, -5, -1, 3, 6, 127], 0.25, None),
            &scheme(DType::I8, 0.00390625, Some(-128)),
        ],
        &[6],
        &[-128, -71, -16, 46, 81, 127],
    );
    check(
        "QLinearSigmoid",
        &[],
        &[
            &numbers(DType::I8, &[6], &[-128, -5, -1, 3, 6, 127], 0.25, Some(3)),
            &scheme(DType::I8, 0.01, None),
        ],
        &[6],
        &[0, 12, 27, 50, 68, 100],
    );
}

#[test]
fn concatenated_tensors_get_one_scale() {
    check(
        "QLinearConcat",
        &[("axis", Attribute::Int(-1))],
        &[
            &scheme(DType::U8, 0.5, Some(3)),
            &numbers(DType::U8, &[2, 2], &[0, 1, 2, 255], 0.5, Some(3)),
            &numbers(DType::U8, &[2, 3], &[1, 3, 4, 9, 200, 7], 0.25, Some(0)),
        ],
        &[2, 5],
        &[0, 1, 3, 5, 5, 2, 255, 7, 103, 7],
    );
    check(
        "QLinearConcat",
        &[("axis", Attribute::Int(0))],
        &[
            &scheme(DType::I8, 0.25, Some(-3)),
            &numbers(DType::I8, &[4], &[-128, 1, 2, 127], 0.5, Some(3)),
            &numbers(DType::I8, &[3], &[1, 3, 4], 0.125, Some(0)),
        ],
        &[7],
        &[-128, -7, -5, 127, -3, -1, -1],
    );
}

#[test]
fn chosen_numbers_get_one_scale() {
    check(
        "QLinearWhere",
        &[],
        &[
            &[ints(DType::Bool, &[2, 1], &[1, 0])],
            &numbers(DType::U8, &[3], &[0, 3, 200], 0.5, Some(3)),
            &numbers(DType::U8, &[2, 3], &[7, 8, 9, 10, 11, 12], 0.25, Some(8)),
            &scheme(DType::U8, 0.25, Some(8)),
        ],
        &[2, 3],
        &[2, 8, 255, 10, 11, 12],
    );
    check(
        "QLinearWhere",
        &[],
        &[
            &[ints(DType::Bool, &[4], &[1, 0, 1, 0])],
            &numbers(DType::I8, &[4], &[-128, 3, 127, 0], 0.5, Some(3)),
            &numbers(DType::I8, &[4], &[-1, -128, 9, 127], 0.25, Some(0)),
            &scheme(DType::I8, 1.0, Some(1)),
        ],
        &[4],
        &[-65, -31, 63, 33],
    );
}

#[test]
fn a_softmax_has_whole_steps() {
    check(
        "QLinearSoftmax",
        &[("axis", Attribute::Int(-1)), ("opset", Attribute::Int(13))],
        &[
            &numbers(DType::U8, &[2, 2, 2], &[0, 1, 2, 3, 6, 255, 9, 9], 0.5, Some(3)),
            &scheme(DType::U8, 0.003921569, Some(0)),
        ],
        &[2, 2, 2],
        &[96, 158, 96, 158, 0, 254, 127, 127],
    );
    check(
        "QLinearSoftmax",
        &[("axis", Attribute::Int(1)), ("opset", Attribute::Int(12))],
        &[
            &numbers(DType::U8, &[1, 3, 2], &[9, 9, 7, 3, 9, 10], 0.5, Some(3)),
            &scheme(DType::U8, 0.003921569, Some(2)),
        ],
        &[1, 3, 2],
        &[52, 52, 20, 4, 52, 85],
    );
    check(
        "QLinearSoftmax",
        &[("axis", Attribute::Int(1)), ("opset", Attribute::Int(13))],
        &[
            &numbers(DType::I8, &[2, 4], &[9, 9, -7, 3, 9, 10, -128, 127], 0.25, None),
            &scheme(DType::I8, 0.00390625, Some(-128)),
        ],
        &[2, 4],
        &[-14, -14, -126, -103, -128, -128, -128, 127],
    );
    check(
        "QLinearSoftmax",
        &[("axis", Attribute::Int(0)), ("opset", Attribute::Int(13))],
        &[
            &numbers(DType::I8, &[2, 4], &[9, 9, -7, 3, 9, 10, -128, 127], 0.25, Some(3)),
            &scheme(DType::I8, 0.004, Some(-100)),
        ],
        &[2, 4],
        &[24, 9, 127, -100, 24, 40, -100, 127],
    );
}

#[test]
fn operands_of_quantized_operators_are_checked() {
    let bytes = || ints(DType::U8, &[4], &[0, 1, 2, 3]);
    let (zero, wrong) = (ints(DType::U8, &[], &[0]), ints(DType::I8, &[], &[0]));
    let scales = floats(DType::F32, &[2], &[1.0, 2.0]);
    let relu = |operands: &[Option<ir::Tensor>]| refusal("com.microsoft::QLinearLeakyRelu", &[], operands);
    let texts = [
        relu(&[one(1.0), one(1.0), None, one(1.0), None]),
        relu(&[bytes(), scales, zero.clone(), one(1.0), None]),
        relu(&[bytes(), one(1.0), wrong.clone(), one(1.0), None]),
        relu(&[bytes(), one(1.0)]),
        refusal(
            "com.microsoft::QLinearAdd",
            &[],
            &[
                bytes(),
                one(1.0),
                zero.clone(),
                wrong,
                one(1.0),
                None,
                one(1.0),
                zero.clone(),
            ],
        ),
        refusal(
            "com.microsoft::QLinearConcat",
            &[],
            &[one(1.0), zero.clone(), bytes(), one(1.0)],
        ),
        refusal(
            "com.microsoft::QLinearConcat",
            &[("axis", Attribute::Int(i64::MIN))],
            &[one(1.0), zero.clone(), bytes(), one(1.0), zero.clone()],
        ),
        refusal(
            "com.microsoft::QLinearSoftmax",
            &[],
            &[bytes(), one(1.0), zero.clone(), one(1.0), zero],
        ),
    ];
    let faults: Vec<_> = texts.iter().map(|text| text.lines().nth(1).unwrap_or("")).collect();
    insta::assert_snapshot!(faults.join("\n"), @r"
      com.microsoft.QLinearLeakyRelu: quantized numbers are f32, not u8 or i8
      com.microsoft.QLinearLeakyRelu: operand 1 is f32[2], not one f32
      com.microsoft.QLinearLeakyRelu: operand 2 is i8[], not one u8
      com.microsoft.QLinearLeakyRelu: operand 3 is missing
      com.microsoft.QLinearAdd: the operands are u8 and i8
      com.microsoft.QLinearConcat: 4 operands, where two and three for each tensor are expected
      com.microsoft.QLinearConcat: axis -9223372036854775808 of a tensor of rank 1
      com.microsoft.QLinearSoftmax: attribute `opset` is missing
    ");
}
