//! Counts of n-grams.

use std::collections::BTreeMap;

use super::ml::encode::{Keys, search};
use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::formula::Formula;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, DType, Dim, Op, ScatterKind, Tensor, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[(ONNX, "TfIdfVectorizer", vectorizer)];

/// The n-grams as a tree: a node for every beginning of one. Node 0 is what no n-gram begins with, node 1 is the root.
struct Grams {
    /// The child of a node by the node and the number of an item in the pool.
    children: BTreeMap<(i64, i64), i64>,
    /// The column in which an n-gram that ends at a node counts; -1 for none.
    columns: Vec<i64>,
    /// The items, each once.
    items: Keys,
}

/// Lengths of n-grams and distances between their items.
struct Sizes {
    shortest: usize,
    longest: usize,
    skips: usize,
}

/// Each n-gram is followed through the tree from every item on, at every distance; what is found is counted by adding
/// ones where it belongs.
fn vectorizer(cx: &mut Call) -> Results {
    let sizes = Sizes {
        shortest: size(cx, "min_gram_length", 1)?,
        longest: size(cx, "max_gram_length", 1)?,
        skips: size(cx, "max_skip_count", 0)?,
    };
    let indexes = cx.ints("ngram_indexes")?.unwrap_or_default();
    let columns = match indexes.iter().max() {
        Some(&last) if last < 1 << 30 && indexes.iter().all(|&index| index >= 0) => last + 1,
        _ => return Err(Fault::new("`ngram_indexes` are no columns")),
    };
    let grams = grams(cx, &sizes, &indexes)?;
    let x = cx.input(0)?;
    let shape = cx.shape(x);
    let (rows, length) = match shape.as_slice() {
        [] => (Dim::from(1i64), Dim::from(1i64)),
        [length] => (Dim::from(1i64), length.clone()),
        [rows, length] => (rows.clone(), length.clone()),
        shape => return Err(Fault::new(format!("items of shape {}", display_shape(shape)))),
    };
    let items = grams.items.places(cx)?;
    let items = cx.reshape(items, vec![rows.clone(), length.clone()])?;

    let zero = cx.number(0.0, DType::F32)?;
    let total = vec![rows.clone(), Dim::from(columns)];
    let mut counts = cx.emit(Op::Broadcast { shape: total }, &[zero])?;
    let one = cx.number(1.0, DType::F32)?;
    let ones = cx.emit(
        Op::Broadcast {
            shape: vec![rows.clone(), length],
        },
        &[one],
    )?;
    for distance in 1..=sizes.skips + 1 {
        // Single items have no distance and are counted once.
        let shortest = if distance == 1 {
            sizes.shortest
        } else {
            sizes.shortest.max(2)
        };
        if shortest > sizes.longest {
            break;
        }
        let places = ends(cx, items, &grams, &sizes, distance)?;
        for (length, place) in places.into_iter().enumerate() {
            if length + 1 >= shortest {
                let place = cell(cx, place, &grams, columns)?;
                counts = cx.emit(Op::Scatter { kind: ScatterKind::Add }, &[counts, place, ones])?;
            }
        }
    }
    let mut result = weighted(cx, counts, &indexes, columns)?;
    if shape.len() < 2 {
        result = cx.reshape(result, vec![Dim::from(columns)])?;
    }
    Ok(vec![result])
}

fn size(cx: &Call, name: &'static str, least: usize) -> Result<usize, Fault> {
    let value = cx.optional_int(name)?.unwrap_or(-1);
    let found = usize::try_from(value).ok().filter(|size| (least..=256).contains(size));
    found.ok_or_else(|| {
        Fault::new(format!(
            "`{name}` = {value}, where a size from {least} to 256 is expected"
        ))
    })
}

fn grams(cx: &Call, sizes: &Sizes, indexes: &[i64]) -> Result<Grams, Fault> {
    let (ints, strings) = (cx.ints("pool_int64s")?, cx.strings("pool_strings")?);
    // Each item of the pool as the number of the first equal one.
    let (numbers, items) = match (ints, strings) {
        (Some(ints), None) => {
            let (numbers, items) = numbered(ints);
            (numbers, Keys::Ints(items))
        }
        (None, Some(strings)) => {
            let (numbers, items) = numbered(strings.into_iter().map(String::into_bytes).collect());
            (numbers, Keys::Strings(items))
        }
        _ => return Err(Fault::new("the pool must have either integers or strings")),
    };
    let starts = cx.ints("ngram_counts")?.unwrap_or_default();
    let (mut children, mut columns) = (BTreeMap::new(), vec![-1; 2]);
    let mut gram = 0;
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(numbers.len() as i64);
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let part = range.and_then(|(start, end)| numbers.get(start..end));
        let part =
            part.ok_or_else(|| Fault::new(format!("`ngram_counts` = {starts:?} for a pool of {}", numbers.len())))?;
        let length = i + 1;
        for items in part.chunks_exact(length) {
            let column = indexes.get(gram).copied();
            let column = column.ok_or_else(|| Fault::new("there are fewer `ngram_indexes` than n-grams"))?;
            gram += 1;
            if !(sizes.shortest..=sizes.longest).contains(&length) {
                continue;
            }
            let mut node = 1;
            for &item in items {
                let fresh = columns.len() as i64;
                node = *children.entry((node, item)).or_insert(fresh);
                if node == fresh {
                    columns.push(-1);
                }
            }
            columns[node as usize] = column;
        }
    }
    Ok(Grams {
        children,
        columns,
        items,
    })
}

