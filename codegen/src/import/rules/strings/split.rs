//! Strings cut at a delimiter.
//!
//! For each byte of each string it is computed to which piece it belongs and at which place in it, and the bytes are
//! scattered there.

use super::{Results, byte};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::formula::{Formula, Term};
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, DType, Dim, FoldKind, Interval, Op, ScatterKind, Tensor, ValueId};

/// Where the bytes of a table `[rows, width]` go.
struct Pieces {
    /// The piece to which a byte belongs; -1 for bytes of delimiters and behind the string.
    piece: ValueId,
    /// The place in the piece at which the first byte of the table would be.
    start: ValueId,
    /// The number of pieces `[rows]`.
    count: ValueId,
    /// The largest number of pieces.
    most: usize,
}

pub(super) fn split(cx: &mut Call) -> Results {
    let (numbers, table) = cx.required_text(0)?;
    let delimiter = cx.string("delimiter", "")?;
    let limit = match cx.optional_int("maxsplit")? {
        Some(limit) if limit >= 0 => limit,
        _ => i64::MAX >> 1,
    };
    // A row for each element, because the pieces of all of them are in one table.
    let shape = cx.shape(numbers);
    let line = cx.reshape(numbers, vec![shape.iter().cloned().product()])?;
    let table = cx.bytes_of_text(line, table)?;
    let pieces = if delimiter.is_empty() {
        words(cx, table, limit)?
    } else {
        between(cx, table, delimiter.as_bytes(), limit)?
    };
    let (rows, width) = (cx.shape(table)[0].clone(), cx.width(table));
    let f = Formula::new();
    let expr = f.result(f.at(0, f.index(0), DType::I64));
    let op = Op::Fold {
        kind: FoldKind::Max,
        expr,
        shape: Vec::new(),
        domain: vec![rows.clone()],
    };
    let most = cx.emit(op, &[pieces.count])?;
    // The largest of no counts is the least integer.
    let f = Formula::new();
    let most = cx.elementwise(f.result(f.input(0, DType::I64).max(0)), &[most])?;
    let size = cx.bind_scalar(
        most,
        Interval {
            low: 0,
            high: pieces.most as i64,
        },
    )?;

    let f = Formula::new();
    let (piece, start) = (f.input(0, DType::I64), f.input(1, DType::I64));
    let place = ((f.index(0) * f.dim(&size) + piece) * width as i64) + f.index(1) - start;
    let place = f.result(piece.lt(0).select(f.number(-1.0, DType::I64), place));
    let places = cx.elementwise(place, &[pieces.piece, pieces.start])?;
    let zero = cx.number(0.0, DType::U8)?;
    let target = vec![rows * size.clone(), Dim::from(width)];
    let zeros = cx.emit(Op::Broadcast { shape: target }, &[zero])?;
    let parts = cx.emit(
        Op::Scatter {
            kind: ScatterKind::Replace,
        },
        &[zeros, places, table],
    )?;
    let counts = cx.reshape(pieces.count, shape.clone())?;
    let mut shape = shape;
    shape.push(size);
    Ok(vec![cx.rows_in_order(parts, shape)?, counts])
}

/// The sum of `x` along the bytes, up to and with each one.
fn running(cx: &mut Call, x: ValueId) -> Result<ValueId, Fault> {
    cx.emit(
        Op::CumSum {
            axis: 1,
            exclusive: false,
            reverse: false,
        },
        &[x],
    )
}

fn total(cx: &mut Call, x: ValueId) -> Result<ValueId, Fault> {
    cx.emit(
        Op::Reduce {
            kind: ReduceKind::Sum,
            axes: vec![1],
            keep_dims: false,
        },
        &[x],
    )
}

/// For each byte, the largest value up to it of a term of the byte's place, 0 if it is never larger.
fn largest_so_far(
    cx: &mut Call,
    flags: ValueId,
    value: impl for<'f> Fn(Term<'f>) -> Term<'f>,
) -> Result<ValueId, Fault> {
    let shape = cx.shape(flags);
    let width = shape[1].clone();
    let f = Formula::new();
    let (row, here, place) = (f.index(0), f.index(1), f.index(2));
    let flag = f.at(0, row * f.dim(&width) + place, DType::I64);
    let counts = flag.ne(0).and(place.le(here));
    let expr = f.result(counts.select(value(place), 0));
    cx.emit(
        Op::Fold {
            kind: FoldKind::Max,
            expr,
            shape,
            domain: vec![width],
        },
        &[flags],
    )
}

