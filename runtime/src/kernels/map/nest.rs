//! The loops over the elements of several tensors at once, decided once per call and independent of element types.
//!
//! Axes of size 1 are dropped and adjacent axes merged where every tensor allows it. Of what is left, two axes are
//! walked in tiles: the columns, along which the first tensor is contiguous if it is along any, and the rows, along
//! which a transposed tensor is contiguous if there is one. A tile has at most [`TILE`] elements unless every tensor
//! can be read and written in place.

/// The greatest rank of a tensor.
pub const MAX_RANK: usize = 8;

/// The number of elements in a tile that passes through a buffer: 16 x 16 on large machines, so that a transposed
/// tile of `f32` has whole cache lines in both directions.
pub(super) const TILE: usize = if cfg!(target_pointer_width = "64") { 256 } else { 64 };

/// The side of a square tile.
const SIDE: usize = if cfg!(target_pointer_width = "64") { 16 } else { 8 };

/// The position in an array of axes of the rows of a tile, and of its columns.
const ROW: usize = MAX_RANK - 2;
const COL: usize = MAX_RANK - 1;

/// Where the elements of a tensor are: at an offset and strides, in elements, right-aligned.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    offset: isize,
    strides: [isize; MAX_RANK],
}

impl Layout {
    /// A tensor of which every axis has stride 0.
    pub(super) const CONSTANT: Layout = Layout {
        offset: 0,
        strides: [0; MAX_RANK],
    };

    /// The layout of a tensor with these strides whose lowest element has offset 0, and the offset after its highest
    /// element (saturating; 1 if there are no elements).
    pub(super) fn new<const R: usize>(shape: &[usize; R], strides: &[isize; R]) -> (Layout, usize) {
        const { assert!(R <= MAX_RANK, "tensors have at most 8 axes") };
        let mut layout = Layout::CONSTANT;
        let mut highest = 0usize;
        for axis in 0..R {
            let span = strides[axis]
                .unsigned_abs()
                .saturating_mul(shape[axis].saturating_sub(1));
            highest = highest.saturating_add(span);
            if strides[axis] < 0 {
                layout.offset = layout.offset.saturating_add_unsigned(span);
            }
            layout.strides[MAX_RANK - R + axis] = strides[axis];
        }
        (layout, highest.saturating_add(1))
    }

    /// The layout of a dense tensor in row-major order.
    pub(super) fn dense<const R: usize>(shape: &[usize; R]) -> Layout {
        const { assert!(R <= MAX_RANK, "tensors have at most 8 axes") };
        let mut layout = Layout::CONSTANT;
        let mut stride = 1usize;
        for axis in (0..R).rev() {
            layout.strides[MAX_RANK - R + axis] = stride as isize;
            stride = stride.saturating_mul(shape[axis]);
        }
        layout
    }

    /// A tensor whose "offset" is the coordinate along an axis.
    pub(super) fn coordinate<const R: usize>(axis: usize) -> Layout {
        assert!(axis < R, "the axis of an index operand is not an axis of the output");
        let mut layout = Layout::CONSTANT;
        layout.strides[MAX_RANK - R + axis] = 1;
        layout
    }

    /// Whether whole rows can be accessed in place.
    #[inline(always)]
    pub(super) fn has_contiguous_rows(&self) -> bool {
        self.strides[COL] == 1
    }

    #[inline(always)]
    pub(super) fn tile(&self, at: &TilePosition) -> Tile {
        let (row_stride, col_stride) = (self.strides[ROW], self.strides[COL]);
        let offset = self.offset + at.row as isize * row_stride + at.col as isize * col_stride;
        Tile {
            offset,
            row_stride,
            col_stride,
            rows: at.rows,
            cols: at.cols,
        }
    }
}

/// A tile of the walk, the same for every tensor.
#[derive(Clone, Copy, Debug)]
pub struct TilePosition {
    row: usize,
    col: usize,
    pub(super) rows: usize,
    pub(super) cols: usize,
}

/// A tile of one tensor.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    pub(super) offset: isize,
    pub(super) row_stride: isize,
    pub(super) col_stride: isize,
    pub(super) rows: usize,
    pub(super) cols: usize,
}

impl Tile {
    /// Whether the elements are consecutive in memory.
    #[inline(always)]
    pub(super) fn is_contiguous(&self) -> bool {
        let follows = self.rows == 1 || self.row_stride == self.cols as isize;
        self.col_stride == 1 && follows || self.rows * self.cols == 1
    }
}

/// The least number of elements of a part, which is some cache lines of every type.
const PART: usize = 256;

/// The loops over a shape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nest {
    shape: [usize; MAX_RANK],
    coordinates: [usize; MAX_RANK],
    tile_rows: usize,
    tile_cols: usize,
}

