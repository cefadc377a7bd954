//! The importer: a [`Model`] to a [`Graph`] of primitives.
//!
//! Operator names, attributes and operator sets end here. Each ONNX operator has one lowering rule in `rules`, and
//! composite operators and functions that the model defines for itself are expanded. Shape arithmetic folds away while
//! importing: small tensors of integers carry their elements as expressions over the symbols, so that a reshape to
//! a computed shape becomes a reshape to a symbolic one, and a condition on sizes is decided from their bounds.

mod arithmetic;
mod automaton;
mod bind;
mod builder;
mod call;
mod combine;
mod computed;
mod formula;
mod inputs;
mod item;
mod known;
mod operator;
mod ports;
mod rules;
mod stored;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use crate::compiler::Front;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::frontend::{
    self, Attribute, DeclaredDim, ElementType, Function, FunctionId, Model, ModelGraph, Node, TensorData, ValueInfo,
    ValueType,
};
use crate::ir::{self, DType, Graph, ValueId};
use crate::operator::Operator;
use builder::{Builder, Fault};
use call::Call;
pub use inputs::{dynamic_dims, is_size, open_sizes};
use item::Item;

/// How deep functions may call functions.
const MAX_CALL_DEPTH: usize = 32;
/// How many nodes a model may have once its functions are expanded.
const MAX_NODES: usize = 1 << 20;

/// What the importer needs to be told about a model.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Sizes of the dynamic dimensions: one size, or the smallest and the largest.
    pub dims: BTreeMap<String, RangeInclusive<i64>>,
    /// Operators that the user provides.
    pub operators: Vec<Operator>,
    /// Who is told what is wrong.
    pub front: Front,
}

/// Imports a model.
///
/// # Errors
///
/// Everything in the model that cannot be compiled, and dynamic dimensions without bounds.
pub fn import<'m>(model: &'m Model, options: &'m Options) -> Result<Graph, Diagnostics> {
    let mut found = Diagnostics::new(model.name.as_str());
    let (bounds, types) = inputs::resolve(model, options, &mut found);
    let mut graph = Graph::new(model.name.as_str());
    graph.bounds = bounds;
    let mut importer = Importer {
        model,
        options,
        builder: Builder::new(graph),
        found,
        scopes: vec![Scope::new(&model.opsets, None)],
        imported: 0,
        depth: 0,
    };
    if importer.found.is_empty() {
        for (input, ty) in model.graph.inputs.iter().zip(&types) {
            let mut parts = Builder::tensor_types(ty).into_iter();
            if let Err(fault) = parts.try_for_each(|ty| importer.builder.check(&ty)) {
                let message = format!("input `{}`: {}", input.name, fault.message);
                importer.found.push(Diagnostic::new(message));
            }
        }
    }
    if !importer.found.is_empty() {
        // Without the inputs nothing can be lowered, but what has no rule can be told.
        let mut seen = BTreeSet::new();
        model
            .graph
            .nodes
            .iter()
            .for_each(|node| importer.report_unsupported(node, &mut seen));
        return Err(importer.found);
    }
    for (input, ty) in model.graph.inputs.iter().zip(types) {
        let binding = match importer.builder.input(&input.name, &ty) {
            Ok(item) => Binding::Item(item),
            Err(fault) => {
                let message = format!("input `{}`: {}", input.name, fault.message);
                importer.found.push(Diagnostic::new(message));
                Binding::Failed
            }
        };
        importer.bind(&input.name, binding);
    }
    let results = importer.graph_body(&model.graph);
    let mut names = BTreeSet::new();
    for (output, binding) in model.graph.outputs.iter().zip(results) {
        if !names.insert(output.name.as_str()) {
            let message = format!("two outputs have the name `{}`", output.name.escape_debug());
            importer.found.push(Diagnostic::new(message));
            continue;
        }
        if let Binding::Item(item) = binding
            && let Err(fault) = importer.builder.output(output, item)
        {
            let message = format!("output `{}`: {}", output.name, fault.message);
            importer.found.push(Diagnostic::new(message));
        }
    }
    let graph = importer.builder.finish();
    importer.found.into_result(graph)
}

