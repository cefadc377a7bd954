//! From the bytes of a file to the values that Magika's model takes.

use std::io::{self, Read, Seek, SeekFrom};

/// Number of values that the model takes.
pub(crate) const COUNT: usize = BEGINNING + END;

const BEGINNING: usize = 1024;
const END: usize = 1024;

/// Most bytes that are looked at on either side of a file.
const BLOCK: u64 = 4096;

/// The value where a file has no byte.
const PADDING: i32 = 256;

/// With fewer bytes than this behind the leading whitespace the model is not asked.
const FEWEST: usize = 8;

/// What a file offers to tell its content type by.
pub(crate) enum Content {
    /// The file has no bytes.
    Empty,
    /// There is too little to ask the model.
    Few {
        /// Whether the bytes are UTF-8.
        is_text: bool,
    },
    /// One value per byte for the model: the beginning of the file without leading whitespace, filled up behind, then
    /// the end of it without trailing whitespace, filled up in front.
    Features(Box<[i32; COUNT]>),
}

/// Reads at most two blocks of `file`.
///
/// # Errors
///
/// Whatever `file` reports, and an unexpected end where it shrinks meanwhile.
pub(crate) fn read(file: &mut (impl Read + Seek)) -> io::Result<Content> {
    let size = file.seek(SeekFrom::End(0))?;
    if size == 0 {
        return Ok(Content::Empty);
    }
    let block = size.min(BLOCK);
    let mut buffer = [0; BLOCK as usize];
    let bytes = &mut buffer[..block as usize];

    file.rewind()?;
    file.read_exact(bytes)?;
    let beginning = &bytes[bytes.iter().take_while(|&&byte| is_whitespace(byte)).count()..];
    if beginning.len() < FEWEST {
        return Ok(Content::Few {
            is_text: str::from_utf8(bytes).is_ok(),
        });
    }
    let mut features = Box::new([PADDING; COUNT]);
    for (feature, &byte) in features[..BEGINNING].iter_mut().zip(beginning) {
        *feature = byte.into();
    }

    file.seek(SeekFrom::Start(size - block))?;
    file.read_exact(bytes)?;
    let end = bytes.iter().rev().skip_while(|&&byte| is_whitespace(byte));
    for (feature, &byte) in features[BEGINNING..].iter_mut().rev().zip(end) {
        *feature = byte.into();
    }
    Ok(Content::Features(features))
}

/// Unlike [`u8::is_ascii_whitespace`], the vertical tab counts.
fn is_whitespace(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn content(bytes: impl AsRef<[u8]>) -> Content {
        read(&mut Cursor::new(bytes)).expect("a buffer can be read")
    }

    fn features(bytes: impl AsRef<[u8]>) -> ([i32; BEGINNING], [i32; END]) {
        let Content::Features(features) = content(bytes) else {
            panic!("too few bytes")
        };
        let (beginning, end) = features.split_at(BEGINNING);
        (
            beginning.try_into().expect("the first half"),
            end.try_into().expect("the second half"),
        )
    }

    #[test]
    fn does_not_ask_the_model_about_a_few_bytes() {
        assert!(matches!(content(b""), Content::Empty));
        assert!(matches!(content(b"fn main"), Content::Few { is_text: true }));
        assert!(matches!(content(b"\xff\xfe"), Content::Few { is_text: false }));
        assert!(matches!(content([b' '; 5000]), Content::Few { is_text: true }));
        assert!(matches!(content(b"   1234567"), Content::Few { is_text: true }));
        assert!(matches!(content(b"   12345678"), Content::Features(_)));
    }

    #[test]
    fn fills_up_a_short_file() {
        let (beginning, end) = features(b" \x0b12345678 \n");
        assert_eq!(beginning[..11], [49, 50, 51, 52, 53, 54, 55, 56, 32, 10, 256]);
        assert_eq!(end[1013..], [256, 32, 11, 49, 50, 51, 52, 53, 54, 55, 56]);
        assert!(
            beginning[10..]
                .iter()
                .chain(&end[..1014])
                .all(|&feature| feature == PADDING)
        );
    }

    #[test]
    fn takes_both_ends_of_a_long_file() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|index| (index / 100 + 40) as u8).collect();
        let (beginning, end) = features(&bytes);
        assert!(
            beginning
                .iter()
                .zip(&bytes)
                .all(|(&feature, &byte)| feature == byte.into())
        );
        assert!(
            end.iter()
                .rev()
                .zip(bytes.iter().rev())
                .all(|(&feature, &byte)| feature == byte.into())
        );
    }

    #[test]
    fn looks_at_no_more_than_a_block() {
        let mut bytes = vec![b' '; 4090];
        bytes.extend([b'x'; 4000]);
        assert!(matches!(content(&bytes), Content::Few { is_text: true }));
        bytes.splice(..0, *b"12345678");
        bytes.extend([b' '; 4095]);
        let (beginning, end) = features(&bytes);
        assert_eq!(beginning[..9], [49, 50, 51, 52, 53, 54, 55, 56, 32]);
        assert_eq!(end[1022..], [PADDING, b'x'.into()]);
    }
}
