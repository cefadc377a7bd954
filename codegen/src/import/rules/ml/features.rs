//! Features prepared for a model: scaled, normalized, imputed, chosen and joined.

use super::{ML, Results, floats, rows};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::formula::Formula;
use crate::import::rules::Rules;
use crate::ir::infer::display_shape;
use crate::ir::op::{PadMode, ReduceKind};
use crate::ir::{BinaryOp, DType, Dim, Op, Tensor, UnaryOp, ValueId};

pub(in crate::import::rules) const RULES: Rules = &[
    (ML, "Scaler", scaler),
    (ML, "Normalizer", normalizer),
    (ML, "Imputer", imputer),
    (ML, "Binarizer", binarizer),
    (ML, "ArrayFeatureExtractor", extractor),
    (ML, "FeatureVectorizer", vectorizer),
];

/// A list that has one element for all features or one for each.
fn per_feature(cx: &Call, x: ValueId, what: &str, count: usize) -> Result<(), Fault> {
    let features = cx.shape(x).last().cloned().unwrap_or(Dim::from(1i64));
    if count == 1 || features.is(count as i64) {
        return Ok(());
    }
    Err(Fault::new(format!(
        "`{what}` has {count} elements for {features} features"
    )))
}

/// `(x - offset) * scale`, computed in the wider type of the two and given in 32 bits.
fn scaler(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let wide = if cx.dtype(x) == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let mut result = cx.cast(x, wide)?;
    for (name, op, neutral) in [("offset", BinaryOp::Sub, 0.0), ("scale", BinaryOp::Mul, 1.0)] {
        let mut values = floats(cx, name)?;
        if values.is_empty() {
            values.push(neutral);
        }
        per_feature(cx, x, name, values.len())?;
        let values = super::table(cx, vec![values.len()], &values, wide)?;
        result = cx.binary(op, result, values)?;
    }
    Ok(vec![cx.cast(result, DType::F32)?])
}

/// Divides each row by its largest element, the sum of its magnitudes or its length, unless that is zero.
fn normalizer(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let kind = match cx.string("norm", "MAX")? {
        "MAX" => ReduceKind::Max,
        "L1" => ReduceKind::L1,
        "L2" => ReduceKind::L2,
        other => return cx.unsupported("norm", other),
    };
    let axis = match cx.rank(x) {
        0 => return Err(Fault::new("a scalar has no features")),
        1 => 0,
        _ => 1,
    };
    let x = cx.cast(x, DType::F32)?;
    let op = Op::Reduce {
        kind,
        axes: vec![axis],
        keep_dims: true,
    };
    let norm = cx.emit(op, &[x])?;
    let f = Formula::new();
    let (element, norm_of_row) = (f.input(0, DType::F32), f.input(1, DType::F32));
    let divisor = norm_of_row.eq(0.0).select(f.number(1.0, DType::F32), norm_of_row);
    let expr = f.result(element / divisor);
    Ok(vec![cx.elementwise(expr, &[x, norm])?])
}

/// Replaces one value, or not-a-number, by another one for each feature.
fn imputer(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let dtype = cx.dtype(x);
    let (float, int) = (
        cx.float("replaced_value_float", 0.0)?,
        cx.int("replaced_value_int64", 0)?,
    );
    let (floats, ints) = (floats(cx, "imputed_value_floats")?, cx.ints("imputed_value_int64s")?);
    let f = Formula::new();
    let element = f.input(0, dtype);
    let (values, hit) = if dtype.is_float() {
        per_feature(cx, x, "imputed_value_floats", floats.len())?;
        let values = super::table(cx, vec![floats.len()], &floats, dtype)?;
        let hit = if float.is_nan() {
            element.unary(UnaryOp::IsNan)
        } else {
            element.eq(f64::from(float))
        };
        (values, hit)
    } else {
        let ints = ints.unwrap_or_default();
        per_feature(cx, x, "imputed_value_int64s", ints.len())?;
        let values = cx.constant(Tensor::new(vec![ints.len()], &ints));
        (cx.cast(values, dtype)?, element.cast(DType::I64).eq(int))
    };
    let expr = f.result(hit.select(f.input(1, dtype), element));
    Ok(vec![cx.elementwise(expr, &[x, values])?])
}

/// 1 above the threshold, 0 elsewhere.
fn binarizer(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let (dtype, threshold) = (cx.dtype(x), cx.float("threshold", 0.0)?);
    let f = Formula::new();
    // Integers are compared as floats, because the threshold is one.
    let element = f
        .input(0, dtype)
        .cast(if dtype == DType::F64 { dtype } else { DType::F32 });
    let expr = f.result(element.gt(f64::from(threshold)).cast(dtype));
    Ok(vec![cx.elementwise(expr, &[x])?])
}

/// The features at the indices; a vector is one row.
fn extractor(cx: &mut Call) -> Results {
    let (x, indices) = (cx.input(0)?, cx.input(1)?);
    let x = match cx.rank(x) {
        0 => return Err(Fault::new("a scalar has no features")),
        1 => cx.unsqueeze(x, 0)?,
        _ => x,
    };
    let count = cx.ty(indices).elements();
    let indices = cx.reshape(indices, vec![count])?;
    let axis = cx.rank(x) - 1;
    Ok(vec![cx.emit(Op::Gather { axis }, &[x, indices])?])
}

/// The operands side by side, each cut or filled with zeros to its number of features.
fn vectorizer(cx: &mut Call) -> Results {
    let widths = cx.ints("inputdimensions")?.unwrap_or_default();
    let inputs = cx.inputs()?.len();
    if !widths.is_empty() && widths.len() != inputs {
        return Err(Fault::new(format!(
            "{} sizes in `inputdimensions` for {inputs} operands",
            widths.len()
        )));
    }
    let mut parts = Vec::new();
    for index in 0..inputs {
        let x = rows(cx, index)?;
        let x = cx.cast(x, DType::F32)?;
        parts.push(match widths.get(index) {
            Some(&width) => resized(cx, x, width)?,
            None => x,
        });
    }
    Ok(vec![cx.concat(&parts, 1)?])
}

fn resized(cx: &mut Call, x: ValueId, width: i64) -> Result<ValueId, Fault> {
    let shape = cx.shape(x);
    let excess = Dim::from(width) - shape[1].clone();
    let range = excess.range(&cx.graph.bounds);
    if width >= 0 && range.high <= 0 {
        return cx.narrow(x, 1, Dim::from(0i64), Dim::from(width));
    }
    if range.low < 0 || width > 1 << 30 {
        let shape = display_shape(&shape);
        return Err(Fault::new(format!(
            "`inputdimensions` = {width} for an operand of shape {shape}"
        )));
    }
    let zero = cx.number(0.0, DType::F32)?;
    let none = vec![Dim::from(0i64); 2];
    let after = vec![Dim::from(0i64), excess];
    cx.emit(
        Op::Pad {
            mode: PadMode::Constant,
            before: none,
            after,
        },
        &[x, zero],
    )
}
