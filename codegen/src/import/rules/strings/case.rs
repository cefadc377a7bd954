//! Upper and lower case of the characters in a table.
//!
//! A character becomes the single character that Unicode gives it, if that has as many bytes in UTF-8, which all but a
//! few do; the others, among them those that become several characters, such as a sharp s, stay as they are. Characters
//! of four bytes stay, too: scripts with case there are historical.

use std::collections::HashMap;

use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::formula::{Formula, Term};
use crate::ir::{DType, Op, Tensor, ValueId};

/// What a character becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Lower,
    Upper,
}

impl Case {
    /// The character that a character becomes.
    fn of(self, character: char) -> char {
        let single = |mut mapped: Box<dyn Iterator<Item = char>>| match (mapped.next(), mapped.next()) {
            (Some(one), None) if one.len_utf8() == character.len_utf8() => one,
            _ => character,
        };
        match self {
            Case::Lower => single(Box::new(character.to_lowercase())),
            Case::Upper => single(Box::new(character.to_uppercase())),
        }
    }

    /// The string with each character in this case.
    pub(super) fn of_text(self, text: &str) -> String {
        text.chars().map(|character| self.of(character)).collect()
    }
}

/// How many characters a page of the table of differences has: as many as the last byte of a character tells apart.
const PAGE: u32 = 64;

/// The differences between characters below 2^16 and what they become, as pages of which equal ones are stored once.
fn pages(case: Case) -> (Vec<u16>, Vec<i32>) {
    let mut known: HashMap<Vec<i32>, u16> = HashMap::new();
    let (mut numbers, mut content) = (Vec::new(), Vec::new());
    for page in 0..(1 << 16) / PAGE {
        let difference =
            |code: u32| char::from_u32(code).map_or(0, |character| case.of(character) as i32 - code as i32);
        let differences: Vec<_> = (page * PAGE..(page + 1) * PAGE).map(difference).collect();
        let fresh = known.len() as u16;
        let number = *known.entry(differences).or_insert_with_key(|differences| {
            content.extend(differences);
            fresh
        });
        numbers.push(number);
    }
    (numbers, content)
}

/// A character of which bytes are known, as a term over the table (operand 0) and the pages (operands 1 and 2).
#[derive(Clone, Copy)]
struct Character<'f> {
    f: &'f Formula,
    code: Term<'f>,
}

impl<'f> Character<'f> {
    /// The character of a byte.
    fn of_one(f: &'f Formula, byte: Term<'f>) -> Self {
        Character { f, code: byte }
    }

    /// The character of two bytes.
    fn of_two(f: &'f Formula, lead: Term<'f>, trail: Term<'f>) -> Self {
        let code = (lead - 0xC0i64) * 64i64 + (trail - 0x80i64);
        Character { f, code }
    }

    /// The character of three bytes.
    fn of_three(f: &'f Formula, lead: Term<'f>, middle: Term<'f>, trail: Term<'f>) -> Self {
        let code = (lead - 0xE0i64) * 4096i64 + (middle - 0x80i64) * 64i64 + (trail - 0x80i64);
        Character { f, code }
    }

    /// The number of the character that it becomes.
    fn changed(self) -> Term<'f> {
        let page = self.f.at(1, self.code / i64::from(PAGE), DType::U16).cast(DType::I64);
        let place = page * i64::from(PAGE) + self.code % i64::from(PAGE);
        self.code + self.f.at(2, place, DType::I32).cast(DType::I64)
    }

    /// The last byte of what it becomes.
    fn last(self) -> Term<'f> {
        self.changed() % 64i64 + 0x80i64
    }
}

/// Whether a byte is none that a character begins with.
fn trails(byte: Term<'_>) -> Term<'_> {
    byte.ge(0x80).and(byte.lt(0xC0))
}

/// Whether a character of two bytes begins with a byte.
fn leads_two(byte: Term<'_>) -> Term<'_> {
    byte.ge(0xC0).and(byte.lt(0xE0))
}

/// Whether a character of three bytes begins with a byte.
fn leads_three(byte: Term<'_>) -> Term<'_> {
    byte.ge(0xE0).and(byte.lt(0xF0))
}

/// A table with every string in a case.
pub(super) fn change(cx: &mut Call, table: ValueId, case: Case) -> Result<ValueId, Fault> {
    let (numbers, content) = pages(case);
    let numbers = cx.constant(Tensor::new(vec![numbers.len()], &numbers));
    let content = cx.constant(Tensor::new(vec![content.len()], &content));
    let width = cx.width(table);
    let f = Formula::new();
    let at = |offset: i64| super::byte(&f, 0, width, f.index(0), f.index(1) + offset).cast(DType::I64);
    let [long_before, before, own, next, after_next] = [-2, -1, 0, 1, 2].map(at);
    // The character that a byte belongs to begins at it, one before it or two before it.
    let one = Character::of_one(&f, own);
    let (two, two_before) = (Character::of_two(&f, own, next), Character::of_two(&f, before, own));
    let three = Character::of_three(&f, own, next, after_next);
    let three_before = Character::of_three(&f, before, own, next);
    let three_long_before = Character::of_three(&f, long_before, before, own);
    let mut result = own;
    for (holds, byte) in [
        (own.lt(0x80), one.changed()),
        (leads_two(own), two.changed() / 64i64 + 0xC0i64),
        (trails(own).and(leads_two(before)), two_before.last()),
        (leads_three(own), three.changed() / 4096i64 + 0xE0i64),
        (
            trails(own).and(leads_three(before)),
            three_before.changed() / 64i64 % 64i64 + 0x80i64,
        ),
        (
            trails(own).and(trails(before)).and(leads_three(long_before)),
            three_long_before.last(),
        ),
    ] {
        result = holds.select(byte, result);
    }
    let expr = f.result(result.cast(DType::U8));
    let shape = cx.shape(table);
    cx.emit(Op::Elementwise { expr, shape }, &[table, numbers, content])
}
