//! Walks a value once and applies the limits.
//!
//! Uses its own stack, so that a hostile depth ends in an error and not in a crash; counts the size of compact
//! JSON without writing it.

use serde_json::{Map, Number, Value, map};

use super::limits::JsonLimits;
use super::text::{Segment, path};
use super::violation::JsonViolation;

/// A list or object that is being walked, and the position in it.
enum Level<'a> {
    List { items: std::iter::Enumerate<std::slice::Iter<'a, Value>>, at: usize },
    Object { members: map::Iter<'a>, at: &'a str },
}

/// The reserved prefix of keys: readers of JSON mark numbers and raw texts by such keys, and would misread the
/// object.
const RESERVED: &str = "$serde_json::private::";

impl JsonLimits {
    /// Checks size, depth and strings of a value, in one walk that neither recurses nor copies.
    ///
    /// # Errors
    /// Returns a [`JsonViolation`] with the rule and the path.
    pub fn check(&self, value: &Value) -> Result<(), JsonViolation> {
        self.measure(value).map(|_| ())
    }

    /// Checks a value, as [`check`](Self::check) does, and returns its size in bytes of compact JSON.
    pub(crate) fn measure(&self, value: &Value) -> Result<usize, JsonViolation> {
        let mut walk = Walk { limits: self, bytes: 0, levels: Vec::new() };
        walk.visit(value)?;
        walk.finish()
    }

    /// Checks an object, as [`check`](Self::check) does, and returns its size in bytes of compact JSON.
    pub(crate) fn measure_object(&self, members: &Map<String, Value>) -> Result<usize, JsonViolation> {
        let mut walk = Walk { limits: self, bytes: 0, levels: Vec::new() };
        walk.object(members)?;
        walk.finish()
    }
}

/// Returns the size of a value, in bytes of compact JSON, without limits.
pub(crate) fn size(value: &Value) -> usize {
    UNLIMITED.measure(value).unwrap_or_else(|_| value.to_string().len())
}

/// Returns the size of an object, in bytes of compact JSON, without limits.
pub(crate) fn object_size(members: &Map<String, Value>) -> usize {
    let member = |(key, value): (&String, &Value)| key.len().saturating_add(size(value));
    UNLIMITED.measure_object(members).unwrap_or_else(|_| members.iter().map(member).fold(2, usize::saturating_add))
}

const UNLIMITED: JsonLimits = JsonLimits { max_bytes: usize::MAX, max_depth: usize::MAX };

