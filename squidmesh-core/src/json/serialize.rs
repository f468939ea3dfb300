//! Converts Rust values into JSON without losing anything.
//!
//! Hand-written because the serialiser of `serde_json` writes null for NaN and infinities. Here a first pass that
//! builds nothing finds what JSON cannot represent, and names the path. It keeps the path itself, as that of
//! `serde_path_to_error` leaves out the variants of enums, which are keys in JSON. Long only because serde requires
//! some thirty methods of a serialiser.

use std::fmt::{self, Display};

use serde::Serialize;
use serde::ser::{self, Impossible, Serializer};
use serde_json::Value;
use serde_path_to_error::Segment;

use super::limits::JsonLimits;
use super::text::{path, segments};
use super::violation::JsonViolation;

/// Converts a value into JSON.
///
/// # Errors
/// [`JsonViolation`] if the value contains something that JSON cannot represent: numbers that are infinite or
/// NaN, integers beyond 64 bits, maps whose keys are not strings (integers, booleans and unit variants count as
/// strings, as everywhere in serde), nesting beyond [`JsonLimits::DEPTH_CEILING`], or a type that refuses to be
/// serialised.
pub(crate) fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, JsonViolation> {
    value.serialize(Checker { depth: 0 }).map_err(Stop::into_violation)?;
    serde_json::to_value(value).map_err(|_| Stop::at_once(Problem::Refused).into_violation())
}

/// Why the first pass stopped, with the path to it from the inside out.
#[derive(Debug)]
struct Stop {
    problem: Problem,
    segments: Vec<Segment>,
}

#[derive(Debug)]
enum Problem {
    NotFinite,
    IntegerTooLarge,
    KeyNotText,
    TooDeep,
    Refused,
}

impl Stop {
    fn at_once(problem: Problem) -> Self {
        Self { problem, segments: Vec::new() }
    }

    fn within(mut self, segment: Segment) -> Self {
        self.segments.push(segment);
        self
    }

    fn of(self, variant: Option<&'static str>) -> Self {
        match variant {
            Some(variant) => self.within(Segment::Enum { variant: variant.to_owned() }),
            None => self,
        }
    }

    fn into_violation(self) -> JsonViolation {
        let path = path(segments(self.segments.iter().rev()));
        match self.problem {
            Problem::NotFinite => JsonViolation::NotFinite { path },
            Problem::IntegerTooLarge => JsonViolation::IntegerTooLarge { path },
            Problem::KeyNotText => JsonViolation::KeyNotText { path },
            Problem::TooDeep => JsonViolation::TooDeep { max_depth: JsonLimits::DEPTH_CEILING },
            Problem::Refused => JsonViolation::Refused { path },
        }
    }
}

impl Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot be represented as JSON")
    }
}

impl std::error::Error for Stop {}

impl ser::Error for Stop {
    fn custom<T: Display>(_: T) -> Self {
        Self::at_once(Problem::Refused)
    }
}

#[derive(Clone, Copy)]
struct Checker {
    depth: usize,
}

impl Checker {
    fn inside(self) -> Result<Self, Stop> {
        if self.depth >= JsonLimits::DEPTH_CEILING {
            return Err(Stop::at_once(Problem::TooDeep));
        }
        Ok(Self { depth: self.depth + 1 })
    }

    fn list(self) -> Result<List, Stop> {
        Ok(List { checker: self.inside()?, next: 0, variant: None })
    }

    fn object(self) -> Result<Object, Stop> {
        Ok(Object { checker: self.inside()?, key: String::new(), variant: None })
    }
}

macro_rules! fine {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, _: $type) -> Result<(), Stop> { Ok(()) })*
    };
}

impl Serializer for Checker {
    type Ok = ();
    type Error = Stop;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = List;
    type SerializeMap = Object;
    type SerializeStruct = Object;
    type SerializeStructVariant = Object;

