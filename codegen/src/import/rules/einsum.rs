//! Einstein summation, as diagonals, transpositions, sums and one matrix product per further operand.

use super::linear::matmul;
use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::op::ReduceKind;
use crate::ir::{Dim, Op, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[(ONNX, "Einsum", einsum)];

/// A tensor with a letter for each axis.
struct Term {
    value: ValueId,
    labels: Vec<char>,
}

fn einsum(cx: &mut Call) -> Results {
    let equation: String = cx
        .string("equation", "")?
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    let inputs = cx.inputs()?;
    let equation = with_letters(cx, &equation, &inputs)?;
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left.to_owned(), right.to_owned()),
        None => {
            // The result has the letters that occur once, in alphabetical order.
            let letters = equation.chars().filter(|c| *c != ',');
            let mut once: Vec<_> = letters
                .clone()
                .filter(|c| letters.clone().filter(|o| o == c).count() == 1 && !is_ellipsis(*c))
                .collect();
            once.sort_unstable();
            // The axes of ellipses come before them.
            let mut outer: Vec<_> = letters.filter(|c| is_ellipsis(*c)).collect();
            outer.sort_unstable();
            outer.dedup();
            (equation.clone(), outer.into_iter().chain(once).collect())
        }
    };
    let output: Vec<char> = right.chars().collect();
    let mut labels: Vec<Vec<char>> = left.split(',').map(|term| term.chars().collect()).collect();
    let invalid = || Fault::new(format!("the equation `{equation}` does not fit the operands"));
    let distinct = |labels: &[char]| labels.iter().enumerate().all(|(i, c)| !labels[..i].contains(c));
    if labels.len() != inputs.len() || output.iter().any(|c| !labels.iter().flatten().any(|o| o == c)) {
        return Err(invalid());
    }
    if !distinct(&output) {
        return Err(invalid());
    }
    let mut inputs = inputs;
    let mut sizes: Vec<(char, Dim)> = Vec::new();
    for (input, labels) in inputs.iter_mut().zip(&mut labels) {
        if cx.rank(*input) != labels.len() {
            return Err(invalid());
        }
        diagonal(cx, &equation, input, labels)?;
    }
    drop_broadcast(cx, &mut inputs, &mut labels)?;
    for (input, labels) in inputs.iter().zip(&labels) {
        let shape = cx.shape(*input);
        for (&label, size) in labels.iter().zip(&shape) {
            match sizes.iter().find(|(other, _)| *other == label) {
                Some((_, known)) => cx.equal(&format!("sizes of `{label}` in `{equation}`"), &known.clone(), size)?,
                None => sizes.push((label, size.clone())),
            }
        }
    }
    let mut result: Option<Term> = None;
    for (i, (&value, own)) in inputs.iter().zip(&labels).enumerate() {
        // A letter that nothing else needs is summed at once.
        let later = &labels[i + 1..];
        let term = Term {
            value,
            labels: own.clone(),
        };
        let needed_left: Vec<char> = match &result {
            Some(left) => left.labels.clone(),
            None => Vec::new(),
        };
        let wanted = |c: &char| output.contains(c) || later.iter().flatten().any(|o| o == c);
        let term = sum(cx, term, |c| wanted(c) || needed_left.contains(c))?;
        result = Some(match result {
            None => term,
            Some(left) => {
                let own = term.labels.clone();
                let left = sum(cx, left, |c| wanted(c) || own.contains(c))?;
                contract(cx, left, term, &wanted)?
            }
        });
    }
    let result = result.ok_or_else(invalid)?;
    let result = sum(cx, result, |c| output.contains(c))?;
    Ok(vec![arrange(cx, &result, &output)?])
}

/// The letters for the axes of ellipses, by their distance from the end of the ellipsis, in the order of the axes.
const ELLIPSIS: std::ops::RangeInclusive<char> = '\u{e000}'..='\u{e01f}';

fn is_ellipsis(letter: char) -> bool {
    ELLIPSIS.contains(&letter)
}

/// The equation with a letter for each axis that an ellipsis stands for. Those of several operands are the same from the
/// end.
fn with_letters(cx: &Call, equation: &str, inputs: &[ValueId]) -> Result<String, Fault> {
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation, None),
    };
    let letters = |count: usize| -> String { ELLIPSIS.skip(32 - count.min(32)).collect() };
    let mut most = 0;
    let terms: Vec<_> = left
        .split(',')
        .zip(inputs)
        .map(|(term, &input)| {
            let named = term.chars().filter(|c| *c != '.').count();
            let count = cx.rank(input).saturating_sub(named);
            if term.contains("...") {
                most = most.max(count);
            }
            term.replacen("...", &letters(count), 1)
        })
        .collect();
    let mut result = terms.join(",");
    if left.split(',').count() != inputs.len() {
        return Err(Fault::new(format!(
            "the equation `{equation}` for {} operands",
            inputs.len()
        )));
    }
    if let Some(right) = right {
        result = format!("{result}->{}", right.replacen("...", &letters(most), 1));
    }
    if result.contains('.') {
        return Err(Fault::new(format!(
            "the equation `{equation}` has more than one ellipsis in a term"
        )));
    }
    Ok(result)
}

