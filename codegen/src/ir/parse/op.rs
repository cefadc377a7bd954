//! Operations and their attributes.

use super::lexer::Kind;
use super::{Parser, Result};
use crate::ir::dim::Dim;
use crate::ir::dtype::DType;
use crate::ir::expr::Expr;
use crate::ir::graph::ValueId;
use crate::ir::op::{Cell, Epilogue, Op, PoolKind, ResizeMode, Window};
use crate::ir::opaque::{Argument, Opaque};
use crate::ir::tensor::Tensor;
use crate::ir::text::names::{COORDINATES, FOLD, NORMALIZE, Names, PAD, REDUCE, ROUNDING, SCATTER};

/// An operation as far as it can be read before its operands are known. Numbers of words say where to read on.
pub(super) struct Head {
    name: String,
    token: usize,
    attributes: Vec<Attribute>,
    constant: Option<Tensor>,
    expr: Option<usize>,
    epilogue: Option<usize>,
}

struct Attribute {
    key: String,
    /// The first word of the value; a flag has none.
    value: Option<usize>,
    token: usize,
    used: bool,
}

impl Parser<'_> {
    /// The name of an operation, its attributes and expressions.
    pub(super) fn op_head(&mut self, result: Option<ValueId>) -> Result<Head> {
        let token = self.next;
        let mut head = Head {
            name: self.word("an operation")?,
            token,
            attributes: Vec::new(),
            constant: None,
            expr: None,
            epilogue: None,
        };
        if head.name == "constant" {
            head.constant = Some(self.constant(result)?);
            return Ok(head);
        }
        // The parameters of a region are values, not words.
        if self.is("(") && matches!(self.peek_after(), Kind::Word(_)) {
            self.expect("(")?;
            head.attributes = self.list(|_| true, Parser::attribute)?;
            self.expect(")")?;
        }
        if head.name == "elementwise" || head.name == "fold" {
            head.expr = Some(self.skip_braces()?);
        }
        if self.accept_word("epilogue") {
            head.epilogue = Some(self.skip_braces()?);
        }
        Ok(head)
    }

    fn attribute(&mut self) -> Result<Attribute> {
        let token = self.next;
        let key = self.word("an attribute")?;
        let value = self.accept("=").then_some(self.next);
        if value.is_some() {
            self.skip_value()?;
        }
        Ok(Attribute {
            key,
            value,
            token,
            used: false,
        })
    }

    /// Skips the value of an attribute: all up to a comma or parenthesis that belongs to the list.
    fn skip_value(&mut self) -> Result<()> {
        let start = self.next;
        let mut open = 0usize;
        loop {
            match self.peek() {
                Kind::Mark("(" | "[") => open += 1,
                Kind::Mark(")" | "]") if open > 0 => open -= 1,
                Kind::Mark("," | ")") if open == 0 && self.next > start => return Ok(()),
                Kind::Mark("," | ")") if open == 0 => return self.expected("a value"),
                Kind::End | Kind::Mark("{" | "}" | "]") => return self.expected("`)`"),
                _ => {}
            }
            self.advance();
        }
    }

    /// The operation that a head, operands and the first result make.
    pub(super) fn finish_op(&mut self, mut head: Head, inputs: &[ValueId], result: Option<ValueId>) -> Result<Op> {
        let h = &mut head;
        let op = match h.name.clone().as_str() {
            "constant" => match h.constant.take() {
                Some(tensor) => Op::Constant(tensor),
                None => return self.error_at(h.token, "a constant without elements"),
            },
            "elementwise" => Op::Elementwise {
                expr: self.own_expr(h, inputs)?,
                shape: self.shape(h, result)?,
            },
            "fold" => Op::Fold {
                kind: self.name_of(h, "kind", FOLD)?,
                expr: self.own_expr(h, inputs)?,
                domain: self.required(h, "domain", Parser::dims)?,
                shape: self.shape(h, result)?,
            },
            "scatter" => Op::Scatter {
                kind: self.name_of(h, "kind", SCATTER)?,
            },
            "sort" => Op::Sort {
                descending: self.flag(h, "descending")?,
            },
            "bind" => Op::Bind {
                symbol: self.required(h, "symbol", Parser::symbol)?.into(),
            },
            "assert" => Op::Assert {
                message: self.required(h, "message", Parser::text)?,
            },
            "reduce" => Op::Reduce {
                kind: self.name_of(h, "kind", REDUCE)?,
                axes: self.integers(h, "axes", None)?,
                keep_dims: self.flag(h, "keep_dims")?,
            },
            "arg_reduce" => Op::ArgReduce {
                largest: self.flag(h, "largest")?,
                axis: self.required(h, "axis", Parser::integer_as)?,
                keep_dims: self.flag(h, "keep_dims")?,
                last: self.flag(h, "last")?,
            },
            "cum_sum" => Op::CumSum {
                axis: self.required(h, "axis", Parser::integer_as)?,
                exclusive: self.flag(h, "exclusive")?,
                reverse: self.flag(h, "reverse")?,
            },
            "matmul" => self.with_epilogue(h, inputs, Op::MatMul { epilogue: None })?,
            "conv" => {
                let conv = Op::Conv {
                    bias: self.flag(h, "bias")?,
                    window: self.window(h)?,
                    groups: self.optional(h, "groups", Parser::integer_as)?.unwrap_or(1),
                    pad_value: self.optional(h, "pad_value", Parser::integer_as)?.unwrap_or(0),
                    epilogue: None,
                };
                self.with_epilogue(h, inputs, conv)?
            }
            "conv_transpose" => {
                let bias = self.flag(h, "bias")?;
                let window = self.window(h)?;
                let none = vec![0; window.kernel.len()];
                let conv = Op::ConvTranspose {
                    output_padding: self.integers(h, "output_padding", Some(none))?,
                    window,
                    groups: self.optional(h, "groups", Parser::integer_as)?.unwrap_or(1),
                    bias,
                    epilogue: None,
                };
                self.with_epilogue(h, inputs, conv)?
            }
            "pool" => {
                let kind = match self.choice(h, "kind", &["max", "average", "lp"])? {
                    0 => PoolKind::Max,
                    1 => PoolKind::Average {
                        count_include_pad: self.flag(h, "count_include_pad")?,
                    },
                    _ => PoolKind::Lp {
                        p: self.required(h, "p", Parser::integer_as)?,
                    },
                };
                Op::Pool {
                    kind,
                    window: self.window(h)?,
                    ceil_mode: self.flag(h, "ceil_mode")?,
                }
            }
            "reshape" => Op::Reshape {
                shape: self.shape(h, result)?,
            },
            "broadcast" => Op::Broadcast {
                shape: self.shape(h, result)?,
            },
            "transpose" => Op::Transpose {
                permutation: self.integers(h, "permutation", None)?,
            },
            "slice" => {
                let starts = self.required(h, "starts", Parser::dims)?;
                let ones = vec![1; starts.len()];
                Op::Slice {
                    starts,
                    steps: self.integers(h, "steps", Some(ones))?,
                    shape: self.shape(h, result)?,
                }
            }
            "concat" => Op::Concat {
                axis: self.required(h, "axis", Parser::integer_as)?,
            },
            "pad" => Op::Pad {
                mode: self.name_of(h, "mode", PAD)?,
                before: self.required(h, "before", Parser::dims)?,
                after: self.required(h, "after", Parser::dims)?,
            },
            "gather" => Op::Gather {
                axis: self.required(h, "axis", Parser::integer_as)?,
            },
            "gather_elements" => Op::GatherElements {
                axis: self.required(h, "axis", Parser::integer_as)?,
            },
            "resize" => Op::Resize {
                mode: match self.choice(h, "mode", &["nearest", "linear", "cubic"])? {
                    0 => ResizeMode::Nearest(self.name_of(h, "rounding", ROUNDING)?),
                    1 => ResizeMode::Linear,
                    _ => ResizeMode::Cubic {
                        coefficient: self.required(h, "coefficient", Parser::float)?,
                        exclude_outside: self.flag(h, "exclude_outside")?,
                    },
                },
                coordinates: self.name_of(h, "coordinates", COORDINATES)?,
                scales: self.optional(h, "scales", |parser| parser.bracketed(Parser::float))?,
                shape: self.shape(h, result)?,
            },
            "dequantize" => Op::Dequantize {
                rows: self.required(h, "rows", Parser::integer_as)?,
            },
            "softmax" => Op::Softmax {
                axis: self.required(h, "axis", Parser::integer_as)?,
                log: self.flag(h, "log")?,
            },
            "normalize" => Op::Normalize {
                kind: self.name_of(h, "kind", NORMALIZE)?,
                axis: self.required(h, "axis", Parser::integer_as)?,
                epsilon: self.required(h, "epsilon", Parser::float)?,
                scale: self.flag(h, "scale")?,
                bias: self.flag(h, "bias")?,
            },
            "attention" => Op::Attention {
                scale: self.required(h, "scale", Parser::float)?,
                mask: self.flag(h, "mask")?,
                causal: self.flag(h, "causal")?,
            },
            "recurrent" => Op::Recurrent {
                cell: match self.choice(h, "cell", &["lstm", "gru", "rnn"])? {
                    0 => Cell::Lstm,
                    1 => Cell::Gru {
                        linear_before_reset: self.flag(h, "linear_before_reset")?,
                    },
                    _ => Cell::Rnn,
                },
                reverse: self.flag(h, "reverse")?,
            },
            "if" => Op::If,
            "loop" => Op::Loop {
                carried: self.required(h, "carried", Parser::integer_as)?,
                trips: self.required(h, "trips", Parser::dim)?,
            },
            "scan" => Op::Scan {
                carried: self.required(h, "carried", Parser::integer_as)?,
            },
            "opaque" => Op::Opaque(Opaque {
                operator: self.required(h, "operator", Parser::text)?,
                function: self.required(h, "function", Parser::text)?,
                arguments: self.required(h, "arguments", |parser| parser.bracketed(Parser::argument))?,
                results: Vec::new(),
                fallible: self.flag(h, "fallible")?,
            }),
            other => return self.error_at(h.token, format!("unknown operation `{other}`")),
        };
        if let Some(unused) = head.attributes.iter().find(|attribute| !attribute.used) {
            let message = format!("{} has no attribute `{}`, or has it already", head.name, unused.key);
            return self.error_at(unused.token, message);
        }
        match head.epilogue {
            Some(at) if op.epilogue().is_none() => self.error_at(at, format!("{} has no epilogue", head.name)),
            _ => Ok(op),
        }
    }

    /// The expression of an operation that is one.
    fn own_expr(&mut self, head: &Head, inputs: &[ValueId]) -> Result<Expr> {
        let types: Vec<Option<DType>> = inputs.iter().map(|&id| Some(self.graph.ty(id).dtype)).collect();
        match head.expr {
            Some(at) => self.at(at, |parser| parser.expr(&types)),
            None => self.error_at(head.token, format!("{} without an expression", head.name)),
        }
    }

    /// An argument of an opaque call.
    fn argument(&mut self) -> Result<Argument> {
        let start = self.next;
        Ok(match self.word("an argument")?.as_str() {
            "operand" => Argument::Operand,
            "present" => Argument::Present,
            "absent" => Argument::Absent,
            "int" => Argument::Int(self.integer_as()?),
            "float" => Argument::Float(self.float()?),
            "string" => Argument::String(self.text()?),
            "ints" => Argument::Ints(self.bracketed(Parser::integer_as)?),
            "floats" => Argument::Floats(self.bracketed(Parser::float)?),
            "strings" => Argument::Strings(self.bracketed(Parser::text)?),
            other => return self.error_at(start, format!("unknown kind of argument `{other}`")),
        })
    }

    /// Reads something elsewhere.
    fn at<T>(&mut self, token: usize, rule: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let next = std::mem::replace(&mut self.next, token);
        let result = rule(self)?;
        self.next = next;
        Ok(result)
    }

    fn optional<T>(
        &mut self,
        head: &mut Head,
        key: &str,
        rule: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(attribute) = head.attributes.iter_mut().find(|attribute| attribute.key == key) else {
            return Ok(None);
        };
        attribute.used = true;
        let Some(value) = attribute.value else {
            return self.error_at(attribute.token, format!("attribute `{key}` needs a value"));
        };
        self.at(value, |parser| {
            let value = rule(parser)?;
            if parser.is(",") || parser.is(")") {
                Ok(Some(value))
            } else {
                parser.expected("`,` or `)`")
            }
        })
    }

    fn required<T>(&mut self, head: &mut Head, key: &str, rule: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        match self.optional(head, key, rule)? {
            Some(value) => Ok(value),
            None => self.error_at(head.token, format!("{} needs the attribute `{key}`", head.name)),
        }
    }

    fn flag(&mut self, head: &mut Head, key: &str) -> Result<bool> {
        match head.attributes.iter_mut().find(|attribute| attribute.key == key) {
            Some(attribute) if attribute.value.is_some() => {
                self.error_at(attribute.token, format!("attribute `{key}` has no value"))
            }
            Some(attribute) => {
                attribute.used = true;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn integers<T: TryFrom<i128>>(&mut self, head: &mut Head, key: &str, usual: Option<Vec<T>>) -> Result<Vec<T>> {
        let rule = |parser: &mut Self| parser.bracketed(Parser::integer_as);
        match usual {
            Some(usual) => Ok(self.optional(head, key, rule)?.unwrap_or(usual)),
            None => self.required(head, key, rule),
        }
    }

    /// Which of some words the value is.
    fn choice(&mut self, head: &mut Head, key: &str, words: &[&str]) -> Result<usize> {
        self.required(head, key, |parser| {
            let expected = format!("one of {}", words.join(", "));
            let found = words.iter().position(|word| parser.is_word(word));
            match found {
                Some(index) => {
                    parser.advance();
                    Ok(index)
                }
                None => parser.expected(&expected),
            }
        })
    }

    fn name_of<T: Copy>(&mut self, head: &mut Head, key: &str, names: Names<T>) -> Result<T> {
        let words: Vec<&str> = names.iter().map(|(_, name)| *name).collect();
        Ok(names[self.choice(head, key, &words)?].0)
    }

    pub(super) fn float(&mut self) -> Result<f32> {
        let start = self.next;
        let text = self.number_text()?;
        match text.parse() {
            Ok(value) => Ok(value),
            Err(_) => self.error_at(start, format!("`{text}` is no number")),
        }
    }

    fn dims(&mut self) -> Result<Vec<Dim>> {
        self.bracketed(Parser::dim)
    }

    /// The attribute `shape`, or the shape of the result.
    fn shape(&mut self, head: &mut Head, result: Option<ValueId>) -> Result<Vec<Dim>> {
        match (self.optional(head, "shape", Parser::dims)?, result) {
            (Some(shape), _) => Ok(shape),
            (None, Some(result)) => Ok(self.graph.ty(result).shape.clone()),
            (None, None) => self.error_at(head.token, format!("{} needs a shape", head.name)),
        }
    }

    fn window(&mut self, head: &mut Head) -> Result<Window> {
        let kernel: Vec<usize> = self.integers(head, "kernel", None)?;
        let ones = || Some(vec![1; kernel.len()]);
        let zeros = || vec![Dim::default(); kernel.len()];
        Ok(Window {
            strides: self.integers(head, "strides", ones())?,
            dilations: self.integers(head, "dilations", ones())?,
            pads_before: self.optional(head, "pads_before", Parser::dims)?.unwrap_or_else(zeros),
            pads_after: self.optional(head, "pads_after", Parser::dims)?.unwrap_or_else(zeros),
            kernel,
        })
    }

    /// An operation with its epilogue, whose operand 0 is the result so far.
    fn with_epilogue(&mut self, head: &Head, inputs: &[ValueId], mut op: Op) -> Result<Op> {
        let (Some(at), Some(base)) = (head.epilogue, op.epilogue_base()) else {
            return Ok(op);
        };
        let dtypes: Vec<DType> = inputs.iter().map(|&id| self.graph.ty(id).dtype).collect();
        let further = dtypes.iter().skip(base).copied().map(Some);
        let types: Vec<Option<DType>> = std::iter::once(op.epilogue_type(&dtypes)).chain(further).collect();
        let expr = self.at(at, |parser| parser.expr(&types))?;
        if let Some(epilogue) = op.epilogue_mut() {
            *epilogue = Some(Epilogue { expr });
        }
        Ok(op)
    }
}
