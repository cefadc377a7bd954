//! Random numbers: a hash of a key and of the place of an element.
//!
//! Such a generator needs no state: element `i` of a tensor is output `i` of SplitMix64 (Steele, Lea and Flood, "Fast
//! splittable pseudorandom number generators", 2014), which passes the usual batteries of tests. The key comes from the
//! seed or, where the model gives none, from the name of the node. A generated program reads no clock and keeps nothing
//! from one run to the next, so that every run draws the same numbers; who wants others feeds them to the model.

use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::formula::{Formula, Term};
use crate::ir::{DType, Dim, FoldKind, Op, UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "RandomUniform", |cx| {
        let shape = shape(cx)?;
        uniform_tensor(cx, shape, DType::F32)
    }),
    (ONNX, "RandomUniformLike", |cx| {
        let (shape, dtype) = (cx.shape(cx.input(0)?), cx.dtype(cx.input(0)?));
        uniform_tensor(cx, shape, dtype)
    }),
    (ONNX, "RandomNormal", |cx| {
        let shape = shape(cx)?;
        normal_tensor(cx, shape, DType::F32)
    }),
    (ONNX, "RandomNormalLike", |cx| {
        let (shape, dtype) = (cx.shape(cx.input(0)?), cx.dtype(cx.input(0)?));
        normal_tensor(cx, shape, dtype)
    }),
    (ONNX, "Bernoulli", bernoulli),
    (ONNX, "Multinomial", multinomial),
    (ONNX, "Dropout", dropout),
];

/// The distance between the states of SplitMix64: the golden ratio in 64 bits, made odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
/// The shifts and factors of its mixing function.
const MIX: [(u64, u64); 2] = [(30, 0xbf58_476d_1ce4_e5b9), (27, 0x94d0_49bb_1331_11eb)];

/// The mixing function, for the key.
fn mixed(mut z: u64) -> u64 {
    for (shift, factor) in MIX {
        z = (z ^ (z >> shift)).wrapping_mul(factor);
    }
    z ^ (z >> 31)
}

/// What tells the numbers of this node from those of others: its seed, or its name.
fn key(cx: &Call, seed: Option<u64>) -> u64 {
    let of_name = || {
        let bytes = cx.origin.bytes();
        bytes.fold(0, |hash, byte| mixed(hash ^ u64::from(byte)).wrapping_add(GAMMA))
    };
    mixed(seed.unwrap_or_else(of_name).wrapping_add(GAMMA))
}

/// The key from an attribute `seed` that is a float.
fn float_key(cx: &Call) -> Result<u64, Fault> {
    let seed = cx.optional_float("seed")?;
    Ok(key(cx, seed.map(|seed| f64::from(seed).to_bits())))
}

/// The type in which numbers are drawn for results of a type.
fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { dtype } else { DType::F32 }
}

/// The `part`-th number of `parts` for the element at hand: uniform from 0 up to and without 1, in a type of floats.
fn uniform<'f>(f: &'f Formula, shape: &[Dim], key: u64, [part, parts]: [u64; 2], dtype: DType) -> Term<'f> {
    let place = f.place(&f.indices(0..shape.len()), shape).cast(DType::U64);
    let counter = place * f.bits(parts) + f.bits(part.wrapping_add(1));
    let mut z = counter * f.bits(GAMMA) + f.bits(key);
    for (shift, factor) in MIX {
        z = z.xor(z.shr(f.bits(shift))) * f.bits(factor);
    }
    z = z.xor(z.shr(f.bits(31)));
    let precision = if dtype == DType::F64 { 53 } else { 24 };
    z.shr(f.bits(64 - precision)).cast(dtype) * (0.5f64).powi(precision as i32)
}

/// The shape that an attribute gives.
fn shape(cx: &Call) -> Result<Vec<Dim>, Fault> {
    let sizes = cx
        .ints("shape")?
        .ok_or_else(|| Fault::new("attribute `shape` is missing"))?;
    if sizes.iter().any(|&size| size < 0) {
        return Err(Fault::new(format!("attribute `shape` = {sizes:?}")));
    }
    Ok(sizes.into_iter().map(Dim::from).collect())
}

/// The type that the attribute `dtype` gives, which must be one of floats.
fn float_type(cx: &Call, default: DType) -> Result<DType, Fault> {
    let dtype = cx.dtype_attribute("dtype")?.unwrap_or(default);
    if dtype.is_float() {
        Ok(dtype)
    } else {
        cx.unsupported("dtype", dtype)
    }
}

fn uniform_tensor(cx: &mut Call, shape: Vec<Dim>, default: DType) -> Results {
    let (low, high): (f64, f64) = (cx.float("low", 0.0)?.into(), cx.float("high", 1.0)?.into());
    let (dtype, key) = (float_type(cx, default)?, float_key(cx)?);
    Ok(vec![cx.each(shape.clone(), &[], |f| {
        let number = uniform(f, &shape, key, [0, 1], wide(dtype));
        (number * (high - low) + low).cast(dtype)
    })?])
}

