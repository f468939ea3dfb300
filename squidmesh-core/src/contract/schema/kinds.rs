//! The kinds of JSON values, and sets of them.

use serde_json::{Number, Value};

/// A set of kinds of values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NAMES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];
    pub(super) const TEXT: usize = 4;
    pub(super) const OBJECT: usize = 6;
    const INTEGER: u8 = 1 << 2;
    const NUMBER: u8 = 1 << 3;

    pub(super) fn add(&mut self, name: &str) -> bool {
        let place = Self::NAMES.iter().position(|known| *known == name);
        place.inspect(|place| self.0 |= 1 << place).is_some()
    }

    pub(super) fn has(self, value: &Value) -> bool {
        match value {
            Value::Number(number) => self.0 & Self::NUMBER != 0 || (self.0 & Self::INTEGER != 0 && is_whole(number)),
            other => self.0 & (1 << kind_of(other)) != 0,
        }
    }

    /// Returns whether values of a kind, by its index among the names, can be in the set. A number can be an
    /// integer.
    pub(super) fn may_have(self, kind: usize) -> bool {
        self.0 & (1 << kind) != 0 || (kind == 3 && self.0 & Self::INTEGER != 0)
    }

    /// Formats the kinds as the end of "must be …".
    pub(super) fn words(self) -> String {
        const WORDS: [&str; 7] = ["null", "a boolean", "an integer", "a number", "a string", "a list", "an object"];
        let words = WORDS.iter().enumerate().filter(|(place, _)| self.0 & (1 << place) != 0);
        words.map(|(_, word)| *word).collect::<Vec<_>>().join(" or ")
    }
}

/// Returns the index of a value's kind among the names; every number is a number.
pub(super) fn kind_of(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 3,
        Value::String(_) => Kinds::TEXT,
        Value::Array(_) => 5,
        Value::Object(_) => Kinds::OBJECT,
    }
}

fn is_whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
}
