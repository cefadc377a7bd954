//! Labels, categories and maps.

use std::collections::BTreeMap;

use super::{ML, Results};
use crate::import::automaton::Automaton;
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::formula::{Formula, Term};
use crate::import::rules::Rules;
use crate::import::rules::strings::per_row;
use crate::ir::{DType, Dim, Op, Tensor, UnaryOp, ValueId};

pub(in crate::import::rules) const RULES: Rules = &[
    (ML, "LabelEncoder", label_encoder),
    (ML, "CategoryMapper", category_mapper),
    (ML, "OneHotEncoder", one_hot),
    (ML, "ZipMap", zip_map),
    (ML, "DictVectorizer", |_| Err(map_operand())),
    (ML, "CastMap", |_| Err(map_operand())),
];

/// What is looked up.
pub(in crate::import::rules) enum Keys {
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Strings(Vec<Vec<u8>>),
}

impl Keys {
    /// The number of keys.
    pub(in crate::import::rules) fn len(&self) -> usize {
        match self {
            Keys::Ints(keys) => keys.len(),
            Keys::Floats(keys) => keys.len(),
            Keys::Strings(keys) => keys.len(),
        }
    }

    /// The place of each element of operand 0 among the keys, the last one of equal keys; their number for another one.
    pub(in crate::import::rules) fn places(&self, cx: &mut Call) -> Result<ValueId, Fault> {
        let (x, missing) = (cx.input(0)?, self.len() as i64);
        match (self, cx.text(0)) {
            (Keys::Strings(keys), Some((numbers, table))) => {
                let words = keys.iter().map(Vec::as_slice).zip(0..);
                let automaton = Automaton::of_words(words, missing)?;
                let places = cx.recognize(table, &automaton)?;
                per_row(cx, numbers, places)
            }
            (Keys::Strings(_), None) => Err(Fault::new(format!(
                "the keys are strings and the elements {}",
                cx.dtype(x)
            ))),
            (_, Some(_)) => Err(Fault::new("the elements are strings and the keys numbers")),
            (Keys::Ints(keys), None) => {
                let x = cx.cast(x, DType::I64)?;
                let sorted: BTreeMap<i64, i64> = keys.iter().copied().zip(0..).collect();
                let (keys, places): (Vec<_>, Vec<_>) = sorted.into_iter().unzip();
                let padded = padded(keys, i64::MAX);
                let keys = cx.constant(Tensor::new(vec![padded.len()], &padded));
                bisect(cx, x, (keys, padded.len()), places, None, missing)
            }
            (Keys::Floats(keys), None) => {
                let wide = if cx.dtype(x) == DType::F64 {
                    DType::F64
                } else {
                    DType::F32
                };
                let x = cx.cast(x, wide)?;
                let not_a_number = keys.iter().rposition(|key| key.is_nan()).map(|place| place as i64);
                // Both zeros are one key.
                let numbers = keys
                    .iter()
                    .map(|key| key + 0.0)
                    .zip(0..)
                    .filter(|(key, _)| !key.is_nan());
                let mut sorted: Vec<(f64, i64)> = numbers.collect();
                sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
                sorted.dedup_by(|later, kept| {
                    let same = later.0 == kept.0;
                    if same {
                        kept.1 = later.1;
                    }
                    same
                });
                let (keys, places): (Vec<_>, Vec<_>) = sorted.into_iter().unzip();
                let padded = padded(keys, f64::INFINITY);
                let keys = super::table(cx, vec![padded.len()], &padded, wide)?;
                bisect(cx, x, (keys, padded.len()), places, not_a_number, missing)
            }
        }
    }
}

/// Sorted keys with the largest value after them up to a power of two.
fn padded<T: Copy>(mut keys: Vec<T>, largest: T) -> Vec<T> {
    keys.resize(keys.len().next_power_of_two(), largest);
    keys
}

/// Looks elements up in sorted keys, of which there is a power of two, by bisection without branches.
fn bisect(
    cx: &mut Call,
    x: ValueId,
    (keys, count): (ValueId, usize),
    places: Vec<i64>,
    not_a_number: Option<i64>,
    missing: i64,
) -> Result<ValueId, Fault> {
    let known = places.len() as i64;
    let places = cx.constant(Tensor::new(vec![places.len()], &places));
    let dtype = cx.dtype(x);
    let f = Formula::new();
    let element = f.input(0, dtype);
    let found = search(&f, element, 1, count, dtype);
    let hit = f.at(1, found, dtype).eq(element).and(found.lt(known));
    let missing = f.number(missing as f64, DType::I64);
    let mut place = hit.select(f.at(2, found, DType::I64), missing);
    if let Some(key) = not_a_number {
        place = element
            .unary(UnaryOp::IsNan)
            .select(f.number(key as f64, DType::I64), place);
    }
    let shape = cx.shape(x);
    cx.emit(
        Op::Elementwise {
            expr: f.result(place),
            shape,
        },
        &[x, keys, places],
    )
}