/// Whether a byte is a space, a tabulator or the end of a line.
fn is_blank(byte: Term<'_>) -> Term<'_> {
    byte.eq(0x20).or(byte.ge(0x09).and(byte.le(0x0D)))
}

/// Pieces separated by white space, none of them empty. The last piece of a limited number has the rest of the string.
fn words(cx: &mut Call, table: ValueId, limit: i64) -> Result<Pieces, Fault> {
    let (shape, width) = (cx.shape(table), cx.width(table));
    let f = Formula::new();
    let at = |offset: i64| byte(&f, 0, width, f.index(0), f.index(1) + offset);
    let (own, before) = (at(0), at(-1));
    let starts = own
        .ne(0)
        .and(is_blank(own).not())
        .and(before.eq(0).or(is_blank(before)));
    let expr = f.result(starts.cast(DType::I64));
    let starts = cx.emit(
        Op::Elementwise {
            expr,
            shape: shape.clone(),
        },
        &[table],
    )?;
    let begun = running(cx, starts)?;
    let f = Formula::new();
    let counted = f
        .input(0, DType::I64)
        .ne(0)
        .and(f.input(1, DType::I64).le(limit.saturating_add(1)));
    let starts = cx.elementwise(f.result(counted.cast(DType::I64)), &[starts, begun])?;
    let start = largest_so_far(cx, starts, |place| place)?;
    let f = Formula::new();
    let own = byte(&f, 1, width, f.index(0), f.index(1));
    let piece = f.input(0, DType::I64) - 1i64;
    let rest = piece.ge(limit);
    let belongs = own.ne(0).and(piece.ge(0)).and(rest.or(is_blank(own).not()));
    let expr = f.result(belongs.select(piece.min(limit), -1));
    let piece = cx.emit(Op::Elementwise { expr, shape }, &[begun, table])?;
    let count = total(cx, starts)?;
    let most = usize::try_from(limit)
        .map_or(usize::MAX, |limit| limit.saturating_add(1))
        .min(width.div_ceil(2));
    Ok(Pieces {
        piece,
        start,
        count,
        most,
    })
}

/// Pieces between occurrences of a delimiter, which may be empty.
fn between(cx: &mut Call, table: ValueId, delimiter: &[u8], limit: i64) -> Result<Pieces, Fault> {
    let (shape, width, length) = (cx.shape(table), cx.width(table), delimiter.len() as i64);
    let bytes = cx.constant(Tensor::new(vec![delimiter.len()], delimiter));
    let f = Formula::new();
    let offset = f.index(2);
    let here = byte(&f, 0, width, f.index(0), f.index(1) + offset);
    let expr = f.result(here.eq(f.at(1, offset, DType::U8)));
    let domain = vec![Dim::from(delimiter.len())];
    let op = Op::Fold {
        kind: FoldKind::Min,
        expr,
        shape: shape.clone(),
        domain,
    };
    let hits = cx.emit(op, &[table, bytes])?;
    let mut hits = cx.cast(hits, DType::I64)?;
    if overlaps(delimiter) {
        hits = first_of_overlapping(cx, hits, length)?;
    }
    let so_far = running(cx, hits)?;
    let f = Formula::new();
    let counted = f.input(0, DType::I64).ne(0).and(f.input(1, DType::I64).le(limit));
    let hits = cx.elementwise(f.result(counted.cast(DType::I64)), &[hits, so_far])?;
    // A piece starts behind a delimiter; its bytes are those from there on that no later delimiter has.
    let start = largest_so_far(cx, hits, |place| place + length)?;
    let so_far = running(cx, hits)?;
    let f = Formula::new();
    let own = byte(&f, 2, width, f.index(0), f.index(1));
    let belongs = own.ne(0).and(f.index(1).ge(f.input(1, DType::I64)));
    let expr = f.result(belongs.select(f.input(0, DType::I64), -1));
    let piece = cx.emit(Op::Elementwise { expr, shape }, &[so_far, start, table])?;
    let hits = total(cx, hits)?;
    let one = cx.number(1.0, DType::I64)?;
    let count = cx.binary(BinaryOp::Add, hits, one)?;
    let most = usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .min(width / delimiter.len())
        .saturating_add(1);
    Ok(Pieces {
        piece,
        start,
        count,
        most,
    })
}

/// Whether two occurrences of a word can share bytes.
fn overlaps(word: &[u8]) -> bool {
    (1..word.len()).any(|size| word.starts_with(&word[word.len() - size..]))
}

/// The occurrences that are left when each one, from the first on, excludes those that begin in it.
fn first_of_overlapping(cx: &mut Call, hits: ValueId, length: i64) -> Result<ValueId, Fault> {
    let shape = cx.shape(hits);
    let width = shape[1].clone();
    let rounds = width.as_usize().unwrap_or(0);
    cx.repeat(rounds, hits, |b, round, hits| {
        let f = Formula::new();
        let (flag, here, now) = (f.input(0, DType::I64), f.index(1), f.input(1, DType::I64));
        let chosen = f.at(2, f.index(0) * f.dim(&width) + now, DType::I64).ne(0);
        let excluded = chosen.and(here.gt(now)).and(here.lt(now + length));
        let expr = f.result(excluded.select(f.number(0.0, DType::I64), flag));
        Ok((b.emit(Op::Elementwise { expr, shape }, &[hits, round, hits])?, None))
    })
}
