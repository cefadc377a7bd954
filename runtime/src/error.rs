//! What can be wrong with a run.

use crate::element::DType;
use core::fmt;

/// Why a run was refused, or ended before it was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// Data whose length is not the product of its shape.
    DataLength {
        /// The product of the shape.
        expected: usize,
        /// The length of the data.
        actual: usize,
    },
    /// A number of inputs other than that of the model.
    InputCount {
        /// The number of inputs of the model.
        expected: usize,
        /// The number of inputs given.
        actual: usize,
    },
    /// An input of another data type.
    DataType {
        /// The name of the input.
        input: &'static str,
        /// The data type of the model's input.
        expected: DType,
        /// The data type given.
        actual: DType,
    },
    /// An input of another rank.
    Rank {
        /// The name of the input.
        input: &'static str,
        /// The rank of the model's input.
        expected: usize,
        /// The rank given.
        actual: usize,
    },
    /// A dimension that differs from the constant of the model.
    Dimension {
        /// The name of the input.
        input: &'static str,
        /// The axis of the dimension.
        axis: usize,
        /// The size that the model has there.
        expected: usize,
        /// The size given.
        actual: usize,
    },
    /// An input of another kind, such as a tensor in the place of a sequence.
    Kind {
        /// The name of the input.
        input: &'static str,
        /// What the model takes.
        expected: &'static str,
    },
    /// A row of bytes that is no string.
    Text {
        /// The name of the input.
        input: &'static str,
        /// The number of the row.
        element: usize,
    },
    /// More elements of a sequence than the module was compiled for.
    Length {
        /// The name of the input.
        input: &'static str,
        /// The greatest number.
        max: usize,
    },
    /// An element of a sequence, or an optional tensor, with a dimension outside of the range that the module was compiled
    /// for.
    Element {
        /// The name of the input.
        input: &'static str,
        /// The index of the element.
        element: usize,
        /// The axis of the dimension.
        axis: usize,
        /// The size given.
        actual: usize,
        /// The least size.
        min: usize,
        /// The greatest size.
        max: usize,
    },
    /// An element of a sequence with more elements of its own than the module was compiled for.
    ElementLength {
        /// The name of the input.
        input: &'static str,
        /// The index of the element.
        element: usize,
        /// The number of its elements.
        actual: usize,
        /// The greatest number.
        max: usize,
    },
    /// A dimension outside of the range that the module was compiled for.
    Bound {
        /// The name of the input.
        input: &'static str,
        /// The axis of the dimension.
        axis: usize,
        /// The symbol of the dimension.
        symbol: &'static str,
        /// The size given.
        actual: usize,
        /// The least size.
        min: usize,
        /// The greatest size.
        max: usize,
    },
    /// Two dimensions of the same symbol that differ.
    Disagreement {
        /// The symbol of both dimensions.
        symbol: &'static str,
        /// The input that gave the symbol its value.
        first_input: &'static str,
        /// The axis there.
        first_axis: usize,
        /// The value there.
        first: usize,
        /// The input that differs.
        second_input: &'static str,
        /// The axis there.
        second_axis: usize,
        /// The value there.
        second: usize,
    },
    /// A relation between sizes that the model needs and that does not hold.
    Assumption {
        /// The relation, as text.
        expression: &'static str,
    },
    /// A size that the run computed and that is outside of the range that the module was compiled for.
    Size {
        /// The symbol of the size.
        symbol: &'static str,
        /// The value.
        actual: i64,
        /// The least size.
        min: usize,
        /// The greatest size.
        max: usize,
    },
    /// Something that an operator demands of its operands and that does not hold.
    Demand {
        /// The node of the model.
        node: &'static str,
        /// What does not hold, in words.
        demand: &'static str,
    },
    /// An index outside of the axis that it selects from.
    Index {
        /// The node of the model that selects.
        node: &'static str,
    },
    /// An operator of the user's that has failed.
    Operator {
        /// The node of the model.
        node: &'static str,
        /// What the operator says.
        message: &'static str,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RunError::DataLength { expected, actual } => write!(
                f,
                "the data has {actual} elements, but its shape has {expected}: pass as many elements as the product of \
                 the shape"
            ),
            RunError::InputCount { expected, actual } => {
                write!(
                    f,
                    "{actual} inputs were given, but the model has {expected}: pass one tensor for each input"
                )
            }
            RunError::DataType {
                input,
                expected,
                actual,
            } => {
                write!(
                    f,
                    "input `{input}` is {actual}, but the model takes {expected}: convert it before the run"
                )
            }
            RunError::Rank {
                input,
                expected,
                actual,
            } => write!(
                f,
                "input `{input}` has {actual} axes, but the model takes {expected}: reshape it, with axes of size 1 \
                 where needed"
            ),
            RunError::Dimension {
                input,
                axis,
                expected,
                actual,
            } => write!(
                f,
                "axis {axis} of input `{input}` has size {actual}, but the model takes exactly {expected}: resize or pad \
                 the input"
            ),
            RunError::Kind { input, expected } => {
                write!(f, "the model takes {expected} as input `{input}`: pass {expected}")
            }
            RunError::Text { input, element } => write!(
                f,
                "element {element} of `{input}` is no string: pass UTF-8 without zero bytes, then zeros"
            ),
            RunError::Length { input, max } => write!(
                f,
                "the sequence `{input}` has more elements than the {max} that the module was compiled for: pass fewer, or \
                 compile the model with a higher bound for `{input}_len`"
            ),
            RunError::Element {
                input,
                element,
                axis,
                actual,
                min,
                max,
            } => write!(
                f,
                "axis {axis} of element {element} of `{input}` has size {actual}, but the module was compiled for {min} to \
                 {max}: resize the element, or compile the model with other bounds for its axes"
            ),
            RunError::ElementLength {
                input,
                element,
                actual,
                max,
            } => write!(
                f,
                "element {element} of `{input}` is a tensor of {actual} elements, but the module was compiled for at most \
                 {max}: pass a smaller one, or compile the model with a higher bound for `{input}_size`"
            ),
            RunError::Bound {
                input,
                axis,
                symbol,
                actual,
                min,
                max,
            } => {
                write!(
                    f,
                    "axis {axis} of input `{input}` gives `{symbol}` the size {actual}, but the module was compiled for \
                     {min} to {max}: "
                )?;
                if actual < min {
                    write!(
                        f,
                        "pass at least {min}, or compile the model with a lower bound for `{symbol}`"
                    )
                } else {
                    write!(
                        f,
                        "pass at most {max}, or compile the model with a higher bound for `{symbol}`"
                    )
                }
            }
            RunError::Disagreement {
                symbol,
                first_input,
                first_axis,
                first,
                second_input,
                second_axis,
                second,
            } => {
                write!(
                    f,
                    "`{symbol}` is {first} at axis {first_axis} of input `{first_input}`, but {second} at axis \
                     {second_axis} of input `{second_input}`: make the sizes equal"
                )
            }
            RunError::Assumption { expression } => {
                write!(
                    f,
                    "the sizes of the inputs do not fulfill `{expression}`, which the model needs: change the sizes"
                )
            }
            RunError::Size {
                symbol,
                actual,
                min,
                max,
            } => write!(
                f,
                "the size `{symbol}` came out as {actual}, but the module was compiled for {min} to {max}: pass other \
                 parameters, or compile the model with a larger bound"
            ),
            RunError::Demand { node, demand } => {
                write!(f, "node `{node}` demands that {demand}: pass inputs for which it holds")
            }
            RunError::Index { node } => write!(
                f,
                "an index at node `{node}` is outside of the axis that it selects from: check the inputs that hold \
                 indices, such as token numbers"
            ),
            RunError::Operator { node, message } => write!(f, "the operator at node `{node}` failed: {message}"),
        }
    }
}

