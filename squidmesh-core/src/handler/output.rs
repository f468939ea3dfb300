//! What a handler may give back.

use std::time::Duration;

use serde::Serialize;

use super::erased::HandlerOutput;
use crate::json::{JsonViolation, to_value};

/// The output of a step: anything that serialises, or [`Delayed`] of it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the output of a step",
    label = "the output of a step is stored as JSON",
    note = "add `#[derive(serde::Serialize)]` to `{Self}`"
)]
pub trait Output: Send {
    /// The output as JSON, and the delay that it asks for.
    ///
    /// # Errors
    /// [`JsonViolation`] if JSON cannot represent it.
    fn into_output(self) -> Result<HandlerOutput, JsonViolation>;
}

impl<T: Serialize + Send> Output for T {
    fn into_output(self) -> Result<HandlerOutput, JsonViolation> {
        Ok(HandlerOutput { value: to_value(&self)?, schedule_in: None })
    }
}

/// An output that asks for its successor to start later. The time is waited for durably; no worker is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delayed<T> {
    delay: Duration,
    output: T,
}

impl<T> Delayed<T> {
    /// The output, with the step's successor to start so much later. Millisecond precision.
    pub fn by(delay: Duration, output: T) -> Self {
        Self { delay, output }
    }
}

impl<T: Serialize + Send> Output for Delayed<T> {
    fn into_output(self) -> Result<HandlerOutput, JsonViolation> {
        Ok(HandlerOutput { value: to_value(&self.output)?, schedule_in: Some(self.delay) })
    }
}
