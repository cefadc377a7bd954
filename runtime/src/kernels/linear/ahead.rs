//! Asking memory for weights before their turn.

use super::pack::PANEL_COLUMNS;

/// The weights that follow those of a block, and the strips of rows that ask for them while the block is computed.
///
/// Every strip asks for its share, because a line from memory takes as long as some hundred products: a few strips that
/// ask for everything wait for most of it.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    /// Elements from a weight of the block to the one that is asked for, which need not exist.
    distance: usize,
    /// Strips that came before the first one of the block.
    first: usize,
    /// Strips that share the weights.
    strips: usize,
    /// Rows of the tallest strip.
    height: usize,
}

/// What one strip asks for: with every term of the depth the line of an element, which moves on by a line at most.
#[derive(Clone, Copy)]
pub(super) struct Share {
    /// Elements from the first weight of a run of terms to those that are asked for. Any number, as nothing is read there.
    offset: usize,
    /// Elements that the strips before have asked for, for each term.
    before: usize,
    /// Elements from what is asked for with one term to that of the next; 0 if nothing is asked for.
    pub(super) step: usize,
}

impl Share {
    pub(super) const NONE: Share = Share {
        offset: 0,
        before: 0,
        step: 0,
    };

    #[inline(always)]
    pub(super) fn is_some(self) -> bool {
        self.step > 0
    }

    /// The first address that is asked for, in a run of `terms` whose weights begin at `b`.
    #[inline(always)]
    pub(super) fn first<T>(self, b: *const T, terms: usize) -> *const T {
        b.wrapping_add(self.offset.wrapping_add(self.before * terms))
    }
}

impl Ahead {
    /// Nothing is asked for.
    pub(super) const NONE: Ahead = Ahead {
        distance: 0,
        first: 0,
        strips: 0,
        height: 1,
    };

    /// Weights that lie `distance` elements behind those of a block of `m` rows, in strips of at most `height` rows.
    ///
    /// Rows that are a single strip read their weights faster than memory gives them, and ask for none.
    #[inline(always)]
    pub(super) fn new(distance: usize, m: usize, height: usize) -> Ahead {
        Ahead {
            distance,
            first: 0,
            strips: m.div_ceil(height),
            height,
        }
    }

    /// The same weights, for a block that begins with row `row` of all that share them.
    #[inline(always)]
    pub(super) fn at_row(self, row: usize) -> Ahead {
        Ahead {
            first: row / self.height,
            ..self
        }
    }

    /// The share of a strip of the block, which has tiles of two vectors of so many lanes, of panels that lie `b_panel`
    /// apart.
    #[inline(always)]
    pub(super) fn share(self, lanes: usize, strip: usize, b_panel: usize) -> Share {
        let (panels, strip) = ((2 * lanes).div_ceil(PANEL_COLUMNS), self.first + strip);
        if self.strips < 2 {
            return Share::NONE;
        }
        // The strips take turns at the panels of a tile, and share the depth of a panel.
        let step = PANEL_COLUMNS.div_ceil((self.strips / panels).max(1));
        let before = strip / panels * step;
        if before >= PANEL_COLUMNS {
            return Share::NONE;
        }
        Share {
            offset: self.distance + strip % panels * b_panel,
            before,
            step,
        }
    }
}

/// The weights that follow those of a block and are lines of a cache, one for every term of the depth, and the strips of rows (each
/// of them one tile high) that ask for them: each for some that follow each other, with as many of its first terms.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    /// Elements from a weight of the block to the one that is asked for, which need not exist.
    distance: usize,
    /// Elements between panels.
    b_panel: usize,
    /// Whether tiles have two panels, at which strips take turns, or one.
    has_two: bool,
    /// Strips that share a panel, and what each of them asks for.
    sharers: usize,
    each: usize,
}

/// The lines that one strip asks for.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    /// Elements from the first weight of the tile to those that are asked for. Any number, as nothing is read there.
    pub(super) offset: usize,
    /// How many lines these are.
    pub(super) lines: usize,
}

impl Lines {
    /// Nothing is asked for.
    pub(super) const NONE: Lines = Lines {
        distance: 0,
        b_panel: 0,
        has_two: false,
        sharers: 0,
        each: 0,
    };

