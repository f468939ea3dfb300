//! How a step fails.
//!
//! Knows what is recorded about a failure and whether a retry makes sense; must never know how many are allowed.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cage;
use crate::definition::optional_millis;
use crate::json::to_value;
use crate::run::{Failure, FailureKind};

/// The return type of step handlers.
pub type StepResult<T> = Result<T, StepError>;

/// The failure of one attempt. `?` turns every [`std::error::Error`], every `Box<dyn Error + Send + Sync>`, and
/// everything that converts into one, such as `anyhow::Error` and strings, into a retryable failure; the chain of
/// sources is kept. [`StepResultExt`](crate::StepResultExt) adds to a failure before it is returned.
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
/// It does not implement [`std::error::Error`] itself, because `?` could not accept every error otherwise. Every
/// failure can be recorded: texts and details beyond the limits are cut and marked at that time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepError {
    /// The kind of the failure for programs, such as `declined`; `error` by default.
    pub kind: FailureKind,
    /// The message for people.
    pub message: String,
    /// Details for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Whether a retry may succeed.
    pub retryable: bool,
    /// How long to wait before the retry, instead of the step's backoff.
    #[serde(default, rename = "retry_after_ms", with = "optional_millis", skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
    /// The chain of causes, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    #[serde(skip)]
    origin: Origin,
}

/// The error that the failure was made of, until the failure is stored. It is never recorded.
#[derive(Clone, Default)]
struct Origin(Option<Arc<Held>>);

/// An error of the host, which is dropped in a cage.
struct Held(Option<Box<dyn Error + Send + Sync>>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(error) = self.0.take() {
            cage::discard(error);
        }
    }
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "an error" } else { "none" })
    }
}

impl StepError {
    /// Creates a failure that a retry may fix.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::new(message.into(), true)
    }

    /// Creates a failure that no retry can fix.
    pub fn terminal(message: impl Into<String>) -> Self {
        Self::new(message.into(), false)
    }

    fn new(message: String, retryable: bool) -> Self {
        Self {
            kind: FailureKind::ERROR,
            message,
            details: None,
            retryable,
            retry_after: None,
            chain: Vec::new(),
            origin: Origin::default(),
        }
    }

    /// Sets the kind, for programs that inspect the failure.
    pub fn kind(mut self, kind: impl Into<FailureKind>) -> Self {
        self.kind = kind.into();
        self
    }

    /// Sets details for programs. If JSON cannot represent them, the reason is recorded instead.
    pub fn details(mut self, details: impl Serialize) -> Self {
        let kept = cage::call(|| to_value(&details));
        self.details = Some(match kept {
            Ok(Ok(kept)) => kept,
            Ok(Err(violation)) => Value::from(format!("[details not kept: {violation}]")),
            Err(_) => Value::from("[details not kept: they panicked]"),
        });
        cage::discard(details);
        self
    }

    /// Sets how long to wait before the retry, instead of the step's backoff. Has no effect on a terminal failure.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Returns the first error of type `E` among the original error and its causes. Returns `None` once the
    /// failure was stored.
    ///
    /// ```
    /// use std::io;
    /// use squidmesh_core::StepError;
    ///
    /// let error = StepError::from(io::Error::from(io::ErrorKind::NotFound));
    /// assert!(error.find::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound));
    /// ```
    pub fn find<E: Error + 'static>(&self) -> Option<&E> {
        let mut next: Option<&(dyn Error + 'static)> = Some(&**self.origin.0.as_ref()?.0.as_ref()?);
        for _ in 0..=CAUSES {
            let error = next?;
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// Makes the failure terminal.
    pub fn into_terminal(mut self) -> Self {
        self.retryable = false;
        self
    }
}

/// The maximum number of causes that are kept.
const CAUSES: usize = 32;

/// Converts everything that boxes into an error. `StepError` does not, so this does not conflict with the
/// conversion of a type into itself.
impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for StepError {
    fn from(error: E) -> Self {
        let error: Box<dyn Error + Send + Sync> = error.into();
        let mut failure = Self::retryable(text_of(&*error));
        let mut chain = Vec::new();
        let whole = cage::call(|| {
            let mut source = error.source();
            while let Some(cause) = source.filter(|_| chain.len() < CAUSES) {
                chain.push(text_of(cause));
                source = cause.source();
            }
        });
        if whole.is_err() {
            chain.push(NO_TEXT.to_owned());
        }
        failure.chain = chain;
        failure.origin = Origin(Some(Arc::new(Held(Some(error)))));
        failure
    }
}

/// The text of an error whose `Display` panics: the error is still the failure of the attempt.
const NO_TEXT: &str = "(the error panicked when it was asked for its text)";

/// Returns the text of an error of the host.
fn text_of(error: &dyn Error) -> String {
    cage::call(|| error.to_string()).unwrap_or_else(|_| NO_TEXT.to_owned())
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)?;
        self.chain.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl From<&StepError> for Failure {
    fn from(error: &StepError) -> Self {
        Failure {
            kind: error.kind.clone(),
            message: error.message.clone(),
            step: None,
            retryable: error.retryable,
            details: error.details.clone(),
            chain: error.chain.clone(),
        }
    }
}
