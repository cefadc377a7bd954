//! Products of rounded rows with weights in blocks: sums of a group are integers, those of groups are `f32`.

use super::pack::BlockFormat;
use super::round::{GROUP, HEADER, round_row};
use super::{Numbers, RhsBlocks, packed_rhs_blocks_len};
use crate::isa::Isa;
use crate::kernels::linear::gemm::Gemm;
use crate::kernels::linear::int8::{Products, Quads, Task};
use crate::kernels::linear::pack::{PANEL_COLUMNS, PANEL_ROWS};
use crate::kernels::linear::share::divide;
use crate::kernels::linear::store::{Start, Target, unrolled};
use crate::kernels::linear::{Epilogue, Init, Lhs, Linear, MatrixMut, min};
use crate::kernels::simd::Simd;
use crate::team::{Compute, Team};
use core::marker::PhantomData;

/// Rows of the tallest tile of any instruction set. The sums of a block take registers beside those of a tile, so that it has not as
/// many rows as one of [`Quads`] alone may have.
const MAX_ROWS: usize = 8;

/// Rows of the tallest tile of an instruction set.
const fn tile_rows<Q: Quads>() -> usize {
    min(Q::ROWS, MAX_ROWS)
}

/// Rows that are rounded at a time, a part of a second level cache.
const BLOCK_ROWS: usize = 128;

/// Columns that several tiles of rows pass over one after another, a multiple of those of the widest tile for several rows.
const COLUMNS: usize = 2 * PANEL_COLUMNS;

/// Values of scratch that a product of at most `[m, k]` with weights of a format is fastest with, where what is multiplied with
/// them is rounded to 8 bits.
pub const fn gemm_blocks_int8_scratch(m: usize, k: usize, format: BlockFormat) -> usize {
    min(m, BLOCK_ROWS) * format.rounded_words(k)
}

/// Values of scratch that a product of at most `[m, k]` with weights of a format cannot do without, where what is multiplied
/// with them is rounded to 8 bits.
pub const fn gemm_blocks_int8_scratch_min(m: usize, k: usize, format: BlockFormat) -> usize {
    min(m, MAX_ROWS) * format.rounded_words(k)
}

#[inline(always)]
pub(in crate::kernels::linear) fn gemm_blocks_int8<S: Linear>(
    isa: S,
    problem: &Gemm,
    a: Lhs<'_>,
    b: RhsBlocks<'_>,
    init: Init<'_>,
    c: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let &Gemm { m, n, k, c_row } = problem;
    isa.gemm_blocks_int8_part(k, a, b, init, MatrixMut::new(c, m, n, c_row), scratch, epilogue);
}

#[inline(always)]
pub(in crate::kernels::linear) fn gemm_blocks_int8_part<S: Products + Numbers>(
    isa: S,
    k: usize,
    a: Lhs<'_>,
    b: RhsBlocks<'_>,
    init: Init<'_>,
    c: MatrixMut<'_>,
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    multiply(isa, isa, k, a, b, init, c, scratch, epilogue);
}

/// The product, with quads as `products` says.
#[inline(always)]
pub(super) fn multiply<S: Numbers, P: Products>(
    isa: S,
    products: P,
    k: usize,
    a: Lhs<'_>,
    b: RhsBlocks<'_>,
    init: Init<'_>,
    mut c: MatrixMut<'_>,
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let (m, n) = (c.rows(), c.columns());
    assert!(
        matches!(b.format.bits, 4 | 8) && b.format.rows > 0,
        "gemm: there are no such blocks of numbers"
    );
    assert!(
        b.data.len() >= packed_rhs_blocks_len(k, n, b.format),
        "gemm: the right matrix is too short"
    );
    if m == 0 || n == 0 {
        return;
    }
    let (a, [group, row, column]) = a.layout(m, k);
    let (target, c_row) = (c.as_mut_ptr(), c.stride());
    let start = init.start([m, n], target, c_row);
    let row_words = b.format.rounded_words(k);
    let room = scratch.len().checked_div(row_words).unwrap_or(usize::MAX);
    assert!(room >= min(m, MAX_ROWS), "gemm: the scratch is too short");
    let height = min(room, BLOCK_ROWS);
    for first in (0..m).step_by(height) {
        let rows = height.min(m - first);
        for index in 0..rows {
            let (at, target) = (first + index, &mut scratch[index * row_words..][..row_words]);
            let begin = (at / PANEL_ROWS)
                .wrapping_mul(group)
                .wrapping_add((at % PANEL_ROWS).wrapping_mul(row));
            round_row(isa, b.format, k, a.get(begin..).unwrap_or_default(), column, target);
        }
        products.with_quads(Rounded {
            rows: &scratch[..rows * row_words],
            k,
            b,
            target: Target {
                rows,
                n,
                start: start.at_row(first),
                c: target.wrapping_add(first * c_row),
                c_row,
                bounds: epilogue.bounds_if(true),
            },
        });
    }
    epilogue.finish(&mut c, 0..m, 0..n);
}