    fine! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_u8: u8,
        serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_char: char, serialize_str: &str,
        serialize_bytes: &[u8], serialize_unit_struct: &'static str,
    }

    fn serialize_i128(self, value: i128) -> Result<(), Stop> {
        match i64::try_from(value).is_ok() || u64::try_from(value).is_ok() {
            true => Ok(()),
            false => Err(Stop::at_once(Problem::IntegerTooLarge)),
        }
    }

    fn serialize_u128(self, value: u128) -> Result<(), Stop> {
        match u64::try_from(value).is_ok() {
            true => Ok(()),
            false => Err(Stop::at_once(Problem::IntegerTooLarge)),
        }
    }

    fn serialize_f32(self, value: f32) -> Result<(), Stop> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), Stop> {
        if value.is_finite() { Ok(()) } else { Err(Stop::at_once(Problem::NotFinite)) }
    }

    fn serialize_none(self) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_unit(self) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Stop> {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Stop> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        value.serialize(self.inside()?).map_err(|stop| stop.of(Some(variant)))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List, Stop> {
        self.list()
    }

    fn serialize_tuple(self, _: usize) -> Result<List, Stop> {
        self.list()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List, Stop> {
        self.list()
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Result<List, Stop> {
        Ok(List { variant: Some(variant), ..self.inside()?.list()? })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Object, Stop> {
        self.object()
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Object, Stop> {
        match name.starts_with("$serde_json::private::") {
            // A number or a text of JSON that is kept as it was written: it does not become an object.
            true => Ok(Object { checker: self, key: String::new(), variant: None }),
            false => self.object(),
        }
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Object, Stop> {
        Ok(Object { variant: Some(variant), ..self.inside()?.object()? })
    }

    fn collect_str<T: Display + ?Sized>(self, _: &T) -> Result<(), Stop> {
        Ok(())
    }
}

/// The elements of a list, counted.
struct List {
    checker: Checker,
    next: usize,
    /// The enum variant that contains the list, if any.
    variant: Option<&'static str>,
}

impl List {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        value
            .serialize(self.checker)
            .map_err(|stop| stop.within(Segment::Seq { index: self.next }).of(self.variant))?;
        self.next += 1;
        Ok(())
    }
}

macro_rules! list {
    ($($trait:ident :: $method:ident),*) => {
        $(impl ser::$trait for List {
            type Ok = ();
            type Error = Stop;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
                self.element(value)
            }

            fn end(self) -> Result<(), Stop> {
                Ok(())
            }
        })*
    };
}

list!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

/// The members of an object, and the current key.
struct Object {
    checker: Checker,
    key: String,
    /// The enum variant that contains the object, if any.
    variant: Option<&'static str>,
}

impl Object {
    fn member<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), Stop> {
        value.serialize(self.checker).map_err(|stop| stop.within(Segment::Map { key: key.to_owned() }).of(self.variant))
    }
}

impl ser::SerializeMap for Object {
    type Ok = ();
    type Error = Stop;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Stop> {
        self.key = key.serialize(KeyText)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.member(&self.key, value)
    }

    fn end(self) -> Result<(), Stop> {
        Ok(())
    }
}

macro_rules! object {
    ($($trait:ident),*) => {
        $(impl ser::$trait for Object {
            type Ok = ();
            type Error = Stop;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Stop> {
                self.member(key, value)
            }

            fn end(self) -> Result<(), Stop> {
                Ok(())
            }
        })*
    };
}

object!(SerializeStruct, SerializeStructVariant);

/// Serialises a key into its text, if it has one.
struct KeyText;

macro_rules! written {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, value: $type) -> Result<String, Stop> { Ok(value.to_string()) })*
    };
}

macro_rules! not_a_key {
    ($($method:ident($($type:ty),*) -> $ok:ty),* $(,)?) => {
        $(fn $method(self, $(_: $type),*) -> Result<$ok, Stop> { Err(Stop::at_once(Problem::KeyNotText)) })*
    };
}

impl Serializer for KeyText {
    type Ok = String;
    type Error = Stop;
    type SerializeSeq = Impossible<String, Stop>;
    type SerializeTuple = Impossible<String, Stop>;
    type SerializeTupleStruct = Impossible<String, Stop>;
    type SerializeTupleVariant = Impossible<String, Stop>;
    type SerializeMap = Impossible<String, Stop>;
    type SerializeStruct = Impossible<String, Stop>;
    type SerializeStructVariant = Impossible<String, Stop>;