    /// Weights that lie `distance` elements behind those of a block of so many strips, which have tiles of two vectors of so
    /// many lanes, of panels that lie `b_panel` apart.
    ///
    /// Rows that are a single strip read their weights faster than memory gives them, and ask for none.
    #[inline(always)]
    pub(super) fn new(distance: usize, strips: usize, lanes: usize, b_panel: usize) -> Lines {
        let panels = (2 * lanes).div_ceil(PANEL_COLUMNS);
        let sharers = if strips < 2 { 0 } else { (strips / panels).max(1) };
        Lines {
            distance,
            b_panel,
            has_two: panels > 1,
            sharers,
            each: (b_panel / PANEL_COLUMNS).div_ceil(sharers.max(1)),
        }
    }

    /// What a strip asks for.
    #[inline(always)]
    pub(super) fn turn(&self, strip: usize) -> Turn {
        let (panel, part) = if self.has_two {
            (strip % 2, strip / 2)
        } else {
            (0, strip)
        };
        if part >= self.sharers {
            return Turn { offset: 0, lines: 0 };
        }
        let terms = self.b_panel / PANEL_COLUMNS;
        let first = (part * self.each).min(terms);
        Turn {
            offset: self.distance + panel * self.b_panel + first * PANEL_COLUMNS,
            lines: self.each.min(terms - first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Level};
    use std::collections::BTreeMap;

    const TERMS: usize = 48;

    /// How often the strips of `m` rows ask for each line of the panels of a tile, and of what is behind them.
    fn asked<S: Isa>(_isa: S, m: usize, height: usize) -> (usize, BTreeMap<usize, usize>) {
        let (distance, b_panel) = (1 << 20, TERMS * PANEL_COLUMNS);
        let base = core::ptr::null::<f32>();
        let mut lines = BTreeMap::new();
        for strip in 0..m.div_ceil(height) {
            // Every other strip begins a block of its own.
            let ahead = Ahead::new(distance, m, height).at_row(strip / 2 * 2 * height);
            let share = ahead.share(S::LANES, strip % 2, b_panel);
            let first = share.first(base, TERMS) as usize / size_of::<f32>();
            let last = first + share.step * TERMS;
            for element in (first..last).step_by(share.step.max(1)) {
                *lines.entry((element - distance) / PANEL_COLUMNS).or_default() += 1;
            }
        }
        ((2 * S::LANES).div_ceil(PANEL_COLUMNS) * TERMS, lines)
    }

    #[test]
    fn strips_ask_for_runs_of_lines() {
        let (distance, b_panel) = (1 << 20, TERMS * PANEL_COLUMNS);
        for (strips, lanes) in (1..100).flat_map(|strips| [4, 8, 16].map(|lanes| (strips, lanes))) {
            let lines = Lines::new(distance, strips, lanes, b_panel);
            let mut asked = BTreeMap::<usize, usize>::new();
            for Turn { offset, lines } in (0..strips).map(|strip| lines.turn(strip)) {
                for line in 0..lines {
                    *asked.entry((offset - distance) / PANEL_COLUMNS + line).or_default() += 1;
                }
            }
            let panels = (2 * lanes).div_ceil(PANEL_COLUMNS);
            let reached = if strips < 2 { 0 } else { panels * TERMS };
            assert!(asked.keys().copied().eq(0..reached), "{strips} strips, {lanes} lanes");
            assert!(
                asked.values().all(|&count| count == 1),
                "{strips} strips, {lanes} lanes"
            );
        }
    }

    #[test]
    fn strips_ask_for_every_line() {
        for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
            for (m, height) in (1..300).flat_map(|m| [3, 6, 8, 12].map(|height| (m, height))) {
                let (count, lines) = crate::dispatch!(level, asked(m, height));
                if lines.is_empty() {
                    assert!(m <= height, "{m} rows ask for nothing on {level:?}");
                    continue;
                }
                for line in 0..count {
                    assert!(lines.contains_key(&line), "{m} rows leave out line {line} on {level:?}");
                }
                let behind = lines.keys().filter(|&&line| line >= count).count();
                assert!(
                    behind <= count / 2,
                    "{m} rows ask for {behind} lines too many on {level:?}"
                );
            }
        }
    }
}
