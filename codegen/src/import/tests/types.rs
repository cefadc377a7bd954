//! Conversions and quantization: every expectation is worked out from the rules of ONNX.

use super::*;
use crate::ir::eval::{Numbers, evaluate};

pub(super) fn tensor(dtype: DType, shape: &[usize], numbers: Numbers) -> ir::Tensor {
    numbers.into_tensor(dtype, shape.to_vec()).unwrap()
}

fn line(dtype: DType, values: &[f64]) -> ir::Tensor {
    let numbers = if dtype.is_int() {
        Numbers::Int(values.iter().map(|&value| value as i128).collect())
    } else {
        Numbers::Float(values.to_vec())
    };
    tensor(dtype, &[values.len()], numbers)
}

pub(super) fn element(dtype: DType) -> ElementType {
    (1..32)
        .filter_map(ElementType::from_onnx)
        .find(|element| super::dtype(*element) == Ok(dtype))
        .unwrap()
}

/// The one result of an operator, `Name` or `domain::Name`, for inputs given at run time.
fn apply(op: &str, attributes: &[(&str, Attribute)], inputs: &[ir::Tensor]) -> ir::Tensor {
    let names: Vec<String> = (0..inputs.len()).map(|index| format!("x{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut build = Build::new(28);
    for (name, input) in names.iter().zip(inputs) {
        let dims: Vec<String> = input.shape.iter().map(usize::to_string).collect();
        build = build.typed_input(name, element(input.dtype), &dims.join(" "));
    }
    let (domain, op) = op.split_once("::").unwrap_or(("", op));
    build = build.node(op, &names, &["y"], attributes).output("y");
    build.model.graph.nodes[0].domain = domain.into();
    let graph = build.import(&[]).unwrap();
    evaluate(&graph, inputs).unwrap().swap_remove(0)
}

pub(super) fn values(tensor: &ir::Tensor) -> Vec<f64> {
    match Numbers::of(tensor) {
        Numbers::Float(values) => values,
        Numbers::Int(values) => values.into_iter().map(|value| value as f64).collect(),
        Numbers::Bool(values) => values.into_iter().map(f64::from).collect(),
    }
}

fn cast(from: DType, to: DType, attributes: &[(&str, Attribute)], input: &[f64]) -> Vec<f64> {
    let mut all = vec![("to", Attribute::Int(element(to).onnx().into()))];
    all.extend_from_slice(attributes);
    let result = apply("Cast", &all, &[line(from, input)]);
    assert_eq!(result.dtype, to);
    values(&result)
}

/// Whether two lists are the same numbers, NaN included.
fn same(found: &[f64], expected: &[f64]) -> bool {
    let pairs = || found.iter().zip(expected);
    found.len() == expected.len() && pairs().all(|(a, b)| a == b || a.is_nan() && b.is_nan())
}

#[test]
fn eight_bit_floats_saturate_unless_told_not_to() {
    let inf = f64::INFINITY;
    let input = [0.47, 465.0, -1e6, inf, -inf, f64::NAN];
    let exact = [("saturate", Attribute::Int(0))];
    let nan = f64::NAN;
    for (to, largest, beyond) in [
        (DType::F8E4M3Fn, 448.0, [nan, nan]),
        (DType::F8E4M3Fnuz, 240.0, [nan, nan]),
        (DType::F8E5M2, 57344.0, [inf, -inf]),
        (DType::F8E5M2Fnuz, 57344.0, [nan, nan]),
    ] {
        for from in [DType::F32, DType::F16, DType::F64] {
            let found = cast(from, to, &[], &input);
            assert!(
                same(&found[2..], &[-largest, largest, -largest, nan]),
                "{from} {to} {found:?}"
            );
            let found = cast(from, to, &exact, &input);
            assert!(
                same(&found[2..], &[beyond[1], beyond[0], beyond[1], nan]),
                "{from} {to} {found:?}"
            );
        }
    }
    assert_eq!(cast(DType::F32, DType::F8E4M3Fn, &[], &input)[..2], [0.46875, 448.0]);
    assert_eq!(cast(DType::I64, DType::F8E4M3Fnuz, &[], &[-7.0, 1e15]), [-7.0, 240.0]);
    assert_eq!(
        cast(DType::F8E5M2, DType::F8E4M3Fnuz, &[], &[57344.0, -1.5]),
        [240.0, -1.5]
    );
}

#[test]
fn powers_of_two_are_rounded_as_asked() {
    let mode = |mode: &'static str| ("round_mode", Attribute::String(mode.as_bytes().into()));
    let input = [1.0, 1.25, 1.5, -0.0, f64::INFINITY, 1e-45];
    let (least, largest, nan) = (2f64.powi(-127), 2f64.powi(127), f64::NAN);
    for (name, middle) in [
        ("up", [1.0, 2.0, 2.0]),
        ("down", [1.0, 1.0, 1.0]),
        ("nearest", [1.0, 1.0, 2.0]),
    ] {
        let found = cast(DType::F32, DType::F8E8M0, &[mode(name)], &input);
        let [a, b, c] = middle;
        assert!(same(&found, &[a, b, c, least, largest, least]), "{name} {found:?}");
        let exact = [mode(name), ("saturate", Attribute::Int(0))];
        let found = cast(DType::F32, DType::F8E8M0, &exact, &input);
        assert!(same(&found, &[a, b, c, nan, nan, nan]), "{name} {found:?}");
    }
    // Subnormal numbers of `f32` are rounded as others are.
    let subnormal = [1.5 * least];
    assert_eq!(
        cast(DType::F32, DType::F8E8M0, &[mode("up")], &subnormal),
        [2.0 * least]
    );
    assert_eq!(cast(DType::F32, DType::F8E8M0, &[mode("down")], &subnormal), [least]);
}

#[test]
fn integers_wrap_and_floats_round_once() {
    assert_eq!(cast(DType::F32, DType::I4, &[], &[-9.0, 8.7, -1.9]), [7.0, -8.0, -1.0]);
    assert_eq!(cast(DType::I16, DType::U2, &[], &[-1.0, 6.0]), [3.0, 2.0]);
    assert_eq!(cast(DType::U4, DType::I8, &[], &[15.0]), [15.0]);
    assert_eq!(cast(DType::I4, DType::U8, &[], &[-1.0]), [255.0]);
    assert!(same(
        &cast(DType::F32, DType::F4E2M1, &[], &[2.5, 5.0, -1e9, f64::INFINITY]),
        &[2.0, 4.0, -6.0, 6.0]
    ));
    // An `f32` on the way would make the first a tie.
    let above = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
    assert_eq!(cast(DType::F64, DType::F16, &[], &[above]), [1.0 + 2f64.powi(-10)]);
    let above = (1i64 << 30) + (1 << 22) + 1;
    assert_eq!(
        cast(DType::I32, DType::BF16, &[], &[above as f64]),
        [((1i64 << 30) + (1 << 23)) as f64]
    );
}

#[test]
fn bits_are_kept() {
    let to = |dtype| [("to", Attribute::Int(element(dtype).onnx().into()))];
    let one = apply("BitCast", &to(DType::I32), &[line(DType::F32, &[1.0, -0.0])]);
    assert_eq!(values(&one), [f64::from(0x3f80_0000), f64::from(i32::MIN)]);
    let back = apply("BitCast", &to(DType::F32), &[one]);
    assert_eq!(values(&back), [1.0, 0.0]);
    assert_eq!(
        values(&apply("BitCast", &to(DType::U4), &[line(DType::I4, &[-1.0])])),
        [15.0]
    );
    let error = Build::new(28)
        .input("x", "2")
        .node("BitCast", &["x"], &["y"], &to(DType::F16))
        .output("y")
        .error(&[]);
    assert!(
        error.contains("f32 and f16 differ in the number of their bits"),
        "{error}"
    );
}

#[test]
fn shifts_keep_the_sign() {
    let apply = |direction: &str, places: f64| {
        let direction = Attribute::String(direction.as_bytes().to_vec().into());
        let inputs = [line(DType::I8, &[-7.0, 65.0]), line(DType::I8, &[places])];
        values(&apply("BitShift", &[("direction", direction)], &inputs))
    };
    assert_eq!(apply("RIGHT", 1.0), [-4.0, 32.0]);
    assert_eq!(apply("LEFT", 1.0), [-14.0, -126.0]);
    assert_eq!(apply("RIGHT", -1.0), [-1.0, 0.0]);
    assert_eq!(apply("LEFT", 8.0), [0.0, 0.0]);
}

#[test]
fn blocks_share_a_scale() {
    let x = tensor(
        DType::I4,
        &[2, 5],
        Numbers::Int(vec![1, 2, 3, 4, 5, -1, -2, -3, -4, -5]),
    );
    let scale = tensor(
        DType::F16,
        &[2, 3],
        Numbers::Float(vec![1.0, 10.0, 100.0, 2.0, 20.0, 200.0]),
    );
    let zero = tensor(DType::I4, &[2, 3], Numbers::Int(vec![1, 0, 0, 0, 0, -1]));
    let attributes = [("axis", Attribute::Int(1)), ("block_size", Attribute::Int(2))];
    let result = apply(
        "DequantizeLinear",
        &attributes,
        &[x.clone(), scale.clone(), zero.clone()],
    );
    assert_eq!((result.dtype, &result.shape[..]), (DType::F16, &[2, 5][..]));
    assert_eq!(
        values(&result),
        [0.0, 1.0, 30.0, 40.0, 500.0, -2.0, -4.0, -60.0, -80.0, -800.0]
    );
    assert_eq!(apply("QuantizeLinear", &attributes, &[result, scale.clone(), zero]), x);
    let error = Build::new(23)
        .typed_input("x", ElementType::Int8, "2 7")
        .input("scale", "2 3")
        .node("DequantizeLinear", &["x", "scale"], &["y"], &attributes)
        .output("y")
        .error(&[]);
    assert!(
        error.contains("scales of shape [2, 3] in blocks of 2 along axis 1 of [2, 7]"),
        "{error}"
    );
}

#[test]
fn quantized_numbers_saturate() {
    let x = line(DType::F32, &[-1e9, -0.5, 0.5, 1.5, 300.0]);
    let quantize = |zero: ir::Tensor| {
        values(&apply(
            "QuantizeLinear",
            &[],
            &[x.clone(), line(DType::F32, &[1.0]), zero],
        ))
    };
    assert_eq!(quantize(line(DType::U8, &[3.0])), [0.0, 3.0, 3.0, 5.0, 255.0]);
    assert_eq!(quantize(line(DType::I2, &[0.0])), [-2.0, 0.0, 0.0, 1.0, 1.0]);
    assert_eq!(
        quantize(line(DType::U16, &[65535.0])),
        [0.0, 65535.0, 65535.0, 65535.0, 65535.0]
    );
    assert_eq!(
        quantize(line(DType::F8E4M3Fnuz, &[0.0])),
        [-240.0, -0.5, 0.5, 1.5, 240.0]
    );
    // 1000 / 3 in `f16` is 333.25, and 999 / 3 = 333.
    let wide = [("output_dtype", Attribute::Int(ElementType::Int16.onnx().into()))];
    let scale = line(DType::F16, &[3.0]);
    assert_eq!(
        values(&apply("QuantizeLinear", &wide, &[line(DType::F32, &[999.0]), scale])),
        [333.0]
    );
}

#[test]
fn products_of_quantized_numbers() {
    let a = tensor(DType::U8, &[2, 2], Numbers::Int(vec![3, 4, 5, 6]));
    let b = tensor(DType::I8, &[2, 2], Numbers::Int(vec![1, -2, 3, 4]));
    // Rows of the left operand and columns of the right one have zero points of their own.
    let (a_zero, b_zero) = (line(DType::U8, &[3.0, 4.0]), line(DType::I8, &[0.0, 1.0]));
    let product = apply(
        "MatMulInteger",
        &[],
        &[a.clone(), b.clone(), a_zero.clone(), b_zero.clone()],
    );
    assert_eq!(
        (product.dtype, values(&product)),
        (DType::I32, vec![3.0, 3.0, 7.0, 3.0])
    );
    let one = |value| tensor(DType::F32, &[], Numbers::Float(vec![value]));
    let y_zero = tensor(DType::U8, &[], Numbers::Int(vec![250]));
    let inputs = [
        a,
        one(0.5),
        a_zero,
        b,
        line(DType::F32, &[1.0, 2.0]),
        b_zero,
        one(0.25),
        y_zero,
    ];
    assert_eq!(
        values(&apply("QLinearMatMul", &[], &inputs)),
        [255.0, 255.0, 255.0, 255.0]
    );
    let mut inputs = inputs;
    inputs[7] = tensor(DType::U8, &[], Numbers::Int(vec![1]));
    assert_eq!(values(&apply("QLinearMatMul", &[], &inputs)), [7.0, 13.0, 15.0, 13.0]);
}

/// The expectations are those of ONNX Runtime 1.32.
#[test]
fn products_with_a_bias_in_their_scale() {
    let number = |dtype, value: i128| tensor(dtype, &[], Numbers::Int(vec![value]));
    let scale = |value| tensor(DType::F32, &[], Numbers::Float(vec![value]));
    let a = tensor(DType::U8, &[2, 3], Numbers::Int(vec![3, 4, 250, 5, 6, 7]));
    let b = tensor(DType::I8, &[2, 3], Numbers::Int(vec![1, -2, 3, 3, 4, -128]));
    let mut inputs = vec![
        a,
        scale(0.5),
        number(DType::U8, 3),
        b,
        line(DType::F32, &[1.0, 2.0]),
        line(DType::I8, &[0.0, 1.0]),
    ];
    let apply = |attributes: &[(&str, Attribute)], inputs: &[ir::Tensor]| {
        let mut all = vec![("transB", Attribute::Int(1))];
        all.extend_from_slice(attributes);
        values(&apply("com.microsoft::QGemm", &all, inputs))
    };
    assert_eq!(apply(&[], &inputs), [369.5, -31860.0, 4.0, -503.0]);
    inputs.push(line(DType::I32, &[10.0, -20.0]));
    let half = [("alpha", Attribute::Float(0.5))];
    assert_eq!(apply(&half, &inputs), [187.25, -15940.0, 4.5, -261.5]);
    inputs.extend([scale(4.0), number(DType::U8, 100)]);
    assert_eq!(apply(&half, &inputs), [147.0, 0.0, 101.0, 35.0]);
}

#[test]
fn convolutions_of_quantized_numbers() {
    let x = tensor(DType::U8, &[1, 1, 3], Numbers::Int(vec![5, 6, 7]));
    let w = tensor(DType::U8, &[2, 1, 2], Numbers::Int(vec![1, 2, 3, 4]));
    let (x_zero, w_zero) = (
        tensor(DType::U8, &[], Numbers::Int(vec![5])),
        line(DType::U8, &[0.0, 3.0]),
    );
    let pads = [("pads", Attribute::Ints(vec![1, 0]))];
    let result = apply(
        "ConvInteger",
        &pads,
        &[x.clone(), w.clone(), x_zero.clone(), w_zero.clone()],
    );
    // Padding is the zero point.
    assert_eq!(
        (result.dtype, values(&result)),
        (DType::I32, vec![0.0, 2.0, 5.0, 0.0, 1.0, 2.0])
    );
    let one = |value| tensor(DType::F32, &[], Numbers::Float(vec![value]));
    let y_zero = tensor(DType::U8, &[], Numbers::Int(vec![10]));
    let bias = line(DType::I32, &[1.0, -1.0]);
    let inputs = [
        x,
        one(2.0),
        x_zero,
        w,
        line(DType::F32, &[1.0, 4.0]),
        w_zero,
        one(1.0),
        y_zero,
        bias,
    ];
    assert_eq!(
        values(&apply("QLinearConv", &pads, &inputs)),
        [12.0, 16.0, 22.0, 2.0, 10.0, 18.0]
    );
}
