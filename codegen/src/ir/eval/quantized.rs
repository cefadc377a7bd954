//! What quantized numbers stand for.

use crate::ir::tensor::Tensor;

/// `(number - zero) * scale` for a matrix of numbers, with a scale and a zero point for every block of rows of a column.
pub(super) fn dequantize(rows: usize, inputs: &[Tensor]) -> Result<Tensor, String> {
    let (Some(numbers), Some(scales)) = (inputs.first(), inputs.get(1)) else {
        return Err("numbers or scales are missing".into());
    };
    let &[k, n] = numbers.shape.as_slice() else {
        return Err(format!("{numbers:?} is no matrix"));
    };
    let blocks = k.checked_div(rows).ok_or("blocks without rows")? + usize::from(k % rows > 0);
    let bytes = |tensor: &Tensor| tensor.to_vec::<i8>().ok_or(format!("{tensor:?} is not of i8"));
    let zeros = inputs.get(2).map(bytes).transpose()?;
    let scales = scales.to_vec::<f32>().ok_or("scales are not of f32")?;
    if scales.len() != blocks * n || zeros.as_ref().is_some_and(|zeros| zeros.len() != blocks * n) {
        return Err(format!("not {blocks} blocks of {n} columns"));
    }
    let value = |(at, &number): (usize, &i8)| {
        let parameter = at / n / rows * n + at % n;
        let zero = zeros.as_ref().map_or(0, |zeros| i16::from(zeros[parameter]));
        f32::from(i16::from(number) - zero) * scales[parameter]
    };
    let values: Vec<f32> = bytes(numbers)?.iter().enumerate().map(value).collect();
    Ok(Tensor::new(vec![k, n], &values))
}
