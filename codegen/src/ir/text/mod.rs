//! The text form of the IR.
//!
//! ```text
//! graph "classifier" {
//!   bounds { batch: 1..=8, h: 8..=64, w: 8..=64 }
//!   where h == w from "Reshape_3"
//!   input "image" %0: f32[batch, 3, h, w]
//!   %1 "conv.weight": f32[8, 3, 3, 3] = constant elided(9f86d081)
//!   %2: f32[8] = constant splat(0.5)
//!   %3: f32[batch, 8, h, w] = conv(kernel = [3, 3], pads_before = [1, 1], pads_after = [1, 1], bias) epilogue {
//!     max(x0, 0.0:f32)
//!   } %0, %1, %2 from "Conv_0", "Relu_1"
//!   %4: f32[batch, 8] = reduce(kind = mean, axes = [2, 3]) %3 from "GlobalAveragePool_2"
//!   output "scores" %4
//! }
//! ```
//!
//! - Line breaks mean nothing; a comment runs from `//` to the end of its line. Symbols and names that are no
//!   identifiers are quoted.
//! - A node is its results with their types, the name of the [operation](super::Op), attributes in parentheses, operands,
//!   regions, and the source nodes it came `from`. Attributes that have their usual value are left out:
//!   strides and dilations of 1, padding of 0, one group, flags that are not set, and the shape where it is that of the
//!   result.
//! - The name of an input or output that consists of several tensors is followed by the [part](super::Part) that the
//!   tensor is of it: `input "x" elements [0..=3, 4..=4] %0: f32[8, 12]`.
//! - A value may have a name of its source model after its number.
//! - An expression refers to operand `i` as `x`*i* and to earlier parts as `let` has named them. A constant is followed
//!   by its type, a conversion is a call of the type; `index(axis)` and `dim(s + 1)` are `i64`. Any other type than
//!   the one that the operands imply is written behind a part: `neg(x0):i64`.
//! - The elements of a constant are listed (`[1.0, 2.0]`), or one for all (`splat(0.0)`), or in hexadecimal
//!   (`hex "0000803f"`). Where the text is for people, larger constants are `elided` to a hash and cannot be read back.
//!   The parser also knows `iota`, the numbers from 0 on, and `random(seed)`, those of [`Tensor::random`](super::Tensor::random).
//! - Regions are blocks in braces, with parameters in parentheses before and a `yield` of their
//!   results at the end: `if %0 { yield %1 } else { yield %2 }`.
//!
//! [Parsing](super::parse()) the text of a graph gives the graph again if no constant is elided, every number below
//! [`value_count`](Graph::value_count) is defined ([`renumber`](Graph::renumber) sees to that), and expressions have been
//! built by [`push`](super::Expr::push).

mod constant;
mod dim;
mod expr;
pub(super) mod names;
mod op;

use super::graph::{Block, Graph, Node, Part, TensorType, ValueId};
use std::fmt::{self, Write};

pub use constant::Constants;
pub(super) use dim::is_symbol_name;

impl fmt::Display for Graph {
    /// The text for people: large constants are elided.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text(Constants::Elided))
    }
}

impl Graph {
    /// The text form.
    pub fn to_text(&self, constants: Constants) -> String {
        let mut printer = Printer {
            graph: self,
            constants,
            out: String::new(),
            indent: 0,
        };
        printer.graph();
        printer.out
    }
}

struct Printer<'a> {
    graph: &'a Graph,
    constants: Constants,
    out: String,
    indent: usize,
}

