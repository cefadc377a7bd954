//! Constants.

use super::lexer::Kind;
use super::{Parser, Result};
use crate::ir::dtype::DType;
use crate::ir::eval::Numbers;
use crate::ir::graph::{TensorType, ValueId};
use crate::ir::tensor::Tensor;

/// The largest constant that a text may describe, in bytes.
const MAX_BYTES: usize = 1 << 30;

/// The value of a decimal number of a floating-point type.
pub(super) fn float(text: &str, dtype: DType) -> Option<f64> {
    match dtype {
        DType::F64 => text.parse().ok(),
        _ => text.parse::<f32>().ok().map(f64::from),
    }
}

impl Parser<'_> {
    /// The elements of a constant; its type is written before them or is that of the result.
    pub(super) fn constant(&mut self, result: Option<ValueId>) -> Result<Tensor> {
        let start = self.next;
        let own = match self.peek() {
            Kind::Word(word) => DType::from_name(word).is_some(),
            _ => false,
        };
        let ty = if own {
            self.tensor_type()?
        } else if let Some(result) = result {
            self.graph.ty(result).clone()
        } else {
            return self.error("the constant needs a type");
        };
        let TensorType { dtype, .. } = ty;
        let sizes = ty.static_shape().filter(|shape| {
            let bytes = shape
                .iter()
                .try_fold(dtype.size(), |total, &size| total.checked_mul(size));
            bytes.is_some_and(|bytes| bytes <= MAX_BYTES)
        });
        let Some(shape) = sizes else {
            return self.error_at(start, format!("a constant of type {ty}"));
        };
        let count: usize = shape.iter().product();
        let payload = self.next;
        let data = if self.is("[") {
            self.bracketed(|parser| parser.element(dtype))?.concat()
        } else {
            let form = self.word("the elements of a constant")?;
            match form.as_str() {
                "splat" => {
                    self.expect("(")?;
                    let element = self.element(dtype)?;
                    self.expect(")")?;
                    element.repeat(count)
                }
                "iota" => iota(dtype, count),
                "random" => {
                    self.expect("(")?;
                    let seed = self.integer_as()?;
                    self.expect(")")?;
                    return Ok(Tensor::random(dtype, shape, seed));
                }
                "hex" => {
                    let text = self.text()?;
                    match hex(&text) {
                        Some(data) => data,
                        None => return self.error_at(payload, "expected pairs of hexadecimal digits"),
                    }
                }
                "elided" => return self.error_at(payload, "the elements of this constant have been elided"),
                _ => return self.error_at(payload, format!("unknown form `{form}` of a constant")),
            }
        };
        if data.len() != count * dtype.size() {
            let found = data.len() / dtype.size();
            return self.error_at(payload, format!("{found} elements for a constant of type {ty}"));
        }
        Ok(Tensor::from_bytes(dtype, shape, data.into()))
    }

    /// The bytes of one element.
    fn element(&mut self, dtype: DType) -> Result<Vec<u8>> {
        let start = self.next;
        if self.accept_word("bits") {
            self.expect("(")?;
            let Kind::Number(text) = self.peek() else {
                return self.expected("a number");
            };
            let bits = text
                .strip_prefix("0x")
                .and_then(|digits| u64::from_str_radix(digits, 16).ok());
            let Some(bits) = bits else {
                return self.expected("a hexadecimal number");
            };
            self.advance();
            self.expect(")")?;
            return Ok(bits.to_le_bytes()[..dtype.size()].to_vec());
        }
        if dtype == DType::Bool {
            return match (self.accept_word("true"), self.accept_word("false")) {
                (true, _) => Ok(vec![1]),
                (_, true) => Ok(vec![0]),
                _ => self.expected("true or false"),
            };
        }
        let text = self.number_text()?;
        let number = if dtype.is_float() {
            float(&text, dtype).map(|value| Numbers::Float(vec![value]))
        } else {
            text.parse().ok().map(|value| Numbers::Int(vec![value]))
        };
        let mut bytes = Vec::new();
        match number.map(|number| number.encode(dtype, &mut bytes)) {
            Some(Ok(())) => Ok(bytes),
            _ => self.error_at(start, format!("`{text}` is no {dtype}")),
        }
    }
}

fn iota(dtype: DType, count: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(count * dtype.size());
    for index in 0..count {
        let number = match dtype {
            DType::Bool => Numbers::Bool(vec![index % 2 == 1]),
            _ if dtype.is_float() => Numbers::Float(vec![index as f64]),
            _ => Numbers::Int(vec![index as i128]),
        };
        // The kind of the number is that of the type.
        let _ = number.encode(dtype, &mut data);
    }
    data
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
