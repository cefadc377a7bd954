use super::Vector;
use crate::dispatch;
use crate::isa::Isa;
use crate::testing::levels;

fn stored<S: Vector>(isa: S, value: S::F32) -> [f32; 16] {
    let mut stored = [0.0; 16];
    // SAFETY: a vector has at most 16 lanes.
    unsafe { isa.store(stored.as_mut_ptr(), value) };
    stored
}

#[test]
fn powers_of_two() {
    fn check<S: Isa + Vector>(isa: S) {
        isa.vectorize(|| {
            let mut worst = 0f64;
            for step in -126_000..126_000 {
                let x = step as f32 * 1e-3 + 3e-5;
                let exact = f64::from(x).exp2();
                let ulp = f64::from((exact as f32).next_up()) - f64::from(exact as f32);
                let found = f64::from(stored(isa, isa.exp2(isa.splat(x)))[0]);
                worst = worst.max((found - exact).abs() / ulp);
            }
            assert!(worst <= 2.6, "{:?}: {worst} ulp", S::LEVEL);
            for (x, power) in [
                (f32::NEG_INFINITY, 0.0),
                (-1e30, 0.0),
                (-160.0, 0.0),
                (0.0, 1.0),
                (-3.0, 0.125),
            ] {
                assert_eq!(stored(isa, isa.exp2(isa.splat(x)))[..S::LANES], [power; 16][..S::LANES]);
            }
            assert!(stored(isa, isa.exp2(isa.splat(f32::NAN)))[0].is_nan());
        });
    }
    for level in levels() {
        dispatch!(level, check());
    }
}

#[test]
fn lanes_together() {
    fn check<S: Isa + Vector>(isa: S) {
        let numbers: [f32; 16] = core::array::from_fn(|lane| ((lane * 7 + 3) % 16) as f32 - 4.0);
        // SAFETY: a vector has at most 16 lanes.
        let value = unsafe { isa.load(numbers.as_ptr()) };
        let lanes = &numbers[..S::LANES];
        assert_eq!(isa.sum(value), lanes.iter().sum::<f32>());
        assert_eq!(
            isa.largest(value),
            lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max)
        );
        let chosen = stored(isa, isa.select(isa.lanes(0, 3), value, isa.splat(9.0)));
        assert_eq!(chosen[..4], [numbers[0], numbers[1], numbers[2], 9.0]);
        let nan = stored(isa, isa.max(isa.splat(1.0), isa.splat(f32::NAN)));
        assert!(nan[0].is_nan());
    }
    for level in levels() {
        dispatch!(level, check());
    }
}

#[test]
fn transposition() {
    fn check<S: Isa + Vector>(isa: S) {
        let (n, source_row, target_row) = (S::LANES, S::LANES + 3, S::LANES + 1);
        let source: Vec<f32> = (0..n * source_row).map(|index| index as f32).collect();
        let mut target = vec![-1.0; n * target_row];
        // SAFETY: both have a square of `n` rows.
        unsafe { isa.transpose(source.as_ptr(), source_row, target.as_mut_ptr(), target_row) };
        for row in 0..n {
            for column in 0..target_row {
                let expected = if column < n {
                    source[column * source_row + row]
                } else {
                    -1.0
                };
                assert_eq!(target[row * target_row + column], expected, "{row}, {column}");
            }
        }
    }
    for level in levels() {
        dispatch!(level, check());
    }
}
