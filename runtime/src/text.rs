//! Strings as elements of tensors: bytes in a fixed place, without an allocation.

use core::fmt;
use core::ops::Deref;

/// A string of up to `N` bytes in UTF-8, none of which is zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Text<const N: usize>([u8; N]);

/// Why a string is no [`Text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// It is too long.
    Length {
        /// The number of its bytes.
        actual: usize,
        /// The greatest number.
        max: usize,
    },
    /// It has a zero byte, by which strings end.
    Zero {
        /// The place of the byte.
        place: usize,
    },
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextError::Length { actual, max } => write!(
                f,
                "a string of {actual} bytes, with room for {max}: shorten it, or compile the model with a greater bound \
                 for the bytes of the input"
            ),
            TextError::Zero { place } => write!(f, "byte {place} of a string is zero: remove it"),
        }
    }
}

impl core::error::Error for TextError {}

impl<const N: usize> Text<N> {
    /// The empty string.
    pub const EMPTY: Self = Text([0; N]);

    /// A string.
    ///
    /// # Errors
    ///
    /// [`TextError`] if it has more than `N` bytes, or a zero byte.
    pub const fn new(text: &str) -> Result<Self, TextError> {
        let bytes = text.as_bytes();
        if bytes.len() > N {
            return Err(TextError::Length {
                actual: bytes.len(),
                max: N,
            });
        }
        let mut row = [0; N];
        let mut place = 0;
        while place < bytes.len() {
            if bytes[place] == 0 {
                return Err(TextError::Zero { place });
            }
            row[place] = bytes[place];
            place += 1;
        }
        Ok(Text(row))
    }

    /// The bytes, without the zeros after them.
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(N);
        &self.0[..end]
    }

    /// The string.
    pub fn as_str(&self) -> &str {
        let bytes = self.as_bytes();
        // Models give UTF-8 for UTF-8; of anything else this is what comes before the first byte that is not.
        match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        }
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Text::EMPTY
    }
}

impl<const N: usize> Deref for Text<N> {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<const N: usize> AsRef<str> for Text<N> {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl<const N: usize> TryFrom<&str> for Text<N> {
    type Error = TextError;
    fn try_from(text: &str) -> Result<Self, TextError> {
        Text::new(text)
    }
}

impl<const N: usize> PartialEq<str> for Text<N> {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> PartialEq<&str> for Text<N> {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Whether bytes are UTF-8 without zeros, then zeros.
pub(crate) fn is_row(row: &[u8]) -> bool {
    let end = row.iter().position(|&byte| byte == 0).unwrap_or(row.len());
    row[end..].iter().all(|&byte| byte == 0) && core::str::from_utf8(&row[..end]).is_ok()
}

/// Strings as the bytes that kernels work on, `N` for each.
#[inline(always)]
pub const fn bytes_of_texts<const N: usize>(texts: &[Text<N>]) -> &[u8] {
    // SAFETY: a text is `N` bytes and nothing else, which are borrowed for the life of the result.
    unsafe { core::slice::from_raw_parts(texts.as_ptr().cast(), size_of_val(texts)) }
}

/// The strings in bytes that kernels wrote, `N` for each.
///
/// # Panics
///
/// If `N` is zero, or the number of bytes is no multiple of it.
#[inline]
pub const fn texts_of_bytes<const N: usize>(bytes: &[u8]) -> &[Text<N>] {
    assert!(
        N > 0 && bytes.len().is_multiple_of(N),
        "strings have another number of bytes than the slice"
    );
    // SAFETY: a text is `N` bytes, any of them, and as many texts as fill the slice are borrowed for the life of the
    // result.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / N) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_keep_their_characters() {
        let text: Text<8> = Text::new("größe").unwrap();
        assert_eq!(text, "größe");
        assert_eq!((text.len(), text.as_bytes().len()), (7, 7));
        assert_eq!(std::format!("{text:>6}|{text:?}"), " größe|\"größe\"");
        assert_eq!(Text::<4>::default(), "");
        assert_eq!(Text::<3>::new("abc").unwrap().as_str(), "abc");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(Text::<2>::new("abc"), Err(TextError::Length { actual: 3, max: 2 }));
        assert_eq!(Text::<4>::new("a\0b"), Err(TextError::Zero { place: 1 }));
        let message = Text::<2>::new("abc").unwrap_err();
        assert!(std::format!("{message}").contains("3 bytes, with room for 2"));
    }

    #[test]
    fn bytes_and_strings_are_the_same_memory() {
        let texts = [
            Text::<3>::new("ab").unwrap(),
            Text::new("").unwrap(),
            Text::new("xyz").unwrap(),
        ];
        let bytes = bytes_of_texts(&texts);
        assert_eq!(bytes, b"ab\0\0\0\0xyz");
        assert_eq!(texts_of_bytes::<3>(bytes), texts);
        assert!(texts_of_bytes::<4>(&[]).is_empty());
    }

    #[test]
    #[should_panic = "another number"]
    fn a_part_of_a_string_is_none() {
        texts_of_bytes::<4>(&[0; 6]);
    }

    #[test]
    fn bytes_that_are_no_utf8_end_a_string() {
        assert_eq!(texts_of_bytes::<4>(b"ab\xff\0")[0].as_str(), "ab");
        assert!(is_row(b"ab\0\0") && is_row(b"") && is_row(b"abc"));
        assert!(!is_row(b"a\0b") && !is_row(b"ab\xff"));
    }
}
