//! The input of the macro.

use onnxide_codegen::quantize::{BlockRows, MaxDrift, Observer, Scheme, Smooth};
use onnxide_codegen::{DimRange, Operator, Precision, RamSize};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Lit, LitInt, LitStr, Result, Token, Visibility, parenthesized, token};

/// Everything between the braces.
pub(crate) struct Input {
    /// The crate `onnxide` as seen from the caller, a single `$crate`.
    pub(crate) facade: TokenTree,
    pub(crate) modules: Vec<ModuleItem>,
}

/// `pub mod NAME = "PATH", OPTION, ..;`
pub(crate) struct ModuleItem {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
    pub(crate) path: LitStr,
    pub(crate) dims: Vec<Dim>,
    pub(crate) threads: usize,
    pub(crate) winograd: bool,
    pub(crate) precision: Precision,
    pub(crate) quantize: Option<QuantizeOption>,
    pub(crate) ram: Option<RamSize>,
    pub(crate) tuning: Option<LitStr>,
    pub(crate) operators: Vec<Operator>,
}

/// `quantize(SCHEME, block = NUMBER, calibration = "PATH", equalize, max_drift = NUMBER, observer = NAME, smooth = NUMBER)`
pub(crate) struct QuantizeOption {
    pub(crate) scheme: Scheme,
    pub(crate) calibration: Option<LitStr>,
    pub(crate) observer: Option<Observer>,
    pub(crate) max_drift: Option<MaxDrift>,
    pub(crate) block: Option<BlockRows>,
    pub(crate) smooth: Option<Smooth>,
    pub(crate) equalize: bool,
}

/// `NAME = SIZE`, `NAME <= MAX` or `NAME in MIN..=MAX`
pub(crate) struct Dim {
    pub(crate) name: String,
    pub(crate) range: DimRange,
}

impl Parse for Input {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let facade = input.parse()?;
        input.parse::<Token![;]>()?;
        let mut modules = Vec::new();
        while !input.is_empty() {
            modules.push(input.parse()?);
        }
        if modules.is_empty() {
            return Err(input.error("expected a module, such as `pub mod cat = \"models/cat.onnx\";`"));
        }
        Ok(Self { facade, modules })
    }
}

impl Parse for ModuleItem {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        input.parse::<Token![mod]>()?;
        let name = input.parse()?;
        input.parse::<Token![=]>()?;
        let path = input.parse()?;
        let (mut dims, mut threads, mut winograd, mut operators) = (None, None, None, None);
        let (mut precision, mut quantize, mut ram, mut tuning) = (None, None, None, None);
        while input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
            if input.peek(Token![;]) {
                break;
            }
            let option: Ident = input.call(Ident::parse_any)?;
            match option.to_string().as_str() {
                "dims" if dims.is_some() => return Err(repeated(option.span(), "dims")),
                "dims" => dims = Some(parse_dims(input)?),
                "threads" if threads.is_some() => return Err(repeated(option.span(), "threads")),
                "threads" => threads = Some(parse_threads(input)?),
                "winograd" if winograd.is_some() => return Err(repeated(option.span(), "winograd")),
                "winograd" => winograd = Some(parse_flag(input)?),
                "precision" if precision.is_some() => return Err(repeated(option.span(), "precision")),
                "precision" => precision = Some(parse_precision(input)?),
                "quantize" if quantize.is_some() => return Err(repeated(option.span(), "quantize")),
                "quantize" => quantize = Some(parse_quantize(input)?),
                "ram" if ram.is_some() => return Err(repeated(option.span(), "ram")),
                "ram" => ram = Some(parse_ram(input)?),
                "tuning" if tuning.is_some() => return Err(repeated(option.span(), "tuning")),
                "tuning" => tuning = Some(parse_path(input)?),
                "operators" if operators.is_some() => return Err(repeated(option.span(), "operators")),
                "operators" => operators = Some(parse_operators(input)?),
                other => {
                    let known =
                        "`dims`, `operators`, `precision`, `quantize`, `ram`, `threads`, `tuning` and `winograd`";
                    let message = format!("unknown option `{other}`; the known ones are {known}");
                    return Err(syn::Error::new(option.span(), message));
                }
            }
        }
        if !input.peek(Token![;]) {
            return Err(input.error("expected `,` and an option, or `;`"));
        }
        input.parse::<Token![;]>()?;
        Ok(Self {
            attributes,
            visibility,
            name,
            path,
            dims: dims.unwrap_or_default(),
            threads: threads.unwrap_or(1),
            winograd: winograd.unwrap_or(true),
            precision: precision.unwrap_or_default(),
            quantize,
            ram,
            tuning,
            operators: operators.unwrap_or_default(),
        })
    }
}

