use super::*;

/// The values of the codes from 0 on without a sign, by the definition of a format.
fn finite(exponent_bits: u32, mantissa_bits: u32, bias: i32, count: u32) -> Vec<f32> {
    let value = |code: u32| {
        let (exponent, mantissa) = (code >> mantissa_bits, code & ((1 << mantissa_bits) - 1));
        let fraction = mantissa as f32 / (1 << mantissa_bits) as f32;
        assert!(exponent < 1 << exponent_bits);
        match exponent {
            0 => fraction * 2f32.powi(1 - bias),
            _ => (1.0 + fraction) * 2f32.powi(exponent as i32 - bias),
        }
    };
    (0..count).map(value).collect()
}

/// Checks every code of a format and every border between two of them.
fn check(
    values: &[f32],
    sign: u8,
    decode: impl Fn(u8) -> f32,
    encode: impl Fn(f32) -> u8,
    encode_f64: impl Fn(f64) -> u8,
) {
    for (code, &value) in values.iter().enumerate() {
        let code = code as u8;
        assert_eq!(decode(code), value);
        assert_eq!(encode(value), code);
        if code > 0 {
            assert_eq!(decode(code | sign), -value);
            assert_eq!(encode(-value), code | sign);
        }
    }
    for (code, pair) in values.windows(2).enumerate() {
        let code = code as u8;
        let middle = pair[0] + (pair[1] - pair[0]) / 2.0;
        assert_eq!(encode(middle), code + (code & 1), "{middle} is a tie");
        assert_eq!(encode(middle.next_down()), code);
        assert_eq!(encode(middle.next_up()), code + 1);
        assert_eq!(encode_f64(f64::from(middle).next_down()), code);
        assert_eq!(encode_f64(f64::from(middle).next_up()), code + 1);
    }
    // The greatest number that is not above the range is half of a step beyond the largest one; a tie goes to the even.
    let &[.., below, largest] = values else {
        panic!("two values at least")
    };
    let border = largest + (largest - below) / 2.0;
    let last = values.len() as u8 - 1;
    assert_eq!(encode(border.next_down()), last);
    assert_eq!(encode(border) == last, last & 1 == 0 || encode(f32::MAX) == last);
    assert_eq!(encode(border.next_up()), encode(f32::MAX));
    assert_eq!(encode(f32::MAX), encode(f32::INFINITY));
    assert_eq!(encode_f64(f64::MAX), encode(f32::INFINITY));
    assert_eq!(encode(1e-40), 0);
}

macro_rules! check {
    ($name:ident, $values:expr, $sign:literal) => {
        check(
            &$values,
            $sign,
            |code| $name(code).to_f32(),
            |value| $name::from_f32(value).0,
            |value| $name::from_f64(value).0,
        )
    };
}

#[test]
fn f8e4m3fn() {
    check!(F8E4M3Fn, finite(4, 3, 7, 0x7f), 0x80);
    assert_eq!(F8E4M3Fn(0x7e).to_f32(), 448.0);
    assert_eq!(F8E4M3Fn(0x08).to_f32(), 2f32.powi(-6));
    assert_eq!(F8E4M3Fn(0x01).to_f32(), 2f32.powi(-9));
    assert!(F8E4M3Fn(0x7f).to_f32().is_nan() && F8E4M3Fn(0xff).to_f32().is_nan());
    for value in [f32::INFINITY, f32::NAN, 465.0] {
        assert_eq!(F8E4M3Fn::from_f32(value).0, 0x7f);
        assert_eq!(F8E4M3Fn::from_f32(-value).0, 0xff);
    }
    assert_eq!(F8E4M3Fn::from_f32(-0.0).0, 0x80);
}

#[test]
fn f8e4m3fnuz() {
    check!(F8E4M3Fnuz, finite(4, 3, 8, 0x80), 0x80);
    assert_eq!(F8E4M3Fnuz(0x7f).to_f32(), 240.0);
    assert!(F8E4M3Fnuz(0x80).to_f32().is_nan());
    for value in [f32::INFINITY, f32::NAN, 250.0] {
        assert_eq!(F8E4M3Fnuz::from_f32(value).0, 0x80);
        assert_eq!(F8E4M3Fnuz::from_f32(-value).0, 0x80);
    }
    for zero in [-0.0, 1e-20, -1e-20] {
        assert_eq!(F8E4M3Fnuz::from_f32(zero).0, 0);
    }
}

