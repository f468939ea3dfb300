//! A value that may be absent: how `null` is told from nothing when a record is read.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Reads a field that is there, for `deserialize_with`: its `null` is a value that somebody gave. serde reads it as no value.
pub(crate) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