/// What a name stands for.
#[derive(Clone)]
enum Binding {
    Item(Item),
    /// The result of a node that could not be lowered; reported there.
    Failed,
}

/// The names of one graph or function body.
struct Scope<'m> {
    names: HashMap<&'m str, Binding>,
    /// The shapes that the model declares, which bound what only a run can tell.
    declared: HashMap<&'m str, &'m [DeclaredDim]>,
    opsets: &'m BTreeMap<String, i64>,
    /// The function whose body this is, with the node that calls it. Names do not reach through it.
    function: Option<(&'m Function, &'m Node)>,
}

impl<'m> Scope<'m> {
    fn new(opsets: &'m BTreeMap<String, i64>, function: Option<(&'m Function, &'m Node)>) -> Self {
        Scope {
            names: HashMap::new(),
            declared: HashMap::new(),
            opsets,
            function,
        }
    }
}

struct Importer<'m> {
    model: &'m Model,
    options: &'m Options,
    builder: Builder,
    found: Diagnostics,
    scopes: Vec<Scope<'m>>,
    /// Nodes imported so far.
    imported: usize,
    /// Function calls in progress.
    depth: usize,
}

impl<'m> Importer<'m> {
    fn bind(&mut self, name: &'m str, binding: Binding) {
        if let Some(scope) = self.scopes.last_mut()
            && !name.is_empty()
        {
            scope.names.insert(name, binding);
        }
    }

    fn lookup(&self, name: &str) -> Binding {
        for scope in self.scopes.iter().rev() {
            if let Some(binding) = scope.names.get(name) {
                return binding.clone();
            }
            if scope.function.is_some() {
                break;
            }
        }
        Binding::Failed
    }

    /// The tensor that has a name.
    fn tensor_named(&self, name: &str) -> Option<ValueId> {
        match self.lookup(name) {
            Binding::Item(Item::Tensor(value)) => Some(value),
            _ => None,
        }
    }

