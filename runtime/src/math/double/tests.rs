use super::*;

/// The numbers that functions are tested with: all magnitudes, many of ordinary size, and special ones.
fn numbers() -> impl Iterator<Item = f64> {
    let all = (0..u64::MAX).step_by(0x0000_6c07_1e1f_a3b5).map(f64::from_bits);
    let ordinary = (-200_000..200_000).map(|step| f64::from(step) * 3.000_173e-4);
    let small = (-50_000..50_000).map(|step| f64::from(step) * 2.100_071e-5);
    let quadrants = (1..2000).flat_map(|n| {
        let near = f64::from(n) * core::f64::consts::FRAC_PI_2;
        [near.next_down(), near, near.next_up()]
    });
    let hard = [5e-324, 1e-300, 0.5, 1.0, 2.0, f64::MAX];
    let special = [0.0, f64::INFINITY, f64::NAN];
    let extremes = hard.into_iter().chain(special).flat_map(|x| [x, -x]);
    all.chain(ordinary).chain(small).chain(quadrants).chain(extremes)
}

/// The distance of a result from the exact one in units in its last place.
fn error(found: f64, exact: f64) -> f64 {
    if found == exact || found.is_nan() && exact.is_nan() {
        return 0.0;
    }
    if found.is_finite() != exact.is_finite() {
        // One of them has just overflowed.
        let finite = if found.is_finite() { found } else { exact };
        let steps = f64::MAX.to_bits().abs_diff(finite.abs().to_bits()) as f64 + 1.0;
        return if found.is_nan() || exact.is_nan() {
            f64::INFINITY
        } else {
            steps
        };
    }
    let size = exact.abs().clamp(f64::MIN_POSITIVE, f64::MAX.next_down());
    (found - exact).abs() / (size.next_up() - size)
}

#[track_caller]
fn check(function: impl Fn(f64) -> f64, exact: impl Fn(f64) -> f64, limit: f64) {
    let (mut worst, mut place) = (0.0, 0.0);
    for x in numbers() {
        let error = error(function(x), exact(x));
        if error > worst {
            (worst, place) = (error, x);
        }
    }
    assert!(
        worst <= limit,
        "{worst} ulp at {place:e}: {:e}, not {:e}",
        function(place),
        exact(place)
    );
}

#[test]
fn exponentials_and_logarithms() {
    check(exp_f64, f64::exp, 1.5);
    check(expm1_f64, f64::exp_m1, 2.0);
    check(ln_f64, f64::ln, 1.0);
    check(ln_1p_f64, f64::ln_1p, 2.0);
    check(tanh_f64, f64::tanh, 5.0);
    check(sqrt_f64, f64::sqrt, 0.0);
    check(rsqrt_f64, |x| 1.0 / x.sqrt(), 0.0);
}

#[test]
fn angles() {
    check(sin_f64, f64::sin, 1.0);
    check(cos_f64, f64::cos, 1.0);
    check(tan_f64, f64::tan, 3.0);
    check(asin_f64, f64::asin, 3.0);
    check(acos_f64, f64::acos, 3.0);
    check(atan_f64, f64::atan, 3.0);
    // Of all numbers this one is the closest to a multiple of pi/2 (Muller, *Elementary Functions*).
    let hard = 6_381_956_970_095_103.0 * 2f64.powi(797);
    assert!(
        error(cos_f64(hard), -4.687_165_924_254_628e-19) <= 1.0,
        "{:e}",
        cos_f64(hard)
    );
    assert_eq!(sin_f64(-hard), -1.0);
}

#[test]
fn hyperbolic_functions() {
    check(sinh_f64, f64::sinh, 4.0);
    check(cosh_f64, f64::cosh, 4.0);
    check(asinh_f64, exact_asinh, 4.0);
    check(acosh_f64, exact_acosh, 4.0);
    check(atanh_f64, exact_atanh, 4.0);
}

/// The functions of `std` lose digits of small results; these take the same roads in other steps.
fn exact_asinh(x: f64) -> f64 {
    let t = x.abs();
    let value = if t > 1e9 {
        t.ln() + core::f64::consts::LN_2
    } else {
        (t + t * t / (1.0 + (t * t + 1.0).sqrt())).ln_1p()
    };
    value.copysign(x)
}

fn exact_acosh(x: f64) -> f64 {
    match x {
        _ if x < 1.0 => f64::NAN,
        _ if x > 1e9 => x.ln() + core::f64::consts::LN_2,
        _ => {
            let t = x - 1.0;
            (t + (t * (2.0 + t)).sqrt()).ln_1p()
        }
    }
}

fn exact_atanh(x: f64) -> f64 {
    0.5 * (x.ln_1p() - (-x).ln_1p())
}