/// The number of each element among the distinct ones, and these.
fn numbered<T: Ord + Clone>(elements: Vec<T>) -> (Vec<i64>, Vec<T>) {
    let mut known: BTreeMap<T, i64> = BTreeMap::new();
    let mut distinct = Vec::new();
    let numbers = elements.into_iter().map(|element| {
        *known.entry(element.clone()).or_insert_with(|| {
            distinct.push(element);
            distinct.len() as i64 - 1
        })
    });
    (numbers.collect(), distinct)
}

/// For each length of n-grams, the node that is reached from each item on.
fn ends(cx: &mut Call, items: ValueId, grams: &Grams, sizes: &Sizes, distance: usize) -> Result<Vec<ValueId>, Fault> {
    let pool = grams.items.len() as i64 + 1;
    let (mut keys, mut nodes): (Vec<i64>, Vec<i64>) = grams
        .children
        .iter()
        .map(|(&(node, item), &child)| (node * pool + item, child))
        .unzip();
    let count = keys.len().next_power_of_two();
    keys.resize(count, i64::MAX);
    nodes.resize(count, 0);
    let keys = cx.constant(Tensor::new(vec![count], &keys));
    let nodes = cx.constant(Tensor::new(vec![count], &nodes));
    let shape = cx.shape(items);
    let mut results = Vec::new();
    let mut node = cx.number(1.0, DType::I64)?;
    for step in 0..sizes.longest {
        let f = Formula::new();
        let (row, start) = (f.index(0), f.index(1));
        let place = start + (step * distance) as i64;
        let item = f.at(3, row * f.dim(&shape[1]) + place, DType::I64);
        let wanted = f.input(0, DType::I64) * pool + item;
        let found = search(&f, wanted, 1, count, DType::I64);
        let hit = f.at(1, found, DType::I64).eq(wanted).and(place.lt(f.dim(&shape[1])));
        let expr = f.result(hit.select(f.at(2, found, DType::I64), 0));
        node = cx.emit(
            Op::Elementwise {
                expr,
                shape: shape.clone(),
            },
            &[node, keys, nodes, items],
        )?;
        results.push(node);
    }
    Ok(results)
}

/// The cell of the result in which the n-gram of a node counts; -1 for none.
fn cell(cx: &mut Call, node: ValueId, grams: &Grams, columns: i64) -> Result<ValueId, Fault> {
    let of_node = cx.constant(Tensor::new(vec![grams.columns.len()], &grams.columns));
    let shape = cx.shape(node);
    let f = Formula::new();
    let column = f.at(1, f.input(0, DType::I64), DType::I64);
    let expr = f.result(column.lt(0).select(column, f.index(0) * columns + column));
    cx.emit(Op::Elementwise { expr, shape }, &[node, of_node])
}

/// Counts, or whether there are any, times the weights of the n-grams that count in the columns.
fn weighted(cx: &mut Call, counts: ValueId, indexes: &[i64], columns: i64) -> Result<ValueId, Fault> {
    let weights = cx.floats("weights")?;
    let counts = match cx.string("mode", "")? {
        "TF" => return Ok(counts),
        "TFIDF" => counts,
        "IDF" => {
            let f = Formula::new();
            let expr = f.result(f.input(0, DType::F32).gt(0.0).cast(DType::F32));
            cx.elementwise(expr, &[counts])?
        }
        other => return cx.unsupported("mode", other),
    };
    let Some(weights) = weights else { return Ok(counts) };
    if weights.len() != indexes.len() {
        return Err(Fault::new(format!(
            "{} weights for {} n-grams",
            weights.len(),
            indexes.len()
        )));
    }
    let mut of_columns = vec![0f32; columns as usize];
    for (&index, weight) in indexes.iter().zip(weights) {
        of_columns[index as usize] = weight;
    }
    let of_columns = cx.constant(Tensor::new(vec![of_columns.len()], &of_columns));
    cx.binary(BinaryOp::Mul, counts, of_columns)
}
