//! Dimensions: integer expressions over bounded symbols, in a canonical form.
//!
//! A [`Dim`] is a polynomial with integer coefficients over [atoms](Atom): symbols, and the floor divisions, minima and
//! maxima that do not simplify. Two dimensions that are equal as polynomials compare equal, so most questions about
//! shapes need no solver. Arithmetic saturates; a dimension that has saturated exceeds every permitted size.

mod bounds;

pub use bounds::{Bounds, Interval};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A factor of a [`Dim`] that arithmetic does not look into.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Atom {
    /// A dimension known only at run time.
    Symbol(Arc<str>),
    /// The largest integer not above the quotient; the divisor is positive.
    FloorDiv(Box<Dim>, Box<Dim>),
    /// The smaller of two.
    Min(Box<Dim>, Box<Dim>),
    /// The larger of two.
    Max(Box<Dim>, Box<Dim>),
}

/// A product of atoms with multiplicity, sorted; the empty product is one.
type Monomial = Vec<(Atom, u32)>;

/// An integer expression over bounded symbols in canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dim {
    /// Non-zero coefficients by monomial.
    terms: BTreeMap<Monomial, i64>,
}

impl Dim {
    /// The dimension of a symbol.
    pub fn symbol(name: impl Into<Arc<str>>) -> Dim {
        Dim::atom(Atom::Symbol(name.into()))
    }

    fn atom(atom: Atom) -> Dim {
        Dim {
            terms: BTreeMap::from([(vec![(atom, 1)], 1)]),
        }
    }

