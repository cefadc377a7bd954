//! Dimensions against plain integer arithmetic.

use onnxide_codegen::ir::{Bounds, Dim, Interval, ValueId, parse};
use proptest::prelude::*;

/// The smallest and largest value of each of the symbols.
const SYMBOLS: [(&str, i64, i64); 3] = [("a", 1, 5), ("b", 0, 7), ("c", 2, 3)];

/// An expression as it is written down.
#[derive(Clone, Debug)]
enum Tree {
    Constant(i64),
    Symbol(usize),
    Add(Box<Tree>, Box<Tree>),
    Sub(Box<Tree>, Box<Tree>),
    Mul(Box<Tree>, Box<Tree>),
    FloorDiv(Box<Tree>, i64),
    /// Division by a symbol that is never 0.
    FloorDivSymbol(Box<Tree>),
    CeilDiv(Box<Tree>, i64),
    Min(Box<Tree>, Box<Tree>),
    Max(Box<Tree>, Box<Tree>),
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        (-9..10i64).prop_map(Tree::Constant),
        (0..SYMBOLS.len()).prop_map(Tree::Symbol)
    ];
    leaf.prop_recursive(5, 24, 2, |inner| {
        let boxed = inner.prop_map(Box::new);
        let pair = (boxed.clone(), boxed.clone());
        let divided = (boxed.clone(), 1..7i64);
        prop_oneof![
            pair.clone().prop_map(|(a, b)| Tree::Add(a, b)),
            pair.clone().prop_map(|(a, b)| Tree::Sub(a, b)),
            pair.clone().prop_map(|(a, b)| Tree::Mul(a, b)),
            divided.clone().prop_map(|(a, k)| Tree::FloorDiv(a, k)),
            boxed.prop_map(Tree::FloorDivSymbol),
            divided.prop_map(|(a, k)| Tree::CeilDiv(a, k)),
            pair.clone().prop_map(|(a, b)| Tree::Min(a, b)),
            pair.prop_map(|(a, b)| Tree::Max(a, b)),
        ]
    })
}

fn bounds() -> Bounds {
    let mut bounds = Bounds::new();
    for (symbol, low, high) in SYMBOLS {
        bounds.insert(symbol, Interval { low, high });
    }
    bounds
}

fn dim(tree: &Tree) -> Dim {
    match tree {
        Tree::Constant(value) => Dim::from(*value),
        Tree::Symbol(index) => Dim::symbol(SYMBOLS[*index].0),
        Tree::Add(a, b) => dim(a) + dim(b),
        Tree::Sub(a, b) => dim(a) - dim(b),
        Tree::Mul(a, b) => dim(a) * dim(b),
        Tree::FloorDiv(a, k) => dim(a).floor_div(&Dim::from(*k)),
        Tree::FloorDivSymbol(a) => dim(a).floor_div(&Dim::symbol("a")),
        Tree::CeilDiv(a, k) => dim(a).ceil_div(*k),
        Tree::Min(a, b) => dim(a).minimum(&dim(b), &bounds()),
        Tree::Max(a, b) => dim(a).maximum(&dim(b), &bounds()),
    }
}

/// The value, unless some part of it is so large that dimensions may saturate.
fn value(tree: &Tree, symbols: &[i64; 3]) -> Option<i64> {
    let of = |tree: &Tree| value(tree, symbols);
    let value = match tree {
        Tree::Constant(value) => *value,
        Tree::Symbol(index) => symbols[*index],
        Tree::Add(a, b) => of(a)? + of(b)?,
        Tree::Sub(a, b) => of(a)? - of(b)?,
        Tree::Mul(a, b) => of(a)? * of(b)?,
        Tree::FloorDiv(a, k) => of(a)?.div_euclid(*k),
        Tree::FloorDivSymbol(a) => of(a)?.div_euclid(symbols[0]),
        Tree::CeilDiv(a, k) => -(-of(a)?).div_euclid(*k),
        Tree::Min(a, b) => of(a)?.min(of(b)?),
        Tree::Max(a, b) => of(a)?.max(of(b)?),
    };
    (value.abs() < 1 << 30).then_some(value)
}

/// Whether no coefficient is near saturation.
fn is_small(dim: &Dim) -> bool {
    dim.terms().all(|(coefficient, _)| coefficient.abs() < 1 << 30)
}

fn eval(dim: &Dim, symbols: &[i64; 3]) -> Option<i64> {
    dim.eval(&|name| {
        let index = SYMBOLS.iter().position(|(symbol, ..)| *symbol == name)?;
        Some(symbols[index])
    })
}

fn assignments() -> impl Strategy<Value = [i64; 3]> {
    let [a, b, c] = SYMBOLS.map(|(_, low, high)| low..=high);
    (a, b, c).prop_map(|(a, b, c)| [a, b, c])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn arithmetic_agrees_with_integers(tree in trees(), symbols in assignments()) {
        if let Some(value) = value(&tree, &symbols) {
            let dim = dim(&tree);
            prop_assert_eq!(eval(&dim, &symbols), Some(value), "{}", dim);
        }
    }

    #[test]
    fn ranges_contain_values(tree in trees(), symbols in assignments()) {
        if let Some(value) = value(&tree, &symbols) {
            let dim = dim(&tree);
            let range = dim.range(&bounds());
            prop_assert!((range.low..=range.high).contains(&value), "{} is {}, not in {:?}", dim, value, range);
        }
    }

    #[test]
    fn comparisons_hold(left in trees(), right in trees(), symbols in assignments()) {
        if let (Some(a), Some(b)) = (value(&left, &symbols), value(&right, &symbols)) {
            let (left, right) = (dim(&left), dim(&right));
            if let Some(ordering) = left.compare(&right, &bounds()) {
                prop_assert_eq!(ordering, a.cmp(&b), "{} and {}", left, right);
            }
            prop_assert!(left != right || a == b, "{} and {}", left, right);
        }
    }

    #[test]
    fn substitution_commutes_with_evaluation(tree in trees(), inner in trees(), symbols in assignments()) {
        // The bounds of a symbol must hold for what replaces it.
        let (low, high) = (SYMBOLS[1].1, SYMBOLS[1].2);
        let inner = Tree::Max(Box::new(Tree::Constant(low)), Box::new(Tree::Min(Box::new(Tree::Constant(high)), Box::new(inner))));
        if let Some(replacement) = value(&inner, &symbols)
            && let Some(expected) = value(&tree, &[symbols[0], replacement, symbols[2]])
        {
            let (dim, inner) = (dim(&tree), dim(&inner));
            let result = dim.substitute(&|name| (name == "b").then(|| inner.clone()), &bounds());
            prop_assert_eq!(eval(&result, &symbols), Some(expected), "{} in {} gives {}", inner, dim, result);
        }
    }

    #[test]
    fn exact_quotients_multiply_back(a in trees(), b in trees()) {
        let (a, b) = (dim(&a), dim(&b));
        if is_small(&a) && is_small(&b) {
            if let Some(quotient) = a.exact_div(&b) {
                prop_assert_eq!(quotient * b.clone(), a.clone());
            }
            let product = a.clone() * b.clone();
            if is_small(&product) && let Some(quotient) = product.exact_div(&b) {
                prop_assert_eq!(quotient, a);
            }
        }
    }

    #[test]
    fn text_is_read_back(tree in trees()) {
        let dim = dim(&tree);
        let graph = parse(&format!("graph \"g\" {{ input \"x\" %0: f32[{dim}] }}")).unwrap();
        prop_assert_eq!(&graph.ty(ValueId(0)).shape[0], &dim);
    }
}
