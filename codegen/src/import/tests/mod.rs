mod attention;
mod computed;
mod economy;
mod errors;
mod folders;
mod gradient;
mod lowering;
mod operators;
mod places;
mod quantized;
mod random;
mod recurrent;
mod sequences;
mod shapes;
mod text;
mod types;

use super::*;
use crate::frontend::{DeclaredDim, Tensor, ValueInfo, ValueType};
use crate::ir::Op;

/// A model under construction: one graph of standard operators.
pub(super) struct Build {
    pub(super) model: Model,
    pub(super) operators: Vec<Operator>,
}

/// A dimension of an input: a size, or a name.
pub(super) fn dim(text: &str) -> DeclaredDim {
    match text.parse() {
        Ok(size) => DeclaredDim::Fixed(size),
        Err(_) if text == "?" => DeclaredDim::Unknown,
        Err(_) => DeclaredDim::Named(text.into()),
    }
}

pub(super) fn ints(shape: &[usize], values: &[i64]) -> Tensor {
    let data = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    Tensor {
        element: ElementType::Int64,
        shape: shape.to_vec(),
        data: TensorData::Bytes(data.into()),
    }
}

pub(super) fn floats(shape: &[usize], values: &[f32]) -> Tensor {
    let data = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    Tensor {
        element: ElementType::Float,
        shape: shape.to_vec(),
        data: TensorData::Bytes(data.into()),
    }
}

/// A constant of zeros.
pub(super) fn zeros(shape: &[usize]) -> Tensor {
    floats(shape, &vec![0.0; shape.iter().product()])
}

pub(super) fn node(op_type: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attribute)]) -> Node {
    let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    Node {
        name: String::new(),
        index: 0,
        domain: String::new(),
        op_type: op_type.into(),
        overload: String::new(),
        inputs: list(inputs),
        outputs: list(outputs),
        attributes: attributes
            .iter()
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect(),
    }
}

impl Build {
    pub(super) fn new(opset: i64) -> Self {
        let model = Model {
            name: "model.onnx".into(),
            hash: [0; 32],
            files: Vec::new(),
            producer: String::new(),
            opsets: BTreeMap::from([(String::new(), opset)]),
            metadata: BTreeMap::new(),
            graph: ModelGraph::default(),
            functions: BTreeMap::new(),
        };
        Build {
            model,
            operators: Vec::new(),
        }
    }

    /// An input with dimensions such as `"batch 3 224"`.
    pub(super) fn input(self, name: &str, dims: &str) -> Self {
        self.typed_input(name, ElementType::Float, dims)
    }

    pub(super) fn typed_input(mut self, name: &str, element: ElementType, dims: &str) -> Self {
        let shape = Some(dims.split_whitespace().map(dim).collect());
        let ty = Some(ValueType::Tensor { element, shape });
        self.model.graph.inputs.push(ValueInfo { name: name.into(), ty });
        self
    }

    pub(super) fn constant(mut self, name: &str, tensor: Tensor) -> Self {
        self.model.graph.initializers.push((name.into(), tensor));
        self
    }

    pub(super) fn node(
        mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> Self {
        let mut node = node(op, inputs, outputs, attributes);
        node.index = self.model.graph.nodes.len();
        node.name = format!("{}_{}", op.to_lowercase(), node.index);
        self.model.graph.nodes.push(node);
        self
    }

    pub(super) fn output(mut self, name: &str) -> Self {
        self.model.graph.outputs.push(ValueInfo {
            name: name.into(),
            ty: None,
        });
        self
    }

    /// An output of floats with dimensions such as `"batch 3 224"`.
    pub(super) fn declared_output(mut self, name: &str, dims: &str) -> Self {
        let shape = Some(dims.split_whitespace().map(dim).collect());
        let element = ElementType::Float;
        let ty = Some(ValueType::Tensor { element, shape });
        self.model.graph.outputs.push(ValueInfo { name: name.into(), ty });
        self
    }

    /// Imports with bounds such as `[("batch", 1, 8)]`.
    pub(super) fn import(&self, dims: &[(&str, i64, i64)]) -> Result<Graph, Diagnostics> {
        let dims = dims
            .iter()
            .map(|(name, low, high)| (name.to_string(), *low..=*high))
            .collect();
        import(
            &self.model,
            &Options {
                dims,
                operators: self.operators.clone(),
                ..Options::default()
            },
        )
    }

    pub(super) fn error(&self, dims: &[(&str, i64, i64)]) -> String {
        self.import(dims).unwrap_err().to_string()
    }
}

/// The primitives of a graph in order, with the types of their results.
pub(super) fn listing(graph: &Graph) -> String {
    let mut lines = Vec::new();
    for node in graph
        .body
        .nodes
        .iter()
        .filter(|node| !matches!(node.op, Op::Constant(_)))
    {
        let types: Vec<_> = node
            .outputs
            .iter()
            .map(|&output| graph.ty(output).to_string())
            .collect();
        lines.push(format!("{} {}", node.op.name(), types.join(" ")));
    }
    for constraint in &graph.constraints {
        lines.push(format!("where {} = {}", constraint.left, constraint.right));
    }
    lines.join("\n")
}

/// The result of a graph with one output for inputs of floats.
pub(super) fn run(graph: &Graph, inputs: &[(&[usize], &[f32])]) -> Vec<f64> {
    let inputs: Vec<_> = inputs
        .iter()
        .map(|(shape, data)| ir::Tensor::new(shape.to_vec(), data))
        .collect();
    let results = ir::eval::evaluate(graph, &inputs).unwrap();
    results[0].to_floats().unwrap()
}
