//! The matrices of a minimal filtering algorithm, from the points that it evaluates polynomials at.

/// The matrices of `F(OUT, 3)`, which computes `OUT` outputs of a filter `g` of 3 taps from `IN = OUT + 2` inputs `d`
/// as `A^T ((G g) * (B^T d))` with `IN` products.
///
/// They are the transposed Toom-Cook algorithm (Barabasz, Anderson, Soodhalter and Gregg, *Error Analysis and Improving
/// the Accuracy of Winograd Convolution for Deep Neural Networks*, ACM TOMS 46, 2020, section 2) over `IN - 1` finite
/// points and the point at infinity. In two dimensions each matrix is applied to columns and rows.
pub(super) struct Matrices<const OUT: usize, const IN: usize> {
    /// `A^T`, which makes outputs of products.
    pub(super) output: [[f64; IN]; OUT],
    /// `G`, which transforms weights.
    pub(super) weights: [[f64; 3]; IN],
    /// `B^T`, which transforms inputs.
    pub(super) input: [[f64; IN]; IN],
}

impl<const OUT: usize, const IN: usize> Matrices<OUT, IN> {
    /// The matrices over `IN - 1` different finite points and infinity.
    pub(super) const fn new(points: &[f64]) -> Self {
        assert!(OUT + 2 == IN && points.len() + 1 == IN);
        let mut matrices = Matrices {
            output: [[0.0; IN]; OUT],
            weights: [[0.0; 3]; IN],
            input: [[0.0; IN]; IN],
        };
        let mut point = 0;
        while point < IN {
            let (polynomial, norm) = product::<IN>(points, point);
            matrices.input[point] = polynomial;
            let mut power = 1.0;
            let mut index = 0;
            while index < IN {
                // At infinity a polynomial has the value of its highest coefficient.
                let value = if point < points.len() { power } else { 0.0 };
                if index < OUT {
                    matrices.output[index][point] = value;
                }
                if index < 3 {
                    matrices.weights[point][index] = value / norm;
                }
                if point < points.len() {
                    power *= points[point];
                }
                index += 1;
            }
            point += 1;
        }
        matrices.output[OUT - 1][IN - 1] = 1.0;
        matrices.weights[IN - 1][2] = 1.0;
        matrices
    }

    /// The largest sum of magnitudes of products that an output of two dimensions can be, for one channel of inputs and
    /// weights of magnitude at most 1: `max_r (sum_i |A^T|_ri |G|_i |B^T|_i)^2` with the sums of magnitudes of rows.
    pub(super) const fn amplification(&self) -> f64 {
        let mut largest = 0.0;
        let mut row = 0;
        while row < OUT {
            let mut sum = 0.0;
            let mut point = 0;
            while point < IN {
                sum += self.output[row][point].abs() * magnitude(&self.weights[point]) * magnitude(&self.input[point]);
                point += 1;
            }
            if sum > largest {
                largest = sum;
            }
            row += 1;
        }
        largest * largest
    }
}

/// The coefficients of the product of `(x - p)` over all points but the one at `skipped`, lowest first, and its value
/// at that point, which for infinity is 1.
const fn product<const IN: usize>(points: &[f64], skipped: usize) -> ([f64; IN], f64) {
    let mut coefficients = [0.0; IN];
    coefficients[0] = 1.0;
    let mut norm = 1.0;
    let mut other = 0;
    while other < points.len() {
        if other != skipped {
            let mut index = IN;
            while index > 0 {
                index -= 1;
                let lower = if index > 0 { coefficients[index - 1] } else { 0.0 };
                coefficients[index] = lower - points[other] * coefficients[index];
            }
            if skipped < points.len() {
                norm *= points[skipped] - points[other];
            }
        }
        other += 1;
    }
    (coefficients, norm)
}

/// The sum of the magnitudes of `values`.
const fn magnitude(values: &[f64]) -> f64 {
    let mut sum = 0.0;
    let mut index = 0;
    while index < values.len() {
        sum += values[index].abs();
        index += 1;
    }
    sum
}