/// Divides the rows or the columns of a product.
pub(in crate::kernels::linear) fn gemm_blocks_int8_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &Gemm,
    a: Lhs<'_>,
    b: RhsBlocks<'_>,
    init: Init<'_>,
    c: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let &Gemm { m, k, .. } = problem;
    // Every part rounds its rows for itself.
    let scratch = (scratch, gemm_blocks_int8_scratch_min(m, k, b.format));
    divide(team, problem, PANEL_ROWS, init, c, scratch, epilogue, |piece| {
        let (a, b) = (a.rows_from(piece.at[0], k), b.columns_from(piece.at[1], k));
        let isa = team.isa();
        isa.gemm_blocks_int8_part(k, a, b, piece.init, piece.c, piece.scratch, piece.epilogue);
    });
}

/// A product of rows that are rounded, as many as `target` has.
struct Rounded<'a> {
    rows: &'a [f32],
    k: usize,
    b: RhsBlocks<'a>,
    target: Target,
}

impl Task for Rounded<'_> {
    type Output = ();

    #[inline(always)]
    fn run<Q: Quads>(self, quads: Q) {
        let Rounded { rows, k, b, target } = self;
        let (m, n) = (target.rows, target.n);
        let row_words = b.format.rounded_words(k);
        let panel = b.format.panel_words(k);
        let step = if m > tile_rows::<Q>() { COLUMNS } else { n };
        for j in (0..n).step_by(step) {
            for first in (0..m).step_by(tile_rows::<Q>()) {
                let count = min(tile_rows::<Q>(), m - first);
                // Rows that do not exist are read as the last that does.
                let address = |index: usize| {
                    let at = first + index.min(count - 1);
                    rows.as_ptr().wrapping_add(at * row_words).cast::<u32>()
                };
                let strip = BlockStrip {
                    a: core::array::from_fn(address),
                    k,
                    format: b.format,
                    b: b.data.as_ptr().wrapping_add(j / PANEL_COLUMNS * panel),
                    target: Target {
                        rows: count,
                        n: step.min(n - j),
                        start: match target.start.at_row(first) {
                            Start::Matrix(start, stride) => Start::Matrix(start.wrapping_add(j), stride),
                            other => other,
                        },
                        c: target.c.wrapping_add(first * target.c_row + j),
                        ..target
                    },
                    found: PhantomData,
                };
                // SAFETY: the rows have been rounded, of which these are at least one. The caller has asserted that there are
                // all panels of `b`, of which one begins with column `j`, and vouches for `target`, of which this is a part.
                let strip = unsafe { strip.vouched() };
                quads.run_blocks(&strip);
            }
        }
    }
}

/// All columns of `c = start + a b` for few rows of rounded numbers.
pub(in crate::kernels::linear) struct BlockStrip<'a> {
    a: [*const u32; MAX_ROWS],
    k: usize,
    format: BlockFormat,
    b: *const u32,
    target: Target,
    found: PhantomData<&'a ()>,
}

impl BlockStrip<'_> {
    /// # Safety
    ///
    /// For as long as the strip is there:
    ///
    /// - `target.rows` is at least 1 and at most [`tile_rows`].
    /// - Every row of `a` is what [`round_row`] makes of `k` numbers; those from `target.rows` on may be any that are.
    /// - `b` is valid for reading `ceil(n / 16)` panels of the format.
    /// - The `c` of `target` is valid for writing, and for reading if it is the start too, and `start` for reading, `rows` by
    ///   `n` elements.
    #[inline(always)]
    unsafe fn vouched(self) -> Self {
        self
    }
}

/// Computes a strip.
#[inline(always)]
pub(in crate::kernels::linear) fn run<Q: Quads>(quads: Q, strip: &BlockStrip<'_>) {
    // SAFETY: whoever made the strip has vouched for what `rows` asks for.
    unsafe {
        match (strip.format.bits, strip.format.zeros) {
            (4, false) => rows::<Q, 4, false>(quads, strip),
            (4, true) => rows::<Q, 4, true>(quads, strip),
            (_, false) => rows::<Q, 8, false>(quads, strip),
            (_, true) => rows::<Q, 8, true>(quads, strip),
        }
    }
}