    written! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
        serialize_char: char, serialize_str: &str,
    }

    not_a_key! {
        serialize_f32(f32) -> String,
        serialize_f64(f64) -> String,
        serialize_bytes(&[u8]) -> String,
        serialize_none() -> String,
        serialize_unit() -> String,
        serialize_unit_struct(&'static str) -> String,
        serialize_seq(Option<usize>) -> Self::SerializeSeq,
        serialize_tuple(usize) -> Self::SerializeTuple,
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct,
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant,
        serialize_map(Option<usize>) -> Self::SerializeMap,
        serialize_struct(&'static str, usize) -> Self::SerializeStruct,
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant,
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<String, Stop> {
        Ok(variant.to_owned())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<String, Stop> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<String, Stop> {
        Err(Stop::at_once(Problem::KeyNotText))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<String, Stop> {
        Err(Stop::at_once(Problem::KeyNotText))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    enum Shape {
        Unit,
        Pair(f64, f32),
        Named { side: f64 },
        Wrapped(Vec<Option<f64>>),
    }

    #[test]
    fn what_json_can_hold_becomes_the_same_json() {
        let value =
            (1_u8, "a", Some(2.5), None::<u8>, [Shape::Unit, Shape::Pair(1.0, 2.0), Shape::Named { side: 3.0 }]);
        assert_eq!(
            to_value(&value),
            Ok(json!([1, "a", 2.5, null, ["Unit", {"Pair": [1.0, 2.0]}, {"Named": {"side": 3.0}}]]))
        );
        assert_eq!(to_value(&HashMap::from([(7, true)])), Ok(json!({"7": true})));
        assert_eq!(to_value(&u64::MAX), Ok(json!(u64::MAX)));
    }

    #[test]
    fn infinities_and_nan_are_refused_wherever_they_hide() {
        let path = |error| match error {
            Err(JsonViolation::NotFinite { path }) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(path(to_value(&f64::NAN)), "the top level");
        assert_eq!(path(to_value(&Shape::Pair(0.0, f32::INFINITY))), "Pair[1]");
        assert_eq!(path(to_value(&Shape::Named { side: f64::NEG_INFINITY })), "Named.side");
        assert_eq!(path(to_value(&Shape::Wrapped(vec![None, Some(f64::NAN)]))), "Wrapped[1]");
        assert_eq!(path(to_value(&BTreeMap::from([("rates", vec![f64::NAN])]))), "rates[0]");
    }

    #[test]
    fn keys_that_are_not_texts_are_refused() {
        let error = to_value(&BTreeMap::from([((1, 2), "x")]));
        assert_eq!(error, Err(JsonViolation::KeyNotText { path: "the top level".to_owned() }));
        let error = to_value(&json_within(BTreeMap::from([(Some(1), "x")])));
        assert_eq!(error, Err(JsonViolation::KeyNotText { path: "table".to_owned() }));
    }

    fn json_within<T>(table: T) -> BTreeMap<&'static str, T> {
        BTreeMap::from([("table", table)])
    }

    #[test]
    fn integers_beyond_64_bits_are_refused() {
        assert!(matches!(to_value(&vec![u128::MAX]), Err(JsonViolation::IntegerTooLarge { .. })));
        assert!(matches!(to_value(&i128::MIN), Err(JsonViolation::IntegerTooLarge { .. })));
        assert_eq!(to_value(&5_u128), Ok(json!(5)));
    }

    #[test]
    fn endless_nesting_is_refused_before_the_stack_runs_out() {
        struct Endless;
        impl Serialize for Endless {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq([Endless])
            }
        }
        assert!(matches!(to_value(&Endless), Err(JsonViolation::TooDeep { .. })));
    }

    #[test]
    fn a_type_that_refuses_is_named_by_its_place() {
        struct Refusing;
        impl Serialize for Refusing {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(ser::Error::custom("the secret is 42"))
            }
        }
        let error = to_value(&json_within(Refusing)).unwrap_err();
        assert_eq!(error, JsonViolation::Refused { path: "table".to_owned() });
    }
}
