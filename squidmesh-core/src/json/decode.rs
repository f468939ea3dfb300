//! Decodes JSON into Rust values, and reports what does not fit without showing it.
//!
//! Hand-written because the reader of `serde_json` quotes the offending value in its errors, which are stored and
//! logged. This one names what was expected, and of the value only its kind; it also gives a type that needs nothing
//! an object, such as the input of a step. serde's own types walk lists and objects, and `serde_path_to_error` finds
//! the path.

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Number, Value};

use super::misfit::{DecodeFailure, Misfit};

/// Decodes a value.
///
/// # Errors
/// [`DecodeFailure`], with the path and what was expected.
pub(crate) fn decode<T: DeserializeOwned>(value: Value) -> Result<T, DecodeFailure> {
    serde_path_to_error::deserialize(Decoder(value)).map_err(DecodeFailure)
}

struct Decoder(Value);

fn number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, Misfit> {
    if let Some(integer) = number.as_u64() {
        visitor.visit_u64(integer)
    } else if let Some(integer) = number.as_i64() {
        visitor.visit_i64(integer)
    } else if let Some(float) = number.as_f64() {
        visitor.visit_f64(float)
    } else {
        Err(Misfit::new("the number is beyond every type"))
    }
}

/// Passes a number to a type that accepts anything: exactly as it was written, if a crate of the host keeps that
/// form.
fn any_number<'de, V: Visitor<'de>>(value: Number, visitor: V) -> Result<V::Value, Misfit> {
    let exact = |float: f64| Number::from_f64(float).is_some_and(|number| number == value);
    match value.is_i64() || value.is_u64() || value.as_f64().is_none_or(exact) {
        true => number(&value, visitor),
        false => value.deserialize_any(visitor).map_err(de::Error::custom),
    }
}

/// The name under which `serde_json` requests the text of a value.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

macro_rules! read_float {
    ($($method:ident),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            match &self.0 {
                Value::Number(value) => number(value, visitor),
                _ => self.deserialize_any(visitor),
            }
        })*
    };
}

