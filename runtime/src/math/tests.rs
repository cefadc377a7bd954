use super::*;
use std::sync::Mutex;

/// The greatest error of `function` in units in the last place of the exact result, over bit patterns of `f32` in
/// steps of a prime, and where it is. Special values must agree exactly.
fn worst(function: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, domain: impl Fn(f32) -> bool) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
        f32::MIN,
    ];
    let sweep = (0..=u32::MAX).step_by(4099).map(f32::from_bits);
    for x in sweep.chain(special).filter(|&x| domain(x)) {
        let (result, expected) = (function(x), exact(f64::from(x)));
        let nearest = expected as f32;
        let error = if nearest.is_finite() && result.is_finite() {
            (f64::from(result) - expected).abs() / ulp(nearest)
        } else if result == nearest || result.is_nan() && nearest.is_nan() {
            0.0
        } else if nearest.is_infinite() && result.is_finite() || result.is_infinite() && nearest.is_finite() {
            // One of them has just overflowed.
            let finite = if result.is_finite() { result } else { nearest };
            f64::from(f32::MAX.to_bits().abs_diff(finite.abs().to_bits())) + 1.0
        } else {
            f64::INFINITY
        };
        if error > worst.0 {
            worst = (error, x);
        }
    }
    worst
}

fn ulp(x: f32) -> f64 {
    let x = x.abs().max(f32::MIN_POSITIVE);
    if x == f32::MAX {
        2f64.powi(104)
    } else {
        f64::from(x.next_up()) - f64::from(x)
    }
}

#[track_caller]
fn check(function: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, domain: impl Fn(f32) -> bool, limit: f64) {
    let (error, x) = worst(function, exact, domain);
    assert!(error <= limit, "{error} ulp at {x:e} ({:#x})", x.to_bits());
}

fn everywhere(_: f32) -> bool {
    true
}

