//! Blocks of weights in the layout of `pack_rhs`.

use super::RhsBlocks;
use super::numbers::Numbers;
use super::tile::weights;
use crate::kernels::linear::PANEL_COLUMNS;
use crate::kernels::linear::gemm::Pack;
use crate::kernels::linear::store::unrolled;

/// Packed numbers of a right-hand side of depth `k`.
pub(super) struct Unpacked<'a, S> {
    pub(super) isa: S,
    pub(super) b: RhsBlocks<'a>,
    pub(super) k: usize,
}

impl<S: Numbers> Pack for Unpacked<'_, S> {
    #[inline(always)]
    fn pack(&self, p: usize, depth: usize, j: usize, columns: usize, packed: &mut [f32]) {
        if depth == 0 {
            return;
        }
        let panel_words = self.b.format.panel_words(self.k);
        let panels = self.b.data[j / PANEL_COLUMNS * panel_words..].chunks_exact(panel_words);
        let targets = packed.chunks_exact_mut(depth * PANEL_COLUMNS);
        for (panel, target) in panels.zip(targets).take(columns.div_ceil(PANEL_COLUMNS)) {
            match (self.b.format.bits, self.b.format.zeros) {
                (4, false) => self.panel::<4, false>(panel, p, target),
                (4, true) => self.panel::<4, true>(panel, p, target),
                (_, false) => self.panel::<8, false>(panel, p, target),
                (_, true) => self.panel::<8, true>(panel, p, target),
            }
        }
    }
}

impl<S: Numbers> Unpacked<'_, S> {
    /// Unpacks rows of a panel from row `p` on, as many as `target` has room for.
    #[inline(always)]
    fn panel<const BITS: u32, const ZEROS: bool>(&self, panel: &[u32], p: usize, target: &mut [f32]) {
        let (isa, format) = (self.isa, self.b.format);
        let per_word = if BITS == 4 { 8 } else { 4 };
        let (mut p, mut target) = (p, target);
        while !target.is_empty() {
            let (index, within) = (p / format.rows, p % format.rows);
            let block = &panel[index * format.block_words(format.rows)..];
            let rows = (format.rows - within).min(target.len() / PANEL_COLUMNS);
            let (lines, rest) = core::mem::take(&mut target).split_at_mut(rows * PANEL_COLUMNS);
            let words = &block[format.header()..];
            assert!(words.len() / PANEL_COLUMNS >= (within + rows).div_ceil(per_word));
            for lane in (0..PANEL_COLUMNS).step_by(S::LANES) {
                // SAFETY: a block begins with 16 scales, and with 16 bytes after them if there are zero points.
                let (scale, zero) = unsafe {
                    let zero = match ZEROS {
                        true => isa.bytes(block[PANEL_COLUMNS..].as_ptr().cast::<u8>().add(lane)),
                        false => isa.splat(0.0),
                    };
                    (isa.load(block[..PANEL_COLUMNS].as_ptr().add(lane).cast()), zero)
                };
                let source = words.as_ptr().wrapping_add(lane);
                let target = lines.as_mut_ptr().wrapping_add(lane);
                let mut row = 0;
                // The line of a row, of whose words it is number `index`.
                macro_rules! unpack {
                    ($words:expr, $index:expr) => {{
                        let weights = weights::<S, BITS, ZEROS>(isa, $words, $index, zero, scale);
                        // SAFETY: there are as many lines as rows, each of 16 values.
                        unsafe { isa.store(target.add(row * PANEL_COLUMNS), weights) };
                        row += 1;
                    }};
                }
                while row < rows {
                    let (word, index) = ((within + row) / per_word, (within + row) % per_word);
                    // SAFETY: the words of so many rows are there, as asserted, 16 for each.
                    let words = unsafe { isa.words(source.add(word * PANEL_COLUMNS)) };
                    if index == 0 && rows - row >= per_word {
                        unrolled!(index of [8] => {
                            if index < per_word {
                                unpack!(words, index);
                            }
                        });
                    } else {
                        unpack!(words, index);
                    }
                }
            }
            (p, target) = (p + rows, rest);
        }
    }
}