/// By the transformation of Box and Muller, of two uniform numbers each.
fn normal_tensor(cx: &mut Call, shape: Vec<Dim>, default: DType) -> Results {
    let (mean, scale): (f64, f64) = (cx.float("mean", 0.0)?.into(), cx.float("scale", 1.0)?.into());
    let (dtype, key) = (float_type(cx, default)?, float_key(cx)?);
    Ok(vec![cx.each(shape.clone(), &[], |f| {
        let [a, b] = [0, 1].map(|part| uniform(f, &shape, key, [part, 2], wide(dtype)));
        let radius = ((-a + 1.0).unary(UnaryOp::Ln) * -2.0).unary(UnaryOp::Sqrt);
        let number = radius * (b * std::f64::consts::TAU).unary(UnaryOp::Cos);
        (number * scale + mean).cast(dtype)
    })?])
}

/// One where a uniform number is below the probability.
fn bernoulli(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let (shape, from) = (cx.shape(x), cx.dtype(x));
    let dtype = cx.dtype_attribute("dtype")?.unwrap_or(from);
    let key = float_key(cx)?;
    Ok(vec![cx.each(shape.clone(), &[x], |f| {
        let number = uniform(f, &shape, key, [0, 1], wide(from));
        number.lt(f.operand(0).cast(wide(from))).cast(dtype)
    })?])
}

/// Classes drawn by the logarithms of their probabilities: how many running sums of probabilities a uniform number has
/// passed.
fn multinomial(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let (from, dtype) = (cx.shape(x), cx.dtype_attribute("dtype")?.unwrap_or(DType::I32));
    let ([batch, classes], true) = (from.as_slice(), cx.dtype(x).is_float() && dtype.is_int()) else {
        let found = cx.ty(x).to_string();
        return Err(Fault::new(format!("classes of type {dtype} drawn by {found}")));
    };
    let count = cx.int("sample_size", 1)?;
    if count < 1 {
        return cx.unsupported("sample_size", count);
    }
    let (shape, key, wide) = (vec![batch.clone(), Dim::from(count)], float_key(cx)?, wide(cx.dtype(x)));
    let x = cx.cast(x, wide)?;
    let softmax = Op::Softmax { axis: 1, log: false };
    let probabilities = cx.emit(softmax, &[x])?;
    let sums = Op::CumSum {
        axis: 1,
        exclusive: false,
        reverse: false,
    };
    let sums = cx.emit(sums, &[probabilities])?;
    let drawn = cx.each(shape.clone(), &[], |f| uniform(f, &shape, key, [0, 1], wide))?;
    let passed = cx.folded(
        FoldKind::Sum,
        [shape.clone(), vec![classes.clone()]],
        &[sums, drawn],
        |f| {
            let sum = f.load(0, &[f.index(0), f.index(2)]);
            sum.le(f.load(1, &[f.index(0), f.index(1)])).cast(DType::I64)
        },
    )?;
    Ok(vec![cx.each(shape, &[passed], |f| {
        f.operand(0).min(f.dim(classes) - 1i64).cast(dtype)
    })?])
}

/// Inference keeps every element. In training, those that stay are scaled up. The last result says which stay.
fn dropout(cx: &mut Call) -> Results {
    cx.ignore(&["ratio", "is_test"]);
    let x = cx.input(0)?;
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let key = match cx.version {
        ..12 => 0,
        _ => key(cx, cx.optional_int("seed")?.map(i64::cast_unsigned)),
    };
    let training = cx
        .optional(2)
        .filter(|&training| cx.known_bool(training) != Some(false));
    let Some(training) = training else {
        let mask = cx.number(1.0, DType::Bool)?;
        return Ok(vec![x, cx.emit(Op::Broadcast { shape }, &[mask])?]);
    };
    let ratio = match cx.optional(1) {
        Some(ratio) => ratio,
        None => cx.number(0.5, DType::F32)?,
    };
    let (ratio, training) = (cx.cast(ratio, wide(dtype))?, cx.reshape(training, Vec::new())?);
    let ratio = cx.reshape(ratio, Vec::new())?;
    let message = "the ratio of dropout is from 0 to 1";
    cx.demand(message, Vec::new(), &[ratio], |f| {
        f.operand(0).ge(0.0).and(f.operand(0).le(1.0))
    })?;
    let mask = cx.each(shape.clone(), &[ratio, training], |f| {
        let number = uniform(f, &shape, key, [0, 1], wide(dtype));
        number.ge(f.operand(0)).or(f.operand(1).not())
    })?;
    let result = cx.each(shape, &[x, ratio, training, mask], |f| {
        let value = f.operand(0).cast(wide(dtype));
        let scaled = f.operand(2).select(value / (-f.operand(1) + 1.0), value);
        f.operand(3).select(scaled, 0.0).cast(dtype)
    })?;
    Ok(vec![result, mask])
}
