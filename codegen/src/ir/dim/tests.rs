use super::*;

fn h() -> Dim {
    Dim::symbol("h")
}

fn conv(size: Dim, kernel: i64, stride: i64, pads: i64) -> Dim {
    (size + Dim::from(pads - kernel)).floor_div(&Dim::from(stride)) + Dim::from(1i64)
}

#[test]
fn equal_polynomials_are_equal() {
    let (b, s) = (Dim::symbol("b"), Dim::symbol("s"));
    let left = (b.clone() + Dim::from(1i64)) * (s.clone() - Dim::from(1i64));
    let right = b.clone() * s.clone() - b + s - Dim::from(1i64);
    assert_eq!(left, right);
    assert_eq!((left.clone() - right), Dim::from(0i64));
}

#[test]
fn strided_windows_in_a_row_become_one_division() {
    let once = conv(h(), 3, 2, 2);
    assert_eq!(once.to_string(), "floor(h + 1, 2)");
    let twice = conv(once, 3, 2, 2);
    assert_eq!(twice.to_string(), "floor(h + 3, 4)");
    assert_eq!(
        conv(conv(h(), 3, 2, 2), 2, 2, 0),
        (h() + Dim::from(1i64)).floor_div(&Dim::from(4i64))
    );
}

#[test]
fn division_agrees_with_evaluation() {
    for a in -3..4i64 {
        for c in -9..9i64 {
            for k in 1..6i64 {
                for m in 1..4i64 {
                    let inner = (h() * Dim::from(a) + Dim::from(c)).floor_div(&Dim::from(m));
                    let dim = (inner + Dim::from(c)).floor_div(&Dim::from(k));
                    for value in 0..12 {
                        let expected = ((a * value + c).div_euclid(m) + c).div_euclid(k);
                        assert_eq!(dim.eval(&|_| Some(value)), Some(expected), "{dim} at {value}");
                    }
                }
            }
        }
    }
}

#[test]
fn exact_division_finds_the_missing_factor() {
    let (b, s) = (Dim::symbol("b"), Dim::symbol("s"));
    let total = b.clone() * (s.clone() + Dim::from(1i64)) * Dim::from(768i64);
    assert_eq!(
        total.exact_div(&(b.clone() * Dim::from(64i64))),
        Some((s.clone() + Dim::from(1i64)) * Dim::from(12i64))
    );
    assert_eq!(
        total.exact_div(&(s.clone() + Dim::from(1i64))),
        Some(b.clone() * Dim::from(768i64))
    );
    assert_eq!(total.exact_div(&(s + Dim::from(2i64))), None);
    assert_eq!(Dim::from(7i64).exact_div(&Dim::from(2i64)), None);
    assert_eq!(Dim::from(0i64).exact_div(&b), Some(Dim::from(0i64)));
}

#[test]
fn bounds_decide_minima() {
    let mut bounds = Bounds::new();
    bounds.insert("s", Interval { low: 1, high: 256 });
    let s = Dim::symbol("s");
    assert_eq!(s.minimum(&Dim::from(512i64), &bounds), s);
    assert_eq!(s.minimum(&Dim::from(100i64), &bounds).to_string(), "min(100, s)");
    assert_eq!(s.maximum(&Dim::from(0i64), &bounds), s);
    assert_eq!((s.clone() * Dim::from(4i64)).upper(&bounds), 1024);
    assert_eq!(s.compare(&Dim::from(0i64), &bounds), Some(Ordering::Greater));
}

#[test]
fn arithmetic_saturates() {
    let huge = Dim::from(i64::MAX) * Dim::from(i64::MAX);
    assert_eq!(huge.as_const(), Some(i64::MAX));
}
