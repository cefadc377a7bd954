//! The transforms of one line of a tile.

use crate::kernels::simd::Simd;

/// A minimal filtering algorithm `F(OUT, 3)` in one dimension, as the products with the matrices of
/// [`Matrices`](super::points::Matrices) over [`POINTS`](Filter::POINTS).
pub(super) trait Filter<const OUT: usize, const IN: usize> {
    /// The finite points.
    const POINTS: &'static [f64];

    /// `G g`.
    fn weights(g: [f64; 3]) -> [f64; IN];

    /// `B^T d`. The coefficients are exact; a value is rounded at most [`ROUNDINGS`] times on its way.
    fn input<S: Simd>(isa: S, d: [S::F32; IN]) -> [S::F32; IN];

    /// `A^T m`, with the same property.
    fn output<S: Simd>(isa: S, m: [S::F32; IN]) -> [S::F32; OUT];
}

/// Most roundings between an operand and a result of a transform of a line, without fused operations.
pub(super) const ROUNDINGS: usize = 4;

/// `F(2, 3)` over 0, 1 and -1.
pub(super) struct F2;

impl Filter<2, 4> for F2 {
    const POINTS: &'static [f64] = &[0.0, 1.0, -1.0];

    #[inline(always)]
    fn weights([g0, g1, g2]: [f64; 3]) -> [f64; 4] {
        let even = 0.5 * (g0 + g2);
        let odd = 0.5 * g1;
        [-g0, even + odd, even - odd, g2]
    }

