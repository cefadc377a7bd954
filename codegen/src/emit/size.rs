//! Sizes as Rust expressions of type `usize`.

use super::operators::Prec;
use crate::ir::dim::{Atom, Bounds, Dim};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

/// The Rust names of the symbols of a plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Sizes {
    /// The field of `Dims`, or the loop counter, of each symbol.
    pub(super) names: HashMap<String, String>,
    /// The bounds of the symbols.
    pub(super) bounds: Bounds,
    /// The names that have been printed.
    used: RefCell<BTreeSet<String>>,
}

impl Sizes {
    /// The names that have been printed since the last call.
    pub(super) fn take_used(&self) -> BTreeSet<String> {
        self.used.take()
    }

    /// Adds names to those that have been printed.
    pub(super) fn mark_used(&self, names: BTreeSet<String>) {
        self.used.borrow_mut().extend(names);
    }

    /// Whether a field of `Dims` has been printed since the last call.
    pub(super) fn uses_dims(&self) -> bool {
        self.take_used().iter().any(|name| name.starts_with("d."))
    }

    /// A size.
    pub(super) fn text(&self, dim: &Dim) -> String {
        self.with_precedence(dim).0
    }

    /// A size as a factor of a product, though not the first: a quotient is divided before it is multiplied.
    pub(super) fn factor(&self, dim: &Dim) -> String {
        let (text, precedence) = self.with_precedence(dim);
        let needed = if text.contains('/') { Prec::Unary } else { Prec::Mul };
        parenthesized(text, precedence, needed)
    }

    /// A size as the receiver of a method or the operand of `as`.
    pub(super) fn atom(&self, dim: &Dim) -> String {
        let (text, precedence) = self.with_precedence(dim);
        parenthesized(text, precedence, Prec::Atom)
    }

    /// A size and the precedence of its outermost operation.
    pub(super) fn with_precedence(&self, dim: &Dim) -> (String, Prec) {
        if self.natural(dim) {
            return self.sum(dim, false);
        }
        // A part of the expression may be negative, which `usize` cannot hold.
        let (text, precedence) = self.sum(dim, true);
        (
            format!("{} as usize", parenthesized(text, precedence, Prec::As)),
            Prec::As,
        )
    }

    /// Whether no part of an expression can be negative, so that it can be computed in `usize`.
    fn natural(&self, dim: &Dim) -> bool {
        dim.range(&self.bounds).low >= 0
            && dim
                .terms()
                .flat_map(|(_, factors)| factors)
                .all(|(atom, _)| match atom {
                    Atom::Symbol(_) => true,
                    Atom::FloorDiv(a, b) | Atom::Min(a, b) | Atom::Max(a, b) => self.natural(a) && self.natural(b),
                })
    }

    /// The sum of the terms, what is added before what is subtracted.
    fn sum(&self, dim: &Dim, signed: bool) -> (String, Prec) {
        if let Some(value) = dim.as_const() {
            return (value.to_string(), if value < 0 { Prec::Unary } else { Prec::Atom });
        }
        let mut terms: Vec<(i64, String, Prec)> = dim
            .terms()
            .map(|(coefficient, factors)| {
                let (text, precedence) = self.product(coefficient.unsigned_abs(), factors, signed);
                (coefficient, text, precedence)
            })
            .collect();
        // Constants come last among equals, as people write them.
        terms.sort_by_key(|(coefficient, text, _)| (*coefficient < 0, text.starts_with(|c: char| c.is_ascii_digit())));
        let mut text = String::new();
        let mut precedence = Prec::Add;
        for (place, (coefficient, term, own)) in terms.iter().enumerate() {
            match (place, *coefficient < 0) {
                (0, false) => precedence = *own,
                (0, true) => text.push('-'),
                (_, false) => text.push_str(" + "),
                (_, true) => text.push_str(" - "),
            }
            if place > 0 {
                precedence = Prec::Add;
            }
            text.push_str(term);
        }
        (text, precedence)
    }

