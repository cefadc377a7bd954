//! Graphs: values, nodes and blocks in SSA form.

use super::dim::{Bounds, Dim, Interval};
use super::dtype::DType;
use super::op::Op;
use std::collections::HashMap;
use std::fmt;

/// The number of a value in its [`Graph`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u32);

impl fmt::Debug for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorType {
    /// The element type.
    pub dtype: DType,
    /// The size of each dimension.
    pub shape: Vec<Dim>,
}

impl TensorType {
    /// A tensor type.
    pub fn new(dtype: DType, shape: Vec<Dim>) -> TensorType {
        TensorType { dtype, shape }
    }

    /// The type of one value.
    pub fn scalar(dtype: DType) -> TensorType {
        TensorType {
            dtype,
            shape: Vec::new(),
        }
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements.
    pub fn elements(&self) -> Dim {
        self.shape.iter().cloned().product()
    }

    /// The shape, if no symbol occurs.
    pub fn static_shape(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(Dim::as_usize).collect()
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (index, dim) in self.shape.iter().enumerate() {
            write!(f, "{}{dim}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

/// A value: the result of a node or the parameter of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// The type.
    pub ty: TensorType,
    /// The name in the source model, for people.
    pub name: Option<String>,
}

/// An operation on values.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// The operands.
    pub inputs: Vec<ValueId>,
    /// The results.
    pub outputs: Vec<ValueId>,
    /// The regions of `If`, `Loop` and `Scan`.
    pub regions: Vec<Block>,
    /// The names of the nodes of the source model that this came from.
    pub origin: Vec<String>,
}

/// A list of nodes in which every value is defined before it is used. Values of enclosing blocks are visible.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// The values that whoever runs the block provides.
    pub params: Vec<ValueId>,
    /// The nodes, in an order that respects definitions.
    pub nodes: Vec<Node>,
    /// The values that the block gives.
    pub results: Vec<ValueId>,
}

/// An equality between dimensions that holds for every input the model accepts, checked before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// One side.
    pub left: Dim,
    /// The other side.
    pub right: Dim,
    /// The node of the source model that requires it.
    pub origin: String,
}

/// A tensor of a named input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The name in the source model.
    pub name: String,
    /// What the tensor is of the input or output.
    pub part: Part,
}

/// What a tensor is of an input or output, which may consist of several.
///
/// A tensor is `Whole`, a tensor of strings `Text`. A sequence is `Elements`, `Shapes` and `Length`, in this order. An optional tensor is `Present`,
/// followed by `Elements` and `Shapes` of at most one element; an optional sequence is `Present`, followed by the sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// All of a tensor of strings, as `u8 [..., width]`: the bytes of each string in UTF-8, then zeros. No string has a
    /// zero byte.
    Text,
    /// A rank-0 `bool`: whether an optional value is there. What follows has some value all the same.
    Present,
    /// The elements of a sequence, a row for each that there is room for: `[capacity, width]`. A row starts with the
    /// elements of a tensor in row-major order.
    Elements {
        /// The sizes that the axes of an element may have.
        sizes: Vec<Interval>,
        /// Whether an element may have fewer axes.
        mixed: bool,
    },
    /// The sizes of the elements of a sequence, `i64 [capacity, rank]` with at least one column. -1 fills the rows of
    /// elements that have fewer axes than others.
    Shapes,
    /// A rank-0 `i64`: the number of elements of a sequence.
    Length,
}

impl Port {
    /// An input or output that is a tensor.
    pub fn tensor(name: impl Into<String>) -> Port {
        Port {
            name: name.into(),
            part: Part::Whole,
        }
    }

    /// The tensors of each input or output, as ranges.
    pub fn groups(ports: &[Port]) -> Vec<std::ops::Range<usize>> {
        let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
        for (number, port) in ports.iter().enumerate() {
            let first = match port.part {
                Part::Whole | Part::Text | Part::Present => true,
                Part::Elements { .. } => number == 0 || ports[number - 1].part != Part::Present,
                Part::Shapes | Part::Length => false,
            };
            match groups.last_mut() {
                Some(group) if !first => group.end = number + 1,
                _ => groups.push(number..number + 1),
            }
        }
        groups
    }
}

/// A model as a graph of primitives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// The name of the model.
    pub name: String,
    /// The bounds of the symbols.
    pub bounds: Bounds,
    /// Equalities that the caller's inputs must satisfy.
    pub constraints: Vec<Constraint>,
    /// The names of the parameters of the body, in order.
    pub inputs: Vec<Port>,
    /// The names of the results of the body, in order.
    pub outputs: Vec<Port>,
    /// The nodes.
    pub body: Block,
    values: Vec<Value>,
}

impl Graph {
    /// A graph without values.
    pub fn new(name: impl Into<String>) -> Graph {
        Graph {
            name: name.into(),
            ..Graph::default()
        }
    }

