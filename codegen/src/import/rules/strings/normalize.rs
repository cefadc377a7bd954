//! Removal of stop words and change of case.

use super::Results;
use super::case::{self, Case};
use crate::import::automaton::Automaton;
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::formula::Formula;
use crate::ir::infer::display_shape;
use crate::ir::{DType, FoldKind, Interval, Op, ValueId};

/// Without case, stop words and strings are compared in lower case. The locale is not used: case is that of Unicode.
pub(super) fn normalize(cx: &mut Call) -> Results {
    cx.string("locale", "")?;
    let (numbers, table) = cx.required_text(0)?;
    let action = match cx.string("case_change_action", "NONE")? {
        "NONE" => None,
        "LOWER" => Some(Case::Lower),
        "UPPER" => Some(Case::Upper),
        other => return cx.unsupported("case_change_action", other),
    };
    let sensitive = cx.flag("is_case_sensitive", false)?;
    let stopwords = cx.strings("stopwords")?.unwrap_or_default();
    let changed = match action {
        Some(case) => case::change(cx, table, case)?,
        None => table,
    };
    let shape = cx.shape(numbers);
    if shape.len() != 1 && !(shape.len() == 2 && shape[0].is(1)) {
        let shape = display_shape(&shape);
        return Err(Fault::new(format!(
            "strings of shape {shape}, where [n] or [1, n] is expected"
        )));
    }
    if stopwords.is_empty() {
        // The numbers are those of the operand, which has another table.
        let line = cx.reshape(numbers, vec![shape.iter().cloned().product()])?;
        let bytes = cx.bytes_of_text(line, changed)?;
        return Ok(vec![cx.rows_in_order(bytes, shape)?]);
    }
    let (compared, stopwords) = if sensitive {
        (table, stopwords)
    } else {
        (
            case::change(cx, table, Case::Lower)?,
            stopwords.iter().map(|word| Case::Lower.of_text(word)).collect(),
        )
    };
    let automaton = Automaton::of_words(stopwords.iter().map(|word| (word.as_bytes(), 0)), 1)?;
    let kept = cx.recognize(compared, &automaton)?;
    let kept = super::per_row(cx, numbers, kept)?;
    let count = shape.iter().cloned().product();
    let (numbers, kept) = (
        cx.reshape(numbers, vec![count])?,
        cx.reshape(kept, vec![shape[shape.len() - 1].clone()])?,
    );
    let (kept, table) = compacted(cx, numbers, kept, changed)?;
    let mut shape = shape;
    let last = shape.len() - 1;
    shape[last] = cx.shape(kept)[0].clone();
    let result = cx.reshape(kept, shape)?;
    Ok(vec![cx.numbering(result, table)])
}

/// The numbers `[n]` where `kept` is 1 rather than 0, one after another; a single empty string if there are none.
fn compacted(cx: &mut Call, numbers: ValueId, kept: ValueId, table: ValueId) -> Result<(ValueId, ValueId), Fault> {
    let length = cx.shape(numbers)[0].clone();
    let position = cx.emit(
        Op::CumSum {
            axis: 0,
            exclusive: true,
            reverse: false,
        },
        &[kept],
    )?;
    let total = Op::Reduce {
        kind: crate::ir::op::ReduceKind::Sum,
        axes: vec![0],
        keep_dims: false,
    };
    let total = cx.emit(total, &[kept])?;
    let f = Formula::new();
    let size = cx.elementwise(f.result(f.input(0, DType::I64).max(1)), &[total])?;
    let high = length.upper(&cx.graph.bounds).max(1);
    let size = cx.bind_scalar(size, Interval { low: 1, high })?;
    // An empty string comes after the rows of the table.
    let empty = cx.shape(table)[0].clone();
    let width = cx.width(table);
    let blank = cx.constant_table(&[""])?;
    let blank = cx.widened(blank, width)?;
    let table = cx.concat(&[table, blank], 0)?;
    let f = Formula::new();
    let [number, kept_here, place, none] = [0, 1, 2, 3].map(|operand| f.input(operand, DType::I64));
    let hit = kept_here.ne(0).and(place.eq(f.index(0)));
    let missing = none.eq(0).select(f.dim(&empty), f.number(0.0, DType::I64));
    // Exactly one string lands at each place, or there is the empty one only.
    let first = f.index(1).eq(0).select(missing, 0);
    let expr = f.result(hit.select(number, 0) + first);
    let op = Op::Fold {
        kind: FoldKind::Sum,
        expr,
        shape: vec![size],
        domain: vec![length],
    };
    let result = cx.emit(op, &[numbers, kept, position, total])?;
    Ok((result, table))
}