#[test]
fn f8e5m2() {
    check!(F8E5M2, finite(5, 2, 15, 0x7c), 0x80);
    assert_eq!(F8E5M2(0x7b).to_f32(), 57344.0);
    assert_eq!(F8E5M2(0xfc).to_f32(), f32::NEG_INFINITY);
    assert!((0x7d..=0x7f).all(|code| F8E5M2(code).to_f32().is_nan()));
    assert_eq!(F8E5M2::from_f32(f32::INFINITY).0, 0x7c);
    assert_eq!(F8E5M2::from_f32(-1e9).0, 0xfc);
    assert_eq!(F8E5M2::from_f32(f32::NAN).0, 0x7e);
    assert_eq!(F8E5M2::from_f32(-0.0).0, 0x80);
    // The format is the upper half of binary16.
    for code in 0..=u8::MAX {
        let half = super::super::F16(u16::from(code) << 8).to_f32();
        assert!(F8E5M2(code).to_f32() == half || half.is_nan());
    }
}

#[test]
fn f8e5m2fnuz() {
    check!(F8E5M2Fnuz, finite(5, 2, 16, 0x80), 0x80);
    assert_eq!(F8E5M2Fnuz(0x7f).to_f32(), 57344.0);
    assert!(F8E5M2Fnuz(0x80).to_f32().is_nan());
    assert_eq!(F8E5M2Fnuz::from_f32(f32::NEG_INFINITY).0, 0x80);
    assert_eq!(F8E5M2Fnuz::from_f32(-0.0).0, 0);
}

#[test]
fn formats_without_special_values() {
    check!(F6E2M3, finite(2, 3, 1, 32), 0x20);
    check!(F6E3M2, finite(3, 2, 3, 32), 0x20);
    check!(F4E2M1, finite(2, 1, 1, 8), 0x08);
    assert_eq!(
        (0..8).map(|code| F4E2M1(code).to_f32()).collect::<Vec<_>>(),
        [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    );
    assert_eq!((F6E2M3(31).to_f32(), F6E3M2(31).to_f32()), (7.5, 28.0));
    for (value, code) in [
        (f32::INFINITY, 7),
        (f32::NEG_INFINITY, 15),
        (f32::NAN, 8),
        (-0.0, 8),
        (-1e9, 15),
    ] {
        assert_eq!(F4E2M1::from_f32(value).0, code);
    }
    assert_eq!(F6E2M3::from_f32(f32::NAN).0, 0x20);
    // Bits above the sign have no meaning.
    assert_eq!(F4E2M1(0xf9), F4E2M1(0x09));
    assert_eq!(F6E3M2(0xc5), F6E3M2(0x05));
}

#[test]
fn powers_of_two() {
    for code in 0..0xff {
        let value = F8E8M0(code).to_f32();
        assert_eq!(f64::from(value), 2f64.powi(i32::from(code) - 127));
        assert_eq!(F8E8M0::from_f32(value).0, code);
        assert_eq!(F8E8M0::from_f32(value * 1.25).0, code);
        let up = if code == 0xfe { 0xff } else { code + 1 };
        assert_eq!(F8E8M0::from_f32(value * 1.5).0, up);
        assert_eq!(F8E8M0::from_f32((value * 1.5).next_down()).0, code);
        assert_eq!(F8E8M0::from_f64((f64::from(value) * 1.5).next_down()).0, code);
        assert_eq!(F8E8M0::from_f32(-value).0, 0xff);
    }
    assert!(F8E8M0(0xff).to_f32().is_nan());
    for value in [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2f32.powi(-129)] {
        assert_eq!(F8E8M0::from_f32(value).0, 0xff);
    }
    assert_eq!(F8E8M0::from_f32(0.75 * 2f32.powi(-127)).0, 0);
}