impl core::error::Error for RunError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn every_text_names_the_place_and_what_to_do() {
        let input = "ids";
        let cases = [
            (
                RunError::Kind {
                    input,
                    expected: "a sequence",
                },
                "the model takes a sequence as input `ids`: pass a sequence",
            ),
            (
                RunError::ElementLength {
                    input,
                    element: 1,
                    actual: 9,
                    max: 8,
                },
                "element 1 of `ids` is a tensor of 9 elements, but the module was compiled for at most 8: pass a smaller one, \
                 or compile the model with a higher bound for `ids_size`",
            ),
            (
                RunError::Length { input, max: 4 },
                "the sequence `ids` has more elements than the 4 that the module was compiled for: pass fewer, or compile \
                 the model with a higher bound for `ids_len`",
            ),
            (
                RunError::Element {
                    input,
                    element: 1,
                    axis: 0,
                    actual: 9,
                    min: 1,
                    max: 8,
                },
                "axis 0 of element 1 of `ids` has size 9, but the module was compiled for 1 to 8: resize the element, or \
                 compile the model with other bounds for its axes",
            ),
            (
                RunError::DataLength { expected: 6, actual: 5 },
                "the data has 5 elements, but its shape has 6: pass as many elements as the product of the shape",
            ),
            (
                RunError::InputCount { expected: 2, actual: 1 },
                "1 inputs were given, but the model has 2: pass one tensor for each input",
            ),
            (
                RunError::DataType {
                    input,
                    expected: DType::I64,
                    actual: DType::F32,
                },
                "input `ids` is float32, but the model takes int64: convert it before the run",
            ),
            (
                RunError::Rank {
                    input,
                    expected: 2,
                    actual: 1,
                },
                "input `ids` has 1 axes, but the model takes 2: reshape it, with axes of size 1 where needed",
            ),
            (
                RunError::Dimension {
                    input,
                    axis: 1,
                    expected: 8,
                    actual: 9,
                },
                "axis 1 of input `ids` has size 9, but the model takes exactly 8: resize or pad the input",
            ),
            (
                RunError::Bound {
                    input,
                    axis: 0,
                    symbol: "batch",
                    actual: 9,
                    min: 1,
                    max: 8,
                },
                "axis 0 of input `ids` gives `batch` the size 9, but the module was compiled for 1 to 8: pass at most 8, \
                 or compile the model with a higher bound for `batch`",
            ),
            (
                RunError::Bound {
                    input,
                    axis: 0,
                    symbol: "batch",
                    actual: 0,
                    min: 1,
                    max: 8,
                },
                "axis 0 of input `ids` gives `batch` the size 0, but the module was compiled for 1 to 8: pass at least \
                 1, or compile the model with a lower bound for `batch`",
            ),
            (
                RunError::Disagreement {
                    symbol: "sequence",
                    first_input: "ids",
                    first_axis: 1,
                    first: 4,
                    second_input: "mask",
                    second_axis: 1,
                    second: 5,
                },
                "`sequence` is 4 at axis 1 of input `ids`, but 5 at axis 1 of input `mask`: make the sizes equal",
            ),
            (
                RunError::Assumption {
                    expression: "n % 4 == 0",
                },
                "the sizes of the inputs do not fulfill `n % 4 == 0`, which the model needs: change the sizes",
            ),
            (
                RunError::Size {
                    symbol: "Slice_1",
                    actual: 9,
                    min: 0,
                    max: 8,
                },
                "the size `Slice_1` came out as 9, but the module was compiled for 0 to 8: pass other parameters, or \
                 compile the model with a larger bound",
            ),
            (
                RunError::Demand {
                    node: "/box/ScatterND",
                    demand: "every index is inside of its axis",
                },
                "node `/box/ScatterND` demands that every index is inside of its axis: pass inputs for which it holds",
            ),
            (
                RunError::Index { node: "/embed/Gather" },
                "an index at node `/embed/Gather` is outside of the axis that it selects from: check the inputs that \
                 hold indices, such as token numbers",
            ),
            (
                RunError::Operator {
                    node: "/post/Decode",
                    message: "the grid is empty",
                },
                "the operator at node `/post/Decode` failed: the grid is empty",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }
}