    /// The node that calls the function whose body is being imported.
    fn caller(&self) -> Option<&'m Node> {
        self.scopes
            .iter()
            .rev()
            .find_map(|scope| scope.function)
            .map(|(_, node)| node)
    }

    /// The attribute of the calling node that a function's body refers to, or its default.
    fn attribute_of_caller(&self, name: &str) -> Option<&'m Attribute> {
        let mut name = name;
        let mut scopes = &self.scopes[..];
        loop {
            let at = scopes.iter().rposition(|scope| scope.function.is_some())?;
            let (function, node) = scopes[at].function?;
            match node.attributes.get(name) {
                // The call itself may pass on an attribute of its own caller.
                Some(Attribute::Reference(outer)) => {
                    name = outer;
                    scopes = &scopes[..at];
                }
                Some(attribute) => return Some(attribute),
                None => return function.attributes.get(name)?.as_ref(),
            }
        }
    }

    /// Imports constants and nodes into the innermost scope and gives the outputs.
    fn graph_body(&mut self, graph: &'m ModelGraph) -> Vec<Binding> {
        for (name, constant) in &graph.initializers {
            let value = match &constant.data {
                TensorData::Strings(strings) => self.builder.constant_text(constant.shape.clone(), strings),
                TensorData::Bytes(_) => tensor(constant)
                    .map(|tensor| self.builder.constant(tensor))
                    .map_err(Fault::new),
            };
            let binding = match value {
                Ok(value) => {
                    self.builder.graph.value_mut(value).name = Some(name.clone());
                    Binding::Item(Item::Tensor(value))
                }
                Err(fault) => {
                    let message = format!("initializer `{name}`: {}", fault.message);
                    self.found.push(Diagnostic::new(message));
                    Binding::Failed
                }
            };
            self.bind(name, binding);
        }
        if let Some(scope) = self.scopes.last_mut() {
            let shapes = graph.values.iter().chain(&graph.outputs).filter_map(declared_shape);
            scope.declared.extend(shapes);
            for node in graph.nodes.iter().rev().filter(|node| keeps_shape(node)) {
                if let ([output], [input, ..]) = (node.outputs.as_slice(), node.inputs.as_slice())
                    && let Some(&shape) = scope.declared.get(output.as_str())
                {
                    scope.declared.entry(input).or_insert(shape);
                }
            }
        }
        for node in &graph.nodes {
            self.node(node);
        }
        graph.outputs.iter().map(|output| self.lookup(&output.name)).collect()
    }

    /// Imports a subgraph in place, as part of the block that is open, with items for its inputs; `None` if part of it
    /// could not be lowered, which has been reported.
    fn inline(&mut self, graph: &'m ModelGraph, inputs: &[Item]) -> Option<Vec<Item>> {
        let opsets = self.opsets();
        self.scopes.push(Scope::new(opsets, None));
        for (input, item) in graph.inputs.iter().zip(inputs) {
            self.bind(&input.name, Binding::Item(item.clone()));
        }
        let results = self.graph_body(graph);
        self.scopes.pop();
        let results = results.into_iter().map(|binding| match binding {
            Binding::Item(item) => Some(item),
            Binding::Failed => None,
        });
        results.collect()
    }

    fn opsets(&self) -> &'m BTreeMap<String, i64> {
        self.scopes.last().map_or(&self.model.opsets, |scope| scope.opsets)
    }

    fn node(&mut self, node: &'m Node) {
        self.imported += 1;
        if self.imported >= MAX_NODES {
            if self.imported == MAX_NODES {
                let message = format!("the model has more than {MAX_NODES} nodes once its functions are expanded");
                self.found.push(Diagnostic::new(message));
            }
            return self.fail(node);
        }
        let inputs: Option<Vec<_>> = node
            .inputs
            .iter()
            .map(|name| match self.lookup(name) {
                _ if name.is_empty() => Some(None),
                Binding::Item(item) => Some(Some(item)),
                Binding::Failed => None,
            })
            .collect();
        let Some(inputs) = inputs else {
            // Why the operand is missing has been said; what else is wrong here cannot be told but for the operator.
            self.report_unsupported(node, &mut BTreeSet::new());
            return self.fail(node);
        };
        let results = match self.function_of(node) {
            Some(function) => self.call(node, function, inputs),
            None => self.lower(node, inputs),
        };
        match results {
            Some(results) => {
                for (name, binding) in node.outputs.iter().zip(results) {
                    if let Binding::Item(Item::Tensor(value)) = binding
                        && self.builder.graph.value(value).name.is_none()
                        && !name.is_empty()
                    {
                        self.builder.graph.value_mut(value).name = Some(name.clone());
                    }
                    self.bind(name, binding);
                }
            }
            None => self.fail(node),
        }
    }

    /// The shape that the model declares for a name of the body at hand.
    fn declared(&self, name: &str) -> Option<&'m [DeclaredDim]> {
        self.scopes.last()?.declared.get(name).copied()
    }

    /// Whether a name of the body at hand is that of a result of the model.
    fn is_output(&self, name: &str) -> bool {
        self.scopes.len() == 1 && self.model.graph.outputs.iter().any(|output| output.name == name)
    }

    /// The largest size of an input or result of the model, as far as they are declared.
    fn largest_size(&self) -> Option<i64> {
        let values = self.model.graph.inputs.iter().chain(&self.model.graph.outputs);
        let dims = values.filter_map(|value| Some((value, declared_shape(value)?.1)));
        let sizes = dims.flat_map(|(value, shape)| {
            shape.iter().enumerate().filter_map(|(axis, dim)| match dim {
                DeclaredDim::Fixed(size) => i64::try_from(*size).ok(),
                _ => Some(*self.options.dims.get(&value.dim_name(axis, dim)?)?.end()),
            })
        });
        sizes.max()
    }

    fn fail(&mut self, node: &'m Node) {
        for name in &node.outputs {
            self.bind(name, Binding::Failed);
        }
    }

    fn report(&mut self, node: &Node, fault: Fault) {
        let name = match self.caller() {
            Some(caller) if !caller.name.is_empty() => format!("{}/{}", caller.name, node.name),
            _ => node.name.clone(),
        };
        let finding = Diagnostic::new(fault.message).at(node.index, name, node.operator());
        self.found.push(fault.help.into_iter().fold(finding, Diagnostic::help));
    }

    /// The operator that the user provides for a node.
    fn operator_of(&self, node: &Node) -> Option<&'m Operator> {
        let mut operators = self.options.operators.iter();
        operators.find(|operator| operator.is(&node.domain, &node.op_type))
    }

    fn function_of(&self, node: &Node) -> Option<&'m Function> {
        match self.operator_of(node) {
            Some(_) => None,
            None => self.model.functions.get(&function_id(node)),
        }
    }

    /// Reports the operators without a rule in a node that is not going to be lowered, its subgraphs and its function.
    fn report_unsupported(&mut self, node: &'m Node, seen: &mut BTreeSet<FunctionId>) {
        if let Some(function) = self.function_of(node) {
            if seen.insert(function_id(node)) {
                for inner in &function.nodes {
                    self.report_unsupported(inner, seen);
                }
            }
        } else if self.rule_of(node, true).is_none() {
            let mut fault = Fault::new(UNSUPPORTED);
            if !node.domain.is_empty() {
                fault = fault.help(self.options.front.operator(&node.domain, &node.op_type));
            }
            self.report(node, fault);
        }
        for attribute in node.attributes.values() {
            let graphs = match attribute {
                Attribute::Graph(graph) => std::slice::from_ref(graph.as_ref()),
                Attribute::Graphs(graphs) => graphs.as_slice(),
                _ => &[],
            };
            for inner in graphs.iter().flat_map(|graph| &graph.nodes) {
                self.report_unsupported(inner, seen);
            }
        }
    }

    /// The rule of a node whose operands are tensors, or not all.
    fn rule_of(&self, node: &Node, tensors: bool) -> Option<NodeRule<'m>> {
        match self.operator_of(node) {
            Some(operator) => tensors.then_some(NodeRule::Registered(operator)),
            None => rules::find(&node.domain, &node.op_type, tensors).map(NodeRule::Known),
        }
    }

    /// Lowers a node by the rule of its operator; `None` if that fails, which has been reported.
    fn lower(&mut self, node: &'m Node, inputs: Vec<Option<Item>>) -> Option<Vec<Binding>> {
        let other = inputs.iter().flatten().find(|item| !matches!(item, Item::Tensor(_)));
        let Some(rule) = self.rule_of(node, other.is_none()) else {
            if let Some(other) = other.filter(|_| self.rule_of(node, true).is_some()) {
                let message = format!("the operator takes tensors, but an operand is {}", other.kind());
                self.report(node, Fault::new(message));
                return None;
            }
            self.report_unsupported(node, &mut BTreeSet::new());
            return None;
        };
        let version = self.opsets().get(&node.domain).copied().unwrap_or(1);
        self.builder.origin = self.origin(node);
        let moves = other.is_none() && text::moves(&node.domain, &node.op_type);
        let (inputs, table) = match if moves {
            let tensors = inputs.iter().map(|item| self.builder.as_tensor(item.as_ref()?).ok());
            self.builder.joined(tensors.collect()).map(|(values, table)| {
                let items = values.into_iter().map(|value| value.map(Item::Tensor));
                (items.collect(), table)
            })
        } else {
            Ok((inputs, None))
        } {
            Ok(joined) => joined,
            Err(fault) => {
                self.report(node, fault);
                return None;
            }
        };
        let mut call = Call::new(self, node, version, inputs);
        // What the first versions said about memory.
        call.ignore(&["consumed_inputs"]);
        let result = rule.apply(&mut call).and_then(|results| {
            if let Some(index) = call.unnoticed_text()
                && !moves
                && !text::measures(&node.domain, &node.op_type)
            {
                let name = &node.inputs[index];
                return Err(Fault::new(format!(
                    "`{name}` is a tensor of strings, which the operator does not take"
                )));
            }
            if let Some(table) = table {
                for result in &results {
                    if let Item::Tensor(value) = result {
                        call.numbering(*value, table);
                    }
                }
            }
            match call.unread().as_slice() {
                [] => {}
                names => {
                    return Err(Fault::new(format!(
                        "attribute `{}` is not supported",
                        names.join("`, `")
                    )));
                }
            }
            match (results.len()..node.outputs.len()).find(|&output| call.wants(output)) {
                Some(output) => Err(Fault::new(format!(
                    "result {output} (`{}`) is not supported",
                    node.outputs[output]
                ))),
                None => Ok(results),
            }
        });
        match result {
            Ok(results) => Some(results.into_iter().map(Binding::Item).collect()),
            Err(fault) if fault.message.is_empty() => None,
            Err(fault) => {
                self.report(node, fault);
                None
            }
        }
    }

    /// The name under which the graph remembers a node of the model.
    fn origin(&self, node: &Node) -> String {
        let name = match (&node.name, node.outputs.iter().find(|name| !name.is_empty())) {
            (name, _) if !name.is_empty() => name.clone(),
            (_, Some(output)) => output.clone(),
            _ => format!("{}#{}", node.op_type, node.index),
        };
        match self.caller() {
            Some(caller) if !caller.name.is_empty() => format!("{}/{name}", caller.name),
            _ => name,
        }
    }

    /// Expands a call of a function that the model defines.
    fn call(&mut self, node: &'m Node, function: &'m Function, inputs: Vec<Option<Item>>) -> Option<Vec<Binding>> {
        if self.depth >= MAX_CALL_DEPTH {
            self.report(
                node,
                Fault::new(format!("functions call each other more than {MAX_CALL_DEPTH} deep")),
            );
            return None;
        }
        self.depth += 1;
        let mut scope = Scope::new(&function.opsets, Some((function, node)));
        for (name, output) in function.outputs.iter().zip(&node.outputs) {
            scope
                .declared
                .extend(self.declared(output).map(|shape| (name.as_str(), shape)));
        }
        for (name, input) in function.inputs.iter().zip(&inputs) {
            if let Some(item) = input {
                scope.names.insert(name, Binding::Item(item.clone()));
            }
        }
        self.scopes.push(scope);
        for inner in &function.nodes {
            self.node(inner);
        }
        let results = function.outputs.iter().map(|name| self.lookup(name)).collect();
        self.scopes.pop();
        self.depth -= 1;
        Some(results)
    }
}