fn parse_dims(input: ParseStream<'_>) -> Result<Vec<Dim>> {
    let content;
    let _: token::Paren = parenthesized!(content in input);
    let mut dims: Vec<Dim> = Vec::new();
    for (span, dim) in Punctuated::<_, Token![,]>::parse_terminated_with(&content, parse_dim)? {
        if dims.iter().any(|known| known.name == dim.name) {
            return Err(repeated(span, &dim.name));
        }
        dims.push(dim);
    }
    Ok(dims)
}

/// `= N`
fn parse_threads(input: ParseStream<'_>) -> Result<usize> {
    input.parse::<Token![=]>()?;
    let literal: LitInt = input.parse()?;
    let error = |_| syn::Error::new(literal.span(), "expected a number of threads, such as 2");
    literal.base10_parse().map_err(error)
}

/// `<= "64K"`, `<= 64K` or `<= 65536`
fn parse_ram(input: ParseStream<'_>) -> Result<RamSize> {
    input.parse::<Token![<=]>()?;
    let (text, span) = match input.parse()? {
        Lit::Str(text) => (text.value(), text.span()),
        Lit::Int(number) => (number.to_string().replace('_', ""), number.span()),
        other => {
            return Err(syn::Error::new(
                other.span(),
                "expected an amount of memory, such as \"64K\"",
            ));
        }
    };
    text.parse().map_err(|message: String| syn::Error::new(span, message))
}

/// `= true` or `= false`
fn parse_flag(input: ParseStream<'_>) -> Result<bool> {
    input.parse::<Token![=]>()?;
    Ok(input.parse::<syn::LitBool>()?.value)
}

/// `= "PATH"`
fn parse_path(input: ParseStream<'_>) -> Result<LitStr> {
    input.parse::<Token![=]>()?;
    input.parse()
}

/// `= NAME`
fn parse_precision(input: ParseStream<'_>) -> Result<Precision> {
    input.parse::<Token![=]>()?;
    let name: Ident = input.call(Ident::parse_any)?;
    let error = |message| syn::Error::new(name.span(), message);
    name.to_string().parse().map_err(error)
}

/// `(int8, calibration = "PATH", ..)` or `(int8 dynamic, ..)`
fn parse_quantize(input: ParseStream<'_>) -> Result<QuantizeOption> {
    let content;
    let _: token::Paren = parenthesized!(content in input);
    let scheme: Ident = content.call(Ident::parse_any)?;
    let mut name = scheme.to_string();
    while content.peek(Ident::peek_any) {
        name += &format!("-{}", content.call(Ident::parse_any)?);
    }
    let error = |message| syn::Error::new(scheme.span(), message);
    let mut quantize = QuantizeOption {
        scheme: name.parse().map_err(error)?,
        calibration: None,
        observer: None,
        max_drift: None,
        block: None,
        smooth: None,
        equalize: false,
    };
    while !content.is_empty() {
        content.parse::<Token![,]>()?;
        if content.is_empty() {
            break;
        }
        let option: Ident = content.call(Ident::parse_any)?;
        let known = match option.to_string().as_str() {
            "block" => quantize.block.replace(parse_block(&content)?).is_some(),
            "calibration" => quantize.calibration.replace(parse_path(&content)?).is_some(),
            "equalize" => std::mem::replace(&mut quantize.equalize, true),
            "smooth" => quantize.smooth.replace(parse_smooth(&content)?).is_some(),
            "observer" => quantize.observer.replace(parse_observer(&content)?).is_some(),
            "max_drift" => quantize.max_drift.replace(parse_drift(&content)?).is_some(),
            other => {
                let known = "`block`, `calibration`, `equalize`, `max_drift`, `observer` and `smooth`";
                let message = format!("unknown option `{other}` of `quantize`; the known ones are {known}");
                return Err(syn::Error::new(option.span(), message));
            }
        };
        if known {
            return Err(repeated(option.span(), &option.to_string()));
        }
        let is_of_weights = matches!(quantize.scheme, Scheme::Int4 | Scheme::Int8Weights);
        let misplaced = match option.to_string().as_str() {
            "observer" if quantize.scheme == Scheme::Int8Dynamic => {
                Some("`observer` chooses ranges from samples; int8 dynamic computes them in each run")
            }
            "observer" if is_of_weights => {
                Some("`observer` chooses ranges of what products read; it stays in floats here")
            }
            "smooth" if is_of_weights => Some("`smooth` divides what products read; it stays in floats here"),
            "equalize" if quantize.scheme != Scheme::Int8 => Some("`equalize` is for `int8`"),
            "block" if !is_of_weights => Some("`block` is for `int4` and `int8 weights`"),
            _ => None,
        };
        if let Some(message) = misplaced {
            return Err(syn::Error::new(option.span(), message));
        }
    }
    Ok(quantize)
}

