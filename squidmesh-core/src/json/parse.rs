//! Reads JSON that comes from outside.
//!
//! Stricter than the reader of `serde_json` on which it stands: JSON that is too large, too deep, or has a duplicate
//! key is refused while it is read, before anything is built from it. `serde_path_to_error` finds the path.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_path_to_error::Track;

use super::limits::JsonLimits;
use super::text::{Segment, path, segments};
use super::violation::JsonViolation;

/// Reads one JSON value from text or bytes and applies the limits to it.
///
/// # Errors
/// [`JsonViolation`] if it is not JSON, breaks a limit, or has an object with a duplicate key.
pub(crate) fn parse(text: impl AsRef<[u8]>, limits: &JsonLimits) -> Result<Value, JsonViolation> {
    let text = text.as_ref();
    // White space between tokens does not count towards the limit, but four times the limit of text is never
    // needed.
    if text.len() > limits.max_bytes.saturating_mul(4) {
        return Err(JsonViolation::TooLarge { max_bytes: limits.max_bytes });
    }
    let (mut track, mut found) = (Track::new(), None);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let strict = Strict { limits, depth: 0, found: &mut found };
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let value = strict.deserialize(tracked).and_then(|value| reader.end().map(|()| value));
    let value = match (value, found) {
        (Ok(value), _) => value,
        (Err(_), Some(Found::TooDeep)) => return Err(JsonViolation::TooDeep { max_depth: limits.depth() }),
        (Err(_), Some(Found::DuplicateKey(key))) => {
            let path = path(segments(track.path().iter()).chain([Segment::Key(&key)]));
            return Err(JsonViolation::DuplicateKey { path });
        }
        (Err(error), None) => {
            return Err(JsonViolation::Malformed { line: error.line(), column: error.column() });
        }
    };
    limits.check(&value)?;
    Ok(value)
}

/// Why the reader stopped.
enum Found {
    TooDeep,
    DuplicateKey(String),
}

/// Builds a value and checks every key and level on the way.
struct Strict<'a> {
    limits: &'a JsonLimits,
    depth: usize,
    found: &'a mut Option<Found>,
}

impl Strict<'_> {
    fn inside(&mut self) -> Strict<'_> {
        Strict { limits: self.limits, depth: self.depth, found: self.found }
    }

    fn enter<E: de::Error>(&mut self) -> Result<(), E> {
        if self.depth >= self.limits.depth() {
            *self.found = Some(Found::TooDeep);
            return Err(E::custom("too deep"));
        }
        self.depth += 1;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inside())? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        let mut next = members.next_key::<String>()?;
        if next.as_deref() == Some(NUMBER) {
            // A crate of the host has numbers kept as they were written, and this is one of them.
            return exact(&members.next_value::<String>()?).map(Value::Number);
        }
        self.enter()?;
        let mut object = Map::new();
        while let Some(key) = next {
            if object.contains_key(&key) {
                *self.found = Some(Found::DuplicateKey(key));
                return Err(de::Error::custom("duplicate key"));
            }
            object.insert(key, members.next_value_seed(self.inside())?);
            next = members.next_key()?;
        }
        Ok(Value::Object(object))
    }
}

/// The key under which `serde_json` passes a number as text, with its feature `arbitrary_precision`.
const NUMBER: &str = "$serde_json::private::Number";

/// Returns the number of a text, as it is read without that feature if that loses nothing.
fn exact<E: de::Error>(text: &str) -> Result<Number, E> {
    if let Ok(integer) = text.parse::<u64>() {
        return Ok(Number::from(integer));
    }
    if let Ok(integer) = text.parse::<i64>() {
        return Ok(Number::from(integer));
    }
    let float = text.parse().ok().and_then(Number::from_f64).ok_or_else(|| E::custom("not a number"))?;
    // If more digits can be kept than a float holds, they are.
    Ok(serde_json::from_str(text).ok().filter(|number: &Number| number.as_f64() == float.as_f64()).unwrap_or(float))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value, JsonViolation> {
        parse(text, &JsonLimits::default())
    }

    #[test]
    fn plain_json_is_read_as_it_is() {
        let text = r#" {"a": [1, -2, 3.5, "x", null, true, {}], "b": 18446744073709551615} "#;
        assert_eq!(read(text).unwrap(), json!({"a": [1, -2, 3.5, "x", null, true, {}], "b": u64::MAX}));
    }

    #[test]
    fn a_key_that_comes_twice_is_named_with_its_place() {
        assert_eq!(
            read(r#"{"orders": [{}, {"id": 1, "x": 2, "id": 1}]}"#),
            Err(JsonViolation::DuplicateKey { path: "orders[1].id".to_owned() })
        );
    }

    #[test]
    fn depth_is_refused_while_reading() {
        assert_eq!(read(&"[".repeat(1_000_000)), Err(JsonViolation::TooDeep { max_depth: 64 }));
        assert!(read(&format!("{}{}", "[".repeat(64), "]".repeat(64))).is_ok());
    }

    #[test]
    fn size_is_refused() {
        let text = format!("\"{}\"", "x".repeat(1 << 20));
        assert_eq!(read(&text), Err(JsonViolation::TooLarge { max_bytes: 1 << 20 }));
    }

    #[test]
    fn what_is_not_json_is_located_and_not_shown() {
        let error = read("{\"card\": 4111x}").unwrap_err();
        assert!(matches!(error, JsonViolation::Malformed { line: 1, .. }), "{error:?}");
        assert!(!error.to_string().contains("4111"));
        for text in ["", "{} {}", "nan", "1e999", "\"\\ud800\"", "'a'"] {
            assert!(matches!(read(text), Err(JsonViolation::Malformed { .. })), "{text}");
        }
        assert!(parse(b"\"\xff\"", &JsonLimits::default()).is_err());
    }

    #[test]
    fn an_escaped_nul_is_refused() {
        assert!(matches!(read(r#"{"a": "\u0000"}"#), Err(JsonViolation::Nul { .. })));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[\\[\\]{}\",:0-9eE.\\\\a-f \\-]{0,60}") {
            let strict = read(&text);
            if strict.is_ok() {
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes, &JsonLimits::default());
        }
    }
}
