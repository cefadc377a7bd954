//! Steps that compute a chain of convolutions a few rows at a time.
//!
//! The images between the members of such a step never exist as a whole, but as strips: the rows that a band, some rows of
//! the result, is made of. Every strip lies in the working memory of the step. Bands share nothing, so that rows of which
//! two of them see some are computed for both.

use super::Kernel;
use super::kernel::{Conv, ConvKind};
use crate::ir::DType;
use onnxide_runtime::linear;

/// Bytes of strips from which on larger bands gain nothing: a part of a second level cache.
const BAND: usize = 192 * 1024;

/// The time of a call of a kernel for a band, in multiply-adds.
const CALL: f64 = 3000.0;

/// A chain of convolutions. Its reads are those of its members, one after another.
#[derive(Clone, Debug, PartialEq)]
pub struct Streamed {
    /// The convolutions, the last of which computes the result of the step.
    pub members: Vec<Member>,
    /// Rows of the result in a band, by which its rows are divisible.
    pub rows: usize,
}

/// A convolution of a [`Streamed`] step.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The convolution of the whole image: `Conv` or `Gemm`, of integers of 8 bits.
    pub kernel: Kernel,
    /// Rows, columns and channels of the result.
    pub image: [usize; 3],
    /// The type of the elements of the result.
    pub dtype: DType,
    /// For every read of the kernel, the member whose strip it is, if it is none of the step's.
    pub strips: Vec<Option<usize>>,
}

impl Member {
    /// Bytes of this many rows of the result, in whole values of working memory.
    fn strip(&self, rows: usize) -> usize {
        (self.elements(rows) * self.dtype.size()).next_multiple_of(4)
    }

    /// Elements of this many rows of the result.
    pub fn elements(&self, rows: usize) -> usize {
        rows * self.image[1] * self.image[2]
    }

    /// The convolution, if it is not pointwise.
    fn window(&self) -> Option<linear::Conv2dNhwc> {
        match &self.kernel {
            Kernel::Conv(conv) => Some(conv.problem(&crate::ir::Bounds::new())),
            _ => None,
        }
    }

    /// The convolution of this many rows of the result.
    fn band(&self, rows: usize) -> Option<linear::Conv2dNhwc> {
        self.window().map(|problem| linear::Conv2dNhwc {
            out_height: rows,
            ..problem
        })
    }
}

impl Streamed {
    /// The rows of the result.
    pub fn height(&self) -> usize {
        self.members[self.members.len() - 1].image[0]
    }

    /// The member that reads the strip of another one, and whether that is its image rather than an operand of its epilogue.
    pub fn reader(&self, member: usize) -> (usize, bool) {
        let readers = self.members.iter().enumerate().skip(member + 1);
        let mut readers = readers.filter_map(|(reader, other)| {
            let place = other.strips.iter().position(|&strip| strip == Some(member))?;
            Some((reader, place == 0))
        });
        readers.next().expect("a strip is read by a later member")
    }

    /// The most rows of each member's image that a band of this many rows needs.
    pub fn bands(&self, rows: usize) -> Vec<usize> {
        let mut bands = vec![rows; self.members.len()];
        for member in (0..self.members.len() - 1).rev() {
            let (reader, is_image) = self.reader(member);
            bands[member] = match self.members[reader].window().filter(|_| is_image) {
                None => bands[reader],
                Some(window) => {
                    let reach = window.kernel[0].saturating_sub(1) * window.dilation[0];
                    let seen = (bands[reader] - 1) * window.stride[0] + reach + 1;
                    seen.min(self.members[member].image[0])
                }
            };
        }
        bands
    }

    /// Bytes of all strips, for bands of this many rows.
    fn strips(&self, rows: usize) -> usize {
        let bands = self.bands(rows);
        let between = self.members.iter().zip(bands).rev().skip(1);
        between.map(|(member, rows)| member.strip(rows)).sum()
    }

    /// Values of working memory that members need beside strips, or are fastest with.
    fn beside(&self, rows: usize, best: bool) -> usize {
        let members = self.members.iter().zip(self.bands(rows));
        let needs = members.filter_map(|(member, rows)| {
            let Kernel::Conv(Conv {
                kind: ConvKind::Int8(_),
                ..
            }) = member.kernel
            else {
                return None;
            };
            let problem = member.band(rows)?;
            Some(match best {
                true => linear::conv2d_nhwc_int8_scratch(&problem),
                false => linear::conv2d_nhwc_int8_scratch_min(&problem),
            })
        });
        needs.max().unwrap_or(0)
    }

    /// Values of working memory for bands of this many rows: what they need, or what they are fastest with.
    fn scratch(&self, rows: usize, best: bool) -> usize {
        self.strips(rows) / 4 + self.beside(rows, best)
    }

    /// The numbers of rows that bands may have if this many parts divide them evenly.
    fn choices(&self, parts: usize) -> impl Iterator<Item = usize> {
        let height = self.height();
        let share = height.div_ceil(parts.max(1));
        (1..=height)
            .filter(move |&rows| height.is_multiple_of(rows) && (height / rows).div_ceil(parts.max(1)) * rows == share)
    }

    /// Rows of a band with this many values of working memory for each part.
    pub fn rows_within(&self, parts: usize, room: usize) -> usize {
        let fitting = self
            .choices(parts)
            .filter(|&rows| rows == 1 || self.strips(rows) <= BAND);
        fitting
            .filter(|&rows| self.scratch(rows, false) <= room)
            .max()
            .unwrap_or(1)
    }

    /// Values that a part uses of so many.
    pub fn scratch_within(&self, parts: usize, room: usize) -> usize {
        let rows = self.rows_within(parts, room);
        room.min(self.scratch(rows, true)).max(self.scratch(rows, false))
    }

    /// Values that a part cannot do without.
    pub fn scratch_min(&self) -> usize {
        self.scratch(1, false)
    }

    /// The time of a step with this many values of working memory for each part, in multiply-adds, of whose members each
    /// takes so many if it is computed as a whole.
    pub fn time(&self, parts: usize, elements: usize, times: &[f64]) -> f64 {
        let rows = self.rows_within(parts, elements);
        let count = (self.height() / rows) as f64;
        let left = elements.saturating_sub(self.strips(rows) / 4);
        let members = self.members.iter().zip(self.bands(rows)).zip(times);
        let times = members.map(|((member, band), whole)| {
            let products = match (&member.kernel, member.band(band)) {
                (
                    Kernel::Conv(Conv {
                        kind: ConvKind::Int8(_),
                        ..
                    }),
                    Some(problem),
                ) => linear::conv2d_nhwc_int8_time(&problem, left),
                _ => whole * band as f64 / member.image[0].max(1) as f64,
            };
            count * (products + CALL)
        });
        times.sum()
    }

    /// The first of the step's reads that each member has.
    pub fn first_reads(&self) -> Vec<usize> {
        let counts = self.members.iter().map(|member| member.strips.iter().flatten().count());
        let own = self
            .members
            .iter()
            .zip(counts)
            .map(|(member, strips)| member.strips.len() - strips);
        own.scan(0, |sum, own| {
            *sum += own;
            Some(*sum - own)
        })
        .collect()
    }
}