/// `= NAME`
fn parse_observer(input: ParseStream<'_>) -> Result<Observer> {
    input.parse::<Token![=]>()?;
    let name: Ident = input.call(Ident::parse_any)?;
    let error = |message| syn::Error::new(name.span(), message);
    // A name in Rust has no hyphen.
    name.to_string().replace('_', "-").parse().map_err(error)
}

/// `= NUMBER`
fn parse_block(input: ParseStream<'_>) -> Result<BlockRows> {
    input.parse::<Token![=]>()?;
    let number: LitInt = input.parse()?;
    let error = |message| syn::Error::new(number.span(), message);
    BlockRows::new(number.base10_parse()?).map_err(error)
}

/// `= NUMBER`
fn parse_smooth(input: ParseStream<'_>) -> Result<Smooth> {
    input.parse::<Token![=]>()?;
    let number: syn::LitFloat = input.parse()?;
    let error = |message| syn::Error::new(number.span(), message);
    number.base10_digits().parse().map_err(error)
}

/// `= NUMBER`
fn parse_drift(input: ParseStream<'_>) -> Result<MaxDrift> {
    input.parse::<Token![=]>()?;
    let number: syn::LitFloat = input.parse()?;
    let error = |message| syn::Error::new(number.span(), message);
    number.base10_digits().parse().map_err(error)
}

/// `"DOMAIN::NAME" => PATH: SIGNATURE, ..`
fn parse_operators(input: ParseStream<'_>) -> Result<Vec<Operator>> {
    let content;
    let _: token::Paren = parenthesized!(content in input);
    let operators = Punctuated::<_, Token![,]>::parse_terminated_with(&content, parse_operator)?;
    Ok(operators.into_iter().collect())
}

fn parse_operator(input: ParseStream<'_>) -> Result<Operator> {
    let name: LitStr = input.parse()?;
    input.parse::<Token![=>]>()?;
    let mut function = TokenStream::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        function.extend([input.parse::<TokenTree>()?]);
    }
    let error = |message| syn::Error::new(name.span(), message);
    let known = |function: &str| function.contains('(');
    let function = function.to_string();
    if !known(&function) {
        return Err(error(
            "expected `\"DOMAIN::NAME\" => PATH: SIGNATURE`, such as `\"my.domain::MyOp\" => crate::my_op: (f32[n]) -> \
             f32[n]`"
                .to_owned(),
        ));
    }
    format!("{} = {function}", name.value()).parse().map_err(error)
}

fn parse_dim(input: ParseStream<'_>) -> Result<(Span, Dim)> {
    let (span, name) = if input.peek(LitStr) {
        let name: LitStr = input.parse()?;
        (name.span(), name.value())
    } else {
        let name = input.call(Ident::parse_any)?;
        (name.span(), name.unraw().to_string())
    };
    let range = if input.peek(Token![=]) && !input.peek(Token![==]) {
        input.parse::<Token![=]>()?;
        DimRange::from(size(input)?)
    } else if input.peek(Token![<=]) {
        input.parse::<Token![<=]>()?;
        DimRange::from(..=size(input)?)
    } else if input.peek(Token![in]) {
        input.parse::<Token![in]>()?;
        let min = size(input)?;
        input.parse::<Token![..=]>()?;
        DimRange::from(min..=size(input)?)
    } else {
        let message = format!("expected `{name} = SIZE`, `{name} <= MAX` or `{name} in MIN..=MAX`");
        return Err(input.error(message));
    };
    Ok((span, Dim { name, range }))
}

fn size(input: ParseStream<'_>) -> Result<usize> {
    let literal: LitInt = input.parse()?;
    let error = |_| syn::Error::new(literal.span(), "expected a size, such as 128");
    literal.base10_parse().map_err(error)
}

