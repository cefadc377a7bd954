//! What a module is compiled with besides the model.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{RangeInclusive, RangeToInclusive};
use std::path::PathBuf;

use blake3::Hasher;

use super::Front;
use crate::Precision;
use crate::ir::{Bounds, Interval};
use crate::operator::Operator;
use crate::plan::{RamSize, Tuning};
use crate::quantize::{Files, Quantize};

/// The options of a compilation, complete: every one has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The name of the module, a Rust identifier.
    pub name: String,
    /// The sizes that symbolic dimensions may have.
    pub dims: BTreeMap<String, DimRange>,
    /// The number of threads of a run.
    pub threads: usize,
    /// Whether convolutions may be computed by Winograd's algorithm.
    pub winograd: bool,
    /// In what matrix products and convolutions multiply.
    pub precision: Precision,
    /// To what the model is quantized.
    pub quantize: Option<Quantize>,
    /// The files with the data for that.
    pub calibration: Files,
    /// Whether the results of layers are outputs, too.
    #[doc(hidden)]
    pub layers: bool,
    /// What the arena may have.
    pub ram: Option<RamSize>,
    /// What measurements have decided.
    pub tuning: Tuning,
    /// The file that says so.
    pub tuning_file: Option<PathBuf>,
    /// Whether the module lets its caller time every step.
    pub profile: bool,
    /// Whether the model implements the runtime's `Program`.
    pub program: bool,
    /// Where the module finds its weights.
    pub weights: WeightsPath,
    /// The operators that the user provides.
    pub operators: Vec<Operator>,
    /// Who calls the compiler.
    #[doc(hidden)]
    pub front: Front,
}

/// The sizes that a symbolic dimension may have: a range, or a single size if both ends are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DimRange {
    /// The least size.
    pub min: usize,
    /// The greatest size.
    pub max: usize,
}

impl From<usize> for DimRange {
    fn from(size: usize) -> Self {
        DimRange { min: size, max: size }
    }
}

impl From<RangeInclusive<usize>> for DimRange {
    fn from(range: RangeInclusive<usize>) -> Self {
        DimRange {
            min: *range.start(),
            max: *range.end(),
        }
    }
}

/// Sizes from 1.
impl From<RangeToInclusive<usize>> for DimRange {
    fn from(range: RangeToInclusive<usize>) -> Self {
        DimRange { min: 1, max: range.end }
    }
}

impl fmt::Display for DimRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{}..={}", self.min, self.max)
        }
    }
}

/// How the text of a module names the file of its weights.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WeightsPath {
    /// A file in the folder of the module's own source file.
    Beside(String),
    /// A path below the folder that an environment variable holds when the module is compiled, such as `OUT_DIR`.
    Below {
        /// The environment variable.
        variable: &'static str,
        /// The path in that folder, with `/` between its parts.
        path: String,
    },
    /// An absolute path.
    Absolute(PathBuf),
}

impl WeightsPath {
    /// A Rust expression for `include_bytes!`, and for the assembler's `.incbin` unless the file is beside the source.
    pub fn expression(&self) -> String {
        match self {
            WeightsPath::Beside(file) => format!("{file:?}"),
            WeightsPath::Below { variable, path } => format!("concat!(env!({variable:?}), {:?})", format!("/{path}")),
            WeightsPath::Absolute(path) => format!("{:?}", path.to_string_lossy()),
        }
    }
}

impl Options {
    /// The ranges of the dimensions as bounds of symbols.
    pub fn bounds(&self) -> Bounds {
        let mut bounds = Bounds::new();
        for (name, range) in &self.dims {
            let size = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
            bounds.insert(
                name.as_str(),
                Interval {
                    low: size(range.min),
                    high: size(range.max),
                },
            );
        }
        bounds
    }

    /// Whether the types of results of operators come from closures, which [`key`](Self::key) does not see.
    pub(super) fn has_closures(&self) -> bool {
        self.operators.iter().any(|operator| operator.rule().is_some())
    }

