//! The blocked product, of whatever the rows of the left-hand side are.

use super::WEIGHTS;
use super::pairs::{Emulated, Halves, Pairs};
use super::tile::Strip;
use crate::isa;
use crate::kernels::linear::ahead::Ahead;
use crate::kernels::linear::depth::Depth;
use crate::kernels::linear::gemm::equal_blocks;
use crate::kernels::linear::store::{Start, Target};
use crate::kernels::linear::tile::MAX_ROWS;
use crate::kernels::linear::{Epilogue, Init, MatrixMut, PANEL_COLUMNS};
use crate::kernels::simd::Simd;
use core::marker::PhantomData;

/// Numbers of a pair.
const PAIR: usize = 2;

/// Pairs of the depth that are summed up at a time: the rows that a tile reads fit the first level cache.
const DEPTH: usize = 512;

/// The rows of a left-hand side, which are rounded a block at a time.
pub(in crate::kernels::linear) trait Rows {
    /// Rows of the block that begins with a row and is rounded into at most so many values; 0 if these are too few.
    fn block(&self, first: usize, values: usize) -> usize;

    /// The depth, as it is in a block of `rows` rows.
    fn depth(&self, rows: usize) -> Depth;

    /// The first value of a row of a block of `rows` rows.
    fn offset(&self, rows: usize, row: usize) -> usize;

    /// Rounds a block of `rows` rows from `first` on, and returns how many values that are.
    fn round<P: Pairs>(&self, first: usize, rows: usize, values: &mut [P::Value]) -> usize;
}

/// `c = epilogue(init + a b)`.
pub(in crate::kernels::linear) struct Product<'a, R> {
    pub(in crate::kernels::linear) rows: R,
    pub(in crate::kernels::linear) b: &'a [u32],
    pub(in crate::kernels::linear) init: Init<'a>,
    pub(in crate::kernels::linear) c: MatrixMut<'a>,
    pub(in crate::kernels::linear) scratch: &'a mut [f32],
    pub(in crate::kernels::linear) epilogue: Epilogue<'a>,
}

/// An instruction set that computes products of pairs, in the way that is best on the processor.
pub(in crate::kernels::linear) trait Products: Halves {
    /// Computes a product. The instruction set is that of the caller.
    fn product<R: Rows>(self, product: Product<'_, R>);
}

impl Products for isa::Scalar {
    #[inline(always)]
    fn product<R: Rows>(self, product: Product<'_, R>) {
        multiply(Emulated(self), product);
    }
}

#[cfg(target_arch = "x86_64")]
impl Products for isa::Avx2 {
    #[inline(always)]
    fn product<R: Rows>(self, product: Product<'_, R>) {
        multiply(Emulated(self), product);
    }
}

#[cfg(target_arch = "x86_64")]
impl Products for isa::Avx512 {
    #[inline(always)]
    fn product<R: Rows>(self, product: Product<'_, R>) {
        match super::pairs::Native::detect(self) {
            Some(native) => multiply(native, product),
            None => multiply(Emulated(self), product),
        }
    }
}

#[inline(always)]
fn multiply<P: Pairs, R: Rows>(pairs: P, product: Product<'_, R>) {
    let Product {
        rows,
        b,
        init,
        mut c,
        scratch,
        epilogue,
    } = product;
    let (m, n) = (c.rows(), c.columns());
    if m == 0 || n == 0 {
        return;
    }
    init.check(m, n);
    let values = values_of::<P>(scratch);
    let mut first = 0;
    while first < m {
        let count = rows.block(first, values.len()).min(m - first);
        assert!(count > 0, "product: the scratch is too short");
        let used = rows.round::<P>(first, count, values);
        let block = Block {
            values: &values[..used],
            depth: rows.depth(count),
            few: m <= P::Simd::TILE_ROWS,
            b,
            init: match init {
                Init::PerRow(values) => Init::PerRow(&values[first..]),
                other => other,
            },
            epilogue: epilogue.from(first, 0),
        };
        block.run(pairs, c.part(first..first + count, 0..n), |row| rows.offset(count, row));
        first += count;
    }
}

/// Scratch as values, as many as it has numbers.
#[inline(always)]
fn values_of<P: Pairs>(scratch: &mut [f32]) -> &mut [P::Value] {
    const { assert!(size_of::<P::Value>() <= size_of::<f32>() && align_of::<P::Value>() <= align_of::<f32>()) };
    // SAFETY: values are no larger and no more aligned than `f32`; of both types, any bits are a value.
    unsafe { core::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), scratch.len()) }
}

