//! Bounds of quantities and of symbols.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The smallest and largest value of a quantity, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    /// The smallest value.
    pub low: i64,
    /// The largest value.
    pub high: i64,
}

/// The bounds of the symbols of a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds(BTreeMap<Arc<str>, Interval>);

impl Bounds {
    /// Bounds of no symbol.
    pub fn new() -> Bounds {
        Bounds::default()
    }

    /// Sets the bounds of a symbol.
    pub fn insert(&mut self, symbol: impl Into<Arc<str>>, bounds: Interval) {
        self.0.insert(symbol.into(), bounds);
    }

    /// The bounds of a symbol; a symbol without bounds may be any non-negative number.
    pub fn get(&self, symbol: &str) -> Interval {
        self.0
            .get(symbol)
            .copied()
            .unwrap_or(Interval { low: 0, high: i64::MAX })
    }

    /// The symbols in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Interval)> {
        self.0.iter().map(|(symbol, bounds)| (symbol, *bounds))
    }

    /// Whether a symbol has bounds.
    pub fn contains(&self, symbol: &str) -> bool {
        self.0.contains_key(symbol)
    }
}

impl Interval {
    /// The interval of one value.
    pub fn exactly(value: i64) -> Interval {
        Interval {
            low: value,
            high: value,
        }
    }

    pub(super) fn times(self, other: Interval) -> Interval {
        let corners = [
            self.low.saturating_mul(other.low),
            self.low.saturating_mul(other.high),
            self.high.saturating_mul(other.low),
            self.high.saturating_mul(other.high),
        ];
        Interval {
            low: corners.into_iter().min().unwrap_or(0),
            high: corners.into_iter().max().unwrap_or(0),
        }
    }
}
