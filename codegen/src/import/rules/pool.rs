//! Pooling.

use super::conv::window;
use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::op::{PoolKind, ReduceKind};
use crate::ir::{Op, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "MaxPool", |cx| {
        cx.only_int("storage_order", 0)?;
        pool(cx, PoolKind::Max)
    }),
    (ONNX, "AveragePool", |cx| {
        let count_include_pad = cx.flag("count_include_pad", false)?;
        pool(cx, PoolKind::Average { count_include_pad })
    }),
    (ONNX, "LpPool", |cx| {
        let p = cx.int("p", 2)?;
        match u32::try_from(p) {
            Ok(p) if p > 0 => pool(cx, PoolKind::Lp { p }),
            _ => cx.unsupported("p", p),
        }
    }),
    (ONNX, "GlobalMaxPool", |cx| global(cx, ReduceKind::Max)),
    (ONNX, "GlobalAveragePool", |cx| global(cx, ReduceKind::Mean)),
    (ONNX, "GlobalLpPool", |cx| match cx.int("p", 2)? {
        1 => global(cx, ReduceKind::L1),
        2 => global(cx, ReduceKind::L2),
        p => cx.unsupported("p", p),
    }),
];

fn pool(cx: &mut Call, kind: PoolKind) -> Results {
    let x = cx.input(0)?;
    let shape = cx.shape(x);
    if shape.len() < 3 {
        return Err(Fault::new(format!("pooling of {}", display_shape(&shape))));
    }
    let spatial = &shape[2..];
    if !cx.has("kernel_shape") {
        return Err(Fault::new("attribute `kernel_shape` is missing"));
    }
    let kernel = cx.sizes("kernel_shape", spatial.len(), 1, 1)?;
    let window = window(cx, kernel, spatial)?;
    let ceil_mode = cx.flag("ceil_mode", false)?;
    Ok(vec![cx.emit(
        Op::Pool {
            kind,
            window,
            ceil_mode,
        },
        &[x],
    )?])
}

fn global(cx: &mut Call, kind: ReduceKind) -> Results {
    let x = cx.input(0)?;
    let axes: Vec<_> = (2..cx.rank(x)).collect();
    if axes.is_empty() {
        return Err(Fault::new(format!("pooling of {}", display_shape(&cx.shape(x)))));
    }
    Ok(vec![cx.emit(
        Op::Reduce {
            kind,
            axes,
            keep_dims: true,
        },
        &[x],
    )?])
}
