//! Decodes JSON into Rust values, and reports what does not fit without showing it.
//!
//! The reader underneath quotes the offending value in its errors, and errors are stored and logged. This one
//! names the path and what was expected there, and of the value only its kind. Long only because serde requires
//! four access traits.

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Number, Value};

use super::misfit::DecodeFailure;
use super::text::OwnedSegment;

/// Decodes a value.
///
/// # Errors
/// [`DecodeFailure`], with the path and what was expected.
pub(crate) fn decode<T: DeserializeOwned>(value: Value) -> Result<T, DecodeFailure> {
    T::deserialize(Decoder(value))
}

struct Decoder(Value);

fn number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, DecodeFailure> {
    if let Some(integer) = number.as_u64() {
        visitor.visit_u64(integer)
    } else if let Some(integer) = number.as_i64() {
        visitor.visit_i64(integer)
    } else if let Some(float) = number.as_f64() {
        visitor.visit_f64(float)
    } else {
        Err(DecodeFailure::new("the number is beyond every type"))
    }
}

/// Passes a number to a type that accepts anything: exactly as it was written, if a crate of the host keeps that
/// form.
fn any_number<'de, V: Visitor<'de>>(value: Number, visitor: V) -> Result<V::Value, DecodeFailure> {
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
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeFailure> {
            match &self.0 {
                Value::Number(value) => number(value, visitor),
                _ => self.deserialize_any(visitor),
            }
        })*
    };
}

macro_rules! read_nothing {
    ($($method:ident($($name:ty)?)),*) => {
        $(fn $method<V: Visitor<'de>>(self, $(_: $name,)? visitor: V) -> Result<V::Value, DecodeFailure> {
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
    type Error = DecodeFailure;

    read_float!(deserialize_f32, deserialize_f64);
    read_nothing!(deserialize_unit(), deserialize_unit_struct(&'static str));

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeFailure> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(value) => any_number(value, visitor),
            Value::String(value) => visitor.visit_string(value),
            Value::Array(items) => {
                let length = items.len();
                let mut list = List { items: items.into_iter(), next: 0 };
                let value = visitor.visit_seq(&mut list)?;
                if list.items.len() > 0 {
                    return Err(de::Error::invalid_length(length, &"fewer elements"));
                }
                Ok(value)
            }
            Value::Object(members) => {
                let mut object = Object { members: members.into_iter(), value: None };
                let value = visitor.visit_map(&mut object)?;
                if object.members.len() > 0 {
                    return Err(de::Error::custom("members left over"));
                }
                Ok(value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeFailure> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeFailure> {
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
    ) -> Result<V::Value, DecodeFailure> {
        match self.0 {
            Value::String(variant) => visitor.visit_enum(Variant { variant, content: None }),
            Value::Object(members) => {
                let mut members = members.into_iter();
                match (members.next(), members.next()) {
                    (Some((variant, content)), None) => visitor.visit_enum(Variant { variant, content: Some(content) }),
                    _ => Err(DecodeFailure::new("expected an object with the name of a variant as its only key")),
                }
            }
            other => Err(de::Error::invalid_type(Decoder(other).unexpected(), &"the name of a variant")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeFailure> {
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

struct List {
    items: std::vec::IntoIter<Value>,
    next: usize,
}

impl<'de> SeqAccess<'de> for List {
    type Error = DecodeFailure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeFailure> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        let place = self.next;
        self.next += 1;
        seed.deserialize(Decoder(item)).map(Some).map_err(|failure| failure.within(OwnedSegment::Index(place)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Object {
    members: serde_json::map::IntoIter,
    value: Option<(String, Value)>,
}

impl<'de> MapAccess<'de> for Object {
    type Error = DecodeFailure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeFailure> {
        let Some((key, value)) = self.members.next() else {
            return Ok(None);
        };
        let decoded = seed.deserialize(Key(&key)).map(Some);
        self.value = Some((key, value));
        decoded
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeFailure> {
        let Some((key, value)) = self.value.take() else {
            return Err(DecodeFailure::new("a value was asked for before its key"));
        };
        seed.deserialize(Decoder(value)).map_err(|failure| failure.within(OwnedSegment::Key(key)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.members.len())
    }
}

/// A key: a text that may stand for a number or a boolean, as in maps with such keys.
struct Key<'a>(&'a str);

macro_rules! read {
    ($($method:ident => $visit:ident),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeFailure> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(_) => visitor.visit_str(self.0),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = DecodeFailure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeFailure> {
        visitor.visit_str(self.0)
    }

    read! {
        deserialize_bool => visit_bool, deserialize_i8 => visit_i8, deserialize_i16 => visit_i16, deserialize_i32 => visit_i32,
        deserialize_i64 => visit_i64, deserialize_i128 => visit_i128, deserialize_u8 => visit_u8, deserialize_u16 => visit_u16,
        deserialize_u32 => visit_u32, deserialize_u64 => visit_u64, deserialize_u128 => visit_u128,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeFailure> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeFailure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeFailure> {
        let text: StrDeserializer<'_, DecodeFailure> = self.0.into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Variant {
    variant: String,
    content: Option<Value>,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = DecodeFailure;
    type Variant = Content;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content), DecodeFailure> {
        let name: StringDeserializer<DecodeFailure> = self.variant.clone().into_deserializer();
        let chosen = seed.deserialize(name)?;
        Ok((chosen, Content { variant: self.variant, content: self.content }))
    }
}

struct Content {
    variant: String,
    content: Option<Value>,
}

impl Content {
    fn of<T>(self, read: impl FnOnce(Decoder) -> Result<T, DecodeFailure>) -> Result<T, DecodeFailure> {
        match self.content {
            Some(content) => read(Decoder(content)),
            None => Err(DecodeFailure::new("the variant lacks its content")),
        }
        .map_err(|failure| failure.within(OwnedSegment::Key(self.variant)))
    }
}

impl<'de> VariantAccess<'de> for Content {
    type Error = DecodeFailure;

    fn unit_variant(self) -> Result<(), DecodeFailure> {
        match self.content {
            None | Some(Value::Null) => Ok(()),
            Some(_) => Err(DecodeFailure::new("the variant takes no content").within(OwnedSegment::Key(self.variant))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DecodeFailure> {
        self.of(|content| seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DecodeFailure> {
        self.of(|content| content.deserialize_any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeFailure> {
        self.of(|content| match content.0 {
            Value::Object(members) => Decoder(Value::Object(members)).deserialize_any(visitor),
            other => Err(de::Error::invalid_type(Decoder(other).unexpected(), &"an object")),
        })
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
    fn whatever_was_written_is_read_back() {
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
        assert_eq!(failure("/lines/0", json!(["a", 1, 2])), "at lines[0]: expected fewer elements, found 3 elements");
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