impl Printer<'_> {
    fn line(&mut self, text: &str) {
        for _ in 0..self.indent {
            self.out.push_str("  ");
        }
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn graph(&mut self) {
        let graph = self.graph;
        self.line(&format!("graph {} {{", quoted(&graph.name)));
        self.indent += 1;
        let bounds: Vec<String> = graph
            .bounds
            .iter()
            .map(|(symbol, bounds)| format!("{}: {}..={}", dim::symbol(symbol), bounds.low, bounds.high))
            .collect();
        if !bounds.is_empty() {
            self.line(&format!("bounds {{ {} }}", bounds.join(", ")));
        }
        for constraint in &graph.constraints {
            let (left, right) = (dim::text(&constraint.left), dim::text(&constraint.right));
            self.line(&format!(
                "where {left} == {right}{}",
                from(std::slice::from_ref(&constraint.origin))
            ));
        }
        self.ports("input", &graph.inputs, &graph.body.params, true);
        self.nodes(&graph.body);
        self.ports("output", &graph.outputs, &graph.body.results, false);
        self.indent -= 1;
        self.line("}");
    }

    /// Names and values side by side; one of them is missing where their numbers differ.
    fn ports(&mut self, keyword: &str, ports: &[super::Port], ids: &[ValueId], define: bool) {
        for index in 0..ports.len().max(ids.len()) {
            let mut text = keyword.to_owned();
            if let Some(port) = ports.get(index) {
                let _ = write!(text, " {}{}", quoted(&port.name), part(&port.part));
            }
            if let Some(&id) = ids.get(index) {
                let value = if define { self.definition(id) } else { id.to_string() };
                let _ = write!(text, " {value}");
            }
            self.line(&text);
        }
    }

    fn definition(&self, id: ValueId) -> String {
        if id.0 as usize >= self.graph.value_count() {
            return format!("{id}: f32[]");
        }
        let value = self.graph.value(id);
        let name = value.name.as_ref().map(|name| format!(" {}", quoted(name)));
        format!("{id}{}: {}", name.unwrap_or_default(), type_text(&value.ty))
    }

    fn nodes(&mut self, block: &Block) {
        for node in &block.nodes {
            self.node(node);
        }
    }

    fn node(&mut self, node: &Node) {
        let results: Vec<String> = node.outputs.iter().map(|&id| self.definition(id)).collect();
        let mut text = results.join(", ");
        if !text.is_empty() {
            text.push(' ');
        }
        let _ = write!(text, "= {}", op::text(self, node));
        let operands: Vec<String> = node.inputs.iter().map(ValueId::to_string).collect();
        if !operands.is_empty() {
            let _ = write!(text, " {}", operands.join(", "));
        }
        for (index, region) in node.regions.iter().enumerate() {
            if index > 0 {
                text.push_str(" else");
            }
            if !region.params.is_empty() {
                let params: Vec<String> = region.params.iter().map(|&id| self.definition(id)).collect();
                let _ = write!(text, " ({})", params.join(", "));
            }
            text.push_str(" {");
            self.line(&text);
            self.indent += 1;
            self.nodes(region);
            let results: Vec<String> = region.results.iter().map(ValueId::to_string).collect();
            self.line(format!("yield {}", results.join(", ")).trim_end());
            self.indent -= 1;
            text = "}".to_owned();
        }
        text.push_str(&from(&node.origin));
        self.line(&text);
    }

    /// The type of the first result, which attributes need not repeat.
    fn result_type(&self, node: &Node) -> Option<&TensorType> {
        let id = *node.outputs.first()?;
        ((id.0 as usize) < self.graph.value_count()).then(|| self.graph.ty(id))
    }
}

/// A part of an input or output, unless it is all of it.
fn part(part: &Part) -> String {
    match part {
        Part::Whole => String::new(),
        Part::Text => " text".into(),
        Part::Present => " present".into(),
        Part::Elements { sizes, mixed } => {
            let sizes: Vec<String> = sizes
                .iter()
                .map(|size| format!("{}..={}", size.low, size.high))
                .collect();
            format!(" {}elements [{}]", if *mixed { "mixed " } else { "" }, sizes.join(", "))
        }
        Part::Shapes => " shapes".into(),
        Part::Length => " length".into(),
    }
}

fn from(origin: &[String]) -> String {
    match origin {
        [] => String::new(),
        names => {
            let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
            format!(" from {}", names.join(", "))
        }
    }
}

fn type_text(ty: &TensorType) -> String {
    format!("{}{}", ty.dtype, dim::list(&ty.shape))
}

fn quoted(text: &str) -> String {
    let mut result = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => result.extend(['\\', c]),
            '\n' => result.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(result, "\\u{{{:x}}}", c as u32);
            }
            c => result.push(c),
        }
    }
    result.push('"');
    result
}
