//! The reading and writing of JSON, for tests that turn on features of a host.

use serde::Serialize;
use serde_json::Value;

use crate::json::{self, JsonLimits, JsonViolation};

/// Parses a text within limits.
///
/// # Errors
/// Returns the first violation of the limits or of the syntax.
pub fn parse(text: impl AsRef<[u8]>, limits: &JsonLimits) -> Result<Value, JsonViolation> {
    json::parse(text, limits)
}

/// Serializes a value as a handler's output is.
///
/// # Errors
/// Returns what cannot be stored, such as a number that JSON does not have.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, JsonViolation> {
    json::to_value(value)
}
