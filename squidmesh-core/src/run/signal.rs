//! The signals that a run has received.
//!
//! Knows what came and which step took it; must never know who sends a signal, or when one is taken.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::object_size;
use crate::name::{SignalName, StepName};
use crate::time::Timestamp;
use crate::token::CommitToken;

/// A signal that a run has received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReceivedSignal {
    /// The token of the commit that received it, which identifies the signal: a run receives one in a commit.
    pub id: CommitToken,
    /// The name of the signal.
    pub name: SignalName,
    /// The sender's key: the run accepts one signal of this name under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<String>,
    /// The payload, with defaults resolved; `None` once a step has taken the signal: it is that step's output then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Arc<Map<String, Value>>>,
    /// The step that took the signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_by: Option<StepName>,
    /// The time at which the run received the signal.
    pub at: Timestamp,
}

impl ReceivedSignal {
    /// Returns whether no step has taken the signal.
    pub fn is_buffered(&self) -> bool {
        self.taken_by.is_none()
    }

    /// Returns the size of the payload, in bytes of compact JSON, as long as the signal keeps it.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.payload.as_deref().map_or(0, object_size)
    }
}