/// The error function by the series of positive terms, 7.6.2 of the NIST Digital Library of Mathematical Functions.
fn exact_erf(x: f64) -> f64 {
    if x.is_nan() || x.abs() > 6.0 {
        return if x.is_nan() { x } else { 1f64.copysign(x) };
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
        if term.abs() < sum.abs() * 1e-17 {
            break;
        }
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

#[test]
fn exponentials() {
    check(exp, f64::exp, everywhere, 1.2);
    check(expm1, f64::exp_m1, everywhere, 2.0);
    check(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), everywhere, 2.5);
    check(tanh, f64::tanh, everywhere, 2.5);
}

#[test]
fn logarithms() {
    check(ln, f64::ln, everywhere, 1.0);
    check(ln_1p, f64::ln_1p, everywhere, 2.0);
    check(log2, f64::log2, everywhere, 2.0);
    check(log10, f64::log10, everywhere, 2.0);
}

#[test]
fn error_function() {
    check(erf, exact_erf, everywhere, 2.5);
}

#[test]
fn roots() {
    check(sqrt, f64::sqrt, everywhere, 0.5);
    check(super::sqrt::by_integers, f64::sqrt, everywhere, 0.5);
    check(rsqrt, |x| 1.0 / x.sqrt(), everywhere, 1.5);
    for bits in (0..=u64::MAX).step_by(18014398509481) {
        let x = f64::from_bits(bits);
        let (root, by_integers) = (x.sqrt(), super::double::sqrt_by_integers(x));
        assert!(root == by_integers || root.is_nan() && by_integers.is_nan(), "{x:e}");
        assert!(root == sqrt_f64(x) || root.is_nan() && sqrt_f64(x).is_nan(), "{x:e}");
    }
}

#[test]
fn rounding_is_exact_and_keeps_signs() {
    type Pair = (fn(f32) -> f32, fn(f32) -> f32);
    let pairs: [Pair; 4] = [
        (round, f32::round_ties_even),
        (floor, f32::floor),
        (ceil, f32::ceil),
        (trunc, f32::trunc),
    ];
    let halves = (-40..40).map(|quarter| quarter as f32 / 4.0);
    for x in (0..=u32::MAX).step_by(4099).map(f32::from_bits).chain(halves) {
        for (index, (function, exact)) in pairs.iter().enumerate() {
            let (result, expected) = (function(x), exact(x));
            let same = result.to_bits() == expected.to_bits() || x.is_nan() && result.is_nan();
            assert!(same, "function {index} of {x:e}: {result:e}, not {expected:e}");
        }
    }
}

#[test]
fn order_propagates_nan() {
    for (a, b) in [(1.0, 2.0), (2.0, 1.0), (f32::NEG_INFINITY, f32::INFINITY)] {
        assert_eq!((max(a, b), min(a, b)), (a.max(b), a.min(b)));
        for function in [max, min] {
            assert!(function(a, f32::NAN).is_nan() && function(f32::NAN, b).is_nan());
        }
    }
    assert_eq!((sign(-3.0), sign(0.0), sign(f32::INFINITY)), (-1.0, 0.0, 1.0));
    assert!(sign(f32::NAN).is_nan() && relu(f32::NAN).is_nan());
}

#[test]
fn trigonometric_functions() {
    let near = |x: f32| x.abs() < 1048576.0 || x.is_nan() || x.is_infinite();
    check(sin, f64::sin, near, 1.5);
    check(cos, f64::cos, near, 1.5);
    check(tan, f64::tan, near, 3.0);
    check(atan, f64::atan, everywhere, 3.0);
    check(asin, f64::asin, everywhere, 3.0);
    check(acos, f64::acos, everywhere, 3.0);
    for x in (1..50).map(|step| step as f32 * 1.7e7) {
        assert!((f64::from(sin(x)) - f64::from(x).sin()).abs() < f64::from(x) * 2f64.powi(-50) + 1e-7);
    }
    assert_eq!((sin(f32::MAX), cos(f32::MAX)), (0.0, 1.0));
}

#[test]
fn hyperbolic_functions() {
    check(sinh, f64::sinh, everywhere, 4.0);
    check(cosh, f64::cosh, everywhere, 4.0);
    check(asinh, f64::asinh, everywhere, 4.0);
    check(acosh, f64::acosh, everywhere, 4.0);
    check(atanh, f64::atanh, everywhere, 4.0);
}

#[test]
fn powers() {
    let bases = [0.0, 0.1, 0.5, 0.999, 1.0, 1.0001, 2.0, 10.0, 1e30, 1e-40, f32::INFINITY];
    let exponents = [
        0.0,
        0.5,
        1.0,
        1.5,
        2.0,
        3.0,
        7.0,
        33.3,
        1000.0,
        16777216.0,
        1e30,
        f32::INFINITY,
    ];
    let both = |x: f32| [x, -x];
    let worst = Mutex::new(0f64);
    for x in bases.into_iter().flat_map(both).chain([f32::NAN]) {
        for y in exponents.into_iter().flat_map(both).chain([f32::NAN]) {
            let (result, exact) = (pow(x, y), f64::from(x).powf(f64::from(y)));
            let nearest = exact as f32;
            let same = result.to_bits() == nearest.to_bits() || result.is_nan() && nearest.is_nan();
            let error = if same {
                0.0
            } else {
                (f64::from(result) - exact).abs() / ulp(nearest)
            };
            assert!(error <= 1.0, "{x:e}^{y:e} is {exact:e}, not {result:e}");
            let mut worst = worst.lock().unwrap();
            *worst = worst.max(error);
        }
    }
    check(|x| pow(x, 0.37), |x| x.powf(f64::from(0.37f32)), everywhere, 1.0);
    check(|x| pow(x, -3.0), |x| x.powi(-3), everywhere, 1.0);
    check(|y| pow(0.7, y), |y| f64::from(0.7f32).powf(y), everywhere, 1.0);
}

#[test]
fn remainders_are_exact() {
    let mut numbers = crate::testing::Numbers::new(5);
    for _ in 0..200_000 {
        let mut any = || f32::from_bits((numbers.below(1 << 16) << 16 | numbers.below(1 << 16)) as u32);
        let (x, y) = (any(), any());
        let (result, expected) = (rem(x, y), x % y);
        let same = result.to_bits() == expected.to_bits() || result.is_nan() && expected.is_nan();
        assert!(same, "{x:e} % {y:e}: {result:e}, not {expected:e}");
    }
}

#[test]
fn a_power_of_two_within_bounds() {
    check(exp::exp2_within, f64::exp2, |x| (-125.0..=127.0).contains(&x), 2.6);
    let at = |x| exp::exp2_within(x);
    assert_eq!([-127.0, 0.0, 128.0].map(at), [0.0, 1.0, f32::INFINITY]);
    assert!(exp::exp2_within(f32::NAN).is_nan());
}

#[test]
fn activations() {
    let normal = |x: f32| x.is_finite() && x > -80.0;
    check(
        softplus,
        |x| if x > 700.0 { x } else { x.exp().ln_1p() },
        everywhere,
        3.0,
    );
    check(
        mish,
        |x| x * (if x > 40.0 { x } else { x.exp().ln_1p() }).tanh(),
        normal,
        5.0,
    );
    check(silu, |x| x / (1.0 + (-x).exp()), normal, 3.5);
    check(
        |x| elu(x, 1.5),
        |x| if x < 0.0 { 1.5 * x.exp_m1() } else { x },
        everywhere,
        3.0,
    );
    check(
        |x| celu(x, 2.0),
        |x| if x < 0.0 { 2.0 * (x / 2.0).exp_m1() } else { x },
        everywhere,
        3.0,
    );
    let mut worst = [0f64; 2];
    for x in (-80_000..80_000).map(|step| step as f32 * 1e-4 + 3e-5) {
        let t = f64::from(x);
        let unit = ulp(x);
        let exact = 0.5 * t * (1.0 + exact_erf(t * std::f64::consts::FRAC_1_SQRT_2));
        worst[0] = worst[0].max((f64::from(gelu(x)) - exact).abs() / unit);
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (t + 0.044715 * t * t * t);
        let exact = 0.5 * t * (1.0 + inner.tanh());
        worst[1] = worst[1].max((f64::from(gelu_tanh(x)) - exact).abs() / unit);
    }
    assert!(worst[0] <= 2.0 && worst[1] <= 2.0, "{worst:?}");
    assert_eq!(
        (gelu(f32::INFINITY), gelu_tanh(1e30), gelu_tanh(-1e30)),
        (f32::INFINITY, 1e30, 0.0)
    );
    assert_eq!([-4.0, 0.0, 1.5, 4.0].map(hard_swish), [0.0, 0.0, 1.125, 4.0]);
    assert_eq!([-9.0, 0.0, 9.0].map(|x| hard_sigmoid(x, 0.2, 0.5)), [0.0, 0.5, 1.0]);
    assert_eq!(
        (leaky_relu(-2.0, 0.1), softsign(-1.0), selu(2.0, 1.5, 2.0)),
        (-0.2, -0.5, 4.0)
    );
}

#[test]
fn double_precision() {
    let mut worst = [0f64; 4];
    for step in -400_000..400_000 {
        let x = f64::from(step) * 1.7e-3;
        let mut record = |index: usize, result: f64, exact: f64| {
            let unit = exact.abs().max(f64::MIN_POSITIVE).next_up() - exact.abs().max(f64::MIN_POSITIVE);
            worst[index] = f64::max(worst[index], (result - exact).abs() / unit);
        };
        record(0, exp_f64(x), x.exp());
        record(1, ln_f64(x.exp()), x.exp().ln());
        record(2, sigmoid_f64(x), 1.0 / (1.0 + (-x).exp()));
        record(3, tanh_f64(x * 0.01), (x * 0.01).tanh());
    }
    assert!(
        worst
            .iter()
            .zip([1.5, 1.5, 4.0, 4.0])
            .all(|(worst, limit)| *worst <= limit),
        "{worst:?}"
    );
    assert_eq!(
        (exp_f64(f64::INFINITY), exp_f64(f64::NEG_INFINITY), exp_f64(-745.0)),
        (f64::INFINITY, 0.0, 5e-324)
    );
    assert_eq!(
        (ln_f64(0.0), ln_f64(f64::INFINITY), ln_f64(5e-324)),
        (f64::NEG_INFINITY, f64::INFINITY, 5e-324f64.ln())
    );
    assert!(exp_f64(f64::NAN).is_nan() && ln_f64(-1.0).is_nan() && tanh_f64(f64::NAN).is_nan());
}

#[test]
fn integers_wrap_and_never_panic() {
    assert_eq!((i8::MIN.div(-1), 7i8.div(0), (-7i8).div(2)), (i8::MIN, 0, -3));
    assert_eq!(
        ((-7i32).modulo(3), 7i32.modulo(-3), (-6i32).modulo(3), 5i32.modulo(0)),
        (2, -2, 0, 0)
    );
    assert_eq!(
        (Integer::rem(-7i32, 3), Integer::rem(i64::MIN, -1), 7u8.modulo(3)),
        (-1, 0, 1)
    );
    assert_eq!(
        (
            Integer::add(250u8, 10),
            Integer::mul(i32::MAX, 2),
            Integer::neg(i8::MIN)
        ),
        (4, -2, i8::MIN)
    );
    assert_eq!(
        (Integer::pow(3i64, 4), Integer::pow(2i32, 40), Integer::pow(2i32, -1)),
        (81, 0, 0)
    );
    assert_eq!(
        (
            Integer::pow(-1i32, -3),
            Integer::pow(-1i32, -2),
            Integer::pow(255u8, -1)
        ),
        (-1, 1, 0)
    );
    assert_eq!(
        (
            Integer::shl(1u8, 7),
            Integer::shl(1u8, 8),
            Integer::shr(255u8, 8),
            Integer::shr(255u8, 4)
        ),
        (128, 0, 0, 15)
    );
    assert_eq!(
        (Integer::sign(-5i16), Integer::sign(5u16), Integer::abs(i8::MIN)),
        (-1, 1, i8::MIN)
    );
}

#[test]
fn bytes_are_what_as_gives() {
    let bits = (0..=u32::MAX).step_by(4099).map(f32::from_bits);
    let near = (-1100..1100).map(|quarter| quarter as f32 / 4.0);
    for x in bits.chain(near) {
        assert_eq!((to_u8(x), to_i8(x)), (x as u8, x as i8), "{x}");
        for zero_point in [0, 3, 128, 255, -128, -7, 1000, -1000] {
            let moved = x.round_ties_even() + zero_point as f32;
            assert_eq!(round_to_u8(x, zero_point), moved as u8, "{x} + {zero_point}");
            assert_eq!(round_to_i8(x, zero_point), moved as i8, "{x} + {zero_point}");
        }
    }
}