/// Rows that have been rounded.
struct Block<'a, V> {
    values: &'a [V],
    depth: Depth,
    /// Whether the product has no more rows than a tile.
    few: bool,
    b: &'a [u32],
    init: Init<'a>,
    epilogue: Epilogue<'a>,
}

impl<V: Copy> Block<'_, V> {
    #[inline(always)]
    fn run<P: Pairs<Value = V>>(&self, pairs: P, mut c: MatrixMut<'_>, offset: impl Fn(usize) -> usize) {
        let (m, n, total) = (c.rows(), c.columns(), self.depth.words(PAIR));
        assert!(
            self.b.len() / PANEL_COLUMNS >= n.div_ceil(PANEL_COLUMNS).saturating_mul(total),
            "product: the right matrix is too short"
        );
        // A depth of one run is cut, the same for any rows and columns.
        let cut = match self.depth.counts {
            [1, 1] if total > DEPTH => equal_blocks(total, DEPTH, 1),
            _ => total,
        };
        let fitting = (WEIGHTS / (cut * PANEL_COLUMNS).max(1)).max(2) * PANEL_COLUMNS;
        let step = equal_blocks(n, if self.few { n } else { fitting }, 2 * PANEL_COLUMNS);
        let mut p = 0;
        loop {
            let mut depth = self.depth;
            if cut < total {
                depth.run = cut.min(total - p) * PAIR;
            }
            let last = p + depth.words(PAIR) == total;
            for j in (0..n).step_by(step) {
                let columns = step.min(n - j);
                // The weights of a following step lie behind these, more often than not.
                let ahead = match last || j + columns < n {
                    true => Ahead::new(columns.next_multiple_of(PANEL_COLUMNS) * total, m, P::Simd::TILE_ROWS),
                    false => Ahead::NONE,
                };
                let mut row = 0;
                while row < m {
                    let rows = P::Simd::TILE_ROWS.min(m - row);
                    let mut part = c.part(row..row + rows, j..j + columns);
                    let (target, c_row) = (part.as_mut_ptr(), part.stride());
                    let start = match self.init {
                        _ if p > 0 => Start::Matrix(target, c_row),
                        Init::Zero => Start::Zero,
                        Init::Accumulate => Start::Matrix(target, c_row),
                        Init::PerColumn(values) => Start::Matrix(values[j..j + columns].as_ptr(), 0),
                        Init::PerRow(values) => Start::PerRow(values[row..row + rows].as_ptr()),
                    };
                    let reach = depth.reach();
                    let mut a = [self.values.as_ptr(); MAX_ROWS];
                    // Rows that do not exist are read as the last that does.
                    for (index, address) in a[..P::Simd::TILE_ROWS].iter_mut().enumerate() {
                        let first = offset(row + index.min(rows - 1)) + PAIR * p;
                        *address = self.values[first..first + reach].as_ptr();
                    }
                    let (index, b_panel) = (row / P::Simd::TILE_ROWS, total * PANEL_COLUMNS);
                    let strip = Strip {
                        a,
                        depth,
                        b: self.b[(j / PANEL_COLUMNS * total + p) * PANEL_COLUMNS..].as_ptr(),
                        b_panel,
                        ahead: ahead.share(P::Simd::LANES, index, b_panel),
                        target: Target {
                            rows,
                            n: columns,
                            start,
                            c: target,
                            c_row,
                            bounds: self.epilogue.bounds_if(last),
                        },
                        found: PhantomData,
                    };
                    // SAFETY: each row of `a` has been found to reach as far as the depth does, `b` to have `total` pairs
                    // in every panel, and the part of `c` and of the initial values to have these rows and columns.
                    let strip = unsafe { strip.vouched() };
                    pairs.run(&strip);
                    if last {
                        self.epilogue.finish(&mut c, row..row + rows, j..j + columns);
                    }
                    row += rows;
                }
            }
            p += depth.words(PAIR);
            if last {
                break;
            }
        }
    }
}
