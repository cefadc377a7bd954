//! Types of branches and loops.

use super::Context;
use crate::ir::dim::Dim;
use crate::ir::dtype::DType;
use crate::ir::graph::{Block, TensorType};
use crate::ir::op::Op;

impl Context<'_> {
    pub(super) fn control(&self, op: &Op, regions: &[Block]) -> Result<Vec<TensorType>, String> {
        let result_types =
            |block: &Block| -> Vec<TensorType> { block.results.iter().map(|&id| self.graph.ty(id).clone()).collect() };
        let param_types =
            |block: &Block| -> Vec<TensorType> { block.params.iter().map(|&id| self.graph.ty(id).clone()).collect() };
        let same = |a: &TensorType, b: &TensorType| {
            a.dtype == b.dtype
                && a.rank() == b.rank()
                && a.shape.iter().zip(&b.shape).all(|(a, b)| self.graph.dims_equal(a, b))
        };
        let matching = |what: &str, a: &[TensorType], b: &[TensorType]| -> Result<(), String> {
            if a.len() != b.len() {
                return Err(format!("{what}: {} values against {}", a.len(), b.len()));
            }
            match a.iter().zip(b).find(|(a, b)| !same(a, b)) {
                Some((a, b)) => Err(format!("{what}: {a} is not {b}")),
                None => Ok(()),
            }
        };
        let stacked = |size: &Dim, elements: &[TensorType]| -> Vec<TensorType> {
            elements
                .iter()
                .map(|ty| {
                    let mut shape = vec![size.clone()];
                    shape.extend(ty.shape.iter().cloned());
                    TensorType::new(ty.dtype, shape)
                })
                .collect()
        };
        let operands: Vec<TensorType> = self.types.iter().map(|&ty| ty.clone()).collect();
        match op {
            Op::If => {
                let [then_branch, else_branch] = regions else {
                    return Err("if needs two regions".into());
                };
                matching("the condition of if", &operands, &[TensorType::scalar(DType::Bool)])?;
                let results = result_types(then_branch);
                matching(
                    "the results of the branches of if",
                    &results,
                    &result_types(else_branch),
                )?;
                Ok(results)
            }
            Op::Loop { carried, trips } => {
                let [body] = regions else {
                    return Err("loop needs one region".into());
                };
                let head = [TensorType::scalar(DType::I64), TensorType::scalar(DType::Bool)];
                matching("the parameters of a loop body", &param_types(body), &operands)?;
                matching("the head of a loop", operands.get(..2).unwrap_or(&[]), &head)?;
                let results = result_types(body);
                if results.len() < 1 + carried {
                    return Err("a loop body with too few results".into());
                }
                matching("the condition a loop body gives", &results[..1], &head[1..])?;
                matching("the values a loop body carries", &results[1..=*carried], &operands[2..])?;
                let mut types = operands[2..].to_vec();
                types.extend(stacked(trips, &results[1 + carried..]));
                Ok(types)
            }
            Op::Scan { carried } => {
                let [body] = regions else {
                    return Err("scan needs one region".into());
                };
                let scanned = operands.get(*carried..).unwrap_or(&[]);
                let Some(steps) = scanned.first().and_then(|ty| ty.shape.first()) else {
                    return Err("scan needs a tensor to scan".into());
                };
                let mut params = operands[..*carried].to_vec();
                for ty in scanned {
                    let Some(first) = ty.shape.first() else {
                        return Err("scan over a scalar".into());
                    };
                    self.equal("the sizes of the scanned axes", first, steps)?;
                    params.push(TensorType::new(ty.dtype, ty.shape[1..].to_vec()));
                }
                matching("the parameters of a scan body", &param_types(body), &params)?;
                let results = result_types(body);
                if results.len() < *carried {
                    return Err("a scan body with too few results".into());
                }
                matching(
                    "the values a scan body carries",
                    &results[..*carried],
                    &operands[..*carried],
                )?;
                let mut types = operands[..*carried].to_vec();
                types.extend(stacked(steps, &results[*carried..]));
                Ok(types)
            }
            _ => unreachable!("only control flow has regions"),
        }
    }
}
