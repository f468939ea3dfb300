//! The input of a step run as it is stored: a reference to what the run stores anyway, or a copy.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

/// The input of a step run, as it was when the step was scheduled: every attempt receives the same.
///
/// An output never changes once its step has completed, so an input follows from the payload, the outputs that were
/// complete when the step was scheduled, and the mapping that the run's version declares. Storing that again with
/// every step would make the cost of a run grow with the square of its outputs.
/// [`RunSnapshot::input_of`](super::RunSnapshot::input_of) returns the input either way.
///
/// As JSON, a reference is a number and a copy is an object.
#[derive(Clone, Debug, PartialEq)]
pub enum InputSnapshot {
    /// The input as of the completion with this [sequence number](super::StepRun::sequence); 0 before the first. In a
    /// dependency workflow, a step receives the outputs of its dependencies, and the number is 0.
    AsOf(u64),
    /// A copy: of a step whose run has been moved to another version since, or as inspection returns it.
    Copy(Arc<Map<String, Value>>),
}

impl InputSnapshot {
    /// Returns the copy, if the input is one.
    pub fn copy(&self) -> Option<&Arc<Map<String, Value>>> {
        match self {
            InputSnapshot::AsOf(_) => None,
            InputSnapshot::Copy(copy) => Some(copy),
        }
    }
}

impl Serialize for InputSnapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            InputSnapshot::AsOf(sequence) => serializer.serialize_u64(*sequence),
            InputSnapshot::Copy(copy) => copy.serialize(serializer),
        }
    }
}

// Not `#[serde(untagged)]`: with the feature `arbitrary_precision` of serde_json, that reads no number.
impl<'de> Deserialize<'de> for InputSnapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let refused = || de::Error::custom("an input is a sequence number or an object");
        match Value::deserialize(deserializer)? {
            Value::Object(copy) => Ok(InputSnapshot::Copy(Arc::new(copy))),
            number => number.as_u64().map(InputSnapshot::AsOf).ok_or_else(refused),
        }
    }
}
