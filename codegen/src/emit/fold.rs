//! Steps that compute element by element, updates at computed places, and sorting.

use super::function::Body;
use super::literal;
use super::rows::call;
use super::scalar::{self, Context};
use super::text::Code;
use crate::ir::op::{FoldKind, ScatterKind};
use crate::ir::{BinaryOp, DType, Dim, Expr, Literal, Scalar};
use crate::plan::kernel::Fold;
use crate::plan::storage_dtype;

pub(super) fn print(body: &mut Body<'_>, fold: &Fold) {
    body.cut();
    let axes = [fold.shape.as_slice(), &fold.domain].concat();
    let roles = body.roles.reads.clone();
    let context = Context {
        inputs: &|number| roles[number].clone(),
        loads: &|load| roles[load].clone(),
        indices: &|axis| format!("at{axis}"),
        axes: &axes,
        sizes: body.sizes,
    };
    let value = scalar::body(&fold.expr, &context);
    body.imports.expression(&fold.expr);
    if !fold.loads.is_empty() {
        body.imports.add("kernels::fold", "at");
    }
    let list = |sizes: &[Dim]| Code::array(sizes.iter().map(|size| body.sizes.text(size).into()).collect());
    let coordinates = |range: std::ops::Range<usize>| {
        let used = |axis: usize| fold.expr.nodes.iter().any(|node| node.op == Scalar::Index(axis));
        if range.clone().all(|axis| !used(axis)) {
            return "_".to_owned();
        }
        let names: Vec<String> = range
            .map(|axis| if used(axis) { format!("at{axis}") } else { "_".into() })
            .collect();
        format!("[{}]", names.join(", "))
    };
    let rank = fold.shape.len();
    let mut arguments = vec![Code::from(body.roles.writes[0].as_str()), list(&fold.shape)];
    let here = coordinates(0..rank);
    let divided = body.step.is_divided();
    if divided {
        body.imports.add("kernels::fold", "Folding");
    }
    let Some(kind) = fold.kind else {
        if !divided {
            body.imports.add("kernels::fold", "generate");
        }
        let function = if divided { "s.generate" } else { "generate" };
        let code = super::map::closure_call(function, arguments, &format!("|{here}|"), &value);
        return body.writer.code("", &code, ";");
    };
    if !divided {
        body.imports.add("kernels::fold", "fold");
    }
    arguments.push(list(&fold.domain));
    let dtype = fold.expr.dtype();
    arguments.push(start(kind, dtype).into());
    let domain = coordinates(rank..axes.len());
    arguments.push(closure(&format!("|{here}, {domain}|"), &value));
    let (operation, names) = (combined(kind, dtype), ["so_far", "x"]);
    let combine = Expr::binary(operation, dtype);
    let context = Context {
        inputs: &|number| names[number].to_owned(),
        loads: &|_| String::new(),
        indices: &|_| String::new(),
        axes: &[],
        sizes: body.sizes,
    };
    let combined = scalar::body(&combine, &context);
    body.imports.expression(&combine);
    arguments.push(closure("|so_far, x|", &combined));
    body.writer
        .code("", &Code::call(if divided { "s.fold" } else { "fold" }, arguments), ";");
}

/// A closure as an argument.
fn closure(parameters: &str, body: &scalar::Body) -> Code {
    if body.lets.is_empty() {
        return format!("{parameters} {}", body.result).into();
    }
    Code::Block {
        head: format!("{parameters} {{"),
        lines: body.lets.iter().cloned().chain([body.result.clone()]).collect(),
    }
}

/// What two values of a domain become.
fn combined(kind: FoldKind, dtype: DType) -> BinaryOp {
    match (kind, dtype) {
        (FoldKind::Sum, _) => BinaryOp::Add,
        (FoldKind::Prod, _) => BinaryOp::Mul,
        (FoldKind::Max, DType::Bool) => BinaryOp::Or,
        (FoldKind::Min, DType::Bool) => BinaryOp::And,
        (FoldKind::Max, _) => BinaryOp::Max,
        (FoldKind::Min, _) => BinaryOp::Min,
    }
}

/// What a domain without values gives.
fn start(kind: FoldKind, dtype: DType) -> String {
    let float = |value: f64| literal::constant(Literal::Float(value), dtype).0;
    let limit = |name: &str| format!("{}::{name}", literal::rust_type(dtype));
    match (kind, dtype) {
        (FoldKind::Max, DType::Bool) => "0".into(),
        (FoldKind::Min, DType::Bool) => "1".into(),
        (FoldKind::Sum, _) if dtype.is_float() => float(0.0),
        (FoldKind::Prod, _) if dtype.is_float() => float(1.0),
        (FoldKind::Max, _) if dtype.is_float() => float(f64::NEG_INFINITY),
        (FoldKind::Min, _) if dtype.is_float() => float(f64::INFINITY),
        (FoldKind::Sum, _) => "0".into(),
        (FoldKind::Prod, _) => "1".into(),
        (FoldKind::Max, _) => limit("MIN"),
        (FoldKind::Min, _) => limit("MAX"),
    }
}

pub(super) fn scatter(body: &mut Body<'_>, kind: ScatterKind) {
    body.cut();
    body.imports.add("kernels", "order");
    let (out, data) = (body.roles.writes[0].clone(), body.roles.reads[0].clone());
    body.writer.line(format!("{out}.copy_from_slice({data});"));
    let stored = body.step.writes[0].dtype;
    let dtype = body.step.results.first().map_or(stored, |ty| ty.dtype);
    debug_assert_eq!(storage_dtype(dtype), stored);
    let combine = match kind {
        ScatterKind::Replace => "|_, new| new".into(),
        _ => {
            let operation = match (kind, dtype) {
                (ScatterKind::Max, DType::Bool) => BinaryOp::Or,
                (ScatterKind::Min, DType::Bool) => BinaryOp::And,
                (ScatterKind::Mul, _) => BinaryOp::Mul,
                (ScatterKind::Max, _) => BinaryOp::Max,
                (ScatterKind::Min, _) => BinaryOp::Min,
                _ => BinaryOp::Add,
            };
            let (expr, names) = (Expr::binary(operation, dtype), ["old", "new"]);
            let context = Context {
                inputs: &|number| names[number].to_owned(),
                loads: &|_| String::new(),
                indices: &|_| String::new(),
                axes: &[],
                sizes: body.sizes,
            };
            body.imports.expression(&expr);
            closure("|old, new|", &scalar::body(&expr, &context))
        }
    };
    let mut arguments: Vec<Code> = [&out, &body.roles.reads[1], &body.roles.reads[2]]
        .map(|name| Code::from(name.as_str()))
        .to_vec();
    arguments.push(combine);
    body.writer.code("", &Code::call("order::scatter", arguments), ";");
}

pub(super) fn sort(body: &mut Body<'_>, descending: bool, size: &Dim) {
    body.cut();
    body.imports.add("kernels", "order");
    let (out, x) = (body.roles.writes[0].clone(), body.roles.reads[0].clone());
    let size = body.sizes.text(size);
    call(body, "order::sort", &[&out, &x, &size, &descending.to_string()]);
}
