//! Sampling of images at computed coordinates.

use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, DType, Dim, Expr, FoldKind, Op, ScalarId, UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[(ONNX, "GridSample", grid_sample)];

/// The coefficient of the cubic.
const CUBIC: f64 = -0.75;

/// The operands of the expressions here.
const X: usize = 0;
const GRID: usize = 1;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Clone, Copy, PartialEq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

struct Sample {
    padding: Padding,
    align_corners: bool,
    /// `[batch, channels, spatial...]`.
    from: Vec<Dim>,
    /// `[batch, spatial of the result..., coordinates]`, the last spatial axis first.
    grid: Vec<Dim>,
    /// The type that coordinates and weights are computed in.
    dtype: DType,
    grid_type: DType,
}

/// Samples operand 0 at the coordinates of operand 1, of which -1 and 1 are the borders of the image.
fn grid_sample(cx: &mut Call) -> Results {
    let mode = match cx.string("mode", "linear")? {
        "nearest" => Mode::Nearest,
        "linear" | "bilinear" => Mode::Linear,
        "cubic" | "bicubic" => Mode::Cubic,
        other => return cx.unsupported("mode", other),
    };
    let padding = match cx.string("padding_mode", "zeros")? {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => return cx.unsupported("padding_mode", other),
    };
    let align_corners = cx.flag("align_corners", false)?;
    let (x, grid) = (cx.input(0)?, cx.input(1)?);
    let (from, grid_shape) = (cx.shape(x), cx.shape(grid));
    let spatial = from.len().saturating_sub(2);
    let fits = spatial > 0 && grid_shape.len() == spatial + 2 && grid_shape[spatial + 1].is(spatial as i64);
    if !fits || !cx.dtype(grid).is_float() {
        let (from, grid) = (display_shape(&from), cx.ty(grid));
        return Err(Fault::new(format!("a grid {grid} for images of shape {from}")));
    }
    cx.equal("the number of images and of grids", &from[0], &grid_shape[0])?;
    let sample = Sample {
        padding,
        align_corners,
        from,
        grid: grid_shape,
        dtype: cx.dtype(grid).arithmetic(),
        grid_type: cx.dtype(grid),
    };
    let mut shape = sample.from[..2].to_vec();
    shape.extend_from_slice(&sample.grid[1..=spatial]);
    let stored = cx.dtype(x);
    let mut expr = Expr::empty();
    if mode == Mode::Nearest {
        let places: Vec<ScalarId> = (0..spatial)
            .map(|axis| {
                let at = sample.coordinate(&mut expr, axis);
                let at = expr.apply1(UnaryOp::Round, at);
                sample.within(&mut expr, axis, at)
            })
            .collect();
        let value = sample.pixel(&mut expr, &places, stored);
        let expr = expr.finish(value);
        return Ok(vec![cx.emit(Op::Elementwise { expr, shape }, &[x, grid])?]);
    }
    let wide = if stored.is_float() {
        stored.arithmetic()
    } else {
        DType::F32
    };
    let x = cx.cast(x, wide)?;
    let taps = if mode == Mode::Cubic { 4 } else { 2 };
    let mut weight = None;
    let mut places = Vec::new();
    for axis in 0..spatial {
        let at = sample.coordinate(&mut expr, axis);
        let at = sample.within(&mut expr, axis, at);
        let floor = expr.apply1(UnaryOp::Floor, at);
        let (tap, first) = (expr.index(shape.len() + axis), expr.int(taps / 2 - 1, DType::I64));
        let tap = expr.apply2(BinaryOp::Sub, tap, first);
        let tap = expr.convert(tap, sample.dtype);
        let place = expr.apply2(BinaryOp::Add, floor, tap);
        let distance = expr.apply2(BinaryOp::Sub, place, at);
        let distance = expr.apply1(UnaryOp::Abs, distance);
        let own = match mode {
            Mode::Cubic => super::resize::cubic(&mut expr, distance, CUBIC),
            _ => {
                let one = expr.float(1.0, sample.dtype);
                expr.apply2(BinaryOp::Sub, one, distance)
            }
        };
        weight = Some(match weight {
            Some(others) => expr.apply2(BinaryOp::Mul, others, own),
            None => own,
        });
        places.push(place);
    }
    let pixel = sample.pixel(&mut expr, &places, wide);
    if let Some(weight) = weight {
        let weight = expr.convert(weight, wide);
        expr.apply2(BinaryOp::Mul, pixel, weight);
    }
    let op = Op::Fold {
        kind: FoldKind::Sum,
        expr,
        shape,
        domain: vec![Dim::from(taps as i64); spatial],
    };
    let value = cx.emit(op, &[x, grid])?;
    Ok(vec![cx.cast(value, stored)?])
}

