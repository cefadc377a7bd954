//! What is done to finished outputs.

use super::MatrixMut;
use core::fmt;
use core::ops::Range;

/// Where a run of finished outputs begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The row of the matrix, or the output channel of a convolution. Of a channels-last convolution it is the pixel,
    /// `y * out_width + x`.
    pub row: usize,
    /// The column of the matrix, or `y * out_width + x` of a convolution. Of a channels-last convolution it is the output
    /// channel.
    pub column: usize,
}

/// What is done to finished outputs before they leave the cache.
///
/// Every output belongs to exactly one run. How the output is cut into runs depends on the kernel and the instruction set.
#[derive(Clone, Copy)]
pub enum Epilogue<'a> {
    /// Nothing.
    None,
    /// The value, brought between the first bound and the second: `min(max(value, first), second)`, and not-a-number
    /// for not-a-number. The kernels do that in registers.
    Clamp(f32, f32),
    /// A function of the values, given runs of any that follow each other in memory.
    Each(&'a (dyn Fn(&mut [f32]) + Sync)),
    /// A function of the values and of where they are, given runs of a row. Made by [`at`](Epilogue::at).
    #[doc(hidden)]
    At(&'a (dyn Fn(&mut [f32], Position) + Sync), Position),
}

impl<'a> Epilogue<'a> {
    /// Bounds that change nothing.
    pub(super) const UNBOUNDED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

    /// A function of the values of a part of a row and of where it begins.
    pub fn at(function: &'a (dyn Fn(&mut [f32], Position) + Sync)) -> Epilogue<'a> {
        Epilogue::At(function, Position::default())
    }

    /// The epilogue of a part of the output that begins at `row` and `column`.
    #[inline(always)]
    pub(super) fn from(self, row: usize, column: usize) -> Epilogue<'a> {
        match self {
            Epilogue::At(function, origin) => Epilogue::At(
                function,
                Position {
                    row: origin.row + row,
                    column: origin.column + column,
                },
            ),
            other => other,
        }
    }

    /// The bounds between which values are brought before they are written, if they are finished then.
    #[inline(always)]
    pub(super) fn bounds_if(&self, finished: bool) -> [f32; 2] {
        match *self {
            Epilogue::Clamp(low, high) if finished => [low, high],
            _ => Epilogue::UNBOUNDED,
        }
    }

    /// Whether [`finish`](Epilogue::finish) does anything.
    #[inline(always)]
    pub(super) fn is_apart(&self) -> bool {
        matches!(self, Epilogue::Each(_) | Epilogue::At(..))
    }

    /// Does what is not done before values are written to a part of the output.
    #[inline(always)]
    pub(super) fn finish(&self, output: &mut MatrixMut<'_>, rows: Range<usize>, columns: Range<usize>) {
        match *self {
            Epilogue::None | Epilogue::Clamp(..) => {}
            Epilogue::Each(function) => match output.dense(rows.clone(), columns.clone()) {
                Some(run) => function(run),
                None => {
                    for row in rows {
                        function(output.run(row, columns.clone()));
                    }
                }
            },
            Epilogue::At(function, origin) => {
                for row in rows {
                    let at = Position {
                        row: origin.row + row,
                        column: origin.column + columns.start,
                    };
                    function(output.run(row, columns.clone()), at);
                }
            }
        }
    }
}

impl fmt::Debug for Epilogue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Epilogue::None => f.write_str("None"),
            Epilogue::Clamp(low, high) => write!(f, "Clamp({low:?}, {high:?})"),
            Epilogue::Each(_) => f.write_str("Each(..)"),
            Epilogue::At(_, origin) => write!(f, "At(.., {origin:?})"),
        }
    }
}