/// How a node is lowered.
#[derive(Clone, Copy)]
enum NodeRule<'m> {
    /// By the rule of an operator that the compiler knows.
    Known(rules::AnyRule),
    /// To a call of the function of an operator that the user provides.
    Registered(&'m Operator),
}

impl<'m> NodeRule<'m> {
    fn apply(self, call: &mut Call<'_, 'm>) -> Result<Vec<Item>, Fault> {
        let tensors = |values: Vec<ValueId>| values.into_iter().map(Item::Tensor).collect();
        match self {
            NodeRule::Known(rules::AnyRule::Tensors(rule)) => rule(call).map(tensors),
            NodeRule::Known(rules::AnyRule::Items(rule)) => rule(call),
            NodeRule::Registered(operator) => call.registered(operator).map(tensors),
        }
    }
}

/// Whether the shape that the model declares for the result of a node is that of its first operand.
fn keeps_shape(node: &Node) -> bool {
    node.domain.is_empty() && matches!(node.op_type.as_str(), "Cast" | "CastLike" | "Identity")
}

const UNSUPPORTED: &str = "the operator is not supported";

fn declared_shape(value: &ValueInfo) -> Option<(&str, &[DeclaredDim])> {
    match &value.ty {
        Some(ValueType::Tensor { shape: Some(shape), .. }) => Some((value.name.as_str(), shape.as_slice())),
        _ => None,
    }
}

