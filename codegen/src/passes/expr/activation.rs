//! Recognition of activation functions that exporters spell out.

use crate::ir::{BinaryOp, Expr, Literal, Scalar, ScalarId, UnaryOp};
use crate::passes::pattern::{close, literal_number};
use std::f64::consts::{FRAC_2_PI, SQRT_2};

/// The expression with products of the forms below replaced by the activation function that they are. The constants
/// may be distributed over the product in any way, and `x` may be a multiple of the `y` that occurs.
///
/// - `x * (1 + erf(x / sqrt 2)) / 2`: GELU.
/// - `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2`: GELU by the hyperbolic tangent.
/// - `x * min(max(x / 6 + 1 / 2, 0), 1)`: hard swish.
///
/// `None` if there is none of them.
pub(in crate::passes) fn recognize_activations(expr: &Expr) -> Option<Expr> {
    let mut current: Option<Expr> = None;
    loop {
        let found = find(current.as_ref().unwrap_or(expr));
        match found {
            Some(next) => current = Some(next),
            None => return current,
        }
    }
}

/// A function of a multiple of `y`, and the factor by which its product with `y` has to be scaled to be an activation.
struct Candidate {
    op: UnaryOp,
    y: ScalarId,
    /// The node of the function.
    gate: ScalarId,
    /// The activation is applied to `scale * y`.
    scale: f64,
    /// The gate as the activation has it is `offset + slope * gate`.
    offset: f64,
    slope: f64,
}

fn find(expr: &Expr) -> Option<Expr> {
    for (gate, node) in expr.nodes.iter().enumerate() {
        if !node.dtype.is_float()
            || !matches!(
                node.op,
                Scalar::Unary(UnaryOp::Erf | UnaryOp::Tanh, _) | Scalar::Binary(BinaryOp::Max | BinaryOp::Min, ..)
            )
        {
            continue;
        }
        for y in (0..gate).rev() {
            if number(expr, y).is_some() {
                continue;
            }
            let Some(candidate) = candidate(expr, gate, y) else {
                continue;
            };
            if let Some(product) = find_product(expr, &candidate) {
                return Some(replaced(expr, product, &candidate));
            }
        }
    }
    None
}

fn candidate(expr: &Expr, gate: ScalarId, y: ScalarId) -> Option<Candidate> {
    match expr.nodes[gate].op {
        Scalar::Unary(UnaryOp::Erf, argument) => {
            let [c0, c1, c2, c3] = polynomials(expr, argument, y)[argument]?;
            let scale = c1 * SQRT_2;
            ([c0, c2, c3] == [0.0; 3] && scale > 0.0).then_some(Candidate {
                op: UnaryOp::Gelu,
                y,
                gate,
                scale,
                offset: 0.5,
                slope: 0.5,
            })
        }
        Scalar::Unary(UnaryOp::Tanh, argument) => {
            let [c0, c1, c2, c3] = polynomials(expr, argument, y)[argument]?;
            let scale = c1 / FRAC_2_PI.sqrt();
            let cubic = close(c3, FRAC_2_PI.sqrt() * 0.044715 * scale.powi(3));
            (c0 == 0.0 && c2 == 0.0 && scale > 0.0 && cubic).then_some(Candidate {
                op: UnaryOp::GeluTanh,
                y,
                gate,
                scale,
                offset: 0.5,
                slope: 0.5,
            })
        }
        Scalar::Binary(outer @ (BinaryOp::Max | BinaryOp::Min), a, outer_bound) => {
            let Scalar::Binary(inner, argument, inner_bound) = expr.nodes[a].op else {
                return None;
            };
            let (outer_bound, inner_bound) = (number(expr, outer_bound)?, number(expr, inner_bound)?);
            let (low, high) = match (inner, outer) {
                (BinaryOp::Max, BinaryOp::Min) => (inner_bound, outer_bound),
                (BinaryOp::Min, BinaryOp::Max) => (outer_bound, inner_bound),
                _ => return None,
            };
            let [c0, c1, c2, c3] = polynomials(expr, argument, y)[argument]?;
            let scale = 6.0 * c1 / high;
            let fits = low == 0.0 && high > 0.0 && c2 == 0.0 && c3 == 0.0 && scale > 0.0 && close(c0 / high, 0.5);
            fits.then_some(Candidate {
                op: UnaryOp::HardSwish,
                y,
                gate,
                scale,
                offset: 0.0,
                slope: 1.0 / high,
            })
        }
        _ => None,
    }
}

fn number(expr: &Expr, id: ScalarId) -> Option<f64> {
    match expr.nodes[id].op {
        Scalar::Const(literal) => literal_number(literal),
        _ => None,
    }
}

