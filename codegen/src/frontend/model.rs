//! What a model file says, before anything is made of it: names, attributes and operator sets as the file has them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;

/// A model as its file describes it. Every graph in it is in topological order and defines each of its values once.
#[derive(Clone, Debug)]
pub struct Model {
    /// The model as the caller named it, usually a path.
    pub name: String,
    /// BLAKE3 of the file, continued with the external data in the order of the tensors that refer to it.
    pub hash: [u8; 32],
    /// The files that were read, the model itself first; empty when the model came from memory.
    pub files: Vec<PathBuf>,
    /// The program that wrote the file, with its version.
    pub producer: String,
    /// Version of each operator set in use; the standard domain is the empty string.
    pub opsets: BTreeMap<String, i64>,
    /// Free-form metadata.
    pub metadata: BTreeMap<String, String>,
    /// The graph.
    pub graph: ModelGraph,
    /// Functions that the model defines for itself.
    pub functions: BTreeMap<FunctionId, Function>,
}

impl Model {
    /// [`Model::hash`] in hexadecimal.
    pub fn hash_hex(&self) -> String {
        blake3::Hash::from_bytes(self.hash).to_hex().to_string()
    }
}

/// What a node names when it calls a function: domain, name and overload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId {
    /// Domain; the standard one is the empty string.
    pub domain: String,
    /// Name, in the place of the operator.
    pub name: String,
    /// Tells functions of one name apart; usually empty.
    pub overload: String,
}

/// A function that the model defines for itself, called by nodes as if it were an operator.
#[derive(Clone, Debug)]
pub struct Function {
    /// Names of the parameters; trailing ones may be absent in a call.
    pub inputs: Vec<String>,
    /// Names of the results.
    pub outputs: Vec<String>,
    /// Attributes with their defaults; `None` for one that has none.
    pub attributes: BTreeMap<String, Option<Attribute>>,
    /// Operator sets of the body.
    pub opsets: BTreeMap<String, i64>,
    /// The body in topological order.
    pub nodes: Vec<Node>,
}

/// A graph: the model's own, or one that an `If`, `Loop` or `Scan` carries.
#[derive(Clone, Debug, Default)]
pub struct ModelGraph {
    /// Name of the graph.
    pub name: String,
    /// Inputs that have no initializer.
    pub inputs: Vec<ValueInfo>,
    /// Outputs.
    pub outputs: Vec<ValueInfo>,
    /// Constants by name, in the order of the file.
    pub initializers: Vec<(String, Tensor)>,
    /// What the file declares of values in between, as far as they are tensors of a known rank.
    pub values: Vec<ValueInfo>,
    /// Nodes in topological order.
    pub nodes: Vec<Node>,
}

/// One operator call.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name; empty when the file gives none.
    pub name: String,
    /// Position in the file, counted within its own graph.
    pub index: usize,
    /// Domain of the operator; the standard one is the empty string.
    pub domain: String,
    /// Name of the operator.
    pub op_type: String,
    /// Overload of the function; usually empty.
    pub overload: String,
    /// Names of the operands; an empty one stands for an operand that is left out.
    pub inputs: Vec<String>,
    /// Names of the results; an empty one stands for a result nobody wants.
    pub outputs: Vec<String>,
    /// Attributes by name.
    pub attributes: BTreeMap<String, Attribute>,
}

impl Node {
    /// The operator with its domain, as findings name it.
    pub fn operator(&self) -> String {
        if self.domain.is_empty() {
            self.op_type.clone()
        } else {
            format!("{}.{}", self.domain, self.op_type)
        }
    }
}

/// The value of an attribute.
#[derive(Clone, Debug)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f32),
    /// Text, nominally UTF-8.
    String(Bytes),
    /// A tensor.
    Tensor(Tensor),
    /// A graph.
    Graph(Box<ModelGraph>),
    /// Integers.
    Ints(Vec<i64>),
    /// Floats.
    Floats(Vec<f32>),
    /// Texts.
    Strings(Vec<Bytes>),
    /// Tensors.
    Tensors(Vec<Tensor>),
    /// Graphs.
    Graphs(Vec<ModelGraph>),
    /// Within a function: the attribute of this name of the calling node.
    Reference(String),
    /// A kind that the compiler does not read, such as a sparse tensor.
    Unsupported(&'static str),
}

impl Attribute {
    /// The kind of value, as findings name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::String(_) => "a string",
            Self::Tensor(_) => "a tensor",
            Self::Graph(_) => "a graph",
            Self::Ints(_) => "a list of integers",
            Self::Floats(_) => "a list of floats",
            Self::Strings(_) => "a list of strings",
            Self::Tensors(_) => "a list of tensors",
            Self::Graphs(_) => "a list of graphs",
            Self::Reference(_) => "a reference to an attribute of the caller",
            Self::Unsupported(kind) => kind,
        }
    }
}

