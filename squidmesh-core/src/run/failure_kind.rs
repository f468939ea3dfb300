//! The kind of a failure, for programs.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// The kind of a failure, in one word for programs: the handler's own, such as `declined`, or one of the constants of
/// this type. Stored and serialized as that word.
///
/// ```
/// use squidmesh_core::StepError;
/// use squidmesh_core::run::FailureKind;
///
/// let declined = StepError::terminal("the card was declined").kind("declined");
/// assert!(declined.kind == "declined" && declined.kind != FailureKind::TIMEOUT);
/// ```
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct FailureKind(Word);

/// A word in no more memory than a boxed text needs, since errors that have one are returned by value.
#[derive(Clone)]
enum Word {
    Known(&'static &'static str),
    Given(Box<str>),
}

impl FailureKind {
    /// A handler failed without naming a more specific kind.
    pub const ERROR: Self = Self(Word::Known(&"error"));
    /// The handler did not finish within the step's timeout.
    pub const TIMEOUT: Self = Self(Word::Known(&"timeout"));
    /// The handler panicked.
    pub const PANIC: Self = Self(Word::Known(&"panic"));
    /// The worker that ran the step died or lost its lease.
    pub const STALE_RUNNING_STEP: Self = Self(Word::Known(&"stale_running_step"));
    /// The step crashed its worker too many times in a row.
    pub const POISON_STEP: Self = Self(Word::Known(&"poison_step"));
    /// The worker was shut down before the handler finished. Does not count as an attempt.
    pub const INTERRUPTED: Self = Self(Word::Known(&"interrupted"));
    /// The step's output is not a JSON object, or is beyond the limits.
    pub const INVALID_OUTPUT: Self = Self(Word::Known(&"invalid_output"));
    /// The step's output exceeds the size limit of the run's context.
    pub const CONTEXT_TOO_LARGE: Self = Self(Word::Known(&"context_too_large"));
    /// The input does not fit the handler's type.
    pub const INVALID_INPUT: Self = Self(Word::Known(&"invalid_input"));
    /// The step ended and the workflow names no successor for that outcome.
    pub const NO_SUCCESSOR: Self = Self(Word::Known(&"no_successor"));
    /// The handler chose a route that its step does not declare.
    pub const UNKNOWN_ROUTE: Self = Self(Word::Known(&"unknown_route"));
    /// The workflow leads to [`FAIL`](crate::FAIL).
    pub const FAILED: Self = Self(Word::Known(&"failed"));
    /// The executor refused to deliver the successor.
    pub const SUCCESSOR_REFUSED: Self = Self(Word::Known(&"successor_refused"));
    /// The transaction of a transactional step could not be used for recording, or could not be committed.
    pub const TRANSACTION: Self = Self(Word::Known(&"transaction"));
    /// An approval was rejected.
    pub const REJECTED: Self = Self(Word::Known(&"rejected"));
    /// The deadline of an approval passed without a decision, or that of a wait without its signal.
    pub const EXPIRED: Self = Self(Word::Known(&"expired"));
    /// The run was cancelled while the step waited.
    pub const CANCELLED: Self = Self(Word::Known(&"cancelled"));
    /// Compensation callbacks failed after the run did.
    pub const COMPENSATION_FAILED: Self = Self(Word::Known(&"compensation_failed"));

    /// Returns the word.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Word::Known(word) => word,
            Word::Given(word) => word,
        }
    }
}

impl From<&str> for FailureKind {
    fn from(word: &str) -> Self {
        Self(Word::Given(word.into()))
    }
}

impl From<String> for FailureKind {
    fn from(word: String) -> Self {
        Self(Word::Given(word.into()))
    }
}

impl PartialEq for FailureKind {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for FailureKind {}

impl PartialEq<&str> for FailureKind {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for FailureKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_written_as_its_word_and_reads_back() {
        let text = serde_json::to_string(&FailureKind::TIMEOUT).unwrap();
        assert_eq!(text, "\"timeout\"");
        assert_eq!(serde_json::from_str::<FailureKind>(&text).unwrap(), FailureKind::TIMEOUT);
        assert_eq!(FailureKind::from("timeout"), FailureKind::TIMEOUT);
    }
}
