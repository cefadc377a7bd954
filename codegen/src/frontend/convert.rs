//! From the protobuf messages to a [`Model`], with every check that needs no knowledge of operators.

use std::collections::{BTreeMap, HashSet};

use super::external::ExternalFiles;
use super::model::{
    Attribute, DeclaredDim, ElementType, Function, FunctionId, Model, ModelGraph, Node, Tensor, ValueInfo, ValueType,
};
use super::onnx::{
    AttributeProto, AttributeType, DimensionValue, FunctionProto, GraphProto, ModelProto, NestedTypeProto, NodeProto,
    OperatorSetIdProto, TensorProto, TypeProto, TypeValue, ValueInfoProto,
};
use super::{order, tensor};
use crate::diagnostics::{Diagnostic, Diagnostics};

/// Versions of the standard operator set whose operators the importer knows.
const OPSETS: std::ops::RangeInclusive<i64> = 1..=28;

/// Converts a decoded file; `hasher` has seen the file and takes in the external data.
pub(super) fn model(
    proto: ModelProto,
    name: &str,
    files: &mut ExternalFiles,
    mut hasher: blake3::Hasher,
) -> Result<Model, Diagnostics> {
    let mut converter = Converter {
        files,
        hasher: &mut hasher,
        found: Diagnostics::new(name),
        scopes: Vec::new(),
        domains: HashSet::new(),
    };
    let opsets = converter.opsets(&proto.opset_import);
    let mut functions = BTreeMap::new();
    for function in proto.functions {
        let id = FunctionId {
            domain: domain(&function.domain),
            name: function.name.clone(),
            overload: function.overload.clone(),
        };
        let function = converter.function(function, &opsets);
        if functions.contains_key(&id) {
            converter.error(format!("the function `{}` is defined more than once", id.name));
        }
        functions.insert(id, function);
    }
    let graph = match proto.graph {
        Some(graph) => converter.graph(graph),
        None => {
            converter.error("the file holds no graph");
            ModelGraph::default()
        }
    };
    if graph.outputs.is_empty() && converter.found.is_empty() {
        converter.error("the graph has no outputs");
    }
    let defined: HashSet<_> = functions.keys().map(|id| id.domain.as_str()).collect();
    let mut domains: Vec<_> = converter.domains.iter().collect();
    domains.sort();
    for domain in domains {
        if !opsets.contains_key(domain) && !defined.contains(domain.as_str()) {
            let shown = if domain.is_empty() { "ai.onnx" } else { domain };
            converter.found.push(Diagnostic::new(format!(
                "the model imports no operator set of the domain `{shown}`"
            )));
        }
    }
    let found = converter.found;
    let producer = format!("{} {}", proto.producer_name, proto.producer_version)
        .trim()
        .to_owned();
    let metadata = proto
        .metadata_props
        .into_iter()
        .map(|entry| (entry.key, entry.value))
        .collect();
    let hash = *hasher.finalize().as_bytes();
    found.into_result(Model {
        name: name.to_owned(),
        hash,
        files: Vec::new(),
        producer,
        opsets,
        metadata,
        graph,
        functions,
    })
}

/// The standard domain has two names.
fn domain(name: &str) -> String {
    if name == "ai.onnx" {
        String::new()
    } else {
        name.to_owned()
    }
}

struct Converter<'a> {
    files: &'a mut ExternalFiles,
    hasher: &'a mut blake3::Hasher,
    found: Diagnostics,
    /// Values of the enclosing graphs, outermost first.
    scopes: Vec<HashSet<String>>,
    /// Domains of the nodes outside of functions.
    domains: HashSet<String>,
}

