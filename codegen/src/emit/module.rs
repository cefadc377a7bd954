//! What a module uses from the runtime.

use super::literal;
use super::text::{WIDTH, Writer};
use crate::ir::{DType, Expr, Scalar};
use std::collections::{BTreeMap, BTreeSet};

/// The imports of a module.
#[derive(Debug, Default)]
pub(super) struct Imports {
    by_module: BTreeMap<&'static str, BTreeSet<&'static str>>,
    /// Whether functions of `math` are called.
    math: bool,
}

impl Imports {
    /// Uses an item of a module of the runtime.
    pub(super) fn add(&mut self, module: &'static str, item: &'static str) {
        self.by_module.entry(module).or_default().insert(item);
    }

    /// Uses an element type.
    pub(super) fn element(&mut self, dtype: DType) {
        if dtype.arithmetic() != dtype {
            self.add("element", literal::rust_type(dtype));
        }
    }

    /// Uses what a printed expression refers to.
    pub(super) fn expression(&mut self, expr: &Expr) {
        for node in &expr.nodes {
            self.element(node.dtype);
            self.math |= matches!(node.op, Scalar::Unary(..) | Scalar::Binary(..) | Scalar::Cast(_));
        }
    }

    /// Prints the imports of a module with this text.
    pub(super) fn print(&self, writer: &mut Writer, runtime: &str, text: &str) {
        let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
        for (module, items) in &self.by_module {
            lines.push((format!("{runtime}::{module}"), items.iter().copied().collect()));
        }
        let mut modules: Vec<&str> = Vec::new();
        if self.math && text.contains("math::") {
            modules.push("math");
        }
        if text.contains("dims::") {
            modules.push("dims");
        }
        if text.contains("team::process()") {
            modules.push("team");
        }
        for module in modules {
            lines.push((runtime.to_owned(), vec![module]));
        }
        // The order of rustfmt: a path by itself comes before what it is a part of.
        let key = |(path, items): &(String, Vec<&str>)| match items.as_slice() {
            [one] => format!("{path}::{one}"),
            _ => format!("{path}::{{"),
        };
        lines.sort_by_key(key);
        for (path, items) in lines {
            if let [one] = items.as_slice() {
                writer.line(format!("use {path}::{one};"));
                continue;
            }
            let one_line = format!("use {path}::{{{}}};", items.join(", "));
            if one_line.chars().count() <= WIDTH {
                writer.line(one_line);
                continue;
            }
            writer.open(format!("use {path}::{{"));
            let items: Vec<String> = items.into_iter().map(str::to_owned).collect();
            writer.fill(&items);
            writer.close("};");
        }
    }
}
