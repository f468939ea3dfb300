//! The output types of handlers.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::output_shape::OutputShape;
use crate::cage;
use crate::json::{JsonViolation, to_value};

/// The result of a handler.
#[derive(Clone, Debug, PartialEq)]
pub struct HandlerOutput {
    /// The output as JSON, of any type: `null` for `()`.
    pub value: Value,
    /// The delay of the successor, if the handler set one.
    pub schedule_in: Option<Duration>,
}

/// The output of a step: anything that serialises, or [`WithDelay`] of it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the output of a step",
    label = "the output of a step is stored as JSON",
    note = "add `#[derive(serde::Serialize)]` to `{Self}`"
)]
pub trait Output: Send {
    /// Converts the output into JSON, with the delay that it asks for.
    ///
    /// # Errors
    /// Returns [`JsonViolation`] if JSON cannot represent the output.
    fn into_output(self) -> Result<HandlerOutput, JsonViolation>;

    /// Returns what the type says about the JSON of its values.
    fn shape() -> OutputShape;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + Send> Output for T {
    fn into_output(self) -> Result<HandlerOutput, JsonViolation> {
        kept(self, None)
    }

    fn shape() -> OutputShape {
        OutputShape::of::<T>()
    }
}

/// An output whose successor starts after a delay. The wait is durable; no worker is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithDelay<T> {
    delay: Duration,
    output: T,
}

impl<T> WithDelay<T> {
    /// Creates an output whose successor starts after `delay`. Millisecond precision.
    pub fn by(delay: Duration, output: T) -> Self {
        Self { delay, output }
    }
}

impl<T: Serialize + Send> Output for WithDelay<T> {
    fn into_output(self) -> Result<HandlerOutput, JsonViolation> {
        kept(self.output, Some(self.delay))
    }

    fn shape() -> OutputShape {
        OutputShape::of::<T>()
    }
}

/// Returns the output as JSON. From then on the step has done its work, even if dropping the output panics.
fn kept<T: Serialize>(output: T, schedule_in: Option<Duration>) -> Result<HandlerOutput, JsonViolation> {
    let value = to_value(&output);
    cage::discard(output);
    Ok(HandlerOutput { value: value?, schedule_in })
}
