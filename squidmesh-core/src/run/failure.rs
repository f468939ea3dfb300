//! The failure that is recorded with an attempt, a step run or a run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::FailureKind;
use crate::json::given;
use crate::name::StepName;

/// A recorded failure: plain data that any process can show, even without the code that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of the failure: the handler's own word, or one of the constants of [`FailureKind`].
    pub kind: FailureKind,
    /// The message for people. Cut to the payload limit and marked if it is longer.
    pub message: String,
    /// The step that failed, or that could not be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// Whether a retry might have helped.
    #[serde(default)]
    pub retryable: bool,
    /// The details that the handler gave.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub details: Option<Value>,
    /// The messages of the error's causes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
}

impl Failure {
    /// Creates a failure with a kind and a message.
    pub fn new(kind: impl Into<FailureKind>, message: impl Into<String>) -> Self {
        Failure {
            kind: kind.into(),
            message: message.into(),
            step: None,
            retryable: false,
            details: None,
            chain: Vec::new(),
        }
    }

    /// Returns whether a step has failed because it chose a route that it does not declare. Its work is done.
    pub(crate) fn is_unknown_route(&self, step: &StepName) -> bool {
        self.kind == FailureKind::UNKNOWN_ROUTE && self.step.as_ref() == Some(step)
    }

    /// Sets the step of the failure.
    #[must_use]
    pub fn at(mut self, step: &StepName) -> Self {
        self.step = Some(step.clone());
        self
    }
}