/// Replaces axes of one letter by their diagonal.
fn diagonal(cx: &mut Call, equation: &str, input: &mut ValueId, labels: &mut Vec<char>) -> Result<(), Fault> {
    let mut distinct = labels.clone();
    let mut seen = Vec::new();
    distinct.retain(|c| {
        !seen.contains(c) && {
            seen.push(*c);
            true
        }
    });
    if distinct.len() == labels.len() {
        return Ok(());
    }
    let shape = cx.shape(*input);
    let place = |c: &char| distinct.iter().position(|other| other == c).unwrap_or(0);
    let mut sizes: Vec<Option<Dim>> = vec![None; distinct.len()];
    for (label, size) in labels.iter().zip(&shape) {
        match &mut sizes[place(label)] {
            Some(known) => cx.equal(&format!("sizes of `{label}` in `{equation}`"), known, size)?,
            empty => *empty = Some(size.clone()),
        }
    }
    let sizes = sizes.into_iter().flatten().collect();
    *input = cx.each(sizes, &[*input], |f| {
        let coordinates: Vec<_> = labels.iter().map(|label| f.index(place(label))).collect();
        f.load(0, &coordinates)
    })?;
    *labels = distinct;
    Ok(())
}

/// Drops axes of an ellipsis that have size 1 and broadcast against those of other operands.
fn drop_broadcast(cx: &mut Call, inputs: &mut [ValueId], labels: &mut [Vec<char>]) -> Result<(), Fault> {
    let mut wide = Vec::new();
    for (&input, labels) in inputs.iter().zip(labels.iter()) {
        let shape = cx.shape(input);
        wide.extend(
            (0..labels.len())
                .filter(|&axis| !shape[axis].is(1))
                .map(|axis| labels[axis]),
        );
    }
    for (input, labels) in inputs.iter_mut().zip(labels) {
        let shape = cx.shape(*input);
        let drop = |axis: usize| is_ellipsis(labels[axis]) && shape[axis].is(1) && wide.contains(&labels[axis]);
        let kept: Vec<_> = (0..labels.len()).filter(|&axis| !drop(axis)).collect();
        *input = cx.reshape(*input, kept.iter().map(|&axis| shape[axis].clone()).collect())?;
        *labels = kept.iter().map(|&axis| labels[axis]).collect();
    }
    Ok(())
}

/// Sums over the axes whose letters are not to be kept.
fn sum(cx: &mut Call, term: Term, keep: impl Fn(&char) -> bool) -> Result<Term, Fault> {
    let axes: Vec<_> = (0..term.labels.len())
        .filter(|&axis| !keep(&term.labels[axis]))
        .collect();
    if axes.is_empty() {
        return Ok(term);
    }
    let labels = term.labels.into_iter().filter(|c| keep(c)).collect();
    let value = cx.emit(
        Op::Reduce {
            kind: ReduceKind::Sum,
            axes,
            keep_dims: false,
        },
        &[term.value],
    )?;
    Ok(Term { value, labels })
}

/// The axes in the order of letters.
fn arrange(cx: &mut Call, term: &Term, order: &[char]) -> Result<ValueId, Fault> {
    let permutation = order
        .iter()
        .filter_map(|c| term.labels.iter().position(|own| own == c))
        .collect();
    cx.transpose(term.value, permutation)
}

/// The product of two terms, summed over the letters that both have and nobody wants.
fn contract(cx: &mut Call, left: Term, right: Term, wanted: &dyn Fn(&char) -> bool) -> Result<Term, Fault> {
    let select = |labels: &[char], test: &dyn Fn(&char) -> bool| -> Vec<char> {
        labels.iter().copied().filter(|c| test(c)).collect()
    };
    let batch = select(&left.labels, &|c| right.labels.contains(c) && wanted(c));
    let inner = select(&left.labels, &|c| right.labels.contains(c) && !wanted(c));
    let rows = select(&left.labels, &|c| !right.labels.contains(c));
    let columns = select(&right.labels, &|c| !left.labels.contains(c));
    let size = |cx: &Call, term: &Term, labels: &[char]| -> Vec<Dim> {
        let shape = cx.shape(term.value);
        labels
            .iter()
            .filter_map(|c| Some(shape[term.labels.iter().position(|own| own == c)?].clone()))
            .collect()
    };
    let (lead, row_sizes) = (size(cx, &left, &batch), size(cx, &left, &rows));
    let (inner_sizes, column_sizes) = (size(cx, &left, &inner), size(cx, &right, &columns));
    let product = |sizes: &[Dim]| sizes.iter().cloned().product::<Dim>();
    let matrix = |cx: &mut Call, term: &Term, order: [&[char]; 3], sizes: [&[Dim]; 2]| {
        let arranged = arrange(cx, term, &order.concat())?;
        let mut shape = lead.clone();
        shape.extend(sizes.map(product));
        cx.reshape(arranged, shape)
    };
    let a = matrix(cx, &left, [&batch, &rows, &inner], [&row_sizes, &inner_sizes])?;
    let b = matrix(cx, &right, [&batch, &inner, &columns], [&inner_sizes, &column_sizes])?;
    let value = matmul(cx, a, b)?;
    let value = cx.reshape(value, [lead, row_sizes, column_sizes].concat())?;
    Ok(Term {
        value,
        labels: [batch, rows, columns].concat(),
    })
}
