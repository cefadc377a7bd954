//! Elementwise work on the result of a matrix product or convolution.

use super::rewrite::{Rewrite, Rewriter, merged_origin};
use crate::ir::{DType, Epilogue, Expr, Graph, Node, Op, ValueId};
use std::rc::Rc;

/// The most further operands of an epilogue.
const MAX_OPERANDS: usize = 6;

/// Makes elementwise nodes epilogues of the operation whose result they use.
///
/// Postcondition: no elementwise node of a type that the kernel writes and without coordinates has the only use of the
/// equally shaped result of a matrix product or convolution, unless the epilogue would have too many operands. Of several
/// such operands, the one computed last gets the epilogue, since the others must be there by then.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match &node.op {
        Op::Elementwise { .. } => attach(rewriter, node),
        _ => None,
    })
}

/// Whether a kernel for products of a type writes results of a type.
pub(super) fn has_results(from: DType, to: DType) -> bool {
    match from {
        DType::F32 => to == DType::F32,
        DType::U8 => matches!(to, DType::F32 | DType::I32 | DType::U8 | DType::I8),
        _ => false,
    }
}

fn attach(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Elementwise { expr, shape } = &node.op else {
        return None;
    };
    if expr.is_positional() {
        return None;
    }
    let fits = |&index: &usize| {
        let value = node.inputs[index];
        let ty = rewriter.ty(value);
        let contracts = || {
            rewriter.definition(value).is_some_and(|host| {
                host.op.epilogue_base().is_some() && has_results(rewriter.ty(host.inputs[0]).dtype, expr.dtype())
            })
        };
        rewriter.uses(value) == 1
            && rewriter.is_local(value)
            && shape.len() >= ty.rank()
            && shape[..shape.len() - ty.rank()].iter().all(|size| size.is(1))
            && rewriter.same_shape(&ty.shape, &shape[shape.len() - ty.rank()..])
            && contracts()
    };
    let chosen = (0..node.inputs.len())
        .filter(fits)
        .max_by_key(|&index| rewriter.order(node.inputs[index]))?;
    let host = rewriter.definition(node.inputs[chosen])?;
    let base = host.op.epilogue_base()?;

    // Leading axes of size 1 that the elementwise node adds to the result come after the epilogue.
    let rank = rewriter.shape(host.outputs[0]).len();
    let mut operands = node.inputs.clone();
    for operand in &mut operands {
        let extra = rewriter.shape(*operand).len().saturating_sub(rank);
        let short = rewriter.shape(*operand)[extra..].to_vec();
        if extra > 0 {
            *operand = rewriter.reshaped(*operand, short, &node.origin)?;
        }
    }
    let mut further: Vec<ValueId> = host.inputs[base..].to_vec();
    let dtypes: Vec<DType> = host.inputs.iter().map(|&input| rewriter.ty(input).dtype).collect();
    let sum = host.op.epilogue_type(&dtypes)?;
    let before = match host.op.epilogue() {
        Some(epilogue) => epilogue.expr.clone(),
        None => Expr::identity(sum),
    };
    let mut result = Expr::identity(sum);
    let id = result.append(expr, expr.result(), &mut |result, index, dtype| {
        if index == chosen {
            return result.append(&before, before.result(), &mut |result, index, dtype| {
                result.input(index, dtype)
            });
        }
        let value = operands[index];
        let place = further.iter().position(|&input| input == value).unwrap_or_else(|| {
            further.push(value);
            further.len() - 1
        });
        result.input(place + 1, dtype)
    });
    if further.len() > MAX_OPERANDS {
        return None;
    }
    let mut op = host.op.clone();
    *op.epilogue_mut()? = Some(Epilogue {
        expr: result.finish(id),
    });
    let mut inputs = host.inputs[..base].to_vec();
    inputs.extend(further);
    let value = rewriter.emit(op, inputs, &merged_origin([&*host, node]))?;
    Some(vec![rewriter.reshaped(value, shape.clone(), &node.origin)?])
}