/// Computes a strip in the lowest tiles that there is code for.
///
/// # Safety
///
/// As of [`BlockStrip::vouched`].
#[inline(always)]
unsafe fn rows<Q: Quads, const BITS: u32, const ZEROS: bool>(quads: Q, strip: &BlockStrip<'_>) {
    // SAFETY: as the caller vouches.
    unsafe {
        match (tile_rows::<Q>(), strip.target.rows) {
            (_, 1) => columns::<Q, BITS, ZEROS, 1>(quads, strip),
            (3, _) => columns::<Q, BITS, ZEROS, 3>(quads, strip),
            (4, _) | (_, ..=4) => columns::<Q, BITS, ZEROS, 4>(quads, strip),
            _ => columns::<Q, BITS, ZEROS, 8>(quads, strip),
        }
    }
}

/// Computes a strip in tiles of `ROWS` rows, the last of which may not exist. A single row has wider tiles, so that enough sums
/// are in flight.
///
/// # Safety
///
/// As of [`BlockStrip::vouched`], with `target.rows <= ROWS`.
#[inline(always)]
unsafe fn columns<Q: Quads, const BITS: u32, const ZEROS: bool, const ROWS: usize>(quads: Q, strip: &BlockStrip<'_>) {
    let n = strip.target.n;
    let mut j = 0;
    // SAFETY: as the caller vouches; every panel from `j` on that a tile reads has a column that exists.
    unsafe {
        if Q::LANES == 16 {
            while ROWS == 1 && n - j > 3 * PANEL_COLUMNS {
                tile::<Q, BITS, ZEROS, ROWS, 4>(quads, strip, j);
                j += (4 * PANEL_COLUMNS).min(n - j);
            }
            while n - j > PANEL_COLUMNS {
                tile::<Q, BITS, ZEROS, ROWS, 2>(quads, strip, j);
                j += (2 * PANEL_COLUMNS).min(n - j);
            }
        }
        while j < n {
            match Q::LANES {
                16 => tile::<Q, BITS, ZEROS, ROWS, 1>(quads, strip, j),
                8 => tile::<Q, BITS, ZEROS, ROWS, 2>(quads, strip, j),
                // Products in 32 bits take four registers for a line.
                _ => {
                    for j in (j..n.min(j + PANEL_COLUMNS)).step_by(Q::LANES) {
                        tile::<Q, BITS, ZEROS, ROWS, 1>(quads, strip, j);
                    }
                }
            }
            j += PANEL_COLUMNS.min(n - j);
        }
    }
}

