//! The tokenizer of uncased BERT models: words are normalized, parted at whitespace and punctuation, and then taken
//! apart into the longest pieces that the vocabulary knows (WordPiece; Schuster and Nakajima 2012, Devlin et al. 2018).

use std::collections::HashMap;
use std::iter;

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Words with more characters than this are unknown.
const LONGEST_WORD: usize = 100;

/// Turns text into the numbers of the vocabulary's entries.
pub(crate) struct Tokenizer<'vocabulary> {
    /// Pieces that begin a word.
    initial: HashMap<&'vocabulary str, i64>,
    /// Pieces within a word, which the vocabulary marks with `##`.
    continuing: HashMap<&'vocabulary str, i64>,
    class: i64,
    separator: i64,
    unknown: i64,
}

impl<'vocabulary> Tokenizer<'vocabulary> {
    /// Takes the entries of a vocabulary, one per line in the order of their numbers.
    ///
    /// # Panics
    ///
    /// One of `[CLS]`, `[SEP]` and `[UNK]` is missing.
    pub(crate) fn new(vocabulary: &'vocabulary str) -> Self {
        let mut initial = HashMap::new();
        let mut continuing = HashMap::new();
        for (entry, number) in vocabulary.lines().zip(0..) {
            match entry.strip_prefix("##") {
                Some(piece) if !piece.is_empty() => continuing.insert(piece, number),
                _ => initial.insert(entry, number),
            };
        }
        let special = |entry| {
            *initial
                .get(entry)
                .unwrap_or_else(|| panic!("the vocabulary has no {entry}"))
        };
        Self {
            class: special("[CLS]"),
            separator: special("[SEP]"),
            unknown: special("[UNK]"),
            initial,
            continuing,
        }
    }

    /// The numbers of the pieces of `text` between `[CLS]` and `[SEP]`, cut off where there would be more than `limit`
    /// numbers in all.
    pub(crate) fn encode(&self, text: &str, limit: usize) -> Vec<i64> {
        let normalized = normalize(text);
        let pieces = words(&normalized).flat_map(|word| self.pieces(word));
        let mut numbers: Vec<i64> = iter::once(self.class)
            .chain(pieces)
            .take(limit.saturating_sub(1))
            .collect();
        numbers.push(self.separator);
        numbers
    }

    /// Takes the longest piece off the front of `word` as long as there is something left. A word with a rest that no
    /// piece begins is unknown as a whole.
    fn pieces(&self, word: &str) -> Vec<i64> {
        if word.chars().count() > LONGEST_WORD {
            return vec![self.unknown];
        }
        let mut numbers = Vec::new();
        let mut rest = word;
        while !rest.is_empty() {
            let pieces = if numbers.is_empty() {
                &self.initial
            } else {
                &self.continuing
            };
            let ends = rest
                .char_indices()
                .rev()
                .map(|(index, character)| index + character.len_utf8());
            let Some((number, end)) = ends.filter_map(|end| Some((*pieces.get(&rest[..end])?, end))).next() else {
                return vec![self.unknown];
            };
            numbers.push(number);
            rest = &rest[end..];
        }
        numbers
    }
}

/// Drops control characters and accents, makes letters small, and puts spaces around ideographs.
fn normalize(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\0' | char::REPLACEMENT_CHARACTER => {}
            '\t' | '\n' | '\r' => spaced.push(' '),
            _ if is_invisible(character) => {}
            _ if is_ideograph(character) => spaced.extend([' ', character, ' ']),
            _ => spaced.push(character),
        }
    }
    spaced
        .nfd()
        .filter(|character| character.general_category() != GeneralCategory::NonspacingMark)
        .flat_map(char::to_lowercase)
        .collect()
}

/// Parts text at whitespace, which is dropped, and around every punctuation character.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().flat_map(|word| {
        word.split_inclusive(is_punctuation).flat_map(|part| {
            let end = part
                .char_indices()
                .next_back()
                .filter(|&(_, character)| is_punctuation(character));
            let (letters, mark) = part.split_at(end.map_or(part.len(), |(index, _)| index));
            [letters, mark].into_iter().filter(|part| !part.is_empty())
        })
    })
}

/// Whether a character is dropped before anything else. One that Unicode has not assigned yet stays.
fn is_invisible(character: char) -> bool {
    use GeneralCategory::{Control, Format, PrivateUse};
    matches!(character.general_category(), Control | Format | PrivateUse)
}

fn is_punctuation(character: char) -> bool {
    character.is_ascii_punctuation() || character.general_category_group() == GeneralCategoryGroup::Punctuation
}

/// Whether a character is in one of the blocks of CJK unified or compatibility ideographs that BERT knows.
fn is_ideograph(character: char) -> bool {
    matches!(
        character,
        '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{2a6df}'
            | '\u{2a700}'..='\u{2ceaf}'
            | '\u{2f800}'..='\u{2fa1f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: &str = "[UNK]\n[CLS]\n[SEP]\n##\nun\nunlock\n##lock\n##able\n,\n猫\ncafe\n#\n";

    fn encode(text: &str) -> Vec<i64> {
        let mut numbers = Tokenizer::new(VOCABULARY).encode(text, 128);
        assert_eq!(numbers.remove(0), 1);
        assert_eq!(numbers.pop(), Some(2));
        numbers
    }

    #[test]
    fn prefers_long_pieces() {
        assert_eq!(encode("unlockable"), [5, 7]);
        assert_eq!(encode("un lock"), [4, 0]);
        assert_eq!(encode("lock"), [0]);
        assert_eq!(encode("unlocked"), [0]);
    }

    #[test]
    fn parts_at_punctuation_and_ideographs() {
        assert_eq!(encode("un,,unlock,"), [4, 8, 8, 5, 8]);
        assert_eq!(encode("un猫猫\u{a0}un"), [4, 9, 9, 4]);
        assert_eq!(encode("##"), [11, 11]);
    }

    #[test]
    fn normalizes_words() {
        assert_eq!(encode("Café CAFE\u{301} ca\u{200b}fe\0"), [10, 10, 10]);
    }

    #[test]
    fn knows_no_endless_words() {
        assert_eq!(
            encode(&format!("un{}", "lock".repeat(24)))[..],
            [vec![5], vec![6; 23]].concat()
        );
        assert_eq!(encode(&format!("un{}", "lock".repeat(25))), [0]);
    }

    #[test]
    fn keeps_the_separator_at_the_limit() {
        let tokenizer = Tokenizer::new(VOCABULARY);
        assert_eq!(tokenizer.encode("un un un", 4), [1, 4, 4, 2]);
        assert_eq!(tokenizer.encode("un un", 4), [1, 4, 4, 2]);
        assert_eq!(tokenizer.encode("", 4), [1, 2]);
    }
}