/// Name and declared type of a graph input or output.
#[derive(Clone, Debug)]
pub struct ValueInfo {
    /// Name of the value.
    pub name: String,
    /// Its type; `None` when the file declares none, as it may for the inputs of a subgraph.
    pub ty: Option<ValueType>,
}

impl ValueInfo {
    /// The name of a dynamic dimension of the value: the one that the model gives it, or that of the value and the axis,
    /// such as `image_0`, where it gives none. `None` for a fixed size.
    pub fn dim_name(&self, axis: usize, dim: &DeclaredDim) -> Option<String> {
        match dim {
            DeclaredDim::Fixed(_) => None,
            DeclaredDim::Named(name) => Some(name.clone()),
            DeclaredDim::Unknown => Some(format!("{}_{axis}", self.name)),
        }
    }
}

/// The declared type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A tensor; the shape is `None` when even the rank is unknown.
    Tensor {
        /// Type of the elements.
        element: ElementType,
        /// Its dimensions.
        shape: Option<Vec<DeclaredDim>>,
    },
    /// A sequence of values of a type.
    Sequence(Box<ValueType>),
    /// A value of a type, or none.
    Optional(Box<ValueType>),
    /// A type the compiler has no use for, such as a map.
    Other(&'static str),
}

/// One declared dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeclaredDim {
    /// A size.
    Fixed(usize),
    /// A name for a size known at run time.
    Named(String),
    /// A size known at run time that has no name.
    Unknown,
}

/// Type of the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // The names are those of the ONNX data types.
pub enum ElementType {
    Float,
    Uint8,
    Int8,
    Uint16,
    Int16,
    Int32,
    Int64,
    String,
    Bool,
    Float16,
    Double,
    Uint32,
    Uint64,
    Complex64,
    Complex128,
    Bfloat16,
    Float8E4M3Fn,
    Float8E4M3Fnuz,
    Float8E5M2,
    Float8E5M2Fnuz,
    Uint4,
    Int4,
    Float4E2M1,
    Float8E8M0,
    Uint2,
    Int2,
    Float6E2M3,
    Float6E3M2,
}

/// Element types at the index of their ONNX number less one, each with its name and the bits of one element.
const ELEMENT_TYPES: [(ElementType, &str, usize); 28] = {
    use ElementType::*;
    [
        (Float, "float32", 32),
        (Uint8, "uint8", 8),
        (Int8, "int8", 8),
        (Uint16, "uint16", 16),
        (Int16, "int16", 16),
        (Int32, "int32", 32),
        (Int64, "int64", 64),
        (String, "string", 0),
        (Bool, "bool", 8),
        (Float16, "float16", 16),
        (Double, "float64", 64),
        (Uint32, "uint32", 32),
        (Uint64, "uint64", 64),
        (Complex64, "complex64", 64),
        (Complex128, "complex128", 128),
        (Bfloat16, "bfloat16", 16),
        (Float8E4M3Fn, "float8e4m3fn", 8),
        (Float8E4M3Fnuz, "float8e4m3fnuz", 8),
        (Float8E5M2, "float8e5m2", 8),
        (Float8E5M2Fnuz, "float8e5m2fnuz", 8),
        (Uint4, "uint4", 4),
        (Int4, "int4", 4),
        (Float4E2M1, "float4e2m1", 4),
        (Float8E8M0, "float8e8m0", 8),
        (Uint2, "uint2", 2),
        (Int2, "int2", 2),
        (Float6E2M3, "float6e2m3", 6),
        (Float6E3M2, "float6e3m2", 6),
    ]
};

impl ElementType {
    /// The type of an ONNX data type number; `None` for an unknown one.
    pub fn from_onnx(number: i64) -> Option<Self> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        ELEMENT_TYPES.get(index).map(|row| row.0)
    }

    /// The ONNX data type number.
    pub fn onnx(self) -> i32 {
        self as i32 + 1
    }

    /// Bits of one element; 0 for strings.
    pub fn bits(self) -> usize {
        ELEMENT_TYPES[self as usize].2
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ELEMENT_TYPES[*self as usize].1)
    }
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Type of the elements.
    pub element: ElementType,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Elements in row-major order.
    pub data: TensorData,
}

/// The elements of a constant. Cloning is cheap: the bytes are shared with the file they came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TensorData {
    /// Little-endian elements, exactly as many as the shape asks for. Elements of less than a byte are packed from the
    /// low bits up, without gaps.
    Bytes(Bytes),
    /// Strings.
    Strings(Vec<Bytes>),
}

impl Tensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_types_match_their_numbers() {
        for (i, row) in ELEMENT_TYPES.iter().enumerate() {
            assert_eq!(row.0 as usize, i);
            assert_eq!(ElementType::from_onnx(row.0.onnx().into()), Some(row.0));
        }
        assert_eq!(ElementType::from_onnx(0), None);
        assert_eq!(ElementType::from_onnx(-3), None);
        assert_eq!(ElementType::from_onnx(29), None);
    }
}
