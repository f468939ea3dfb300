//! The error types of handlers, and what can be added to a failure before it is returned.
//!
//! Knows how errors of the host become a [`StepError`]; must never know what happens to it afterwards.

use std::time::Duration;

use super::error::{StepError, StepResult};
use crate::run::FailureKind;

/// An error type of step functions: a [`StepError`], or anything that `?` turns into one, so that a handler can
/// return the error type of its own crate.
///
/// ```
/// use squidmesh_core::{Step, StepContext};
///
/// #[derive(Debug, thiserror::Error)]
/// enum LoanError {
///     #[error("the register does not answer")]
///     Register(#[from] std::io::Error),
///     #[error("nobody of that name")]
///     Unknown,
/// }
///
/// async fn assess(_: serde_json::Value, _: StepContext) -> Result<u32, LoanError> { Err(LoanError::Unknown) }
///
/// let step = Step::new("assess", assess).output("score");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a step",
    label = "a step fails with a `StepError`, or with what becomes one",
    note = "implement `std::error::Error` for `{Self}` (it has to be `Send`, `Sync` and `'static`), or `From<{Self}>` for `StepError`"
)]
pub trait StepFailure {
    /// Converts the error into the failure that is recorded.
    fn into_step_error(self) -> StepError;
}

impl<E: Into<StepError>> StepFailure for E {
    fn into_step_error(self) -> StepError {
        self.into()
    }
}

/// Adds to a failure before `?` returns it.
///
/// ```
/// use squidmesh_core::{StepContext, StepResult, StepResultExt, secs};
///
/// async fn import(path: String, _: StepContext) -> StepResult<usize> {
///     let text = std::fs::read_to_string(path).retry_after(secs(60))?;
///     let lines: usize = text.trim().parse().kind("bad_file").terminal()?;
///     Ok(lines)
/// }
/// ```
pub trait StepResultExt<T>: Sized {
    /// Makes the failure terminal: no retry can fix it.
    ///
    /// # Errors
    /// Returns the failure, if there is one.
    fn terminal(self) -> StepResult<T>;

    /// Sets the kind of the failure, in one word for programs.
    ///
    /// # Errors
    /// Returns the failure, if there is one.
    fn kind(self, kind: impl Into<FailureKind>) -> StepResult<T>;

    /// Sets how long to wait before the next attempt, instead of the step's backoff.
    ///
    /// # Errors
    /// Returns the failure, if there is one.
    fn retry_after(self, delay: Duration) -> StepResult<T>;
}

impl<T, E: StepFailure> StepResultExt<T> for Result<T, E> {
    fn terminal(self) -> StepResult<T> {
        self.map_err(|error| error.into_step_error().into_terminal())
    }

    fn kind(self, kind: impl Into<FailureKind>) -> StepResult<T> {
        self.map_err(|error| error.into_step_error().kind(kind))
    }

    fn retry_after(self, delay: Duration) -> StepResult<T> {
        self.map_err(|error| error.into_step_error().retry_after(delay))
    }
}