fn repeated(span: Span, name: &str) -> syn::Error {
    syn::Error::new(span, format!("`{name}` is given twice"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<ModuleItem>> {
        syn::parse_str::<Input>(&format!("onnxide; {text}")).map(|input| input.modules)
    }

    fn error(text: &str) -> String {
        parse(text).err().expect("an error").to_string()
    }

    #[test]
    fn modules_and_their_options() {
        let modules = parse(
            r#"
            /// A cat.
            pub mod cat = "cat.onnx", ram <= "64K", tuning = "cat.tuning", dims(batch <= 8, type = 128, "image.0" in 2..=4,),;
            mod owl = "owl.onnx", quantize(int8, calibration = "owl.npz", observer = min_max, max_drift = 0.05,);
            mod ant = "ant.onnx", quantize(int4, block = 64);
            mod bee = "bee.onnx", quantize(int8 weights);
            mod cow = "cow.onnx", quantize(int8, calibration = "cow.npz", smooth = 0.5, equalize);
            mod dog = "dog.onnx", quantize(int8 dynamic), threads = 2, ram <= 1_000K, winograd = false, precision = bf16, operators(
                "my.domain::Repeat" => crate::ops::repeat: (f32[n, k], times: int = 2) -> Result<(f32[n, times * k])>,
                "Erf" => erf: (T[..]?) -> T[..],
            );
            "#,
        )
        .unwrap();
        let [cat, owl, ant, bee, cow, dog] = &modules[..] else {
            panic!("{} modules", modules.len())
        };
        assert_eq!(
            (cat.name.to_string(), cat.path.value()),
            ("cat".into(), "cat.onnx".into())
        );
        assert_eq!(cat.attributes.len(), 1);
        assert!(matches!(cat.visibility, Visibility::Public(_)));
        let dims: Vec<_> = cat.dims.iter().map(|dim| (dim.name.as_str(), dim.range)).collect();
        let range = |min, max| DimRange { min, max };
        assert_eq!(
            dims,
            [
                ("batch", range(1, 8)),
                ("type", range(128, 128)),
                ("image.0", range(2, 4))
            ]
        );
        assert!(dog.dims.is_empty());
        assert_eq!((cat.threads, dog.threads), (1, 2));
        assert_eq!((cat.winograd, dog.winograd), (true, false));
        assert_eq!((cat.precision, dog.precision), (Precision::F32, Precision::Bf16));
        assert_eq!((cat.ram, dog.ram), (Some(RamSize(65536)), Some(RamSize(1_024_000))));
        assert_eq!(cat.tuning.as_ref().map(LitStr::value), Some("cat.tuning".into()));
        assert!(dog.tuning.is_none() && cat.quantize.is_none());
        let quantize = owl.quantize.as_ref().unwrap();
        assert_eq!(
            (quantize.scheme, quantize.observer),
            (Scheme::Int8, Some(Observer::MinMax))
        );
        assert_eq!(quantize.calibration.as_ref().map(LitStr::value), Some("owl.npz".into()));
        assert_eq!(quantize.max_drift.map(MaxDrift::get), Some(0.05));
        assert_eq!(dog.quantize.as_ref().unwrap().scheme, Scheme::Int8Dynamic);
        let quantize = ant.quantize.as_ref().unwrap();
        assert_eq!(
            (quantize.scheme, quantize.block),
            (Scheme::Int4, BlockRows::new(64).ok())
        );
        let quantize = bee.quantize.as_ref().unwrap();
        assert_eq!((quantize.scheme, quantize.block), (Scheme::Int8Weights, None));
        assert!(!quantize.equalize);
        let quantize = cow.quantize.as_ref().unwrap();
        assert_eq!((quantize.smooth, quantize.equalize), (Smooth::new(0.5).ok(), true));
        let operators: Vec<String> = dog.operators.iter().map(ToString::to_string).collect();
        assert_eq!(
            operators,
            [
                "my.domain::Repeat = crate::ops::repeat: (f32[n, k], times: int = 2) -> Result<f32[n, k*times]>",
                "Erf = erf: (T[..]?) -> T[..]"
            ]
        );
    }

    #[test]
    fn errors_say_what_is_expected() {
        for (text, message) in [
            ("", "expected a module, such as `pub mod cat = \"models/cat.onnx\";`"),
            ("mod m = 3;", "expected string literal"),
            ("mod m = \"m\"", "expected `,` and an option, or `;`"),
            ("mod m = \"m\" dims(a = 1);", "expected `,` and an option, or `;`"),
            (
                "mod m = \"m\", quantise = 2;",
                "unknown option `quantise`; the known ones are `dims`, `operators`, `precision`, `quantize`, `ram`, \
                 `threads`, `tuning` and `winograd`",
            ),
            ("mod m = \"m\", quantize = int8;", "expected parentheses"),
            (
                "mod m = \"m\", quantize(int3);",
                "unknown quantization `int3`; the known ones are `int8`, `int8-dynamic`, `int8-weights` and `int4`",
            ),
            (
                "mod m = \"m\", quantize(int8, data = \"d\");",
                "unknown option `data` of `quantize`; the known ones are `block`, `calibration`, `equalize`, \
                 `max_drift`, `observer` and `smooth`",
            ),
            (
                "mod m = \"m\", quantize(int8, max_drift = 1.5);",
                "`1.5` is no bound of a drift; expected a number between 0 and 1, such as 0.05",
            ),
            (
                "mod m = \"m\", quantize(int8, observer = mse, observer = mse);",
                "`observer` is given twice",
            ),
            (
                "mod m = \"m\", quantize(int8 dynamic, observer = mse);",
                "`observer` chooses ranges from samples; int8 dynamic computes them in each run",
            ),
            (
                "mod m = \"m\", quantize(int4, observer = mse);",
                "`observer` chooses ranges of what products read; it stays in floats here",
            ),
            (
                "mod m = \"m\", quantize(int8, block = 32);",
                "`block` is for `int4` and `int8 weights`",
            ),
            (
                "mod m = \"m\", quantize(int4, block = 24);",
                "there are no blocks of 24 rows; expected 16, 32, 64, 128 or 256",
            ),
            (
                "mod m = \"m\", quantize(int8), quantize(int8);",
                "`quantize` is given twice",
            ),
            ("mod m = \"m\", threads = 2, threads = 2;", "`threads` is given twice"),
            ("mod m = \"m\", threads(2);", "expected `=`"),
            ("mod m = \"m\", winograd = 1;", "expected boolean literal"),
            ("mod m = \"m\", tuning = 1;", "expected string literal"),
            (
                "mod m = \"m\", tuning = \"a\", tuning = \"a\";",
                "`tuning` is given twice",
            ),
            ("mod m = \"m\", ram = \"64K\";", "expected `<=`"),
            (
                "mod m = \"m\", ram <= \"64KB\";",
                "`64KB` is no amount of memory; expected bytes",
            ),
            (
                "mod m = \"m\", ram <= 64KB;",
                "`64KB` is no amount of memory; expected bytes",
            ),
            (
                "mod m = \"m\", ram <= true;",
                "expected an amount of memory, such as \"64K\"",
            ),
            ("mod m = \"m\", ram <= 1, ram <= 2;", "`ram` is given twice"),
            (
                "mod m = \"m\", precision = half;",
                "unknown precision `half`; the known ones are `f32`, `bf16`, `int8`",
            ),
            (
                "mod m = \"m\", precision = f32, precision = bf16;",
                "`precision` is given twice",
            ),
            (
                "mod m = \"m\", threads = -1;",
                "expected a number of threads, such as 2",
            ),
            ("mod m = \"m\", threads = all;", "expected integer literal"),
            (
                "mod m = \"m\", operators(\"a::B\" => c);",
                "expected `\"DOMAIN::NAME\" => PATH: SIGNATURE`, such as `\"my.domain::MyOp\" => crate::my_op:",
            ),
            (
                "mod m = \"m\", operators(\"a::B\" => c: (f32[n]) -> f32[m]);",
                "operator a::B: the signature `(f32",
            ),
            ("mod m = \"m\", operators(), operators();", "`operators` is given twice"),
            ("mod m = \"m\", dims(a = 1), dims(b = 1);", "`dims` is given twice"),
            ("mod m = \"m\", dims(a = 1, a <= 2);", "`a` is given twice"),
            (
                "mod m = \"m\", dims(a == 1);",
                "expected `a = SIZE`, `a <= MAX` or `a in MIN..=MAX`",
            ),
            (
                "mod m = \"m\", dims(a < 1);",
                "expected `a = SIZE`, `a <= MAX` or `a in MIN..=MAX`",
            ),
            ("mod m = \"m\", dims(a in 1..2);", "expected `..=`"),
            ("mod m = \"m\", dims(a = -1);", "expected a size, such as 128"),
        ] {
            assert!(error(text).contains(message), "{text}: {}", error(text));
        }
    }
}