struct Walk<'a> {
    limits: &'a JsonLimits,
    bytes: usize,
    levels: Vec<Level<'a>>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, value: &'a Value) -> Result<(), JsonViolation> {
        match value {
            Value::Null | Value::Bool(true) => self.count(4),
            Value::Bool(false) => self.count(5),
            Value::Number(number) => self.number(number),
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                self.enter(items.len(), 0)?;
                self.levels.push(Level::List { items: items.iter().enumerate(), at: 0 });
                Ok(())
            }
            Value::Object(members) => self.object(members),
        }
    }

    /// Numbers may be stored as they were written, and then be beyond what another process can read.
    fn number(&mut self, number: &Number) -> Result<(), JsonViolation> {
        let written = number.to_string();
        if !number.is_i64() && !number.is_u64() {
            if number.as_f64().is_none_or(|float| !float.is_finite()) {
                return Err(JsonViolation::NotFinite { path: self.path() });
            }
            if written.bytes().all(|byte| matches!(byte, b'-' | b'0'..=b'9')) {
                return Err(JsonViolation::IntegerTooLarge { path: self.path() });
            }
        }
        self.count(written.len())
    }

    fn object(&mut self, members: &'a Map<String, Value>) -> Result<(), JsonViolation> {
        self.enter(members.len(), members.len())?;
        self.levels.push(Level::Object { members: members.iter(), at: "" });
        Ok(())
    }

    /// Walks the lists and objects that were entered. Returns the size of everything that was visited.
    fn finish(mut self) -> Result<usize, JsonViolation> {
        while let Some(level) = self.levels.last_mut() {
            let next = match level {
                Level::List { items, at } => items.next().map(|(place, item)| {
                    *at = place;
                    (None, item)
                }),
                Level::Object { members, at } => members.next().map(|(key, member)| {
                    *at = key;
                    (Some(key.as_str()), member)
                }),
            };
            match next {
                Some((key, value)) => {
                    if let Some(key) = key {
                        if key.starts_with(RESERVED) {
                            return Err(JsonViolation::ReservedKey { path: self.path() });
                        }
                        self.text(key)?;
                    }
                    self.visit(value)?;
                }
                None => {
                    self.levels.pop();
                }
            }
        }
        Ok(self.bytes)
    }

    /// Counts brackets, commas and colons.
    fn enter(&mut self, members: usize, colons: usize) -> Result<(), JsonViolation> {
        if self.levels.len() >= self.limits.depth() {
            return Err(JsonViolation::TooDeep { max_depth: self.limits.depth() });
        }
        self.count(2_usize.saturating_add(members.saturating_sub(1)).saturating_add(colons))
    }

    fn text(&mut self, text: &str) -> Result<(), JsonViolation> {
        let mut bytes = 2_usize;
        for byte in text.bytes() {
            bytes = bytes.saturating_add(match byte {
                0 => return Err(JsonViolation::Nul { path: self.path() }),
                b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
                0x01..=0x1f => 6,
                _ => 1,
            });
        }
        self.count(bytes)
    }

    fn count(&mut self, bytes: usize) -> Result<(), JsonViolation> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.max_bytes {
            return Err(JsonViolation::TooLarge { max_bytes: self.limits.max_bytes });
        }
        Ok(())
    }

    fn path(&self) -> String {
        path(self.levels.iter().map(|level| match level {
            Level::List { at, .. } => Segment::Index(*at),
            Level::Object { at, .. } => Segment::Key(at),
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const LIMITS: JsonLimits = JsonLimits { max_bytes: 1 << 20, max_depth: 64 };

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!(0), |value, level| if level % 2 == 0 { json!([value]) } else { json!({"k": value}) })
    }

    #[test]
    fn the_greatest_depth_passes_and_one_more_does_not() {
        assert_eq!(LIMITS.check(&nested(64)), Ok(()));
        assert_eq!(LIMITS.check(&nested(65)), Err(JsonViolation::TooDeep { max_depth: 64 }));
        let generous = JsonLimits { max_depth: usize::MAX, ..LIMITS };
        assert_eq!(generous.check(&nested(101)), Err(JsonViolation::TooDeep { max_depth: JsonLimits::DEPTH_CEILING }));
    }

    #[test]
    fn a_depth_of_a_hundred_thousand_is_refused_without_a_crash() {
        let mut value = (0..100_000).fold(json!(0), |value, _| Value::Array(vec![value]));
        assert!(matches!(LIMITS.check(&value), Err(JsonViolation::TooDeep { .. })));
        while let Value::Array(mut items) = value {
            value = items.pop().unwrap_or(Value::Null);
        }
    }

    #[test]
    fn nul_is_found_in_texts_and_keys() {
        let path = |value| match LIMITS.check(&value) {
            Err(JsonViolation::Nul { path }) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(path(json!({"order": {"lines": [1, {"note": "a\0b"}]}})), "order.lines[1].note");
        assert_eq!(path(json!([{"a\0": 1}])), "[0].a\u{fffd}");
        assert_eq!(path(json!("\0")), "the top level");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(|text| Value::from(text.replace('\0', ""))),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec(("[a-z\"\\\\\n\u{1}é]{0,5}", inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_size_counted_is_the_size_written(value in any_json()) {
            let bytes = serde_json::to_string(&value).unwrap().len();
            let exact = JsonLimits { max_bytes: bytes, ..LIMITS };
            prop_assert_eq!(exact.check(&value), Ok(()));
            let less = JsonLimits { max_bytes: bytes - 1, ..LIMITS };
            prop_assert_eq!(less.check(&value), Err(JsonViolation::TooLarge { max_bytes: bytes - 1 }));
        }
    }
}
