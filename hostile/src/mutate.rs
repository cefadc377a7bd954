//! What is done to models: flipped bits, truncation, and changes that keep the file readable, such as other sizes, cycles,
//! deep nesting and parts of other models.

use onnxide_codegen::ir::sample::SplitMix;

use crate::seeds::Seeds;
use crate::wire::{Message, Value, is_text};

/// The largest mutated model, in bytes. Limits of time and memory are for models of this size.
const MAX_BYTES: usize = 1 << 16;

/// Integers at which sizes, axes and numbers of types break.
const INTEGERS: [i64; 24] = [
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    16,
    17,
    -1,
    -2,
    -3,
    100,
    255,
    1000,
    65_536,
    i32::MAX as i64,
    u32::MAX as i64,
    1 << 33,
    1 << 40,
    1 << 62,
    i64::MAX,
    i64::MIN,
];

/// The mutated model with a number; every number gives the same model for the same seeds.
pub fn mutated(seeds: &Seeds, number: u64) -> Vec<u8> {
    let mut random = Random(SplitMix::new(number));
    let seed = &seeds.models[random.below(seeds.models.len())];
    let rounds = 1 + random.below(3);
    if random.below(8) == 0 {
        return broken_bytes(seed, rounds, &mut random);
    }
    let Some(mut model) = Message::parse(seed) else {
        return broken_bytes(seed, rounds, &mut random);
    };
    for _ in 0..rounds {
        let before = model.clone();
        change(&mut model, seeds, &mut random);
        if model.bytes().len() > MAX_BYTES {
            model = before;
        }
    }
    model.bytes()
}

struct Random(SplitMix);

impl Random {
    /// A number below a limit; 0 if the limit is.
    fn below(&mut self, limit: usize) -> usize {
        self.0.integer(0, limit as i64 - 1) as usize
    }

    fn integer(&mut self) -> i64 {
        match self.below(8) {
            0 => self.0.bits() as i64,
            1 => self.0.integer(-20, 20),
            _ => INTEGERS[self.below(INTEGERS.len())],
        }
    }
}

/// Flips bits, and sometimes cuts the end off.
fn broken_bytes(seed: &[u8], rounds: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..rounds {
        let place = random.below(bytes.len());
        match random.below(4) {
            0 => bytes.truncate(place),
            _ => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    bytes
}

/// Changes something in a message.
fn change(model: &mut Message, seeds: &Seeds, random: &mut Random) {
    let count = model.count();
    if count == 0 {
        return;
    }
    let other = part(seeds, random);
    let (place, second) = (random.below(count), random.below(count));
    let taken = model.at(second).map(|(message, index)| message.fields[index].clone());
    let Some((message, index)) = model.at(place) else {
        return;
    };
    let fields = &mut message.fields;
    let sibling = random.below(fields.len());
    match random.below(12) {
        0 => {
            fields.remove(index);
        }
        1 => {
            let copy = fields[index].clone();
            fields.insert(sibling, copy);
        }
        // Sizes of a shape, operands and the like change places.
        2 => {
            let value = fields[sibling].1.clone();
            fields[sibling].1 = std::mem::replace(&mut fields[index].1, value);
        }
        3 => fields.swap(index, sibling),
        4 => fields.extend(taken),
        5 => {
            if let Some((_, value)) = taken {
                fields[index].1 = value;
            }
        }
        6 => fields.extend(other),
        7 => fields[index].0 = 1 + random.below(20) as u64,
        8 => nest(fields, index, random),
        _ => change_value(&mut fields[index].1, seeds, random),
    }
}

/// A field of some seed, such as a node or an initializer of its graph.
fn part(seeds: &Seeds, random: &mut Random) -> Option<(u64, Value)> {
    let mut other = Message::parse(&seeds.models[random.below(seeds.models.len())])?;
    let place = random.below(other.count());
    let (message, index) = other.at(place)?;
    Some(message.fields[index].clone())
}

/// Puts a message into itself, again and again.
fn nest(fields: &mut [(u64, Value)], index: usize, random: &mut Random) {
    let Value::Message(message) = &mut fields[index].1 else {
        return;
    };
    let inner = random.below(message.fields.len());
    let depth = 1 << random.below(9);
    let template = message.clone();
    for _ in 0..depth {
        let mut outer = template.clone();
        if let Some((_, place)) = outer.fields.get_mut(inner) {
            *place = Value::Message(std::mem::take(message));
        }
        *message = outer;
        // What is nested as deep as this is refused by the decoder; the bytes double for nothing.
        if message.bytes().len() > MAX_BYTES {
            return;
        }
    }
}

fn change_value(value: &mut Value, seeds: &Seeds, random: &mut Random) {
    match value {
        Value::Integer(number) => *number = random.integer() as u64,
        Value::Eight(bytes) => *bytes = random.integer().to_le_bytes(),
        Value::Four(bytes) => {
            let floats = [0.0, -1.0, 1e30, f32::NAN, f32::INFINITY, 0.5];
            *bytes = floats[random.below(floats.len())].to_le_bytes();
        }
        Value::Bytes(bytes) if is_text(bytes) => {
            *bytes = match random.below(10) {
                0 => Vec::new(),
                1 => b"a\0b\"\n\xff".to_vec(),
                _ => seeds
                    .words
                    .get(random.below(seeds.words.len()))
                    .cloned()
                    .unwrap_or_default(),
            };
        }
        Value::Bytes(bytes) => match random.below(3) {
            0 => bytes.truncate(random.below(bytes.len() + 1)),
            _ => {
                // The elements of a constant, or sizes in the compact form.
                let width = [1, 4, 8][random.below(3)];
                let place = random.below(bytes.len() / width) * width;
                let number = random.integer().to_le_bytes();
                if let Some(element) = bytes.get_mut(place..place + width) {
                    element.copy_from_slice(&number[..width]);
                }
            }
        },
        Value::Message(message) => {
            let number = random.integer();
            message
                .fields
                .push((1 + random.below(12) as u64, Value::Integer(number as u64)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_models() {
        let seeds = Seeds::read().unwrap();
        let models: Vec<_> = (0..200).map(|number| mutated(&seeds, number)).collect();
        assert_eq!(models[7], mutated(&seeds, 7));
        assert!(models.iter().all(|model| model.len() <= MAX_BYTES));
        let unchanged = models.iter().filter(|model| seeds.models.contains(model)).count();
        assert!(unchanged < 40, "{unchanged} of 200 models are seeds");
    }
}
