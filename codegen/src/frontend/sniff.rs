//! Says what a file is that is not an ONNX model.

/// What the file seems to be, with an article, and advice if there is any.
pub(super) fn recognize(data: &[u8]) -> Option<(&'static str, Option<&'static str>)> {
    let at = |offset: usize, magic: &[u8]| data.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let found = if at(0, b"version https://git-lfs") {
        (
            "a Git LFS pointer",
            Some("fetch the content itself with `git lfs pull`"),
        )
    } else if at(0, b"PK\x03\x04") {
        (
            "a ZIP archive",
            Some("PyTorch checkpoints (.pt) and Keras models are such archives: export the model to ONNX"),
        )
    } else if at(0, b"GGUF") {
        ("a GGUF file", None)
    } else if at(0, b"\x89PNG") {
        ("a PNG image", None)
    } else if at(0, b"\xff\xd8\xff") {
        ("a JPEG image", None)
    } else if at(4, b"TFL3") {
        (
            "a TensorFlow Lite model",
            Some("convert it to ONNX, for example with tf2onnx"),
        )
    } else if at(4, b"ORTM") {
        (
            "an ONNX Runtime model (.ort)",
            Some("use the ONNX model that it was made from"),
        )
    } else if at(0, b"\x89HDF") {
        (
            "an HDF5 file",
            Some("Keras stores models this way: export the model to ONNX"),
        )
    } else if at(0, b"\x93NUMPY") {
        ("a NumPy array", None)
    } else if is_safetensors(data) {
        (
            "a safetensors file",
            Some("it holds weights alone: export the model to ONNX"),
        )
    } else if at(0, b"\x80\x02") || at(0, b"\x80\x03") || at(0, b"\x80\x04") || at(0, b"\x80\x05") {
        (
            "a Python pickle",
            Some("PyTorch checkpoints are pickles: export the model to ONNX"),
        )
    } else if at(0, b"\x1f\x8b") {
        ("a gzip archive", Some("decompress it first"))
    } else if at(0, b"\x28\xb5\x2f\xfd") {
        ("a Zstandard archive", Some("decompress it first"))
    } else if at(0, b"7z\xbc\xaf\x27\x1c") {
        ("a 7z archive", Some("decompress it first"))
    } else if at(0, b"\x7fELF") {
        ("an ELF binary", None)
    } else if at(0, b"%PDF") {
        ("a PDF document", None)
    } else if is_markup(data) {
        (
            "an HTML or XML page",
            Some("a download may have stored an error page in place of the model"),
        )
    } else if is_text(data) {
        ("text", None)
    } else {
        return None;
    };
    Some(found)
}

/// A little-endian length and as many bytes of JSON.
fn is_safetensors(data: &[u8]) -> bool {
    let Some((length, rest)) = data.split_first_chunk::<8>() else {
        return false;
    };
    usize::try_from(u64::from_le_bytes(*length)).is_ok_and(|n| n <= rest.len() && rest.starts_with(b"{\""))
}

fn is_markup(data: &[u8]) -> bool {
    let head = data[..data.len().min(64)].trim_ascii_start().to_ascii_lowercase();
    [&b"<!doctype"[..], b"<html", b"<?xml"]
        .iter()
        .any(|tag| head.starts_with(tag))
}

fn is_text(data: &[u8]) -> bool {
    let head = &data[..data.len().min(512)];
    head.iter().all(|b| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~'))
}

/// Where the last top-level field of a protobuf message would end, if that is past the end of the data: the size the file
/// had before something cut it off.
pub(super) fn truncated_from(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < data.len() {
        let (key, next) = varint(data, at)?;
        at = match key & 7 {
            0 => varint(data, next)?.1,
            1 => next.checked_add(8)?,
            2 => {
                let (length, next) = varint(data, next)?;
                next.checked_add(usize::try_from(length).ok()?)?
            }
            5 => next.checked_add(4)?,
            _ => return None,
        };
        // No file of this kind holds more; a larger size comes from damage, not from truncation.
        if at > 1 << 40 {
            return None;
        }
    }
    (at > data.len()).then_some(at)
}

/// The varint at `at` and where it ends.
fn varint(data: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, byte) in data.get(at..)?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i).min(63);
        if byte & 0x80 == 0 {
            return Some((value, at + i + 1));
        }
    }
    None
}
