//! Elementwise steps.

use super::function::Body;
use super::scalar::{self, Context};
use super::text::Code;
use crate::ir::{Dim, Expr, Scalar};
use crate::plan::kernel::Map;
use crate::plan::layout::dense_strides;
use crate::plan::storage_dtype;

pub(super) fn print(body: &mut Body<'_>, map: &Map) {
    body.cut();
    let dense = dense_strides(&map.shape);
    let is_dense = |strides: &[Dim]| {
        let axes = map.shape.iter().zip(strides).zip(&dense);
        axes.into_iter()
            .all(|((size, stride), dense)| stride == dense || size.is(1))
    };
    let out = body.roles.writes[0].clone();
    let reads: Vec<usize> = (0..map.operands.len())
        .filter(|&index| map.in_place != Some(index))
        .collect();
    if is_copy(&map.expr) && map.in_place.is_none() && is_dense(&map.output) && is_dense(&map.operands[0]) {
        body.writer
            .line(format!("{out}.copy_from_slice({});", body.roles.reads[0]));
        return;
    }
    body.imports.add("kernels::map", "Elementwise");
    let used = |index: usize| map.expr.nodes.iter().any(|node| node.op == Scalar::Input(index));
    let mut operands: Vec<Code> = Vec::new();
    let mut elements: Vec<String> = Vec::new();
    for (place, &index) in reads.iter().enumerate() {
        if !used(index) {
            continue;
        }
        let name = body.roles.reads[place].clone();
        let strides = &map.operands[index];
        elements.push(name.clone());
        operands.push(if is_dense(strides) {
            name.into()
        } else if strides
            .iter()
            .zip(&map.shape)
            .all(|(stride, size)| stride.is(0) || size.is(1))
        {
            body.imports.add("kernels::map", "Splat");
            format!("Splat({name}[0])").into()
        } else {
            body.imports.add("kernels::map", "Strided");
            let strides = strides_code(body, strides);
            let operand = Code::structure(
                "Strided",
                vec![format!("data: {name}").into(), with_name("strides: ", strides)],
            );
            if operand.one_line().is_none() {
                body.writer.code(&format!("let {name} = "), &operand, ";");
                name.into()
            } else {
                operand
            }
        });
    }
    let walked = reads.len();
    let mut axes: Vec<usize> = Vec::new();
    for node in &map.expr.nodes {
        if let Scalar::Index(axis) = node.op
            && !axes.contains(&axis)
        {
            axes.push(axis);
        }
    }
    for &axis in &axes {
        body.imports.add("kernels::map", "Index");
        operands.push(format!("Index {{ axis: {axis} }}").into());
        elements.push(format!("at{axis}"));
    }
    let roles = body.roles.reads.clone();
    let inputs = |index: usize| match reads.iter().position(|&read| read == index) {
        Some(place) => roles[place].clone(),
        None => "old".to_owned(),
    };
    let indices = |axis: usize| format!("at{axis}");
    let context = Context {
        inputs: &inputs,
        loads: &|load| roles[walked + load].clone(),
        indices: &indices,
        axes: &map.shape,
        sizes: body.sizes,
    };
    if !map.loads.is_empty() {
        body.imports.add("kernels::fold", "at");
    }
    let printed = scalar::body(&map.expr, &context);
    body.imports.expression(&map.expr);
    let items = tuple_text(&elements);
    let (method, parameters) = match map.in_place {
        Some(_) => ("update", format!("|old, {items}|")),
        None => ("map", format!("|{items}|")),
    };
    let shape = Code::array(map.shape.iter().map(|size| body.sizes.text(size).into()).collect());
    let mut arguments = vec![Code::from(out)];
    let method = if is_dense(&map.output) {
        method.to_owned()
    } else {
        arguments.push(strides_code(body, &map.output));
        format!("{method}_into")
    };
    arguments.push(shape);
    arguments.push(Code::tuple(operands));
    let call = closure_call(&format!("s.{method}"), arguments, &parameters, &printed);
    body.writer.code("", &call, ";");
}

/// A call whose last argument is a closure.
pub(super) fn closure_call(function: &str, arguments: Vec<Code>, parameters: &str, body: &scalar::Body) -> Code {
    if body.lets.is_empty() {
        let mut all = arguments.clone();
        all.push(format!("{parameters} {}", body.result).into());
        let call = Code::call(function, all);
        if call.one_line().is_some_and(|line| line.chars().count() < 100) {
            return call;
        }
    }
    let mut all = arguments;
    all.push(Code::Block {
        head: format!("{parameters} {{"),
        lines: body.lets.iter().cloned().chain([body.result.clone()]).collect(),
    });
    Code::call(function, all)
}

/// Names as a tuple pattern.
pub(super) fn tuple_text(names: &[String]) -> String {
    match names {
        [one] => format!("({one},)"),
        names => format!("({})", names.join(", ")),
    }
}

/// Strides are `isize`, sizes `usize`.
fn strides_code(body: &Body<'_>, strides: &[Dim]) -> Code {
    let text = |stride: &Dim| match stride.as_const() {
        Some(value) => value.to_string(),
        None => format!("{} as isize", body.sizes.atom(stride)),
    };
    Code::array(strides.iter().map(|stride| text(stride).into()).collect())
}

/// `name` before a list.
pub(super) fn with_name(name: &str, code: Code) -> Code {
    match code {
        Code::List {
            open,
            items,
            close,
            kind,
        } => Code::List {
            open: format!("{name}{open}"),
            items,
            close,
            kind,
        },
        Code::Text(text) => Code::Text(format!("{name}{text}")),
        block => block,
    }
}

fn is_copy(expr: &Expr) -> bool {
    let node = &expr.nodes[expr.result()];
    node.op == Scalar::Input(0) && storage_dtype(node.dtype) == storage_dtype(expr.dtype())
}
