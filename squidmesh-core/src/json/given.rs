//! Distinguishes a `null` value from an absent one when a record is read.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Reads a field that is present, for `deserialize_with`: its `null` is a value. serde by itself reads it as
/// absent.
pub(crate) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