/// The last place in sorted keys, of which there is a power of two, whose key is not above a term; 0 if there is none.
pub(in crate::import::rules) fn search<'f>(
    f: &'f Formula,
    wanted: Term<'f>,
    keys: usize,
    count: usize,
    dtype: DType,
) -> Term<'f> {
    let mut place = f.number(0.0, DType::I64);
    let mut step = count / 2;
    while step > 0 {
        let further = place + step as i64;
        place = f.at(keys, further, dtype).le(wanted).select(further, place);
        step /= 2;
    }
    place
}

/// The keys and values that attributes of one of several types give, whose names start alike.
fn keys(cx: &Call) -> Result<Keys, Fault> {
    if let Some(found) = cx.tensor("keys_tensor")? {
        return Ok(match &found.data {
            crate::frontend::TensorData::Strings(strings) => {
                Keys::Strings(strings.iter().map(|text| text.to_vec()).collect())
            }
            _ => {
                let tensor = crate::import::tensor(found)?;
                match (tensor.to_ints(), tensor.to_floats()) {
                    (Some(ints), _) => Keys::Ints(ints),
                    (_, Some(floats)) => Keys::Floats(floats),
                    _ => return Err(Fault::new(format!("keys of type {}", tensor.dtype))),
                }
            }
        });
    }
    if let Some(strings) = cx.strings("keys_strings")? {
        return Ok(Keys::Strings(strings.into_iter().map(String::into_bytes).collect()));
    }
    if let Some(ints) = cx.ints("keys_int64s")? {
        return Ok(Keys::Ints(ints));
    }
    match cx.floats("keys_floats")? {
        Some(_) => Ok(Keys::Floats(super::floats(cx, "keys_floats")?)),
        None => Err(Fault::new("there are no keys")),
    }
}

/// The results at the places of keys, and behind them the default.
enum Values {
    Numbers(Tensor),
    Strings(Vec<Vec<u8>>),
}

/// The values that attributes give, with the default behind them.
fn values(cx: &Call) -> Result<Values, Fault> {
    let (int, float) = (cx.int("default_int64", -1)?, cx.float("default_float", -0.0)?);
    let string = cx.string("default_string", "_Unused")?;
    if let Some(found) = cx.tensor("values_tensor")? {
        let default = cx.tensor("default_tensor")?;
        if let crate::frontend::TensorData::Strings(strings) = &found.data {
            let mut values: Vec<_> = strings.iter().map(|text| text.to_vec()).collect();
            values.push(match default.map(|tensor| &tensor.data) {
                Some(crate::frontend::TensorData::Strings(strings)) if strings.len() == 1 => strings[0].to_vec(),
                _ => string.as_bytes().to_vec(),
            });
            return Ok(Values::Strings(values));
        }
        let values = crate::import::tensor(found)?;
        let default = match default {
            Some(default) => crate::import::tensor(default)?.data.to_vec(),
            None if values.dtype.is_float() => vec![0; values.dtype.size()],
            None => vec![0xff; values.dtype.size()],
        };
        if default.len() != values.dtype.size() {
            return Err(Fault::new("the default has another type than the values"));
        }
        let bytes: Vec<u8> = values.data.iter().copied().chain(default).collect();
        return Ok(Values::Numbers(Tensor::from_bytes(
            values.dtype,
            vec![values.len() + 1],
            bytes.into(),
        )));
    }
    if let Some(strings) = cx.strings("values_strings")? {
        let values = strings.into_iter().map(String::into_bytes);
        return Ok(Values::Strings(values.chain([string.as_bytes().to_vec()]).collect()));
    }
    if let Some(mut ints) = cx.ints("values_int64s")? {
        ints.push(int);
        return Ok(Values::Numbers(Tensor::new(vec![ints.len()], &ints)));
    }
    match cx.floats("values_floats")? {
        Some(mut floats) => {
            floats.push(float);
            Ok(Values::Numbers(Tensor::new(vec![floats.len()], &floats)))
        }
        None => Err(Fault::new("there are no values")),
    }
}