macro_rules! read_nothing {
    ($($method:ident($($name:ty)?)),*) => {
        $(fn $method<V: Visitor<'de>>(self, $(_: $name,)? visitor: V) -> Result<V::Value, Misfit> {
            match &self.0 {
                // A type that needs nothing of an object receives nothing of it, such as the input of a step that
                // needs none.
                Value::Null | Value::Object(_) => visitor.visit_unit(),
                _ => self.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Decoder {
    type Error = Misfit;

    read_float!(deserialize_f32, deserialize_f64);
    read_nothing!(deserialize_unit(), deserialize_unit_struct(&'static str));

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(value) => any_number(value, visitor),
            Value::String(value) => visitor.visit_string(value),
            Value::Array(items) => SeqDeserializer::new(items.into_iter().map(Decoder)).deserialize_any(visitor),
            Value::Object(members) => object(members).deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        match name {
            RAW_VALUE => self.0.deserialize_newtype_struct(name, visitor).map_err(de::Error::custom),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::String(variant) => visitor.visit_enum(variant.into_deserializer()),
            Value::Object(members) if members.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(object(members)))
            }
            Value::Object(_) => Err(Misfit::new("expected an object with the name of a variant as its only key")),
            other => Err(de::Error::invalid_type(Decoder(other).unexpected(), &"the name of a variant")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 char str string bytes byte_buf seq tuple tuple_struct map struct
        identifier
    }
}

impl Decoder {
    fn unexpected(&self) -> Unexpected<'static> {
        match self.0 {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(value),
            Value::Number(_) => Unexpected::Float(0.0),
            Value::String(_) => Unexpected::Str(""),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        }
    }
}

impl<'de> IntoDeserializer<'de, Misfit> for Decoder {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Returns the members of an object, to be decoded.
fn object<'de>(members: Map<String, Value>) -> MapDeserializer<'de, impl Iterator<Item = (Key, Decoder)>, Misfit> {
    MapDeserializer::new(members.into_iter().map(|(key, value)| (Key(key), Decoder(value))))
}

/// A key: a text that may stand for a number or a boolean, as in maps with such keys.
struct Key(String);

impl<'de> IntoDeserializer<'de, Misfit> for Key {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! read {
    ($($method:ident => $visit:ident),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(_) => visitor.visit_string(self.0),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Key {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_string(self.0)
    }

    read! {
        deserialize_bool => visit_bool, deserialize_i8 => visit_i8, deserialize_i16 => visit_i16, deserialize_i32 => visit_i32,
        deserialize_i64 => visit_i64, deserialize_i128 => visit_i128, deserialize_u8 => visit_u8, deserialize_u16 => visit_u16,
        deserialize_u32 => visit_u32, deserialize_u64 => visit_u64, deserialize_u128 => visit_u128,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let text: StringDeserializer<Misfit> = self.0.into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        id: u64,
        lines: Vec<Line>,
        note: Option<String>,
        by_day: HashMap<u8, bool>,
        state: State,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Line(String, f64);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum State {
        Open,
        Shipped { parcels: u8 },
        Closed(i64),
        Split(u8, u8),
    }

    fn order() -> Value {
        json!({"id": 1, "lines": [["a", 1.5], ["b", 2]], "note": null, "by_day": {"3": true}, "state": {"Shipped": {"parcels": 2}}})
    }

    #[test]
    fn what_was_written_is_read_back() {
        for state in [State::Open, State::Shipped { parcels: 1 }, State::Closed(-1), State::Split(1, 2)] {
            let order = Order { state, ..decode(order()).unwrap() };
            assert_eq!(decode::<Order>(serde_json::to_value(&order).unwrap()).unwrap(), order);
        }
        assert_eq!(decode::<Value>(order()).unwrap(), order());
        assert_eq!(decode::<(char, ())>(json!(["x", null])).unwrap(), ('x', ()));
    }

    fn failure(pointer: &str, value: Value) -> String {
        let mut order = order();
        *order.pointer_mut(pointer).unwrap() = value;
        decode::<Order>(order).unwrap_err().to_string()
    }

    #[test]
    fn a_failure_names_the_place_and_hides_the_value() {
        assert_eq!(failure("/id", json!("4111-1111")), "at id: expected u64, found a text");
        assert_eq!(failure("/lines/1/1", json!("4111-1111")), "at lines[1][1]: expected f64, found a text");
        assert_eq!(failure("/id", json!(-4111)), "at id: expected u64, found an integer with another value");
        assert_eq!(failure("/state", json!("4111-1111")), "at state: expected one of Open, Shipped, Closed, Split");
        assert_eq!(failure("/state", json!({"Closed": {}})), "at state.Closed: expected i64, found an object");
        assert_eq!(failure("/state", json!({"Shipped": {}})), "at state.Shipped: the field parcels is missing");
        assert_eq!(
            failure("/lines/0", json!(["a"])),
            "at lines[0]: expected tuple struct Line with 2 elements, found 1 elements"
        );
        assert_eq!(
            failure("/lines/0", json!(["a", 1, 2])),
            "at lines[0]: expected 2 elements in sequence, found 3 elements"
        );
    }

    #[test]
    fn a_key_that_does_not_fit_is_named() {
        assert_eq!(failure("/by_day", json!({"x": true})), "at by_day.x: expected u8, found a text");
        assert_eq!(
            failure("/state", json!("Closed")),
            "at state.Closed: expected newtype variant, found the name of a variant"
        );
    }

    #[test]
    fn a_variant_without_content_ignores_an_object_and_takes_nothing_else() {
        assert_eq!(decode::<State>(json!({"Open": {}})).unwrap(), State::Open);
        assert_eq!(
            decode::<State>(json!({"Open": 1})).unwrap_err().to_string(),
            "at Open: expected unit, found an integer"
        );
    }

    #[test]
    fn missing_and_unknown_fields_are_named() {
        let mut order = order();
        order.as_object_mut().unwrap().remove("lines");
        assert_eq!(
            decode::<Order>(order.clone()).unwrap_err().to_string(),
            "at the top level: the field lines is missing"
        );
        order["secret"] = json!(1);
        assert!(decode::<Order>(order).unwrap_err().to_string().contains("unknown field secret"));
    }

    #[test]
    fn what_a_type_says_in_its_own_words_is_not_repeated() {
        let failure = decode::<uuid::Uuid>(json!("4111-1111")).unwrap_err().to_string();
        assert_eq!(failure, "at the top level: the value is refused by its type");
    }
}
