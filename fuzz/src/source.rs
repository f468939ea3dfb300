//! Bytes as a source of choices: numbers, texts and JSON, until they are used up; zeros after that.
//!
//! Hand-written beside `arbitrary`, which the tree has only through libfuzzer-sys. Most of this file, integers near
//! their limits and JSON with likely keys, would remain on top of it. It takes lengths from the end of an input, where
//! a target's text to parse stands, and it returns a result for each choice, though no choice can fail here.

use serde_json::{Map, Number, Value};

/// The remaining bytes.
pub(crate) struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Source(bytes)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                *byte
            }
            None => 0,
        }
    }

    pub(crate) fn chance(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Returns a number below `end`, which is at most 256.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    pub(crate) fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        let place = self.below(choices.len());
        choices[place].clone()
    }

    pub(crate) fn maybe<T>(&mut self, what: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance().then(|| what(self))
    }

    pub(crate) fn number(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Returns an integer, more often near the limits than elsewhere.
    pub(crate) fn integer(&mut self) -> i64 {
        match self.below(8) {
            0 => i64::from(self.byte()),
            1 => -i64::from(self.byte()),
            2 => i64::MAX - i64::from(self.byte()),
            3 => i64::MIN + i64::from(self.byte()),
            4 => i64::from(u32::MAX) - 3 + i64::from(self.byte() % 8),
            5 => 1_767_225_600_000 + i64::from(self.byte()) * 1_000,
            _ => i64::from_le_bytes(self.number().to_le_bytes()),
        }
    }

    pub(crate) fn bytes(&mut self, most: usize) -> &'a [u8] {
        let length = self.below(most + 1).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes(24)).into_owned()
    }

    /// Returns all remaining bytes, as text.
    pub(crate) fn rest(&mut self) -> String {
        let rest = std::mem::take(&mut self.0);
        String::from_utf8_lossy(rest).into_owned()
    }

    /// Returns JSON whose objects mostly have these keys.
    pub(crate) fn json(&mut self, keys: &[&str], depth: usize) -> Value {
        match self.below(if depth == 0 { 7 } else { 10 }) {
            0 => Value::Null,
            1 => Value::Bool(self.chance()),
            2 => self.integer().into(),
            3 => self.number().into(),
            4 => Number::from_f64(f64::from_bits(self.number())).map_or(Value::Null, Value::Number),
            5 => self.text().into(),
            6 => self.of(&["", "2026-01-01", "a", "ok", "complete", "S3CRET"]).into(),
            7 => (0..self.below(4)).map(|_| self.json(keys, depth - 1)).collect(),
            _ => Value::Object(self.object(keys, depth)),
        }
    }

    /// Returns an object that mostly has these keys.
    pub(crate) fn object(&mut self, keys: &[&str], depth: usize) -> Map<String, Value> {
        (0..self.below(5)).map(|_| (self.key(keys), self.json(keys, depth.saturating_sub(1)))).collect()
    }

    fn key(&mut self, keys: &[&str]) -> String {
        if keys.is_empty() || self.byte() > 240 { self.text() } else { self.of(keys).to_owned() }
    }
}