    fn product(&self, coefficient: u64, factors: &[(Atom, u32)], signed: bool) -> (String, Prec) {
        let mut parts = Vec::new();
        let mut precedence = Prec::Mul;
        for (atom, power) in factors {
            let (text, own) = self.atom_text(atom, signed);
            precedence = own;
            for _ in 0..*power {
                // A quotient first in a product needs no parentheses.
                let needed = if parts.is_empty() { Prec::Mul } else { Prec::Unary };
                parts.push(parenthesized(text.clone(), own, needed));
            }
        }
        if coefficient != 1 || parts.is_empty() {
            parts.push(coefficient.to_string());
        }
        match parts.as_slice() {
            [one] if factors.is_empty() => (one.clone(), Prec::Atom),
            [one] => (one.clone(), precedence),
            _ => (parts.join(" * "), Prec::Mul),
        }
    }

    fn atom_text(&self, atom: &Atom, signed: bool) -> (String, Prec) {
        match atom {
            Atom::Symbol(symbol) => {
                let name = self.names.get(&**symbol).cloned().unwrap_or_else(|| symbol.to_string());
                self.used.borrow_mut().insert(name.clone());
                if signed {
                    (format!("{name} as i64"), Prec::As)
                } else {
                    (name, Prec::Atom)
                }
            }
            Atom::FloorDiv(a, b) => {
                let ((a, a_prec), (b, b_prec)) = (self.sum(a, signed), self.sum(b, signed));
                if signed {
                    let a = parenthesized(a, a_prec, Prec::Atom);
                    return (format!("{a}.div_euclid({b})"), Prec::Atom);
                }
                let (a, b) = (
                    parenthesized(a, a_prec, Prec::Mul),
                    parenthesized(b, b_prec, Prec::Unary),
                );
                (format!("{a} / {b}"), Prec::Mul)
            }
            Atom::Min(a, b) => self.choice("min", a, b, signed),
            Atom::Max(a, b) => self.choice("max", a, b, signed),
        }
    }

    /// `a.min(b)`, on an operand that is not a literal.
    fn choice(&self, method: &str, a: &Dim, b: &Dim, signed: bool) -> (String, Prec) {
        let (a, b) = if a.as_const().is_some() { (b, a) } else { (a, b) };
        let ((a, a_prec), (b, _)) = (self.sum(a, signed), self.sum(b, signed));
        (
            format!("{}.{method}({b})", parenthesized(a, a_prec, Prec::Atom)),
            Prec::Atom,
        )
    }
}

/// The text, in parentheses if its precedence is lower than needed.
pub(super) fn parenthesized(text: String, precedence: Prec, needed: Prec) -> String {
    if precedence < needed { format!("({text})") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Interval;

    fn sizes() -> Sizes {
        let mut sizes = Sizes::default();
        for symbol in ["b", "s"] {
            sizes.names.insert(symbol.into(), format!("d.{symbol}"));
            sizes.bounds.insert(symbol, Interval { low: 1, high: 8 });
        }
        sizes
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        let (b, s) = (Dim::symbol("b"), Dim::symbol("s"));
        let of = |value: i64| Dim::from(value);
        let bounds = sizes().bounds;
        for (dim, text) in [
            (of(12), "12"),
            (b.clone() * s.clone() * of(64), "d.b * d.s * 64"),
            (s.clone() * of(2) + of(3), "d.s * 2 + 3"),
            (s.clone() - of(1), "d.s - 1"),
            ((s.clone() + of(1)).floor_div(&of(2)) * of(3), "(d.s + 1) / 2 * 3"),
            (
                b.clone() * (s.clone() + of(1)).floor_div(&of(2)),
                "d.b * ((d.s + 1) / 2)",
            ),
            (s.minimum(&of(4), &bounds), "d.s.min(4)"),
            (
                (s.clone() - of(4)).maximum(&of(0), &bounds),
                "(d.s as i64 - 4).max(0) as usize",
            ),
            (s.clone() * s.clone(), "d.s * d.s"),
        ] {
            assert_eq!(sizes().text(&dim), text);
        }
        assert_eq!(sizes().factor(&(s + of(1))), "(d.s + 1)");
    }
}
