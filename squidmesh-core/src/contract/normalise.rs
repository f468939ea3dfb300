//! Brings a schema into the form that is stored, compared and fingerprinted, and completes payloads with its defaults.
//!
//! Knows which keywords of JSON Schema hold schemas; must never change what a type accepts, except for closing it to fields
//! that it does not have and integers that it cannot hold.

use serde_json::Value;

pub(super) fn normalise(schema: Value) -> Value {
    schema
}

pub(super) fn complete(_schema: &Value, _payload: &mut Value) {}