fn function_id(node: &Node) -> FunctionId {
    FunctionId {
        domain: node.domain.clone(),
        name: node.op_type.clone(),
        overload: node.overload.clone(),
    }
}

/// The element type that stands for one of ONNX.
///
/// # Errors
///
/// If there is none.
pub fn dtype(element: ElementType) -> Result<DType, String> {
    Ok(match element {
        ElementType::Float => DType::F32,
        ElementType::Double => DType::F64,
        ElementType::Float16 => DType::F16,
        ElementType::Bfloat16 => DType::BF16,
        ElementType::Int8 => DType::I8,
        ElementType::Int16 => DType::I16,
        ElementType::Int32 => DType::I32,
        ElementType::Int64 => DType::I64,
        ElementType::Uint8 => DType::U8,
        ElementType::Uint16 => DType::U16,
        ElementType::Uint32 => DType::U32,
        ElementType::Uint64 => DType::U64,
        ElementType::Bool => DType::Bool,
        ElementType::Float8E4M3Fn => DType::F8E4M3Fn,
        ElementType::Float8E4M3Fnuz => DType::F8E4M3Fnuz,
        ElementType::Float8E5M2 => DType::F8E5M2,
        ElementType::Float8E5M2Fnuz => DType::F8E5M2Fnuz,
        ElementType::Float8E8M0 => DType::F8E8M0,
        ElementType::Float6E2M3 => DType::F6E2M3,
        ElementType::Float6E3M2 => DType::F6E3M2,
        ElementType::Float4E2M1 => DType::F4E2M1,
        ElementType::Int4 => DType::I4,
        ElementType::Uint4 => DType::U4,
        ElementType::Int2 => DType::I2,
        ElementType::Uint2 => DType::U2,
        other => return Err(format!("the element type {other} is not supported")),
    })
}

