//! The failure that is recorded with an attempt, a step run or a run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::given;
use crate::name::StepName;

/// A recorded failure: plain data that any process can show, even without the code that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of the failure: the handler's own word, or one of the constants of this type.
    pub kind: String,
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
    /// A handler failed without naming a more specific kind.
    pub const ERROR: &'static str = "error";
    /// The handler did not finish within the step's timeout.
    pub const TIMEOUT: &'static str = "timeout";
    /// The handler panicked.
    pub const PANIC: &'static str = "panic";
    /// The worker that ran the step died or lost its lease.
    pub const STALE_RUNNING_STEP: &'static str = "stale_running_step";
    /// The step crashed its worker too many times in a row.
    pub const POISON_STEP: &'static str = "poison_step";
    /// The worker was shut down before the handler finished. Does not count as an attempt.
    pub const INTERRUPTED: &'static str = "interrupted";
    /// The step's output is not a JSON object, or is beyond the limits.
    pub const INVALID_OUTPUT: &'static str = "invalid_output";
    /// The step's output exceeds the size limit of the run's context.
    pub const CONTEXT_TOO_LARGE: &'static str = "context_too_large";
    /// The input does not fit the handler's type.
    pub const INVALID_INPUT: &'static str = "invalid_input";
    /// The step ended and the workflow names no successor for that outcome.
    pub const NO_SUCCESSOR: &'static str = "no_successor";
    /// The executor refused to deliver the successor.
    pub const SUCCESSOR_REFUSED: &'static str = "successor_refused";
    /// The transaction of a transactional step could not be used for recording, or could not be committed.
    pub const TRANSACTION: &'static str = "transaction";
    /// An approval was rejected.
    pub const REJECTED: &'static str = "rejected";
    /// The deadline of an approval passed without a decision.
    pub const EXPIRED: &'static str = "expired";
    /// The run was cancelled while the step waited for a person.
    pub const CANCELLED: &'static str = "cancelled";
    /// Compensation callbacks failed after the run did.
    pub const COMPENSATION_FAILED: &'static str = "compensation_failed";

    /// Creates a failure with a kind and a message.
    pub fn new(kind: &str, message: impl Into<String>) -> Self {
        Failure {
            kind: kind.to_owned(),
            message: message.into(),
            step: None,
            retryable: false,
            details: None,
            chain: Vec::new(),
        }
    }

    /// Sets the step of the failure.
    #[must_use]
    pub fn at(mut self, step: &StepName) -> Self {
        self.step = Some(step.clone());
        self
    }
}
