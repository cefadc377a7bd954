//! Scalar expressions in the text form.

use super::constant::float;
use super::dim;
use crate::ir::dtype::DType;
use crate::ir::expr::{Expr, Literal, Scalar, ScalarId};

/// Parts nested deeper are named by `let`.
const DEPTH: usize = 16;

/// An expression in braces; `operands` are the types that the operation implies for its operands.
pub(super) fn text(expr: &Expr, operands: &[Option<DType>]) -> String {
    let Some(last) = expr.nodes.len().checked_sub(1) else {
        return "{ }".to_owned();
    };
    let named = named_parts(expr);
    let mut parts: Vec<String> = Vec::with_capacity(expr.nodes.len());
    let mut lets = String::new();
    for (id, &named) in named.iter().enumerate() {
        let part = part(expr, id, &parts, operands);
        if named {
            lets.push_str(&format!("let t{id} = {part}; "));
            parts.push(format!("t{id}"));
        } else {
            parts.push(part);
        }
    }
    format!("{{ {lets}{} }}", parts[last])
}

/// The parts that `let` names: those used more than once, and all of them if reading the text would otherwise give
/// them another order.
fn named_parts(expr: &Expr) -> Vec<bool> {
    let count = expr.nodes.len();
    let mut uses = vec![0; count];
    for node in &expr.nodes {
        node.op.for_each_operand(|operand| {
            if let Some(uses) = uses.get_mut(operand) {
                *uses += 1;
            }
        });
    }
    let leaf = |id: ScalarId| {
        let mut leaf = true;
        expr.nodes[id].op.for_each_operand(|_| leaf = false);
        leaf
    };
    let mut named: Vec<bool> = (0..count)
        .map(|id| uses[id] > 1 && !leaf(id) && id + 1 < count)
        .collect();
    // The order in which reading visits the parts, and how deep they nest.
    let mut order = Vec::with_capacity(count);
    let mut depth = vec![0; count];
    for id in 0..count {
        let mut deepest = 0;
        expr.nodes[id].op.for_each_operand(|operand| {
            if operand < id && !named[operand] {
                deepest = deepest.max(depth[operand] + 1);
            }
        });
        depth[id] = deepest;
        if deepest >= DEPTH {
            named[id] = id + 1 < count;
            depth[id] = 0;
        }
    }
    let mut seen = vec![false; count];
    for root in (0..count).filter(|&id| named[id] || id + 1 == count) {
        visit(expr, root, &mut seen, &mut order);
    }
    if order.into_iter().ne(0..count) {
        named = (0..count).map(|id| id + 1 < count).collect();
    }
    named
}

/// Appends what reading a part adds. The nesting is limited, because deep parts are named and named parts come first.
fn visit(expr: &Expr, id: ScalarId, seen: &mut [bool], order: &mut Vec<ScalarId>) {
    if seen[id] {
        return;
    }
    seen[id] = true;
    expr.nodes[id].op.for_each_operand(|operand| {
        if operand < id {
            visit(expr, operand, seen, order);
        }
    });
    order.push(id);
}

fn part(expr: &Expr, id: ScalarId, parts: &[String], operands: &[Option<DType>]) -> String {
    let node = &expr.nodes[id];
    let operand = |id: ScalarId| parts.get(id).cloned().unwrap_or_else(|| format!("t{id}"));
    let dtype = |id: ScalarId| expr.nodes.get(id).map(|node| node.dtype);
    let (text, implied) = match &node.op {
        Scalar::Input(index) => (format!("x{index}"), operands.get(*index).copied().flatten()),
        Scalar::Const(literal) => {
            let text = match literal {
                Literal::Float(value) => float(*value, node.dtype),
                Literal::Int(value) => value.to_string(),
                Literal::Bool(value) => value.to_string(),
            };
            (text, matches!(literal, Literal::Bool(_)).then_some(DType::Bool))
        }
        Scalar::Dim(dim) => (format!("dim({})", dim::text(dim)), Some(DType::I64)),
        Scalar::Index(axis) => (format!("index({axis})"), Some(DType::I64)),
        Scalar::At(index, place) => {
            let implied = operands.get(*index).copied().flatten();
            (format!("at(x{index}, {})", operand(*place)), implied)
        }
        Scalar::Unary(op, x) => {
            let implied = if op.gives_bool() { Some(DType::Bool) } else { dtype(*x) };
            (format!("{}({})", op.name(), operand(*x)), implied)
        }
        Scalar::Binary(op, a, b) => {
            let implied = if op.is_comparison() {
                Some(DType::Bool)
            } else {
                dtype(*a)
            };
            (format!("{}({}, {})", op.name(), operand(*a), operand(*b)), implied)
        }
        Scalar::Select(c, a, b) => {
            let text = format!("select({}, {}, {})", operand(*c), operand(*a), operand(*b));
            (text, dtype(*a))
        }
        Scalar::Cast(x) => (format!("{}({})", node.dtype, operand(*x)), Some(node.dtype)),
        Scalar::Bits(x) => (format!("bits({})", operand(*x)), None),
    };
    if implied == Some(node.dtype) {
        text
    } else {
        format!("{text}:{}", node.dtype)
    }
}
