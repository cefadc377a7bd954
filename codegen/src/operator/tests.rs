use super::*;

#[test]
fn one_text_says_everything() {
    let text = "my.domain::MyOp = crate::ops::my_op: (f32[n, k], times: int = 2) -> f32[n, times * k]";
    let operator: Operator = text.parse().unwrap();
    assert_eq!(operator.to_string(), text.replace("times * k", "k*times"));
    assert_eq!(operator.to_string().parse::<Operator>().unwrap(), operator);
    let same = Operator::new("my.domain", "MyOp")
        .function("crate :: ops :: my_op")
        .signature("(f32[n, k],\n times: int = 2) -> f32[n, times * k]");
    assert_eq!(same, operator);
    assert!(operator.is("my.domain", "MyOp"));
    assert!(
        "ai.onnx::Erf = f: (f32[..]) -> f32[..]"
            .parse::<Operator>()
            .unwrap()
            .is("", "Erf")
    );
    assert!("Erf=f:(f32[..])->f32[..]".parse::<Operator>().unwrap().is("", "Erf"));
}

#[test]
fn errors_say_what_is_expected() {
    let expected = "expected DOMAIN::NAME = PATH: SIGNATURE, such as \
                    `my.domain::MyOp = crate::operators::my_op: (f32[n]) -> f32[n]`";
    for (text, message) in [
        ("my.domain::MyOp", expected),
        ("my.domain::MyOp = crate::my_op", expected),
        ("my.domain::MyOp = crate::my_op (f32[n]) -> f32[n]", expected),
        ("= crate::my_op: (f32[n]) -> f32[n]", expected),
        (
            "a::B = crate::my-op: (f32[n]) -> f32[n]",
            "operator a::B: `crate::my-op` is no path of a function",
        ),
        ("a::B = : (f32[n]) -> f32[n]", "operator a::B: it has no function"),
        (
            "a::B = c: (f32[n]) -> f32[m]",
            "operator a::B: the signature `(f32[n]) -> f32[m]` is wrong at 1:1: `m` is neither the size of an axis of a \
             parameter nor an `int` attribute",
        ),
        (
            "a::B = c: (f32[n])",
            "operator a::B: the signature `(f32[n])` has no results: end it with one, as in `-> f32[n]`",
        ),
    ] {
        assert_eq!(text.parse::<Operator>().unwrap_err(), message, "{text}");
    }
    let twice = Operator::new("a", "B").function("c").signature("(f32[n]) -> f32[n]");
    let twice = twice.shape(|_| Ok(Vec::new()));
    assert_eq!(
        twice.check().unwrap_err(),
        "operator a::B: both the signature `(f32[n]) -> f32[n]` and a closure give the results"
    );
    let neither = Operator::new("a", "B").function("c");
    assert_eq!(
        neither.check().unwrap_err(),
        "operator a::B: it has no signature, such as `(f32[n]) -> f32[n]`"
    );
}