impl Sample {
    fn size(&self, expr: &mut Expr, axis: usize) -> ScalarId {
        let size = expr.dim(&self.from[axis + 2]);
        expr.convert(size, self.dtype)
    }

    /// The coordinate in pixels along a spatial axis.
    fn coordinate(&self, expr: &mut Expr, axis: usize) -> ScalarId {
        use BinaryOp::{Add, Mul, Sub};
        let spatial = self.from.len() - 2;
        let mut here = vec![expr.index(0)];
        here.extend((0..spatial).map(|axis| expr.index(axis + 2)));
        // The last axis comes first in the grid.
        here.push(expr.int((spatial - 1 - axis) as i128, DType::I64));
        let place = expr.row_major(&here, &self.grid);
        let at = expr.at(GRID, place, self.grid_type);
        let at = expr.convert(at, self.dtype);
        let size = self.size(expr, axis);
        let (one, half) = (expr.float(1.0, self.dtype), expr.float(0.5, self.dtype));
        let from_start = expr.apply2(Add, at, one);
        let doubled = match self.align_corners {
            true => {
                let span = expr.apply2(Sub, size, one);
                expr.apply2(Mul, from_start, span)
            }
            false => {
                let scaled = expr.apply2(Mul, from_start, size);
                expr.apply2(Sub, scaled, one)
            }
        };
        expr.apply2(Mul, doubled, half)
    }

    /// The coordinates of the borders: the centers of the outermost pixels, or their edges.
    fn borders(&self, expr: &mut Expr, axis: usize) -> (ScalarId, ScalarId) {
        let size = self.size(expr, axis);
        let (low, inset) = if self.align_corners { (0.0, 1.0) } else { (-0.5, 0.5) };
        let (low, inset) = (expr.float(low, self.dtype), expr.float(inset, self.dtype));
        (low, expr.apply2(BinaryOp::Sub, size, inset))
    }

    /// The coordinate, brought within the borders as the padding asks for.
    fn within(&self, expr: &mut Expr, axis: usize, at: ScalarId) -> ScalarId {
        match self.padding {
            Padding::Zeros => at,
            Padding::Border => self.clamped(expr, axis, at),
            Padding::Reflection => self.reflected(expr, axis, at),
        }
    }

    fn clamped(&self, expr: &mut Expr, axis: usize, at: ScalarId) -> ScalarId {
        let (zero, one, size) = (
            expr.float(0.0, self.dtype),
            expr.float(1.0, self.dtype),
            self.size(expr, axis),
        );
        let last = expr.apply2(BinaryOp::Sub, size, one);
        let at = expr.apply2(BinaryOp::Max, at, zero);
        expr.apply2(BinaryOp::Min, at, last)
    }

    /// Mirrored at the borders, as often as needed: a triangle wave of twice the span.
    fn reflected(&self, expr: &mut Expr, axis: usize, at: ScalarId) -> ScalarId {
        use BinaryOp::{Add, Eq, Le, Mod, Sub};
        let (low, high) = self.borders(expr, axis);
        let span = expr.apply2(Sub, high, low);
        let period = expr.apply2(Add, span, span);
        let distance = expr.apply2(Sub, at, low);
        let phase = expr.apply2(Mod, distance, period);
        let back = expr.apply2(Sub, period, phase);
        let ahead = expr.apply2(Le, phase, span);
        let folded = expr.select(ahead, phase, back);
        let mirrored = expr.apply2(Add, low, folded);
        let zero = expr.float(0.0, self.dtype);
        let is_point = expr.apply2(Eq, span, zero);
        expr.select(is_point, low, mirrored)
    }

    /// The pixel at integral coordinates.
    fn pixel(&self, expr: &mut Expr, places: &[ScalarId], dtype: DType) -> ScalarId {
        let mut here = vec![expr.index(0), expr.index(1)];
        let mut inside: Option<ScalarId> = None;
        for (axis, &place) in places.iter().enumerate() {
            let place = self.within(expr, axis, place);
            let index = expr.convert(place, DType::I64);
            if self.padding == Padding::Zeros {
                // Tested as floats, since a conversion of what is far away saturates.
                let (zero, size) = (expr.float(0.0, self.dtype), self.size(expr, axis));
                let starts = expr.apply2(BinaryOp::Ge, place, zero);
                let ends = expr.apply2(BinaryOp::Lt, place, size);
                let own = expr.apply2(BinaryOp::And, starts, ends);
                inside = Some(match inside {
                    Some(others) => expr.apply2(BinaryOp::And, others, own),
                    None => own,
                });
            }
            here.push(index);
        }
        let place = expr.row_major(&here, &self.from);
        let pixel = expr.at(X, place, dtype);
        match inside {
            Some(inside) => {
                let zero = crate::import::builder::literal(expr, 0.0, dtype);
                expr.select(inside, pixel, zero)
            }
            None => pixel,
        }
    }
}
