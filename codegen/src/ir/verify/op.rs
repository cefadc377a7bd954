//! Rules of operations that types do not show.

use super::expr;
use crate::ir::dim::Dim;
use crate::ir::dtype::DType;
use crate::ir::expr::{Expr, Scalar};
use crate::ir::graph::{Graph, Node, TensorType};
use crate::ir::op::{FoldKind, Op, PadMode, PoolKind, ReduceKind, ResizeMode, ScatterKind, Window};
use crate::ir::opaque::is_function_path;

/// Checks what type inference takes for granted.
pub(super) fn check(graph: &Graph, node: &Node) -> Result<(), String> {
    let types: Vec<&TensorType> = node.inputs.iter().map(|&id| graph.ty(id)).collect();
    let dtypes: Vec<DType> = types.iter().map(|ty| ty.dtype).collect();
    match &node.op {
        Op::Constant(tensor) => {
            let bytes = tensor
                .shape
                .iter()
                .try_fold(tensor.dtype.size(), |total, &size| total.checked_mul(size));
            if bytes != Some(tensor.data.len()) {
                return Err(format!("{} bytes of data for {tensor:?}", tensor.data.len()));
            }
        }
        Op::Elementwise { expr, .. } | Op::Fold { expr, .. } => expr::check(expr, &dtypes)?,
        Op::Reduce { axes, .. } if axes.windows(2).any(|pair| pair[0] >= pair[1]) => {
            return Err(format!("axes {axes:?} are not ascending"));
        }
        Op::Conv { pad_value: 1.., .. } if dtypes.first() != Some(&DType::U8) => {
            return Err("padding with a number other than 0 of what is not u8".into());
        }
        Op::Conv { window, groups, .. } => check_window(window, *groups)?,
        Op::ConvTranspose {
            window,
            groups,
            output_padding,
            ..
        } => {
            check_window(window, *groups)?;
            if output_padding.len() != window.kernel.len() {
                return Err(format!("output padding {output_padding:?} for {:?}", window.kernel));
            }
        }
        Op::Pool { window, .. } => check_window(window, 1)?,
        Op::Resize {
            scales: Some(scales), ..
        } if scales.iter().any(|scale| !scale.is_finite() || *scale <= 0.0) => {
            return Err(format!("scales {scales:?}"));
        }
        Op::Pad {
            mode: PadMode::Constant,
            ..
        } if types.get(1).is_some_and(|value| value.rank() > 0) => {
            return Err("padding with a value that has axes".into());
        }
        Op::Opaque(call) if !is_function_path(&call.function) => {
            return Err(format!("`{}` is no path of a function", call.function));
        }
        Op::If if node.regions.iter().any(|region| !region.params.is_empty()) => {
            return Err("a branch has parameters".into());
        }
        _ => {}
    }
    if let Some(base) = node.op.epilogue_base() {
        check_epilogue(&node.op, &dtypes, base)?;
    }
    check_types(&node.op, &dtypes)
}

fn check_window(window: &Window, groups: usize) -> Result<(), String> {
    let rank = window.kernel.len();
    let lists = [window.strides.len(), window.dilations.len()];
    let pads = [window.pads_before.len(), window.pads_after.len()];
    let mut sizes = window.kernel.iter().chain(&window.strides).chain(&window.dilations);
    if lists != [rank; 2] || pads != [rank; 2] {
        Err(format!("a window of rank {rank} whose lists have other lengths"))
    } else if sizes.any(|&size| size == 0) {
        Err("a window with a size, stride or dilation of 0".into())
    } else if groups == 0 {
        Err("no groups".into())
    } else {
        Ok(())
    }
}

fn check_epilogue(op: &Op, dtypes: &[DType], base: usize) -> Result<(), String> {
    let Some(epilogue) = op.epilogue() else {
        return if dtypes.len() > base {
            Err(format!("{} operands without epilogue", dtypes.len()))
        } else {
            Ok(())
        };
    };
    let sum = op.epilogue_type(dtypes);
    let operands: Vec<DType> = sum.into_iter().chain(dtypes.iter().skip(base).copied()).collect();
    expr::check(&epilogue.expr, &operands).map_err(|message| format!("epilogue: {message}"))
}