#[test]
fn rounding() {
    check(round_f64, f64::round_ties_even, 0.0);
    check(floor_f64, f64::floor, 0.0);
    check(ceil_f64, f64::ceil, 0.0);
    check(sign_f64, |x| if x == 0.0 || x.is_nan() { x } else { x.signum() }, 0.0);
    assert!(max_f64(f64::NAN, 1.0).is_nan() && max_f64(1.0, f64::NAN).is_nan());
    assert!(min_f64(f64::NAN, 1.0).is_nan() && min_f64(1.0, f64::NAN).is_nan());
    assert_eq!((max_f64(-1.0, 2.0), min_f64(-1.0, 2.0)), (2.0, -1.0));
}

#[test]
fn error_function() {
    // Of mpmath, to 17 digits.
    for (x, exact) in [
        (1e-10, 1.128_379_167_095_512_6e-10),
        (0.25, 0.276_326_390_168_236_96),
        (0.75, 0.711_155_633_653_515_1),
        (0.999, 0.842_285_270_206_496_9),
        (1.0, 0.842_700_792_949_714_9),
        (1.5, 0.966_105_146_475_310_8),
        (2.5, 0.999_593_047_982_555),
        (4.0, 0.999_999_984_582_742_1),
        (5.5, 0.999_999_999_999_992_7),
        (6.0, 1.0),
        (1e300, 1.0),
    ] {
        assert!(
            error(erf_f64(x), exact) <= 2.0,
            "erf({x}) is {:e}, not {exact:e}",
            erf_f64(x)
        );
        assert_eq!(erf_f64(-x), -erf_f64(x));
    }
    assert!(erf_f64(f64::NAN).is_nan());
}

#[test]
fn powers() {
    let bases = numbers().step_by(431).collect::<Vec<_>>();
    let exponents = numbers()
        .step_by(1009)
        .chain([0.5, -0.5, 2.0, 3.0, 1.0 / 3.0, 1e10, 1e-10]);
    let mut worst = (0.0, 0.0, 0.0);
    for y in exponents {
        for &x in &bases {
            let error = error(pow_f64(x, y), x.powf(y));
            if error > worst.0 {
                worst = (error, x, y);
            }
        }
    }
    assert!(worst.0 <= 3.0, "{worst:?}");
    for y in [700.5, -321.25, 1e5 + 0.1] {
        check(
            move |x| pow_f64(1.0 + 1e-3 * x.fract(), y),
            move |x| (1.0 + 1e-3 * x.fract()).powf(y),
            3.0,
        );
    }
}

#[test]
fn remainders() {
    let values: Vec<f64> = numbers().step_by(997).collect();
    for &x in &values {
        for &y in &values {
            assert_eq!(error(rem_f64(x, y), x % y), 0.0, "{x:e} {y:e}");
            let found = modulo_f64(x, y);
            assert!(
                found.is_nan() || found == 0.0 || (found < 0.0) == (y < 0.0),
                "{x:e} {y:e}"
            );
        }
    }
    assert_eq!((modulo_f64(-7.0, 3.0), modulo_f64(7.0, -3.0)), (2.0, -2.0));
    assert_eq!(
        (modulo_f64(5.0, f64::INFINITY), modulo_f64(5.0, f64::NEG_INFINITY)),
        (5.0, f64::NEG_INFINITY)
    );
}

#[test]
fn activations() {
    let sigmoid = |x: f64| {
        if x < 0.0 {
            x.exp() / (1.0 + x.exp())
        } else {
            1.0 / (1.0 + (-x).exp())
        }
    };
    check(sigmoid_f64, sigmoid, 4.0);
    check(
        softplus_f64,
        |x| {
            if x.is_nan() {
                x
            } else {
                x.max(0.0) + (-x.abs()).exp().ln_1p()
            }
        },
        4.0,
    );
    for x in numbers().filter(|x| x.abs() < 30.0) {
        let unit = x.abs().max(f64::MIN_POSITIVE).next_up() - x.abs().max(f64::MIN_POSITIVE);
        let near = |found: f64, exact: f64, units: f64| {
            assert!((found - exact).abs() <= units * unit, "{x:e}: {found:e}, not {exact:e}")
        };
        near(silu_f64(x), x * sigmoid(x), 4.0);
        let inner = (2.0 / core::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
        near(gelu_tanh_f64(x), 0.5 * x * (1.0 + inner.tanh()), 2.0);
        near(
            gelu_f64(x),
            0.5 * x * (1.0 + erf_f64(x / core::f64::consts::SQRT_2)),
            2.0,
        );
        near(mish_f64(x), x * x.exp().ln_1p().tanh(), 6.0);
        assert_eq!(hard_swish_f64(x), x * (x / 6.0 + 0.5).clamp(0.0, 1.0));
    }
}