    #[inline(always)]
    fn input<S: Simd>(isa: S, [d0, d1, d2, d3]: [S::F32; 4]) -> [S::F32; 4] {
        let minus = isa.splat(-1.0);
        [
            isa.mul_add(minus, d0, d2),
            isa.add(d1, d2),
            isa.mul_add(minus, d1, d2),
            isa.mul_add(minus, d1, d3),
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(isa: S, [m0, m1, m2, m3]: [S::F32; 4]) -> [S::F32; 2] {
        let minus = isa.splat(-1.0);
        [isa.add(m0, isa.add(m1, m2)), isa.add(m3, isa.mul_add(minus, m2, m1))]
    }
}

/// `F(4, 3)` over 0, ±5/8 and ±3/2.
///
/// Of the symmetric points whose powers are short binary fractions, these have nearly the smallest error, less than
/// half of that of 0, ±1 and ±2. Symmetric points share the even and the odd part of a polynomial.
pub(super) struct F4;

/// The smaller point.
const A: f32 = 0.625;
/// The larger point.
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;

impl Filter<4, 6> for F4 {
    const POINTS: &'static [f64] = &[0.0, A as f64, -A as f64, B as f64, -B as f64];

    #[inline(always)]
    fn weights([g0, g1, g2]: [f64; 3]) -> [f64; 6] {
        const A2: f64 = self::A2 as f64;
        const B2: f64 = self::B2 as f64;
        const NORM_A: f64 = 2.0 * A2 * (A2 - B2);
        const NORM_B: f64 = 2.0 * B2 * (B2 - A2);
        let (even_a, odd_a) = ((g0 + A2 * g2) / NORM_A, A as f64 * g1 / NORM_A);
        let (even_b, odd_b) = ((g0 + B2 * g2) / NORM_B, B as f64 * g1 / NORM_B);
        [
            g0 / (A2 * B2),
            even_a + odd_a,
            even_a - odd_a,
            even_b + odd_b,
            even_b - odd_b,
            g2,
        ]
    }

    #[inline(always)]
    fn input<S: Simd>(isa: S, [d0, d1, d2, d3, d4, d5]: [S::F32; 6]) -> [S::F32; 6] {
        // Without the factors x - p and x + p, what is left of the product x (x^2 - A^2) (x^2 - B^2) is x ± p times
        // one of these.
        let (a2, b2) = (isa.splat(-A2), isa.splat(-B2));
        let (even_a, odd_a) = (isa.mul_add(b2, d2, d4), isa.mul_add(b2, d1, d3));
        let (even_b, odd_b) = (isa.mul_add(a2, d2, d4), isa.mul_add(a2, d1, d3));
        let (product, sum) = (isa.splat(A2 * B2), isa.splat(-(A2 + B2)));
        [
            isa.mul_add(product, d0, isa.mul_add(sum, d2, d4)),
            isa.mul_add(isa.splat(A), odd_a, even_a),
            isa.mul_add(isa.splat(-A), odd_a, even_a),
            isa.mul_add(isa.splat(B), odd_b, even_b),
            isa.mul_add(isa.splat(-B), odd_b, even_b),
            isa.mul_add(product, d1, isa.mul_add(sum, d3, d5)),
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(isa: S, [m0, m1, m2, m3, m4, m5]: [S::F32; 6]) -> [S::F32; 4] {
        let (zero, minus) = (isa.splat(0.0), isa.splat(-1.0));
        let (even_a, odd_a) = (isa.add(m1, m2), isa.mul_add(minus, m2, m1));
        let (even_b, odd_b) = (isa.add(m3, m4), isa.mul_add(minus, m4, m3));
        let row1 = isa.mul_add(isa.splat(A), odd_a, zero);
        let row2 = isa.mul_add(isa.splat(A2), even_a, zero);
        let row3 = isa.mul_add(isa.splat(A2 * A), odd_a, m5);
        [
            isa.add(m0, isa.add(even_a, even_b)),
            isa.mul_add(isa.splat(B), odd_b, row1),
            isa.mul_add(isa.splat(B2), even_b, row2),
            isa.mul_add(isa.splat(B2 * B), odd_b, row3),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Scalar;
    use crate::kernels::linear::nhwc::winograd::points::Matrices;

    /// The columns of a linear function of `COLUMNS` values.
    fn matrix<const ROWS: usize, const COLUMNS: usize>(
        f: impl Fn([f64; COLUMNS]) -> [f64; ROWS],
    ) -> [[f64; COLUMNS]; ROWS] {
        let mut matrix = [[0.0; COLUMNS]; ROWS];
        for column in 0..COLUMNS {
            let mut unit = [0.0; COLUMNS];
            unit[column] = 1.0;
            for (row, value) in f(unit).into_iter().enumerate() {
                matrix[row][column] = value;
            }
        }
        matrix
    }

    fn check<F: Filter<OUT, IN>, const OUT: usize, const IN: usize>() {
        let expected = Matrices::<OUT, IN>::new(F::POINTS);
        let splat = |value: f64| Scalar.splat(value as f32);
        let input = matrix(|d| F::input(Scalar, d.map(splat)).map(|value| f64::from(value[0])));
        let output = matrix(|m| F::output(Scalar, m.map(splat)).map(|value| f64::from(value[0])));
        assert_eq!(input, expected.input);
        assert_eq!(output, expected.output);
        for (row, expected) in matrix(F::weights).into_iter().zip(expected.weights) {
            for (value, expected) in row.into_iter().zip(expected) {
                assert!((value - expected).abs() <= 1e-15, "{value} is not {expected}");
            }
        }
        // The algorithm computes a filter: every coefficient of the trilinear form is 0 or 1.
        for (out, row) in expected.output.iter().enumerate() {
            for tap in 0..3 {
                for index in 0..IN {
                    let sum: f64 = (0..IN)
                        .map(|point| row[point] * expected.weights[point][tap] * expected.input[point][index])
                        .sum();
                    let wanted = f64::from(u8::from(out + tap == index));
                    assert!(
                        (sum - wanted).abs() <= 1e-14,
                        "output {out} tap {tap} input {index}: {sum}"
                    );
                }
            }
        }
    }

    #[test]
    fn transforms_are_products_with_the_matrices() {
        check::<F2, 2, 4>();
        check::<F4, 4, 6>();
    }
}