/// Computes `VECTORS` vectors of columns from `column` on, those of them that exist.
///
/// # Safety
///
/// As of [`columns`]. `column` begins a vector of a panel and is below `n`, and each panel of the vectors has a column below `n`.
#[inline(always)]
unsafe fn tile<Q: Quads, const BITS: u32, const ZEROS: bool, const ROWS: usize, const VECTORS: usize>(
    quads: Q,
    strip: &BlockStrip<'_>,
    column: usize,
) {
    let isa = quads.simd();
    let (k, format) = (strip.k, strip.format);
    let (per_word, panel) = (if BITS == 4 { 8 } else { 4 }, format.panel_words(k));
    let first = strip.b.wrapping_add(column / PANEL_COLUMNS * panel);
    let lane = |vector: usize| column % PANEL_COLUMNS + vector * Q::LANES;
    let place = |vector: usize| (lane(vector) / PANEL_COLUMNS * panel, lane(vector) % PANEL_COLUMNS);
    let vectors: [*const u32; VECTORS] = core::array::from_fn(|vector| {
        let (panel, lane) = place(vector);
        first.wrapping_add(panel + lane)
    });
    let rows: [*const u32; ROWS] = core::array::from_fn(|row| strip.a[row]);
    let mut results = [[isa.splat(0.0); VECTORS]; ROWS];
    // Words from the beginning of a panel, and from that of a row.
    let (mut at, mut place_of_group) = (0, 0);
    let mut left = k;
    while left > 0 {
        let block = left.min(format.rows);
        // SAFETY: the caller vouches for the panels, of which this is the beginning of a block.
        let scales: [<Q::Simd as Simd>::F32; VECTORS] =
            core::array::from_fn(|vector| unsafe { isa.load(vectors[vector].add(at).cast()) });
        let zeros: [<Q::Simd as Simd>::F32; VECTORS] = core::array::from_fn(|vector| match ZEROS {
            // SAFETY: as above; the zero points are a byte each.
            true => unsafe {
                let (panel, lane) = place(vector);
                let zeros = first.add(panel + at + PANEL_COLUMNS).cast::<u8>();
                isa.bytes(zeros.add(lane))
            },
            false => isa.splat(0.0),
        });
        at += format.header();
        let mut rest = block;
        while rest > 0 {
            let len = rest.min(GROUP);
            let head = place_of_group;
            place_of_group += HEADER;
            let mut sums = [[quads.zero(); VECTORS]; ROWS];
            if !ZEROS {
                unrolled!(row of [ROWS] => {
                    // SAFETY: the caller vouches for the rows, of which this is the head of a group.
                    let start = unsafe { *rows[row].wrapping_add(head + 1) };
                    sums[row] = [quads.splat(start.cast_signed()); VECTORS];
                });
            }
            for _ in 0..len.div_ceil(per_word) {
                // SAFETY: the caller vouches for the words of these panels.
                let words = vectors.map(|vector| unsafe { isa.words(vector.add(at)) });
                at += PANEL_COLUMNS;
                unrolled!(half of [2] => {
                    if half < per_word / 4 {
                        let lines = words.map(|words| quads.unsigned::<BITS>(words, half == 1));
                        unrolled!(row of [ROWS] => {
                            // SAFETY: a group of a row has as many quads as the weights that it meets.
                            let factor = quads.signed(unsafe { *rows[row].wrapping_add(place_of_group) });
                            for (sum, &line) in sums[row].iter_mut().zip(&lines) {
                                *sum = quads.add_unsigned(factor, line, *sum);
                            }
                        });
                        place_of_group += 1;
                    }
                });
            }
            unrolled!(row of [ROWS] => {
                // SAFETY: as above.
                let (scale, total) = unsafe {
                    let head = rows[row].wrapping_add(head).cast::<f32>();
                    (isa.splat(*head), *head.wrapping_add(1))
                };
                for vector in 0..VECTORS {
                    let mut sum = quads.single(sums[row][vector]);
                    if ZEROS {
                        sum = isa.sub(sum, isa.mul(zeros[vector], isa.splat(total)));
                    }
                    // Without a fused operation, which not all instruction sets have.
                    let part = isa.mul(sum, isa.mul(scale, scales[vector]));
                    results[row][vector] = isa.add(results[row][vector], part);
                }
            });
            rest -= len;
        }
        left -= block;
    }
    // SAFETY: as the caller vouches.
    unsafe { strip.target.store(isa, results, column) }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::isa::Avx512;
    use crate::kernels::linear::blocks::pack_rhs_blocks;
    use crate::kernels::linear::int8::Widened;
    use crate::kernels::linear::tests::random;
    use crate::testing::bytes;

    /// AVX-512 without VNNI.
    #[derive(Clone, Copy)]
    struct Wide(Avx512);

    impl Products for Wide {
        fn with_quads<T: Task>(self, task: T) -> T::Output {
            task.run(Widened(self.0))
        }
    }

    #[test]
    fn widened_numbers_give_the_same_sums() {
        let Some(isa) = Avx512::detect() else { return };
        let (n, k) = (70usize, 150usize);
        for (index, m) in [1, 3, 8, 9].into_iter().enumerate() {
            for bits in [4, 8] {
                let format = BlockFormat {
                    bits,
                    rows: [32, 37, 100][index % 3],
                    zeros: index % 2 == 0,
                };
                let parameters = k.div_ceil(format.rows) * n;
                let few = |seed, count| {
                    bytes(seed, count)
                        .iter()
                        .map(|byte| byte >> (8 - bits))
                        .collect::<Vec<u8>>()
                };
                let (numbers, zeros) = (few(1, k * n), few(2, parameters));
                let mut packed = vec![0; packed_rhs_blocks_len(k, n, format)];
                pack_rhs_blocks(format, k, n, &numbers, &random(3, parameters), &zeros, &mut packed);
                let (a, b) = (random(4, m * k), RhsBlocks { data: &packed, format });
                let a = Lhs::Strided {
                    data: &a,
                    row: k,
                    column: 1,
                };
                let mut scratch = vec![0.0; gemm_blocks_int8_scratch(m, k, format)];
                let mut run = |wide: bool| {
                    let mut c = vec![0.0; m * n];
                    let matrix = MatrixMut::new(&mut c, m, n, n);
                    isa.vectorize(|| match wide {
                        true => multiply(
                            isa,
                            Wide(isa),
                            k,
                            a,
                            b,
                            Init::Zero,
                            matrix,
                            &mut scratch,
                            Epilogue::None,
                        ),
                        false => multiply(isa, isa, k, a, b, Init::Zero, matrix, &mut scratch, Epilogue::None),
                    });
                    c.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
                };
                assert_eq!(run(true), run(false), "{m} {format:?}");
            }
        }
    }
}
