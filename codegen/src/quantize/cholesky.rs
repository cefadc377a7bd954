//! The factor of a positive definite matrix.

/// How many sums of products run beside each other.
const LANES: usize = 8;

/// The upper triangular `R` of `R R^T = A`, in the place of the symmetric `A`, row by row; what is below the diagonal is not
/// touched. It is Cholesky's factorization from the last row to the first.
///
/// `None` if a pivot is not positive, so that the matrix is not positive definite, or too close to singular for `f64`.
///
/// # Panics
///
/// If the matrix is not square.
pub(super) fn factor(matrix: &mut [f64], size: usize) -> Option<()> {
    assert_eq!(matrix.len(), size * size, "a square matrix");
    for column in (0..size).rev() {
        // The rows of the factor from the column on are known in later columns.
        let (above, pivot_row) = matrix.split_at_mut(column * size);
        let pivot_row = &mut pivot_row[..size];
        let (head, tail) = pivot_row.split_at_mut(column + 1);
        let before = head[column];
        let square = before - dot(tail, tail);
        // A pivot below what rounding leaves of the diagonal says nothing.
        if !(square > before * 1e-13 && square.is_finite()) {
            return None;
        }
        let pivot = square.sqrt();
        head[column] = pivot;
        for row in above.chunks_exact_mut(size) {
            let (head, rest) = row.split_at_mut(column + 1);
            head[column] = (head[column] - dot(rest, tail)) / pivot;
        }
    }
    Some(())
}

/// The sum of the products, in an order that does not depend on the processor.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_the_matrix() {
        for size in [1usize, 2, 7, 23] {
            let entry = |row: usize, column: usize| ((row * 31 + column * 17) % 13) as f64 / 13.0 - 0.4;
            let mut matrix = vec![0.0; size * size];
            for (row, column) in (0..size).flat_map(|row| (0..size).map(move |column| (row, column))) {
                let sum: f64 = (0..size).map(|p| entry(row, p) * entry(column, p)).sum();
                matrix[row * size + column] = sum + if row == column { 0.1 } else { 0.0 };
            }
            let mut found = matrix.clone();
            factor(&mut found, size).unwrap();
            for (row, column) in (0..size).flat_map(|row| (row..size).map(move |column| (row, column))) {
                let sum: f64 = (column..size)
                    .map(|p| found[row * size + p] * found[column * size + p])
                    .sum();
                let expected = matrix[row * size + column];
                // Sums of at most 23 products of numbers below 10.
                assert!((sum - expected).abs() < 1e-12, "{size}: {sum} is not {expected}");
            }
        }
    }

    #[test]
    fn singular_matrices_have_no_factor() {
        assert!(factor(&mut [1.0, 1.0, 1.0, 1.0], 2).is_none());
        assert!(factor(&mut [0.0], 1).is_none());
        assert!(factor(&mut [1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(factor(&mut [f64::NAN], 1).is_none());
        assert!(factor(&mut [], 0).is_some());
    }
}
