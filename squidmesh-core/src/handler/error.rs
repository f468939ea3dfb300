//! How a step fails.
//!
//! Knows what is told about a failure and whether trying again makes sense; must never know how often that is allowed.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::definition::optional_millis;
use crate::json::to_value;

/// What a step handler returns.
pub type StepResult<T> = Result<T, StepError>;

/// The failure of one attempt. `?` on any [`std::error::Error`] makes a retryable one that keeps the chain of sources.
///
/// ```
/// use serde_json::json;
/// use squidmesh_core::{StepError, secs};
///
/// let declined = StepError::terminal("the card was declined").kind("declined").details(json!({"code": 51}));
/// let busy = StepError::retryable("the gateway is busy").retry_after(secs(10));
/// assert!(busy.retryable && !declined.retryable);
/// ```
///
/// It does not implement [`std::error::Error`] itself, or `?` could not accept every error. However long its texts and
/// whatever its details are, it can be recorded: what is beyond the limits is cut and marked then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepError {
    /// A word for programs, such as `declined`; `error` if nothing else was said.
    pub kind: ErrorKind,
    /// A sentence for people.
    pub message: String,
    /// More for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Whether another attempt may succeed.
    pub retryable: bool,
    /// How long to wait before that attempt, instead of the step's backoff.
    #[serde(default, rename = "retry_after_ms", with = "optional_millis", skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
    /// What caused it, the nearest cause first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
}

impl StepError {
    /// A failure that another attempt may mend.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::new(message.into(), true)
    }

    /// A failure that no other attempt can mend.
    pub fn terminal(message: impl Into<String>) -> Self {
        Self::new(message.into(), false)
    }

    fn new(message: String, retryable: bool) -> Self {
        Self {
            kind: ErrorKind::from(ErrorKind::ERROR),
            message,
            details: None,
            retryable,
            retry_after: None,
            chain: Vec::new(),
        }
    }

    /// The kind, for programs that look at the failure.
    pub fn kind(mut self, kind: impl Into<ErrorKind>) -> Self {
        self.kind = kind.into();
        self
    }

    /// Anything more that a program may want to know. What JSON cannot represent is replaced by the reason.
    pub fn details(mut self, details: impl Serialize) -> Self {
        self.details = Some(
            to_value(&details).unwrap_or_else(|violation| Value::from(format!("[details not kept: {violation}]"))),
        );
        self
    }

    /// How long to wait before the next attempt, instead of the step's backoff. Has no effect on a terminal failure.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The same failure, for good.
    pub fn into_terminal(mut self) -> Self {
        self.retryable = false;
        self
    }
}

/// How many causes are kept.
const CAUSES: usize = 32;

impl<E: std::error::Error + Send + Sync + 'static> From<E> for StepError {
    fn from(error: E) -> Self {
        let mut failure = Self::retryable(error.to_string());
        let mut source = error.source();
        while let Some(cause) = source.filter(|_| failure.chain.len() < CAUSES) {
            failure.chain.push(cause.to_string());
            source = cause.source();
        }
        failure
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)?;
        self.chain.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// The kind of a failure, in one word for programs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorKind(Box<str>);

impl ErrorKind {
    /// A failure of which nothing more was said.
    pub const ERROR: &'static str = "error";
    /// The attempt took longer than the step's timeout.
    pub const TIMEOUT: &'static str = "timeout";
    /// The handler panicked.
    pub const PANIC: &'static str = "panic";
    /// The input does not fit the handler's type.
    pub const INVALID_INPUT: &'static str = "invalid_input";
    /// The output cannot be kept.
    pub const INVALID_OUTPUT: &'static str = "invalid_output";
    /// The transaction of a transactional step could not be used or committed.
    pub const TRANSACTION: &'static str = "transaction";
    /// The worker that ran the attempt is gone.
    pub const STALE_RUNNING_STEP: &'static str = "stale_running_step";

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ErrorKind {
    fn from(kind: &str) -> Self {
        Self(kind.into())
    }
}

impl From<String> for ErrorKind {
    fn from(kind: String) -> Self {
        Self(kind.into())
    }
}

impl PartialEq<str> for ErrorKind {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for ErrorKind {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