    /// A hash of the model, these options but for the place of the weights and closures, and the compiler itself.
    pub(super) fn key(&self, model: &[u8; 32]) -> String {
        let mut hasher = Hasher::new();
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        field(env!("ONNXIDE_FINGERPRINT").as_bytes());
        field(model);
        field(self.name.as_bytes());
        field(&[self.profile, self.program, self.winograd, self.layers].map(u8::from));
        field(self.precision.name().as_bytes());
        // The text of a module has these options.
        let quantize = self.quantize.as_ref().map(ToString::to_string);
        field(quantize.unwrap_or_default().as_bytes());
        field(&self.calibration.hash);
        field(self.ram.map_or(String::new(), |ram| ram.0.to_string()).as_bytes());
        field(&(self.threads as u64).to_le_bytes());
        for (name, range) in &self.dims {
            field(name.as_bytes());
            field(&(range.min as u64).to_le_bytes());
            field(&(range.max as u64).to_le_bytes());
        }
        field(
            self.tuning
                .every
                .map_or(String::new(), |choice| choice.to_string())
                .as_bytes(),
        );
        for (node, choices) in &self.tuning.nodes {
            for choice in choices {
                field(node.as_bytes());
                field(choice.to_string().as_bytes());
            }
        }
        // The text of a module names the file.
        let file = self.tuning_file.as_ref().and_then(|path| path.file_name());
        field(file.unwrap_or_default().as_encoded_bytes());
        for operator in &self.operators {
            field(operator.to_string().as_bytes());
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

/// The name that a module gets from its model's file, as a Rust identifier.
pub fn identifier(text: &str) -> String {
    let mut name: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    if name.chars().all(|c| c == '_') {
        name = "model".into();
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) || KEYWORDS.contains(&name.as_str()) {
        name.insert_str(0, "model_");
    }
    name
}

/// Whether a text can be the name of a module.
pub fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && text != "_"
        && !KEYWORDS.contains(&text)
}

/// The words that cannot be identifiers in edition 2024, in lower case; `Self` is not one that [`identifier`] makes.
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield", "Self",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Choice;

    #[test]
    fn identifiers_are_made_from_any_text() {
        for (text, name) in [
            ("magika_v3_3", "magika_v3_3"),
            ("All-MiniLM L6.v2", "all_minilm_l6_v2"),
            ("3d", "model_3d"),
            ("match", "model_match"),
            ("--", "model"),
            ("", "model"),
            ("größe", "gr__e"),
        ] {
            assert_eq!(identifier(text), name);
            assert!(is_identifier(name));
        }
        for text in ["", "_", "fn", "a-b", "1a", "Self"] {
            assert!(!is_identifier(text), "{text}");
        }
    }

    #[test]
    fn keys_tell_options_apart() {
        let options = Options {
            name: "m".into(),
            dims: BTreeMap::from([("batch".into(), DimRange::from(..=8))]),
            threads: 1,
            winograd: true,
            precision: Precision::F32,
            quantize: None,
            calibration: Files::default(),
            layers: false,
            ram: None,
            tuning: Tuning::default(),
            tuning_file: None,
            profile: false,
            program: false,
            weights: WeightsPath::Beside("m.weights".into()),
            operators: Vec::new(),
            front: Front::Library,
        };
        let key = options.key(&[0; 32]);
        let with = |change: &dyn Fn(&mut Options)| {
            let mut other = options.clone();
            change(&mut other);
            other.key(&[0; 32])
        };
        assert_eq!(key, with(&|o| o.weights = WeightsPath::Absolute("/m".into())));
        assert_ne!(key, with(&|o| o.name = "n".into()));
        assert_ne!(key, with(&|o| o.threads = 2));
        assert_ne!(key, with(&|o| o.winograd = false));
        assert_ne!(key, with(&|o| o.precision = Precision::Bf16));
        assert_ne!(key, with(&|o| o.quantize = Some(Quantize::int8_dynamic())));
        let quantized = |quantize: Quantize| with(&|o| o.quantize = Some(quantize.clone()));
        let share = "0.5".parse().unwrap();
        let keys = [
            quantized(Quantize::int4()),
            quantized(Quantize::int4().block("64".parse().unwrap())),
            quantized(Quantize::int8_weights()),
            quantized(Quantize::int8("a.npz")),
            quantized(Quantize::int8("a.npz").smooth(share)),
            quantized(Quantize::int8("a.npz").equalize(true)),
        ];
        assert!((1..keys.len()).all(|index| !keys[..index].contains(&keys[index])));
        assert_ne!(key, with(&|o| o.calibration.hash = [1; 32]));
        assert_ne!(key, with(&|o| o.layers = true));
        assert_ne!(key, with(&|o| o.ram = Some(RamSize(1024))));
        assert_ne!(key, with(&|o| o.tuning.choose("a", Choice::Direct)));
        assert_ne!(key, with(&|o| o.tuning_file = Some("m.tuning".into())));
        assert_ne!(key, with(&|o| o.tuning.every = Some(Choice::Direct)));
        assert_ne!(key, with(&|o| o.profile = true));
        assert_ne!(key, with(&|o| o.program = true));
        assert_ne!(key, with(&|o| o.dims.extend([("batch".into(), 8.into())])));
        assert_ne!(key, with(&|o| o.dims.extend([("s".into(), 8.into())])));
        assert_ne!(key, options.key(&[1; 32]));
        let operator = |text: &str| with(&|o| o.operators.push(text.parse().unwrap()));
        assert_ne!(key, operator("a::B = c: (f32[n]) -> f32[n]"));
        assert_ne!(
            operator("a::B = d: (f32[n]) -> f32[n]"),
            operator("a::B = c: (f32[n]) -> f32[n]")
        );
    }

    #[test]
    fn paths_of_weights_are_expressions() {
        assert_eq!(WeightsPath::Beside("m.weights".into()).expression(), r#""m.weights""#);
        let below = WeightsPath::Below {
            variable: "OUT_DIR",
            path: "m.weights".into(),
        };
        assert_eq!(below.expression(), r#"concat!(env!("OUT_DIR"), "/m.weights")"#);
        let absolute = WeightsPath::Absolute("/a \"b\"/m.weights".into());
        assert_eq!(absolute.expression(), r#""/a \"b\"/m.weights""#);
    }
}