impl Converter<'_> {
    fn error(&mut self, message: impl Into<String>) {
        self.found.push(Diagnostic::new(message));
    }

    fn opsets(&mut self, protos: &[OperatorSetIdProto]) -> BTreeMap<String, i64> {
        let mut opsets = BTreeMap::new();
        for proto in protos {
            let domain = domain(&proto.domain);
            if domain.is_empty() && !OPSETS.contains(&proto.version) {
                let range = format!("{} to {}", OPSETS.start(), OPSETS.end());
                let message = format!("operator set {} is not supported ({range} are)", proto.version);
                let help = "convert the model with onnx.version_converter";
                self.found.push(Diagnostic::new(message).help(help));
            }
            if opsets
                .insert(domain.clone(), proto.version)
                .is_some_and(|version| version != proto.version)
            {
                self.error(format!(
                    "the operator set of the domain `{domain}` is imported in two versions"
                ));
            }
        }
        opsets
    }

    fn graph(&mut self, proto: GraphProto) -> ModelGraph {
        if let Some(sparse) = proto.sparse_initializer.first() {
            let name = sparse.values.as_ref().map_or("", |values| &values.name);
            let count = proto.sparse_initializer.len();
            self.error(format!(
                "sparse initializers are not supported (there are {count}, the first is `{name}`)"
            ));
        }
        let initializers: Vec<_> = proto
            .initializer
            .into_iter()
            .map(|tensor| self.initializer(tensor))
            .collect();
        // An input with an initializer has a default; the compiler takes it for a constant.
        let constants: HashSet<&str> = initializers.iter().map(|(name, _)| name.as_str()).collect();
        let inputs = proto
            .input
            .iter()
            .filter(|input| !constants.contains(input.name.as_str()));
        let inputs: Vec<_> = inputs.map(|input| self.value(input)).collect();
        let outputs: Vec<_> = proto.output.iter().map(|output| self.value(output)).collect();

        let mut scope: HashSet<String> = proto.node.iter().flat_map(|node| &node.output).cloned().collect();
        scope.extend(initializers.iter().map(|(name, _)| name.clone()));
        scope.extend(inputs.iter().map(|input| input.name.clone()));
        scope.remove("");
        self.scopes.push(scope);
        let mut nodes = self.nodes(proto.node, true);
        for output in &outputs {
            if !self.scopes.iter().any(|scope| scope.contains(&output.name)) {
                self.error(format!(
                    "nothing defines the output `{}` of the graph `{}`",
                    output.name, proto.name
                ));
            }
        }
        self.scopes.pop();
        let defined = inputs
            .iter()
            .map(|input| &input.name)
            .chain(initializers.iter().map(|(name, _)| name))
            .cloned();
        order::sort(&mut nodes, defined, &self.scopes, &mut self.found);
        ModelGraph {
            name: proto.name,
            inputs,
            outputs,
            initializers,
            values: proto.value_info.iter().filter_map(declared_value).collect(),
            nodes,
        }
    }

    fn initializer(&mut self, mut proto: TensorProto) -> (String, Tensor) {
        let name = std::mem::take(&mut proto.name);
        let what = format!("initializer `{name}`");
        (name, self.tensor(proto, &what))
    }

    fn tensor(&mut self, proto: TensorProto, what: &str) -> Tensor {
        match tensor::convert(proto, self.files, self.hasher) {
            Ok(tensor) => tensor,
            Err(message) => {
                self.error(format!("{what}: {message}"));
                Tensor {
                    element: ElementType::Uint8,
                    shape: vec![0],
                    data: super::model::TensorData::Bytes(bytes::Bytes::new()),
                }
            }
        }
    }

    fn value(&mut self, proto: &ValueInfoProto) -> ValueInfo {
        let ty = proto.r#type.as_ref().and_then(|ty| self.value_type(ty, &proto.name));
        if proto.name.is_empty() {
            self.error("an input or output of a graph has no name");
        }
        ValueInfo {
            name: proto.name.clone(),
            ty,
        }
    }

    fn value_type(&mut self, proto: &TypeProto, name: &str) -> Option<ValueType> {
        match proto.value.as_ref()? {
            TypeValue::Tensor(tensor) => {
                // An element type of 0 means that the file does not say.
                let element = ElementType::from_onnx(tensor.elem_type.into());
                if element.is_none() && tensor.elem_type != 0 {
                    self.error(format!("value `{name}`: unknown element type {}", tensor.elem_type));
                }
                let shape = tensor
                    .shape
                    .as_ref()
                    .map(|shape| shape.dim.iter().map(|dim| declared_dim(dim.value.as_ref())).collect());
                element.map(|element| ValueType::Tensor { element, shape })
            }
            TypeValue::Sequence(sequence) => Some(ValueType::Sequence(self.held_type(sequence, name))),
            TypeValue::Optional(optional) => Some(ValueType::Optional(self.held_type(optional, name))),
            TypeValue::Map(_) => Some(ValueType::Other("a map")),
            TypeValue::Opaque(_) => Some(ValueType::Other("an opaque value")),
            TypeValue::SparseTensor(_) => Some(ValueType::Other("a sparse tensor")),
        }
    }

    fn held_type(&mut self, proto: &NestedTypeProto, name: &str) -> Box<ValueType> {
        let held = proto.elem_type.as_ref().and_then(|ty| self.value_type(ty, name));
        Box::new(held.unwrap_or(ValueType::Other("a value without a type")))
    }

    fn nodes(&mut self, protos: Vec<NodeProto>, in_graph: bool) -> Vec<Node> {
        protos
            .into_iter()
            .enumerate()
            .map(|(index, proto)| self.node(index, proto, in_graph))
            .collect()
    }

    fn node(&mut self, index: usize, proto: NodeProto, in_graph: bool) -> Node {
        let domain = domain(&proto.domain);
        if in_graph && !self.domains.contains(&domain) {
            self.domains.insert(domain.clone());
        }
        let mut node = Node {
            name: proto.name,
            index,
            domain,
            op_type: proto.op_type,
            overload: proto.overload,
            inputs: proto.input,
            outputs: proto.output,
            attributes: BTreeMap::new(),
        };
        for attribute in proto.attribute {
            let name = attribute.name.clone();
            match self.attribute(attribute, &node) {
                Ok(value) if node.attributes.contains_key(&name) => {
                    let message = format!("the attribute `{name}` ({}) is given twice", value.kind());
                    self.found
                        .push(Diagnostic::new(message).at(index, node.name.as_str(), node.operator()));
                }
                Ok(value) => drop(node.attributes.insert(name, value)),
                Err(message) => {
                    let message = format!("attribute `{name}`: {message}");
                    self.found
                        .push(Diagnostic::new(message).at(index, node.name.as_str(), node.operator()));
                }
            }
        }
        node
    }

    fn attribute(&mut self, proto: AttributeProto, node: &Node) -> Result<Attribute, String> {
        if !proto.ref_attr_name.is_empty() {
            return Ok(Attribute::Reference(proto.ref_attr_name));
        }
        let what = format!("attribute `{}` of node `{}` (#{})", proto.name, node.name, node.index);
        let kind = AttributeType::try_from(proto.r#type).map_err(|_| format!("unknown kind {}", proto.r#type))?;
        Ok(match kind {
            AttributeType::Undefined => return Err("its kind is not given".into()),
            AttributeType::Float => Attribute::Float(proto.f),
            AttributeType::Int => Attribute::Int(proto.i),
            AttributeType::String => Attribute::String(proto.s),
            AttributeType::Tensor => Attribute::Tensor(self.tensor(proto.t.ok_or("it has no value")?, &what)),
            AttributeType::Graph => Attribute::Graph(Box::new(self.graph(proto.g.ok_or("it has no value")?))),
            AttributeType::Floats => Attribute::Floats(proto.floats),
            AttributeType::Ints => Attribute::Ints(proto.ints),
            AttributeType::Strings => Attribute::Strings(proto.strings),
            AttributeType::Tensors => {
                Attribute::Tensors(proto.tensors.into_iter().map(|t| self.tensor(t, &what)).collect())
            }
            AttributeType::Graphs => Attribute::Graphs(proto.graphs.into_iter().map(|g| self.graph(g)).collect()),
            AttributeType::SparseTensor => Attribute::Unsupported("a sparse tensor"),
            AttributeType::SparseTensors => Attribute::Unsupported("a list of sparse tensors"),
            AttributeType::TypeProto => Attribute::Unsupported("a type"),
            AttributeType::TypeProtos => Attribute::Unsupported("a list of types"),
        })
    }

    fn function(&mut self, proto: FunctionProto, model_opsets: &BTreeMap<String, i64>) -> Function {
        // A function that imports nothing of its own is read with what the model imports.
        let mut opsets = model_opsets.clone();
        opsets.extend(self.opsets(&proto.opset_import));
        let scope = proto
            .input
            .iter()
            .chain(proto.node.iter().flat_map(|node| &node.output))
            .cloned()
            .collect();
        self.scopes.push(scope);
        let mut nodes = self.nodes(proto.node, false);
        for output in &proto.output {
            if !self.scopes.iter().any(|scope| scope.contains(output)) {
                self.error(format!(
                    "nothing defines the result `{output}` of the function `{}`",
                    proto.name
                ));
            }
        }
        self.scopes.pop();
        let inputs = proto.input.iter().filter(|name| !name.is_empty()).cloned();
        order::sort(&mut nodes, inputs, &self.scopes, &mut self.found);

        let mut attributes: BTreeMap<String, Option<Attribute>> =
            proto.attribute.into_iter().map(|name| (name, None)).collect();
        let holder = Node {
            name: proto.name,
            index: 0,
            domain: domain(&proto.domain),
            op_type: "function".into(),
            overload: proto.overload,
            inputs: Vec::new(),
            outputs: Vec::new(),
            attributes: BTreeMap::new(),
        };
        for attribute in proto.attribute_proto {
            let name = attribute.name.clone();
            match self.attribute(attribute, &holder) {
                Ok(value) => drop(attributes.insert(name, Some(value))),
                Err(message) => self.error(format!("function `{}`: attribute `{name}`: {message}", holder.name)),
            }
        }
        Function {
            inputs: proto.input,
            outputs: proto.output,
            attributes,
            opsets,
            nodes,
        }
    }
}

/// A declaration that may help, if it makes sense. Nothing depends on it, so that nothing is reported.
fn declared_value(proto: &ValueInfoProto) -> Option<ValueInfo> {
    let Some(TypeValue::Tensor(tensor)) = proto.r#type.as_ref()?.value.as_ref() else {
        return None;
    };
    let element = ElementType::from_onnx(tensor.elem_type.into())?;
    let dims = tensor.shape.as_ref()?.dim.iter();
    let shape = Some(dims.map(|dim| declared_dim(dim.value.as_ref())).collect());
    let (name, ty) = (proto.name.clone(), Some(ValueType::Tensor { element, shape }));
    (!name.is_empty()).then_some(ValueInfo { name, ty })
}

fn declared_dim(value: Option<&DimensionValue>) -> DeclaredDim {
    match value {
        // Some exporters write -1 for a size that they do not know.
        Some(DimensionValue::Value(size)) => usize::try_from(*size).map_or(DeclaredDim::Unknown, DeclaredDim::Fixed),
        // Others write `?` or the like for a name.
        Some(DimensionValue::Param(name)) if name.contains(char::is_alphanumeric) => DeclaredDim::Named(name.clone()),
        _ => DeclaredDim::Unknown,
    }
}
