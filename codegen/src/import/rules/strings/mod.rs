//! Operators on strings, which are rows of bytes in a table.

mod case;
mod normalize;
mod split;

use super::{ONNX, Rules};
use crate::import::automaton::Automaton;
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::formula::{Formula, Term};
use crate::ir::{DType, Dim, FoldKind, Op, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "StringConcat", concat),
    (ONNX, "StringSplit", split::split),
    (ONNX, "StringNormalizer", normalize::normalize),
    (ONNX, "RegexFullMatch", full_match),
];

/// The byte of operand `table`, which is `width` wide, in a row at a place; zero behind the string.
fn byte<'f>(f: &'f Formula, table: usize, width: usize, row: Term<'f>, place: Term<'f>) -> Term<'f> {
    let inside = place.ge(0).and(place.lt(width as i64));
    let found = f.at(table, row * width as i64 + place, DType::U8);
    inside.select(found, 0)
}

/// The numbers of both operands, broadcast to one shape.
fn broadcast(cx: &mut Call, a: ValueId, b: ValueId) -> Result<(Vec<Dim>, ValueId, ValueId), Fault> {
    let shape = cx.broadcast_shape(&[a, b])?;
    let a = cx.emit(Op::Broadcast { shape: shape.clone() }, &[a])?;
    let b = cx.emit(Op::Broadcast { shape: shape.clone() }, &[b])?;
    Ok((shape, a, b))
}

/// Whether strings are equal, byte by byte.
pub(super) fn equal(cx: &mut Call) -> Results {
    let ((a, a_table), (b, b_table)) = (cx.required_text(0)?, cx.required_text(1)?);
    let (a_width, b_width) = (cx.width(a_table), cx.width(b_table));
    let (shape, a, b) = broadcast(cx, a, b)?;
    let f = Formula::new();
    let place = f.index(shape.len());
    let left = byte(&f, 2, a_width, f.input(0, DType::I64), place);
    let right = byte(&f, 3, b_width, f.input(1, DType::I64), place);
    let domain = vec![Dim::from(a_width.max(b_width))];
    let expr = f.result(left.eq(right));
    let mut inner = shape.clone();
    inner.push(Dim::from(1i64));
    let (a, b) = (cx.reshape(a, inner.clone())?, cx.reshape(b, inner)?);
    let op = Op::Fold {
        kind: FoldKind::Min,
        expr,
        shape,
        domain,
    };
    Ok(vec![cx.emit(op, &[a, b, a_table, b_table])?])
}

fn concat(cx: &mut Call) -> Results {
    let ((a, a_table), (b, b_table)) = (cx.required_text(0)?, cx.required_text(1)?);
    let (a_width, b_width) = (cx.width(a_table), cx.width(b_table));
    let lengths = cx.lengths(a_table)?;
    let (shape, a, b) = broadcast(cx, a, b)?;
    let column = vec![shape.iter().cloned().product(), Dim::from(1i64)];
    let (a, b) = (cx.reshape(a, column.clone())?, cx.reshape(b, column.clone())?);
    let f = Formula::new();
    let (a_row, b_row, place) = (f.input(0, DType::I64), f.input(1, DType::I64), f.index(1));
    let length = f.at(4, a_row, DType::I64);
    let first = byte(&f, 2, a_width, a_row, place);
    let second = byte(&f, 3, b_width, b_row, place - length);
    let expr = f.result(place.lt(length).select(first, second));
    let op = Op::Elementwise {
        expr,
        shape: vec![column[0].clone(), Dim::from(a_width + b_width)],
    };
    let table = cx.emit(op, &[a, b, a_table, b_table, lengths])?;
    Ok(vec![cx.rows_in_order(table, shape)?])
}

/// Numbers of a table's rows as the value that a vector `[rows]` has there.
pub(super) fn per_row(cx: &mut Call, numbers: ValueId, values: ValueId) -> Result<ValueId, Fault> {
    cx.emit(Op::Gather { axis: 0 }, &[values, numbers])
}

fn full_match(cx: &mut Call) -> Results {
    let (numbers, table) = cx.required_text(0)?;
    let automaton = Automaton::of_pattern(cx.string("pattern", "")?)?;
    let matches = cx.recognize(table, &automaton)?;
    let f = Formula::new();
    let matches = cx.elementwise(f.result(f.input(0, DType::I64).ne(0)), &[matches])?;
    Ok(vec![per_row(cx, numbers, matches)?])
}