    /// Adds a value that some node or block must define.
    pub fn add_value(&mut self, ty: TensorType, name: Option<String>) -> ValueId {
        let id = ValueId(u32::try_from(self.values.len()).expect("fewer than 2^32 values"));
        self.values.push(Value { ty, name });
        id
    }

    /// A value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// A value, to change its name or type.
    pub fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.0 as usize]
    }

    /// The type of a value.
    pub fn ty(&self, id: ValueId) -> &TensorType {
        &self.value(id).ty
    }

    /// Replaces all values.
    pub(super) fn set_values(&mut self, values: Vec<Value>) {
        self.values = values;
    }

    /// The number of values, defined or not.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// Whether two dimensions are equal for every input the model accepts.
    pub fn dims_equal(&self, a: &Dim, b: &Dim) -> bool {
        a == b
            || a.compare(b, &self.bounds) == Some(std::cmp::Ordering::Equal)
            || self
                .constraints
                .iter()
                .any(|c| (&c.left == a && &c.right == b) || (&c.left == b && &c.right == a))
            || {
                let (a, b) = (self.representative(a), self.representative(b));
                a == b
            }
    }

    /// The largest number of elements of a shape: within the bounds of its sizes, and no more than what the constraints
    /// say of tensors with at least as many, as of one that gets another shape.
    pub fn most_elements(&self, shape: &[Dim]) -> i64 {
        let elements: Dim = shape.iter().cloned().product();
        if elements.as_const().is_some() {
            return elements.upper(&self.bounds);
        }
        let mut known = vec![elements];
        let mut next = 0;
        while next < known.len() {
            for Constraint { left, right, .. } in &self.constraints {
                let fits = |large: &Dim| (large.clone() - known[next].clone()).range(&self.bounds).low >= 0;
                let other = match (fits(left), fits(right)) {
                    (true, _) => right,
                    (_, true) => left,
                    _ => continue,
                };
                if !known.contains(other) {
                    known.push(other.clone());
                }
            }
            next += 1;
        }
        let sizes = known.iter().map(|elements| elements.upper(&self.bounds));
        sizes.min().unwrap_or(0)
    }

    /// Follows the constraints from a dimension to the smallest one equal to it.
    fn representative(&self, dim: &Dim) -> Dim {
        let mut current = dim.clone();
        for _ in 0..self.constraints.len() {
            let next = self.constraints.iter().find_map(|c| {
                let (large, small) = if c.left > c.right {
                    (&c.left, &c.right)
                } else {
                    (&c.right, &c.left)
                };
                (*large == current).then(|| small.clone())
            });
            match next {
                Some(next) => current = next,
                None => break,
            }
        }
        current
    }

    /// How often each value is used, in the body and all regions, as an operand or a result of a block.
    pub fn use_counts(&self) -> HashMap<ValueId, usize> {
        fn count(block: &Block, uses: &mut HashMap<ValueId, usize>) {
            for node in &block.nodes {
                for &input in &node.inputs {
                    *uses.entry(input).or_default() += 1;
                }
                for region in &node.regions {
                    count(region, uses);
                }
            }
            for &result in &block.results {
                *uses.entry(result).or_default() += 1;
            }
        }
        let mut uses = HashMap::new();
        count(&self.body, &mut uses);
        uses
    }
}

impl Block {
    /// Replaces uses of values, in this block and its regions. Chains of replacements are followed.
    pub fn replace_uses(&mut self, replacement: &HashMap<ValueId, ValueId>) {
        let resolve = |id: &mut ValueId| {
            let mut steps = 0;
            while let Some(&next) = replacement.get(id) {
                *id = next;
                steps += 1;
                assert!(steps <= replacement.len(), "replacements form a cycle");
            }
        };
        for node in &mut self.nodes {
            node.inputs.iter_mut().for_each(resolve);
            for region in &mut node.regions {
                region.replace_uses(replacement);
            }
        }
        self.results.iter_mut().for_each(resolve);
    }

    /// The values that the block and its regions use but do not define.
    pub fn captures(&self) -> Vec<ValueId> {
        fn collect(block: &Block, defined: &mut Vec<ValueId>, found: &mut Vec<ValueId>) {
            let outer = defined.len();
            defined.extend(&block.params);
            for node in &block.nodes {
                for input in &node.inputs {
                    if !defined.contains(input) && !found.contains(input) {
                        found.push(*input);
                    }
                }
                for region in &node.regions {
                    collect(region, defined, found);
                }
                defined.extend(&node.outputs);
            }
            for result in &block.results {
                if !defined.contains(result) && !found.contains(result) {
                    found.push(*result);
                }
            }
            defined.truncate(outer);
        }
        let (mut defined, mut found) = (Vec::new(), Vec::new());
        collect(self, &mut defined, &mut found);
        found
    }
}