/// The coefficients of the nodes up to `last` as polynomials in `y` of degree 3 at most, where they are such.
fn polynomials(expr: &Expr, last: ScalarId, y: ScalarId) -> Vec<Option<[f64; 4]>> {
    let mut of: Vec<Option<[f64; 4]>> = Vec::with_capacity(last + 1);
    for (id, node) in expr.nodes[..=last].iter().enumerate() {
        let polynomial = match node.op {
            _ if id == y => Some([0.0, 1.0, 0.0, 0.0]),
            Scalar::Const(literal) => literal_number(literal).map(|c| [c, 0.0, 0.0, 0.0]),
            Scalar::Unary(UnaryOp::Neg, x) => of[x].map(|p| p.map(|c| -c)),
            Scalar::Binary(op, a, b) => match (of[a], of[b]) {
                (Some(a), Some(b)) => combined(op, a, b),
                _ => None,
            },
            _ => None,
        };
        of.push(polynomial);
    }
    of
}

fn combined(op: BinaryOp, a: [f64; 4], b: [f64; 4]) -> Option<[f64; 4]> {
    match op {
        BinaryOp::Add => Some(std::array::from_fn(|i| a[i] + b[i])),
        BinaryOp::Sub => Some(std::array::from_fn(|i| a[i] - b[i])),
        BinaryOp::Div if b[1..] == [0.0; 3] => Some(a.map(|c| c / b[0])),
        BinaryOp::Mul => {
            let mut product = [0.0; 4];
            for (i, x) in a.into_iter().enumerate() {
                for (j, y) in b.into_iter().enumerate() {
                    match product.get_mut(i + j) {
                        Some(slot) => *slot += x * y,
                        None if x * y != 0.0 => return None,
                        None => {}
                    }
                }
            }
            Some(product)
        }
        _ => None,
    }
}

/// What a node is as a product.
#[derive(Clone, Copy)]
struct Product {
    coefficient: f64,
    /// How often `y` is a factor.
    power: u32,
    /// Offset and slope of the factor that is linear in the gate.
    gate: Option<(f64, f64)>,
}

/// The last node that is the activation of the candidate.
fn find_product(expr: &Expr, candidate: &Candidate) -> Option<ScalarId> {
    let linear = polynomials(expr, expr.result(), candidate.gate);
    let mut of: Vec<Option<Product>> = Vec::with_capacity(expr.nodes.len());
    for (id, node) in expr.nodes.iter().enumerate() {
        let product = match (node.op.clone(), linear[id]) {
            _ if id == candidate.y => Some(Product {
                coefficient: 1.0,
                power: 1,
                gate: None,
            }),
            (_, Some([c, 0.0, 0.0, 0.0])) => Some(Product {
                coefficient: c,
                power: 0,
                gate: None,
            }),
            (_, Some([offset, slope, 0.0, 0.0])) => Some(Product {
                coefficient: 1.0,
                power: 0,
                gate: Some((offset, slope)),
            }),
            (Scalar::Unary(UnaryOp::Neg, x), _) => of[x].map(|x: Product| Product {
                coefficient: -x.coefficient,
                ..x
            }),
            (Scalar::Binary(BinaryOp::Div, a, b), _) => match (of[a], number(expr, b)) {
                (Some(a), Some(divisor)) => Some(Product {
                    coefficient: a.coefficient / divisor,
                    ..a
                }),
                _ => None,
            },
            (Scalar::Binary(BinaryOp::Mul, a, b), _) => match (of[a], of[b]) {
                (Some(a), Some(b)) if a.gate.is_none() || b.gate.is_none() => Some(Product {
                    coefficient: a.coefficient * b.coefficient,
                    power: a.power.saturating_add(b.power),
                    gate: a.gate.or(b.gate),
                }),
                _ => None,
            },
            _ => None,
        };
        of.push(product);
    }
    let same = |a: f64, b: f64| a == b || close(a, b);
    (candidate.gate + 1..of.len()).rev().find(|&id| match of[id] {
        Some(Product {
            coefficient,
            power: 1,
            gate: Some((offset, slope)),
        }) => {
            same(coefficient * offset, candidate.scale * candidate.offset)
                && same(coefficient * slope, candidate.scale * candidate.slope)
        }
        _ => false,
    })
}

/// The expression with the node `product` replaced by the activation.
fn replaced(expr: &Expr, product: ScalarId, candidate: &Candidate) -> Expr {
    let mut out = Expr::empty();
    let mut map = Vec::with_capacity(expr.nodes.len());
    for (id, node) in expr.nodes.iter().enumerate() {
        let new = if id == product {
            let mut argument = map[candidate.y];
            if !close(candidate.scale, 1.0) {
                let literal = Literal::Float(f64::from(candidate.scale as f32));
                let scale = out.push(Scalar::Const(literal), node.dtype);
                argument = out.apply2(BinaryOp::Mul, argument, scale);
            }
            out.apply1(candidate.op, argument)
        } else {
            out.push(node.op.map_operands(|operand: ScalarId| map[operand]), node.dtype)
        };
        map.push(new);
    }
    out.with_result(map[expr.result()])
}