/// Before version 2 the keys are the places of strings, and what is given for what depends on the elements.
fn label_encoder(cx: &mut Call) -> Results {
    let (keys, values) = if cx.version < 2 {
        let classes = cx.strings("classes_strings")?.unwrap_or_default();
        let places = (0..classes.len() as i64).collect();
        one_way(cx, places, classes)?
    } else {
        (keys(cx)?, values(cx)?)
    };
    mapped(cx, &keys, values)
}

/// From strings to integers or back, as the elements want it.
fn category_mapper(cx: &mut Call) -> Results {
    let ints = cx.ints("cats_int64s")?.unwrap_or_default();
    let strings = cx.strings("cats_strings")?.unwrap_or_default();
    let (keys, values) = one_way(cx, ints, strings)?;
    mapped(cx, &keys, values)
}

fn one_way(cx: &Call, mut ints: Vec<i64>, strings: Vec<String>) -> Result<(Keys, Values), Fault> {
    let (int, string) = (cx.int("default_int64", -1)?, cx.string("default_string", "_Unused")?);
    if ints.len() != strings.len() {
        return Err(Fault::new(format!(
            "{} integers for {} strings",
            ints.len(),
            strings.len()
        )));
    }
    let mut strings: Vec<_> = strings.into_iter().map(String::into_bytes).collect();
    Ok(if cx.text(0).is_some() {
        ints.push(int);
        (
            Keys::Strings(strings),
            Values::Numbers(Tensor::new(vec![ints.len()], &ints)),
        )
    } else {
        strings.push(string.as_bytes().to_vec());
        (Keys::Ints(ints), Values::Strings(strings))
    })
}

fn mapped(cx: &mut Call, keys: &Keys, values: Values) -> Results {
    let count = match &values {
        Values::Numbers(values) => values.len(),
        Values::Strings(values) => values.len(),
    };
    if count != keys.len() + 1 {
        return Err(Fault::new(format!("{} keys for {} values", keys.len(), count - 1)));
    }
    let places = keys.places(cx)?;
    Ok(vec![match values {
        Values::Numbers(values) => {
            let values = cx.constant(values);
            cx.emit(Op::Gather { axis: 0 }, &[values, places])?
        }
        Values::Strings(values) => {
            let table = cx.constant_table(&values)?;
            cx.numbering(places, table)
        }
    }])
}

/// One at the place of the category; what is in none is all zeros or ends the run with an error.
fn one_hot(cx: &mut Call) -> Results {
    let (ints, strings) = (cx.ints("cats_int64s")?, cx.strings("cats_strings")?);
    let keys = match (ints, strings) {
        (Some(ints), _) => Keys::Ints(ints),
        (None, Some(strings)) => Keys::Strings(strings.into_iter().map(String::into_bytes).collect()),
        (None, None) => return Err(Fault::new("there are no categories")),
    };
    let zeros = cx.flag("zeros", true)?;
    let places = keys.places(cx)?;
    let mut shape = cx.shape(places);
    let count = keys.len();
    if !zeros {
        let f = Formula::new();
        let expr = f.result(f.input(0, DType::I64).lt(count as i64));
        cx.assert_all(expr, shape.clone(), &[places], "every element is one of the categories")?;
    }
    let axis = shape.len();
    shape.push(Dim::from(count));
    let places = cx.unsqueeze(places, axis)?;
    let f = Formula::new();
    let expr = f.result(f.input(0, DType::I64).eq(f.index(axis)).cast(DType::F32));
    Ok(vec![cx.emit(Op::Elementwise { expr, shape }, &[places])?])
}

/// The scores stay a tensor `[rows, classes]`: the keys of the maps are the labels in the attributes, in this order, for
/// every row.
fn zip_map(cx: &mut Call) -> Results {
    let labels = super::classify::Labels::of(cx, "classlabels_int64s", "classlabels_strings")?;
    let x = cx.input(0)?;
    let shape = cx.shape(x);
    let columns = shape.last().cloned().unwrap_or(Dim::from(1i64));
    cx.equal(
        "the labels and the columns of the scores",
        &columns,
        &Dim::from(labels.len()),
    )?;
    Ok(vec![x])
}

fn map_operand() -> Fault {
    Fault::new("a map as operand is not supported")
        .help("give the model a tensor in the place of the map, one column for each key")
}