    /// The value, if no symbol occurs.
    pub fn as_const(&self) -> Option<i64> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&Vec::new()).copied(),
            _ => None,
        }
    }

    /// The value as a size, if it is constant and not negative.
    pub fn as_usize(&self) -> Option<usize> {
        self.as_const().and_then(|value| usize::try_from(value).ok())
    }

    /// Whether this is the constant `value`.
    pub fn is(&self, value: i64) -> bool {
        self.as_const() == Some(value)
    }

    /// The terms as coefficient and factors, the constant term (no factors) first.
    pub fn terms(&self) -> impl Iterator<Item = (i64, &[(Atom, u32)])> {
        self.terms
            .iter()
            .map(|(factors, &coefficient)| (coefficient, factors.as_slice()))
    }

    fn constant_term(&self) -> i64 {
        self.terms.get(&Vec::new()).copied().unwrap_or(0)
    }

    fn add_term(&mut self, monomial: Monomial, coefficient: i64) {
        let sum = self
            .terms
            .get(&monomial)
            .copied()
            .unwrap_or(0)
            .saturating_add(coefficient);
        if sum == 0 {
            self.terms.remove(&monomial);
        } else {
            self.terms.insert(monomial, sum);
        }
    }

    fn scaled(&self, factor: i64) -> Dim {
        let mut result = Dim::default();
        for (monomial, &coefficient) in &self.terms {
            result.add_term(monomial.clone(), coefficient.saturating_mul(factor));
        }
        result
    }

    /// The largest integer not above `self / divisor`.
    ///
    /// Whole multiples are divided out of the numerator, and a quotient of a quotient becomes one division, so that
    /// the sizes after a chain of strided windows come out in one form.
    ///
    /// # Panics
    ///
    /// If the divisor is a constant that is not positive.
    pub fn floor_div(&self, divisor: &Dim) -> Dim {
        if let Some(exact) = self.exact_div(divisor) {
            return exact;
        }
        let Some(k) = divisor.as_const() else {
            return Dim::atom(Atom::FloorDiv(Box::new(self.clone()), Box::new(divisor.clone())));
        };
        assert!(k > 0, "dimension divided by {k}");
        let mut quotient = Dim::default();
        let mut rest = Dim::default();
        for (monomial, &coefficient) in &self.terms {
            quotient.add_term(monomial.clone(), coefficient.div_euclid(k));
            rest.add_term(monomial.clone(), coefficient.rem_euclid(k));
        }
        if rest.as_const().is_some() {
            return quotient;
        }
        let offset = rest.constant_term();
        let variable = rest.clone() - Dim::from(offset);
        if let Some((Atom::FloorDiv(inner, by), 1)) = variable.single_atom()
            && let Some(m) = by.as_const()
        {
            let numerator = inner.as_ref().clone() + Dim::from(offset.saturating_mul(m));
            return quotient + numerator.floor_div(&Dim::from(m.saturating_mul(k)));
        }
        quotient + Dim::atom(Atom::FloorDiv(Box::new(rest), Box::new(divisor.clone())))
    }

    /// The smallest integer not below `self / divisor`, for a positive constant divisor.
    pub fn ceil_div(&self, divisor: i64) -> Dim {
        (self.clone() + Dim::from(divisor - 1)).floor_div(&Dim::from(divisor))
    }

    /// The atom and its coefficient, if this is a multiple of one atom.
    fn single_atom(&self) -> Option<(&Atom, i64)> {
        let mut terms = self.terms.iter();
        match (terms.next(), terms.next()) {
            (Some((monomial, &coefficient)), None) => match monomial.as_slice() {
                [(atom, 1)] => Some((atom, coefficient)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The symbol, if this is one.
    pub fn as_symbol(&self) -> Option<&Arc<str>> {
        match self.single_atom() {
            Some((Atom::Symbol(name), 1)) => Some(name),
            _ => None,
        }
    }

    /// The quotient, if `divisor` divides this for every value of the symbols (multivariate polynomial division).
    pub fn exact_div(&self, divisor: &Dim) -> Option<Dim> {
        let (lead, &lead_coefficient) = divisor.terms.iter().next_back()?;
        let mut rest = self.clone();
        let mut quotient = Dim::default();
        while let Some((monomial, &coefficient)) = rest.terms.iter().next_back() {
            if coefficient % lead_coefficient != 0 {
                return None;
            }
            let factor = divide_monomial(monomial, lead)?;
            let term = Dim {
                terms: BTreeMap::from([(factor.clone(), coefficient / lead_coefficient)]),
            };
            let reduced = rest.clone() - term * divisor.clone();
            // Lexicographic order of sorted factor lists is no monomial order, so progress is checked rather than assumed.
            if reduced.terms.len() >= rest.terms.len() + divisor.terms.len() || reduced.terms.contains_key(monomial) {
                return None;
            }
            if quotient.terms.len() > 64 {
                return None;
            }
            quotient.add_term(factor, coefficient / lead_coefficient);
            rest = reduced;
        }
        Some(quotient)
    }

    /// The smaller of two, resolved where the bounds decide.
    pub fn minimum(&self, other: &Dim, bounds: &Bounds) -> Dim {
        let difference = (self.clone() - other.clone()).range(bounds);
        if difference.high <= 0 {
            self.clone()
        } else if difference.low >= 0 {
            other.clone()
        } else {
            let (a, b) = ordered(self, other);
            Dim::atom(Atom::Min(a, b))
        }
    }

    /// The larger of two, resolved where the bounds decide.
    pub fn maximum(&self, other: &Dim, bounds: &Bounds) -> Dim {
        let difference = (self.clone() - other.clone()).range(bounds);
        if difference.high <= 0 {
            other.clone()
        } else if difference.low >= 0 {
            self.clone()
        } else {
            let (a, b) = ordered(self, other);
            Dim::atom(Atom::Max(a, b))
        }
    }

    /// How two dimensions compare for every value of the symbols within the bounds, if they always compare the same.
    pub fn compare(&self, other: &Dim, bounds: &Bounds) -> Option<Ordering> {
        let difference = (self.clone() - other.clone()).range(bounds);
        if difference.low == 0 && difference.high == 0 {
            Some(Ordering::Equal)
        } else if difference.high < 0 {
            Some(Ordering::Less)
        } else if difference.low > 0 {
            Some(Ordering::Greater)
        } else {
            None
        }
    }

    /// Bounds of the value by interval arithmetic. They are safe, not always tight.
    pub fn range(&self, bounds: &Bounds) -> Interval {
        let mut total = Interval { low: 0, high: 0 };
        for (monomial, &coefficient) in &self.terms {
            let mut product = Interval {
                low: coefficient,
                high: coefficient,
            };
            for (atom, power) in monomial {
                let factor = atom.range(bounds);
                for _ in 0..*power {
                    product = product.times(factor);
                }
            }
            total.low = total.low.saturating_add(product.low);
            total.high = total.high.saturating_add(product.high);
        }
        total
    }

    /// The largest value within the bounds.
    pub fn upper(&self, bounds: &Bounds) -> i64 {
        self.range(bounds).high
    }

    /// The value for given values of the symbols; `None` if a symbol has none or a divisor is not positive.
    pub fn eval(&self, value_of: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
        let mut total = 0i64;
        for (monomial, &coefficient) in &self.terms {
            let mut product = coefficient;
            for (atom, power) in monomial {
                let value = match atom {
                    Atom::Symbol(name) => value_of(name)?,
                    Atom::FloorDiv(a, b) => {
                        let (a, b) = (a.eval(value_of)?, b.eval(value_of)?);
                        if b <= 0 {
                            return None;
                        }
                        a.div_euclid(b)
                    }
                    Atom::Min(a, b) => a.eval(value_of)?.min(b.eval(value_of)?),
                    Atom::Max(a, b) => a.eval(value_of)?.max(b.eval(value_of)?),
                };
                for _ in 0..*power {
                    product = product.saturating_mul(value);
                }
            }
            total = total.saturating_add(product);
        }
        Some(total)
    }

    /// Replaces symbols for which `replacement` has a dimension.
    pub fn substitute(&self, replacement: &dyn Fn(&str) -> Option<Dim>, bounds: &Bounds) -> Dim {
        let mut total = Dim::default();
        for (monomial, &coefficient) in &self.terms {
            let mut product = Dim::from(coefficient);
            for (atom, power) in monomial {
                let value = match atom {
                    Atom::Symbol(name) => replacement(name).unwrap_or_else(|| Dim::symbol(name.clone())),
                    Atom::FloorDiv(a, b) => a
                        .substitute(replacement, bounds)
                        .floor_div(&b.substitute(replacement, bounds)),
                    Atom::Min(a, b) => a
                        .substitute(replacement, bounds)
                        .minimum(&b.substitute(replacement, bounds), bounds),
                    Atom::Max(a, b) => a
                        .substitute(replacement, bounds)
                        .maximum(&b.substitute(replacement, bounds), bounds),
                };
                for _ in 0..*power {
                    product = product * value.clone();
                }
            }
            total = total + product;
        }
        total
    }

    /// Calls `visit` for every symbol that occurs, possibly more than once.
    pub fn visit_symbols(&self, visit: &mut dyn FnMut(&Arc<str>)) {
        for (atom, _) in self.terms.keys().flatten() {
            match atom {
                Atom::Symbol(name) => visit(name),
                Atom::FloorDiv(a, b) | Atom::Min(a, b) | Atom::Max(a, b) => {
                    a.visit_symbols(visit);
                    b.visit_symbols(visit);
                }
            }
        }
    }
}

fn ordered(a: &Dim, b: &Dim) -> (Box<Dim>, Box<Dim>) {
    if a <= b {
        (Box::new(a.clone()), Box::new(b.clone()))
    } else {
        (Box::new(b.clone()), Box::new(a.clone()))
    }
}

impl Atom {
    fn range(&self, bounds: &Bounds) -> Interval {
        match self {
            Atom::Symbol(name) => bounds.get(name),
            Atom::FloorDiv(a, b) => {
                let (a, b) = (a.range(bounds), b.range(bounds));
                let (small, large) = (b.low.max(1), b.high.max(1));
                let corners = [
                    a.low.div_euclid(small),
                    a.low.div_euclid(large),
                    a.high.div_euclid(small),
                    a.high.div_euclid(large),
                ];
                Interval {
                    low: corners.into_iter().min().unwrap_or(0),
                    high: corners.into_iter().max().unwrap_or(0),
                }
            }
            Atom::Min(a, b) => {
                let (a, b) = (a.range(bounds), b.range(bounds));
                Interval {
                    low: a.low.min(b.low),
                    high: a.high.min(b.high),
                }
            }
            Atom::Max(a, b) => {
                let (a, b) = (a.range(bounds), b.range(bounds));
                Interval {
                    low: a.low.max(b.low),
                    high: a.high.max(b.high),
                }
            }
        }
    }
}

fn divide_monomial(numerator: &Monomial, divisor: &Monomial) -> Option<Monomial> {
    let mut result = numerator.clone();
    for (atom, power) in divisor {
        let entry = result.iter_mut().find(|(candidate, _)| candidate == atom)?;
        entry.1 = entry.1.checked_sub(*power)?;
    }
    result.retain(|(_, power)| *power > 0);
    Some(result)
}

fn multiply_monomials(a: &Monomial, b: &Monomial) -> Monomial {
    let mut result = a.clone();
    for (atom, power) in b {
        match result.binary_search_by(|(candidate, _)| candidate.cmp(atom)) {
            Ok(found) => result[found].1 += power,
            Err(place) => result.insert(place, (atom.clone(), *power)),
        }
    }
    result
}

impl From<i64> for Dim {
    fn from(value: i64) -> Dim {
        let mut result = Dim::default();
        result.add_term(Vec::new(), value);
        result
    }
}

impl From<usize> for Dim {
    fn from(value: usize) -> Dim {
        Dim::from(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl std::ops::Add for Dim {
    type Output = Dim;
    fn add(mut self, other: Dim) -> Dim {
        for (monomial, coefficient) in other.terms {
            self.add_term(monomial, coefficient);
        }
        self
    }
}

impl std::ops::Sub for Dim {
    type Output = Dim;
    fn sub(self, other: Dim) -> Dim {
        self + other.scaled(-1)
    }
}

impl std::ops::Mul for Dim {
    type Output = Dim;
    fn mul(self, other: Dim) -> Dim {
        let mut result = Dim::default();
        for (a, &x) in &self.terms {
            for (b, &y) in &other.terms {
                result.add_term(multiply_monomials(a, b), x.saturating_mul(y));
            }
        }
        result
    }
}

impl std::iter::Product for Dim {
    fn product<I: Iterator<Item = Dim>>(iter: I) -> Dim {
        iter.fold(Dim::from(1i64), |a, b| a * b)
    }
}

impl std::iter::Sum for Dim {
    fn sum<I: Iterator<Item = Dim>>(iter: I) -> Dim {
        iter.fold(Dim::default(), |a, b| a + b)
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Atom::Symbol(name) => f.write_str(name),
            Atom::FloorDiv(a, b) => write!(f, "floor({a}, {b})"),
            Atom::Min(a, b) => write!(f, "min({a}, {b})"),
            Atom::Max(a, b) => write!(f, "max({a}, {b})"),
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return f.write_str("0");
        }
        for (index, (monomial, &coefficient)) in self.terms.iter().rev().enumerate() {
            match (index, coefficient < 0) {
                (0, true) => f.write_str("-")?,
                (0, false) => {}
                (_, true) => f.write_str(" - ")?,
                (_, false) => f.write_str(" + ")?,
            }
            let magnitude = coefficient.unsigned_abs();
            let mut separator = "";
            if magnitude != 1 || monomial.is_empty() {
                write!(f, "{magnitude}")?;
                separator = "*";
            }
            for (atom, power) in monomial {
                for _ in 0..*power {
                    write!(f, "{separator}{atom}")?;
                    separator = "*";
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
