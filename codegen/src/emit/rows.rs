//! Operations along axes, and reading at indices.

use super::function::{Body, reports};
use super::literal;
use super::text::Code;
use crate::ir::Dim;
use crate::ir::op::ReduceKind;
use crate::plan::Kernel;

pub(super) fn print(body: &mut Body<'_>) {
    body.cut();
    let step = body.step;
    let (out, x) = (body.write(0), body.read(0));
    let array = |body: &Body<'_>, sizes: &[Dim]| -> String {
        let sizes: Vec<String> = sizes.iter().map(|size| body.sizes.text(size)).collect();
        format!("[{}]", sizes.join(", "))
    };
    match &step.kernel {
        Kernel::Reduce { kind, sizes } => reduce(body, *kind, sizes),
        Kernel::ArgReduce { largest, last, sizes } => {
            body.imports.add("kernels::reduce", "Extreme");
            body.imports.add("kernels::reduce", "Reduce");
            let extreme = if *largest { "Extreme::Max" } else { "Extreme::Min" };
            let shape = array(body, sizes);
            call(body, "s.arg", &[extreme, &last.to_string(), &out, &x, &shape]);
        }
        Kernel::CumSum {
            exclusive,
            reverse,
            sizes,
        } => {
            body.imports.add("kernels::reduce", "CumulativeSum");
            body.imports.add("kernels::reduce", "Reduce");
            let fields = vec![
                format!("exclusive: {exclusive}").into(),
                format!("reverse: {reverse}").into(),
            ];
            body.writer
                .code("let mode = ", &Code::structure("CumulativeSum", fields), ";");
            let shape = array(body, sizes);
            call(body, "s.cumulative_sum", &["mode", &out, &x, &shape]);
        }
        Kernel::Softmax { log, sizes } => {
            let method = if *log { "s.log_softmax" } else { "s.softmax" };
            let shape = array(body, sizes);
            call(body, method, &[&out, &format!("Some({x})"), &shape]);
        }
        Kernel::Normalize {
            rows,
            size,
            epsilon,
            rms,
            scale,
            bias,
        } => {
            body.imports.add("kernels::rows", "Affine");
            let part = |name: &str, there: bool| match there {
                true => format!("{name}: Some({name})").into(),
                false => format!("{name}: None").into(),
            };
            let fields = vec![part("scale", *scale), part("bias", *bias)];
            body.writer
                .code("let affine = ", &Code::structure("Affine", fields), ";");
            let method = if *rms { "s.rms_norm" } else { "s.layer_norm" };
            let shape = array(body, &[rows.clone(), size.clone()]);
            let epsilon = literal::single(*epsilon);
            call(body, method, &[&out, &format!("Some({x})"), &shape, &epsilon, "affine"]);
        }
        Kernel::Gather { sizes, .. } | Kernel::GatherElements { sizes, .. } => {
            let function = match step.kernel {
                Kernel::Gather { .. } if step.is_divided() => {
                    body.imports.add("kernels::gather", "Gathering");
                    "s.gather"
                }
                Kernel::Gather { .. } => "gather::gather",
                _ => "gather::gather_elements",
            };
            if !step.is_divided() {
                body.imports.add("kernels", "gather");
            }
            let shape = array(body, sizes);
            let arguments = [&out, &x, &body.read(1), &shape].map(|argument| Code::from(argument.as_str()));
            let (before, after) = if reports(step) {
                ("", "")
            } else {
                ("let _inside = ", ";")
            };
            body.writer
                .code(before, &Code::call(function, arguments.to_vec()), after);
        }
        _ => {}
    }
}

fn reduce(body: &mut Body<'_>, kind: ReduceKind, sizes: &[Dim; 3]) {
    for name in ["Reduce", "Reduction"] {
        body.imports.add("kernels::reduce", name);
    }
    body.imports.add("kernels::map", "Strided");
    let reduction = match kind {
        ReduceKind::Sum => "Sum",
        ReduceKind::Mean => "Mean",
        ReduceKind::Max => "Max",
        ReduceKind::Min => "Min",
        ReduceKind::Prod => "Product",
        ReduceKind::SumSquare => "SumOfSquares",
        ReduceKind::L1 => "L1",
        ReduceKind::L2 => "L2",
        ReduceKind::LogSum => "LogSum",
        ReduceKind::LogSumExp => "LogSumExp",
    };
    // Axes of size 1 are left out, so that the common cases are matrices.
    let axes: Vec<usize> = (0..3).filter(|&axis| axis == 1 || !sizes[axis].is(1)).collect();
    let dense = crate::plan::layout::dense_strides(sizes);
    let text = |texts: Vec<String>| format!("[{}]", texts.join(", "));
    let shape = text(axes.iter().map(|&axis| body.sizes.text(&sizes[axis])).collect());
    let stride = |axis: &usize| match dense[*axis].as_const() {
        Some(value) => value.to_string(),
        None => format!("{} as isize", body.sizes.atom(&dense[*axis])),
    };
    let strides = text(axes.iter().map(stride).collect());
    let reduced = text(axes.iter().map(|&axis| (axis == 1).to_string()).collect());
    let fields = vec![
        format!("data: {}", body.read(0)).into(),
        format!("strides: {strides}").into(),
    ];
    body.writer
        .code("let input = ", &Code::structure("Strided", fields), ";");
    let out = body.write(0);
    call(
        body,
        "s.reduce",
        &[&format!("Reduction::{reduction}"), &out, &shape, "input", &reduced],
    );
}

pub(super) fn call(body: &mut Body<'_>, function: &str, arguments: &[&str]) {
    let code = Code::call(function, arguments.iter().map(|&argument| argument.into()).collect());
    body.writer.code("", &code, ";");
}