impl Nest {
    /// The loops for these tensors, whose layouts are changed to them. No axis is empty.
    #[inline(never)]
    pub(super) fn new(shape: &[usize], layouts: &mut [Layout]) -> Nest {
        let mut axes = [1; MAX_RANK];
        axes[MAX_RANK - shape.len()..].copy_from_slice(shape);
        let first = merge(&mut axes, layouts);

        // The columns: where the first tensor is contiguous. The rows: where another tensor is that is not so along
        // the columns.
        let is_unit = |layout: &Layout, axis: usize| layout.strides[axis].unsigned_abs() == 1 && axes[axis] > 1;
        let col = (first..MAX_RANK)
            .rev()
            .find(|&axis| is_unit(&layouts[0], axis))
            .unwrap_or(COL);
        move_axis(&mut axes, layouts, col, COL);
        let is_unit = |layout: &Layout, axis: usize| layout.strides[axis].unsigned_abs() == 1 && axes[axis] > 1;
        let transposed = (first..COL).rev().find(|&axis| {
            layouts
                .iter()
                .any(|layout| !matches!(layout.strides[COL], -1..=1) && is_unit(layout, axis))
        });
        if let Some(row) = transposed {
            move_axis(&mut axes, layouts, row, ROW);
        }

        let (rows, cols) = (axes[ROW], axes[COL]);
        // A transposed tile is square, unless it has too few columns.
        let tile_rows = match transposed {
            Some(_) => (TILE / SIDE.min(cols)).clamp(1, rows),
            None => (TILE / cols).clamp(1, rows),
        };
        let tile_cols = cols.min(TILE / tile_rows);
        Nest {
            shape: axes,
            coordinates: [0; MAX_RANK],
            tile_rows,
            tile_cols,
        }
    }

    /// Makes tiles whole rows, for tensors that all have contiguous rows, if the rows are long enough.
    #[inline(always)]
    pub(super) fn prefer_rows(&mut self) {
        if self.shape[COL] >= TILE / 8 {
            (self.tile_rows, self.tile_cols) = (1, self.shape[COL]);
        }
    }

    /// The greatest number of parts that the loops may be divided into.
    #[inline(always)]
    pub(super) fn most_parts(&self) -> usize {
        self.shape
            .iter()
            .fold(1usize, |count, &size| count.saturating_mul(size))
            .div_ceil(PART)
    }

    /// Leaves only the part `index` of `count`, an equal share of one axis; `false` if nothing is left. The axis is the one
    /// whose largest part is the smallest share of it, and of equal ones the outermost.
    #[inline(never)]
    pub(super) fn restrict(&mut self, index: usize, count: usize, layouts: &mut [Layout]) -> bool {
        // Columns are divided between cache lines, or between rows of a tile.
        let unit = |axis: usize, size: usize| if axis == COL && size >= PART { 64 } else { 1 };
        let share = |axis: usize| {
            let (size, unit) = (self.shape[axis], unit(axis, self.shape[axis]));
            (size.div_ceil(unit).div_ceil(count) * unit).min(size)
        };
        let mut best = 0;
        for axis in 1..MAX_RANK {
            // Compares share over size.
            if share(axis).saturating_mul(self.shape[best]) < share(best).saturating_mul(self.shape[axis]) {
                best = axis;
            }
        }
        let share = share(best);
        let start = index * share;
        if start >= self.shape[best] {
            return false;
        }
        self.shape[best] = share.min(self.shape[best] - start);
        for layout in layouts {
            layout.offset += start as isize * layout.strides[best];
        }
        true
    }

    /// Calls `f` with each tile of the current rows and columns.
    #[inline(always)]
    pub(super) fn tiles(&self, mut f: impl FnMut(TilePosition)) {
        let mut row = 0;
        while row < self.shape[ROW] {
            let rows = self.tile_rows.min(self.shape[ROW] - row);
            let mut col = 0;
            while col < self.shape[COL] {
                let cols = self.tile_cols.min(self.shape[COL] - col);
                f(TilePosition { row, col, rows, cols });
                col += cols;
            }
            row += rows;
        }
    }

    /// Goes to the next rows and columns; `false` at the end.
    #[inline(never)]
    pub(super) fn advance(&mut self, layouts: &mut [Layout]) -> bool {
        for axis in (0..ROW).rev() {
            self.coordinates[axis] += 1;
            if self.coordinates[axis] < self.shape[axis] {
                for layout in layouts {
                    layout.offset += layout.strides[axis];
                }
                return true;
            }
            let steps = self.coordinates[axis] as isize - 1;
            self.coordinates[axis] = 0;
            for layout in layouts.iter_mut() {
                layout.offset -= steps * layout.strides[axis];
            }
        }
        false
    }
}

/// Drops axes of size 1 and merges adjacent axes where every layout allows it; the first axis of the result.
fn merge(axes: &mut [usize; MAX_RANK], layouts: &mut [Layout]) -> usize {
    let mut kept = MAX_RANK;
    for axis in (0..MAX_RANK).rev() {
        let size = axes[axis];
        if size == 1 {
            continue;
        }
        let joins = kept < MAX_RANK
            && layouts
                .iter()
                .all(|layout| Some(layout.strides[axis]) == layout.strides[kept].checked_mul(axes[kept] as isize));
        if joins {
            axes[kept] *= size;
        } else {
            kept -= 1;
            axes[kept] = size;
            for layout in layouts.iter_mut() {
                layout.strides[kept] = layout.strides[axis];
            }
        }
    }
    axes[..kept].fill(1);
    for layout in layouts {
        layout.strides[..kept].fill(0);
    }
    kept
}

/// Moves an axis, and those between it and its new position by one.
fn move_axis(axes: &mut [usize; MAX_RANK], layouts: &mut [Layout], from: usize, to: usize) {
    if from < to {
        axes[from..=to].rotate_left(1);
        for layout in layouts {
            layout.strides[from..=to].rotate_left(1);
        }
    }
}
