//! Broken graphs: whatever a text says, the parser, the verifier and the evaluator answer with errors and never panic.

use onnxide_codegen::ir::eval::evaluate;
use onnxide_codegen::ir::sample::SplitMix;
use onnxide_codegen::ir::{Constants, Graph, Tensor, parse, verify};
use std::fs;
use std::path::{Path, PathBuf};

const ROUNDS: usize = 400;

/// The most elements of an input.
const MAX_ELEMENTS: usize = 1 << 12;

/// What a word becomes. Numbers are small or far too large, so that nothing is merely slow.
const WORDS: [&str; 22] = [
    "0",
    "1",
    "2",
    "3",
    "5",
    "-1",
    "1099511627776",
    "9223372036854775807",
    "%0",
    "%1",
    "%2",
    "%3",
    "f32",
    "i64",
    "bool",
    "u8",
    "bf16",
    "s",
    "axis",
    "[",
    ",",
    ")",
];

#[test]
fn broken_graphs_are_errors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("src/ir/parse/everything.oxir")];
    collect(&root.join("tests/filetests"), &mut files);
    files.sort();
    let mut random = SplitMix::new(7);
    let (mut parsed, mut valid, mut evaluated) = (0, 0, 0);
    for file in files {
        let text = fs::read_to_string(&file).expect("a filetest is readable");
        let text = text.split("// ---").next().unwrap_or_default();
        let words = words(text);
        for _ in 0..ROUNDS {
            let Ok(graph) = parse(&mutate(&words, &mut random)) else {
                continue;
            };
            parsed += 1;
            valid += usize::from(verify(&graph).is_ok());
            let text = graph.to_text(Constants::Full);
            assert_eq!(parse(&text).map(|graph| graph.to_text(Constants::Full)), Ok(text));
            if let Some(inputs) = inputs(&graph, &mut random) {
                evaluated += usize::from(evaluate(&graph, &inputs).is_ok());
            }
        }
    }
    // The mutations are of use only if many get past each stage.
    assert!(
        parsed > 500 && valid > 50 && evaluated > 50,
        "{parsed}, {valid}, {evaluated}"
    );
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder of the filetests is readable") {
        let path = entry.expect("an entry of the folder").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "oxir") {
            files.push(path);
        }
    }
}

/// The words of a text and what stands between them.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '%';
    for c in text.chars() {
        match words.last_mut() {
            Some(word) if is_word(c) && word.chars().all(is_word) => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    words
}

fn mutate(words: &[String], random: &mut SplitMix) -> String {
    let mut words = words.to_vec();
    for _ in 0..random.integer(1, 2) {
        // Spaces tell nothing.
        let at = loop {
            let at = random.integer(0, words.len() as i64 - 1) as usize;
            if !words[at].trim().is_empty() {
                break at;
            }
        };
        let other = words[random.integer(0, words.len() as i64 - 1) as usize].clone();
        match random.integer(0, 5) {
            0 => words[at].clear(),
            1 => words[at] = other,
            2 => words[at] = format!("{} {}", words[at], words[at]),
            _ => words[at] = WORDS[random.integer(0, WORDS.len() as i64 - 1) as usize].to_owned(),
        }
    }
    words.concat()
}

/// Inputs of the types of a graph, with every symbol 4, if they are not too large.
fn inputs(graph: &Graph, random: &mut SplitMix) -> Option<Vec<Tensor>> {
    let params = graph.body.params.iter();
    params
        .map(|&id| {
            let ty = graph.ty(id);
            let sizes = ty.shape.iter().map(|dim| usize::try_from(dim.eval(&|_| Some(4))?).ok());
            let shape: Vec<usize> = sizes.collect::<Option<_>>()?;
            let count = shape.iter().try_fold(1usize, |total, &size| total.checked_mul(size))?;
            (count <= MAX_ELEMENTS).then(|| Tensor::random(ty.dtype, shape, random.bits()))
        })
        .collect()
}
