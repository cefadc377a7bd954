//! What is done to the results of products and convolutions.

use super::function::Body;
use super::literal::{self, rust_type};
use super::map::{closure_call, tuple_text};
use super::scalar::{self, Context};
use super::text::Code;
use crate::ir::DType;
use crate::plan::kernel::EpilogueMap;

/// The argument for an epilogue that is the same in all iterations, printed before the loops.
pub(super) fn hoisted(body: &mut Body<'_>, first: usize, map: Option<&EpilogueMap>) -> Option<String> {
    let map = map?;
    is_fixed(body, first, map).then(|| epilogue(body, first, Some(map)))
}

/// Whether an epilogue whose first operand is the read `first` is the same in all iterations.
pub(super) fn is_fixed(body: &Body<'_>, first: usize, map: &EpilogueMap) -> bool {
    let fixed = |index: usize| {
        body.step.reads[first + index]
            .loop_strides
            .iter()
            .all(|stride| stride.is(0))
    };
    (0..map.operands.len()).all(fixed)
}

/// The argument for an epilogue, after a `let` of its closure. Its first operand is the read `first`.
pub(super) fn epilogue(body: &mut Body<'_>, first: usize, map: Option<&EpilogueMap>) -> String {
    named_epilogue(body, "epilogue", first, map)
}

/// The argument for an epilogue whose closure has a name.
pub(super) fn named_epilogue(body: &mut Body<'_>, name: &str, first: usize, epilogue: Option<&EpilogueMap>) -> String {
    body.imports.add("linear", "Epilogue");
    let Some(epilogue) = epilogue else {
        return "Epilogue::None".to_owned();
    };
    if let Some([low, high]) = epilogue.bounds() {
        return format!("Epilogue::Clamp({}, {})", literal::single(low), literal::single(high));
    }
    if closure(body, name, first, epilogue) {
        format!("Epilogue::at(&{name})")
    } else {
        format!("Epilogue::Each(&{name})")
    }
}

/// The `let` of the closure of an epilogue. Returns whether it uses the position of the run.
fn closure(body: &mut Body<'_>, name: &str, first: usize, epilogue: &EpilogueMap) -> bool {
    body.imports.add("kernels::map", "Elementwise");
    let mut slices = Vec::new();
    let mut operands: Vec<Code> = Vec::new();
    let mut elements: Vec<String> = Vec::new();
    let mut uses_position = false;
    for (index, operand) in epilogue.operands.iter().enumerate() {
        if !epilogue.uses(index) {
            continue;
        }
        let name = body.roles.reads[first + index].clone();
        let from = body.read(first + index);
        if from != name {
            body.writer.line(format!("let {name} = {from};"));
        }
        let row = match () {
            () if operand.row.is(0) => None,
            () if operand.row.is(1) => Some("at.row".to_owned()),
            () => Some(format!("at.row * {}", body.sizes.factor(&operand.row))),
        };
        uses_position |= operand.per_column || row.is_some();
        elements.push(name.clone());
        if operand.per_column {
            let start = row.map_or("at.column".to_owned(), |row| format!("{row} + at.column"));
            slices.push(format!("let {name} = &{name}[{start}..][..run.len()];"));
            operands.push(name.into());
        } else {
            body.imports.add("kernels::map", "Splat");
            operands.push(format!("Splat({name}[{}])", row.unwrap_or("0".into())).into());
        }
    }
    let printed = printed(body, first, epilogue);
    let at = if uses_position { ", at: Position" } else { "" };
    if uses_position {
        body.imports.add("linear", "Position");
    }
    body.writer.open(format!("let {name} = |run: &mut [f32]{at}| {{"));
    for slice in slices {
        body.writer.line(slice);
    }
    let parameters = format!("|acc, {}|", tuple_text(&elements));
    let arguments = vec!["run".into(), Code::tuple(operands)];
    let call = closure_call("s.apply", arguments, &parameters, &printed);
    body.writer.code("", &call, ";");
    body.writer.close("};");
    uses_position
}

/// `let convert = ...;`, what makes results of sums, if they are not the sums.
pub(super) fn conversion(body: &mut Body<'_>, first: usize, map: Option<&EpilogueMap>) {
    let Some(map) = map else { return };
    let (ty, old) = match map.in_place {
        true => ("Update", format!("old: {}, ", rust_type(map.expr.dtype()))),
        false => ("Each", String::new()),
    };
    body.imports.add("linear", ty);
    let Operands { values, names } = int8_operands(body, first, map);
    let parameters = format!("|{old}{}|", tuple_text(&[vec!["acc".to_owned()], names].concat()));
    let printed = printed(body, first, map);
    let call = closure_call(
        &format!("{ty}::new"),
        vec!["s".into(), Code::tuple(values)],
        &parameters,
        &printed,
    );
    body.writer.code("let convert = ", &call, ";");
}

/// The operands of an epilogue and the names of their elements.
struct Operands {
    values: Vec<Code>,
    names: Vec<String>,
}

/// The operands of what is made of sums.
fn int8_operands(body: &mut Body<'_>, first: usize, map: &EpilogueMap) -> Operands {
    let mut operands = Operands {
        values: Vec::new(),
        names: Vec::new(),
    };
    for (index, operand) in map.operands.iter().enumerate() {
        if !map.uses(index) {
            continue;
        }
        let (name, from) = (body.roles.reads[first + index].clone(), body.read(first + index));
        let (ty, row) = match (operand.per_column, operand.row.is(0)) {
            (true, true) => ("PerColumn", None),
            (true, false) => ("PerElement", Some(&operand.row)),
            (false, false) => ("PerRow", Some(&operand.row)),
            (false, true) => {
                body.imports.add("kernels::map", "Splat");
                operands.values.push(format!("Splat({from}[0])").into());
                operands.names.push(name);
                continue;
            }
        };
        body.imports.add("linear", ty);
        operands.values.push(match row {
            None => format!("{ty}({from})").into(),
            Some(row) => Code::call(ty, vec![from.into(), body.sizes.text(row).into()]),
        });
        operands.names.push(name);
    }
    operands
}

/// The expression of an epilogue, by the names of its operands.
fn printed(body: &mut Body<'_>, first: usize, map: &EpilogueMap) -> scalar::Body {
    let reads = body.roles.reads.clone();
    let inputs = |index: usize| match index {
        0 => "acc".to_owned(),
        index if map.in_place && index == map.operands.len() + 1 => "old".to_owned(),
        index => reads[first + index - 1].clone(),
    };
    let indices = |axis: usize| format!("at{axis}");
    let context = Context {
        inputs: &inputs,
        loads: &|_| String::new(),
        indices: &indices,
        axes: &[],
        sizes: body.sizes,
    };
    let printed = scalar::body(&map.expr, &context);
    body.imports.expression(&map.expr);
    printed
}

/// The argument for the result of an integer product.
pub(super) fn written(body: &mut Body<'_>, map: Option<&EpilogueMap>) -> String {
    body.imports.add("linear", "Sink");
    let out = body.write(0);
    match map {
        None => format!("Sink::Sums({out})"),
        Some(map) => format!("Sink::{}({out}, &convert)", sink(map)),
    }
}

/// The variant of `Sink` for results.
fn sink(map: &EpilogueMap) -> &'static str {
    match map.expr.dtype() {
        DType::F32 => "F32",
        DType::U8 => "U8",
        DType::I8 => "I8",
        DType::I32 => "I32",
        other => unreachable!("an integer product with results of {other}"),
    }
}