/// A constant of the model as one of the graph.
///
/// # Errors
///
/// If the element type is not supported, or the shape is beyond reason, as that of a tensor without elements can be.
pub fn tensor(tensor: &frontend::Tensor) -> Result<ir::Tensor, String> {
    let dtype = dtype(tensor.element)?;
    let limit = builder::MAX_ELEMENTS as usize;
    let sizes = tensor
        .shape
        .iter()
        .try_fold(1usize, |n, size| n.checked_mul((*size).max(1)));
    if sizes.is_none_or(|count| count > limit) {
        return Err(format!("the shape {:?} has too many elements", tensor.shape));
    }
    match &tensor.data {
        TensorData::Bytes(data) if dtype.bits() % 8 == 0 => {
            Ok(ir::Tensor::from_bytes(dtype, tensor.shape.clone(), data.clone()))
        }
        TensorData::Bytes(data) => {
            let elements = unpack(data, dtype.bits(), tensor.len());
            Ok(ir::Tensor::from_bytes(dtype, tensor.shape.clone(), elements.into()))
        }
        TensorData::Strings(_) => Err("strings are not supported".into()),
    }
}

/// Numbers of less than eight bits, which lie without gaps from the low bits up, each in a byte of its own.
///
/// # Panics
///
/// If there are fewer.
fn unpack(packed: &[u8], bits: usize, count: usize) -> Vec<u8> {
    let element = |index: usize| {
        let (byte, offset) = (index * bits / 8, index * bits % 8);
        let next = packed.get(byte + 1).copied().unwrap_or(0);
        let word = u16::from_le_bytes([packed[byte], next]) >> offset;
        word as u8 & ((1 << bits) - 1)
    };
    (0..count).map(element).collect()
}
