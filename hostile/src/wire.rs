//! Protocol buffers without a schema: a message as a tree that can be changed and written again.
//!
//! The format does not tell a nested message from a text or from bytes. What can be read as a message is taken for one,
//! unless it is a text; a mistake does no harm, because the bytes come out as they went in.

/// How deep messages may nest where they are read.
const MAX_DEPTH: usize = 40;

/// A message: numbers of fields with values, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The fields.
    pub fields: Vec<(u64, Value)>,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An integer of variable length.
    Integer(u64),
    /// Eight bytes.
    Eight([u8; 8]),
    /// Four bytes.
    Four([u8; 4]),
    /// Bytes or a text.
    Bytes(Vec<u8>),
    /// A message.
    Message(Message),
}

impl Message {
    /// Reads a message; `None` if the bytes are none.
    pub fn parse(bytes: &[u8]) -> Option<Message> {
        Message::nested(bytes, 0)
    }

    fn nested(mut bytes: &[u8], depth: usize) -> Option<Message> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = integer(&mut bytes)?;
            let value = match key & 7 {
                0 => Value::Integer(integer(&mut bytes)?),
                1 => Value::Eight(*take(&mut bytes)?),
                5 => Value::Four(*take(&mut bytes)?),
                2 => {
                    let length = usize::try_from(integer(&mut bytes)?).ok()?;
                    let (content, rest) = bytes.split_at_checked(length)?;
                    bytes = rest;
                    match Message::nested(content, depth + 1) {
                        Some(message) if depth < MAX_DEPTH && !content.is_empty() && !is_text(content) => {
                            Value::Message(message)
                        }
                        _ => Value::Bytes(content.to_vec()),
                    }
                }
                _ => return None,
            };
            if key >> 3 == 0 {
                return None;
            }
            fields.push((key >> 3, value));
        }
        Some(Message { fields })
    }

    /// The bytes of the message.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, value) in &self.fields {
            let (kind, content) = match value {
                Value::Integer(value) => {
                    push_integer(&mut bytes, number << 3);
                    push_integer(&mut bytes, *value);
                    continue;
                }
                Value::Eight(content) => (1, content.to_vec()),
                Value::Four(content) => (5, content.to_vec()),
                Value::Bytes(content) => (2, content.clone()),
                Value::Message(message) => (2, message.bytes()),
            };
            push_integer(&mut bytes, number << 3 | kind);
            if kind == 2 {
                push_integer(&mut bytes, content.len() as u64);
            }
            bytes.extend(content);
        }
        bytes
    }

    /// Adds the texts in the message and in those in it.
    pub fn texts(&self, texts: &mut Vec<Vec<u8>>) {
        for (_, value) in &self.fields {
            match value {
                Value::Bytes(content) if is_text(content) => texts.push(content.clone()),
                Value::Message(message) => message.texts(texts),
                _ => {}
            }
        }
    }

    /// The number of fields, with those of messages in the message.
    pub fn count(&self) -> usize {
        let inner = |value: &Value| match value {
            Value::Message(message) => message.count(),
            _ => 0,
        };
        self.fields.iter().map(|(_, value)| 1 + inner(value)).sum()
    }

    /// The field with a number below [`count`](Self::count), counted in depth-first order, and the message that it is in.
    pub fn at(&mut self, mut place: usize) -> Option<(&mut Message, usize)> {
        for index in 0..self.fields.len() {
            if place == 0 {
                return Some((self, index));
            }
            place -= 1;
            if let (_, Value::Message(message)) = &self.fields[index] {
                let count = message.count();
                if place < count {
                    let (_, Value::Message(message)) = &mut self.fields[index] else {
                        return None;
                    };
                    return message.at(place);
                }
                place -= count;
            }
        }
        None
    }
}

/// Whether bytes are a short text, as names are.
pub fn is_text(bytes: &[u8]) -> bool {
    bytes.len() < 64 && !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

fn integer(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn push_integer(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::Seeds;

    #[test]
    fn seeds_are_written_as_they_are_read() {
        let seeds = Seeds::read().unwrap();
        assert!(seeds.words.iter().any(|word| word == b"Relu"));
        for model in &seeds.models {
            let message = Message::parse(model).expect("a seed is a message");
            assert_eq!(message.bytes(), *model);
        }
    }

    #[test]
    fn fields_are_counted_through_messages() {
        let inner = Message {
            fields: vec![(1, Value::Integer(300)), (2, Value::Bytes(b"x".to_vec()))],
        };
        let mut message = Message {
            fields: vec![(7, Value::Message(inner)), (8, Value::Four([1, 2, 3, 4]))],
        };
        assert_eq!(message.count(), 4);
        for (place, number) in [7, 1, 2, 8].into_iter().enumerate() {
            let (owner, index) = message.at(place).unwrap();
            assert_eq!(owner.fields[index].0, number);
        }
        assert!(message.at(4).is_none());
    }
}
