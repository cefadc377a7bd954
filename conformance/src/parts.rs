//! Values as the tensors that a graph has for them.

use onnxide_codegen::ir::graph::{Part, Port};
use onnxide_codegen::ir::{Graph, Tensor, TensorType};

use crate::value::{Strings, Value};

/// The tensors of a graph's inputs.
///
/// # Errors
///
/// If the values are not what the graph takes, or sequences have more or larger elements than there is room for.
pub fn split(graph: &Graph, values: &[Value]) -> Result<Vec<Tensor>, String> {
    let groups = Port::groups(&graph.inputs);
    if groups.len() != values.len() {
        return Err(format!("{} inputs, not {}", values.len(), groups.len()));
    }
    let mut tensors = Vec::new();
    for (group, value) in groups.into_iter().zip(values) {
        for number in group {
            let ty = graph.ty(graph.body.params[number]);
            tensors.push(part(&graph.inputs[number].part, ty, value)?);
        }
    }
    Ok(tensors)
}

fn part(part: &Part, ty: &TensorType, value: &Value) -> Result<Tensor, String> {
    let elements = match value {
        Value::Tensor(tensor) if *part == Part::Whole => return Ok(tensor.clone()),
        Value::Strings(strings) => {
            let width = ty.shape.last().and_then(|width| width.as_usize());
            return match width.filter(|_| *part == Part::Text) {
                Some(width) => strings.to_rows(width),
                None => Err(format!("{value:?} in the place of {ty}")),
            };
        }
        Value::Tensor(tensor) => std::slice::from_ref(tensor),
        Value::Sequence(elements) => elements.as_slice(),
        Value::None => &[],
    };
    let shape = || ty.static_shape().ok_or_else(|| format!("a sequence of type {ty}"));
    let room = || format!("{value:?} does not fit {ty}");
    match part {
        Part::Whole | Part::Text => Err(format!("{value:?} in the place of {ty}")),
        Part::Present => Ok(Tensor::scalar(*value != Value::None)),
        Part::Length => Ok(Tensor::scalar(elements.len() as i64)),
        Part::Elements { .. } => {
            let shape = shape()?;
            let size = ty.dtype.size();
            let row = shape[1..].iter().product::<usize>() * size;
            let mut data = vec![0; shape[0] * row];
            for (index, element) in elements.iter().enumerate() {
                if element.dtype != ty.dtype || element.data.len() > row || index >= shape[0] {
                    return Err(room());
                }
                data[index * row..][..element.data.len()].copy_from_slice(&element.data);
            }
            Ok(Tensor::from_bytes(ty.dtype, shape, data.into()))
        }
        Part::Shapes => {
            let shape = shape()?;
            let mut sizes = vec![-1i64; shape.iter().product()];
            for (row, element) in elements.iter().enumerate() {
                if element.shape.len() > shape[1] || row >= shape[0] {
                    return Err(room());
                }
                for (axis, &size) in element.shape.iter().enumerate() {
                    sizes[row * shape[1] + axis] = size as i64;
                }
            }
            Ok(Tensor::new(shape, &sizes))
        }
    }
}

/// The values of a graph's outputs.
///
/// # Errors
///
/// If the tensors are not those of the outputs.
pub fn join(graph: &Graph, tensors: &[Tensor]) -> Result<Vec<Value>, String> {
    let value = |group: std::ops::Range<usize>| {
        let (ports, tensors) = graph
            .outputs
            .get(group.clone())
            .zip(tensors.get(group))
            .ok_or("outputs are missing")?;
        let find = |wanted: fn(&Part) -> bool| ports.iter().position(|port| wanted(&port.part)).map(|at| &tensors[at]);
        if let Some(tensor) = find(|part| *part == Part::Whole) {
            return Ok(Value::Tensor(tensor.clone()));
        }
        if let Some(rows) = find(|part| *part == Part::Text) {
            let strings = Strings::of_rows(rows).ok_or_else(|| format!("{rows:?} holds no strings"))?;
            return Ok(Value::Strings(strings));
        }
        let present = find(|part| *part == Part::Present).and_then(Tensor::to_vec::<bool>);
        if present == Some(vec![false]) {
            return Ok(Value::None);
        }
        let elements = find(|part| matches!(part, Part::Elements { .. })).ok_or("a sequence without elements")?;
        let shapes = find(|part| *part == Part::Shapes).ok_or("a sequence without shapes")?;
        match find(|part| *part == Part::Length).and_then(Tensor::to_vec::<i64>) {
            Some(length) => (0..length[0])
                .map(|row| element(elements, shapes, row))
                .collect::<Result<_, _>>()
                .map(Value::Sequence),
            None => element(elements, shapes, 0).map(Value::Tensor),
        }
    };
    Port::groups(&graph.outputs).into_iter().map(value).collect()
}

fn element(elements: &Tensor, shapes: &Tensor, row: i64) -> Result<Tensor, String> {
    let missing = || format!("no element {row} in {elements:?}");
    let row = usize::try_from(row).map_err(|_| missing())?;
    let columns = shapes.shape.get(1).copied().unwrap_or(0);
    let sizes = shapes.to_vec::<i64>().unwrap_or_default();
    let sizes = sizes.chunks(columns.max(1)).nth(row).ok_or_else(missing)?;
    let shape: Vec<usize> = sizes.iter().map_while(|&size| usize::try_from(size).ok()).collect();
    let width = elements.data.len() / elements.shape.first().copied().unwrap_or(1).max(1);
    let bytes = shape.iter().product::<usize>() * elements.dtype.size();
    let place = row * width..row * width + bytes;
    if bytes > width || place.end > elements.data.len() {
        return Err(missing());
    }
    Ok(Tensor::from_bytes(elements.dtype, shape, elements.data.slice(place)))
}