/// Checks the element types that an operation has a meaning for.
pub(in crate::ir) fn check_types(op: &Op, dtypes: &[DType]) -> Result<(), String> {
    let first = match (dtypes.first(), op) {
        (Some(&first), _) => first,
        // A fold may have no operands.
        (None, Op::Fold { expr, .. }) => expr.dtype(),
        (None, _) => return Ok(()),
    };
    let numbers = first != DType::Bool;
    let meaningful = match op {
        Op::Reduce { kind, .. } => numbers || matches!(kind, ReduceKind::Max | ReduceKind::Min),
        Op::Fold { kind, expr, .. } => expr.dtype() != DType::Bool || matches!(kind, FoldKind::Max | FoldKind::Min),
        Op::Scatter { kind } => numbers || matches!(kind, ScatterKind::Replace | ScatterKind::Max | ScatterKind::Min),
        Op::Assert { .. } => first == DType::Bool,
        Op::Bind { .. } => first == DType::I64,
        Op::CumSum { .. }
        | Op::MatMul { .. }
        | Op::Conv { .. }
        | Op::ConvTranspose { .. }
        | Op::Pool {
            kind: PoolKind::Max, ..
        } => numbers,
        Op::Resize { mode, .. } => numbers || matches!(mode, ResizeMode::Nearest(_)),
        Op::Pool { .. } | Op::Softmax { .. } | Op::Normalize { .. } | Op::Attention { .. } | Op::Recurrent { .. } => {
            first.is_float()
        }
        _ => true,
    };
    if !meaningful {
        return Err(format!("no meaning for {first}"));
    }
    // How many of the first operands have one type.
    let alike = match op {
        Op::MatMul { .. } | Op::Conv { bias: false, .. } if matches!(dtypes, [DType::U8, DType::I8, ..]) => 1,
        Op::MatMul { .. } => 2,
        Op::Conv { bias, .. } | Op::ConvTranspose { bias, .. } => 2 + usize::from(*bias),
        Op::Pad { .. } | Op::Concat { .. } | Op::Normalize { .. } | Op::Attention { .. } | Op::Recurrent { .. } => {
            dtypes.len()
        }
        _ => 1,
    };
    match dtypes.iter().take(alike).find(|&&dtype| dtype != first) {
        Some(other) => Err(format!("element types {first} and {other}")),
        None => Ok(()),
    }
}

/// The dimensions among the attributes.
pub(super) fn dims(op: &Op) -> Vec<&Dim> {
    fn of_expr(expr: &Expr) -> impl Iterator<Item = &Dim> {
        expr.nodes.iter().filter_map(|node| match &node.op {
            Scalar::Dim(dim) => Some(dim),
            _ => None,
        })
    }
    let mut dims: Vec<&Dim> = match op {
        Op::Elementwise { expr, shape } => of_expr(expr).chain(shape).collect(),
        Op::Fold {
            expr, shape, domain, ..
        } => of_expr(expr).chain(shape).chain(domain).collect(),
        Op::Reshape { shape } | Op::Broadcast { shape } | Op::Resize { shape, .. } => shape.iter().collect(),
        Op::Slice { starts, shape, .. } => starts.iter().chain(shape).collect(),
        Op::Pad { before, after, .. } => before.iter().chain(after).collect(),
        Op::Conv { window, .. } | Op::ConvTranspose { window, .. } | Op::Pool { window, .. } => {
            window.pads_before.iter().chain(&window.pads_after).collect()
        }
        Op::Loop { trips, .. } => vec![trips],
        Op::Opaque(call) => call.results.iter().flat_map(|ty| &ty.shape).collect(),
        _ => Vec::new(),
    };
    if let Some(epilogue) = op.epilogue() {
        dims.extend(of_expr(&epilogue.expr));
    }
    dims
}
