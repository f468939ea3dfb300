//! What went wrong, as it is recorded with an attempt, a step run and a run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::given;
use crate::{StepError, StepName};

/// A recorded failure: plain data that any process can show, whether or not it has the code that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What sort of failure: the handler's own word, or one of the constants of this type.
    pub kind: String,
    /// What happened, for people. Cut to the payload limit when longer, and marked so.
    pub message: String,
    /// The step it happened in, or that could not be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// Whether another attempt might have helped.
    #[serde(default)]
    pub retryable: bool,
    /// The handler's details.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub details: Option<Value>,
    /// The messages of the error's sources, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
}

impl Failure {
    /// The handler did not finish within the step's timeout.
    pub const TIMEOUT: &'static str = "timeout";
    /// The handler panicked.
    pub const PANIC: &'static str = "panic";
    /// The worker that ran the step died or lost its lease.
    pub const STALE_RUNNING_STEP: &'static str = "stale_running_step";
    /// The step took its worker down too many times in a row.
    pub const POISON_STEP: &'static str = "poison_step";
    /// The worker was shut down before the handler finished. Counts as no attempt.
    pub const INTERRUPTED: &'static str = "interrupted";
    /// The step's output is not a JSON object, or is beyond the limits.
    pub const INVALID_OUTPUT: &'static str = "invalid_output";
    /// The input does not fit the handler's type.
    pub const INVALID_INPUT: &'static str = "invalid_input";
    /// The step ended and the workflow names no successor for that outcome.
    pub const NO_SUCCESSOR: &'static str = "no_successor";
    /// The executor refused to deliver the successor.
    pub const SUCCESSOR_REFUSED: &'static str = "successor_refused";
    /// The transaction of a transactional step could not be used for recording, or not be committed.
    pub const TRANSACTION: &'static str = "transaction";
    /// An approval was rejected.
    pub const REJECTED: &'static str = "rejected";
    /// The run was cancelled while the step waited for a person.
    pub const CANCELLED: &'static str = "cancelled";
    /// Compensation callbacks failed after the run did.
    pub const COMPENSATION_FAILED: &'static str = "compensation_failed";

    /// A failure of a kind with a message.
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

    /// The same failure, naming the step.
    #[must_use]
    pub fn at(mut self, step: &StepName) -> Self {
        self.step = Some(step.clone());
        self
    }
}

impl From<&StepError> for Failure {
    fn from(error: &StepError) -> Self {
        Failure {
            kind: error.kind.to_string(),
            message: error.message.clone(),
            step: None,
            retryable: error.retryable,
            details: error.details.clone(),
            chain: error.chain.clone(),
        }
    }
}
