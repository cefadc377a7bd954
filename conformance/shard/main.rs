//! Runs the models of one package, as a child of the conformance suite.
//!
//! A request is two frames on standard input: the name of a case and its inputs. The answer is two frames on standard
//! output: `ok`, `error` or `panic`, and the outputs or the reason. A frame is a length, as a little-endian `u64`, and
//! that many bytes.
//!
//! Values are in a container under their numbers: the tensor `2`, or the sequence `2[]`, which is the number of the
//! elements `2[0]`, `2[1]` and so on; strings are rows of bytes. A value without an entry is absent.

use std::io::{self, Read, Write};
use std::panic::{self, AssertUnwindSafe};

use onnxide_runtime::describe::{AnyData, AnySequence, AnyTensor, AnyValue, Program};
use onnxide_runtime::harness::container::Container;
use onnxide_runtime::isa::Level;

/// What runs a model once.
pub type Run = fn(Level, &Container) -> Result<Container, String>;

/// Declares modules with models, and the table of what runs them.
macro_rules! cases {
    ($($name:ident)*) => {
        $(#[allow(dead_code)] mod $name;)*

        pub const CASES: &[(&str, crate::Run)] = &[$((stringify!($name), |level, inputs| {
            let mut model = $name::Model::boxed();
            model.set_isa(level);
            crate::run(&mut *model, inputs)
        })),*];
    };
}

mod cases;

fn main() -> io::Result<()> {
    let level = std::env::args().nth(1).and_then(|name| Level::from_name(&name));
    let level = level.unwrap_or_else(Level::detect);
    // The reason of a panic is in the answer.
    panic::set_hook(Box::new(|_| {}));
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some(name) = read(&mut input)? {
        let inputs = read(&mut input)?.unwrap_or_default();
        let (status, content) = answer(level, &name, &inputs);
        write(&mut output, status.as_bytes())?;
        write(&mut output, &content)?;
        output.flush()?;
    }
    Ok(())
}

fn answer(level: Level, name: &[u8], inputs: &[u8]) -> (&'static str, Vec<u8>) {
    let Some((_, run)) = cases::CASES.iter().find(|(case, _)| case.as_bytes() == name) else {
        return ("panic", b"there is no such case".into());
    };
    let inputs = match Container::from_bytes(inputs) {
        Ok(inputs) => inputs,
        Err(message) => return ("panic", message.into()),
    };
    match panic::catch_unwind(AssertUnwindSafe(|| run(level, &inputs))) {
        Ok(Ok(outputs)) => ("ok", outputs.to_bytes()),
        Ok(Err(message)) => ("error", message.into()),
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            ("panic", text.unwrap_or_default().into())
        }
    }
}

fn run<P: Program>(model: &mut P, container: &Container) -> Result<Container, String> {
    let container = &container.with_texts(P::INPUTS, |number| number.to_string())?;
    let elements: Vec<_> = (0..P::INPUTS.len()).map(|number| elements(container, number)).collect();
    let inputs: Vec<_> = elements
        .iter()
        .enumerate()
        .map(|(number, elements)| match (container.get(&number.to_string()), elements) {
            (Some(tensor), _) => AnyValue::Tensor(tensor),
            (None, Some(elements)) => AnyValue::Sequence(AnySequence::of(elements)),
            (None, None) => AnyValue::None,
        })
        .collect();
    let mut outputs = Container::default();
    let result = model.run_dyn(&inputs, &mut |number, value| push(&mut outputs, number, value));
    result.map_err(|error| error.to_string())?;
    Ok(outputs)
}

/// The elements of a sequence.
fn elements(container: &Container, number: usize) -> Option<Vec<AnyTensor<'_>>> {
    container.get(&format!("{number}[]"))?;
    let element = |index| container.get(&format!("{number}[{index}]"));
    Some((0..).map_while(element).collect())
}

fn push(outputs: &mut Container, number: usize, value: AnyValue<'_>) {
    match value {
        AnyValue::Tensor(tensor) => outputs.push(&number.to_string(), tensor),
        AnyValue::Sequence(sequence) => {
            let length = AnyTensor {
                shape: &[],
                data: AnyData::U64(&[sequence.len() as u64]),
            };
            outputs.push(&format!("{number}[]"), length);
            for index in 0..sequence.len() {
                sequence.with(index, |tensor| outputs.push(&format!("{number}[{index}]"), tensor));
            }
        }
        AnyValue::None => {}
    }
}

/// The next frame; `None` at the end of the input.
fn read(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let mut content = Vec::new();
    input.take(u64::from_le_bytes(length)).read_to_end(&mut content)?;
    Ok(Some(content))
}

fn write(output: &mut impl Write, content: &[u8]) -> io::Result<()> {
    output.write_all(&(content.len() as u64).to_le_bytes())?;
    output.write_all(content)
}
