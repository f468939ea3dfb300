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
    /// The route by which the run continues, if the handler chose one.
    pub route: Option<String>,
}

/// The output of a step: anything that serialises, or [`WithDelay`] or [`Routed`] of it.
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
        kept(self, None, None)
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
        kept(self.output, Some(self.delay), None)
    }

    fn shape() -> OutputShape {
        OutputShape::of::<T>()
    }
}

/// An output with the name of the transition by which the run continues: one that was declared with
/// [`then_named`](crate::workflow::WorkflowBuilder::then_named). Another name fails the step with the kind
/// `unknown_route`; its output is kept all the same.
///
/// ```
/// use squidmesh_core::workflow::Routed;
/// use squidmesh_core::{StepContext, StepResult, minutes};
///
/// async fn ask_bank(order: serde_json::Value, _: StepContext) -> StepResult<Routed<u64>> {
///     match order["attempts"].as_u64() {
///         Some(attempts) if attempts > 3 => Ok(Routed::to("give_up", attempts)),
///         attempts => Ok(Routed::to("retry_later", attempts.unwrap_or(0)).after(minutes(5))),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed<T> {
    route: String,
    delay: Option<Duration>,
    output: T,
}

impl<T> Routed<T> {
    /// Creates an output after which the run continues by the route with this name.
    pub fn to(route: impl AsRef<str>, output: T) -> Self {
        Self { route: route.as_ref().to_owned(), delay: None, output }
    }

    /// Starts the successor after a delay. Millisecond precision.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }
}

impl<T: Serialize + Send> Output for Routed<T> {
    fn into_output(self) -> Result<HandlerOutput, JsonViolation> {
        kept(self.output, self.delay, Some(self.route))
    }

    fn shape() -> OutputShape {
        OutputShape::of::<T>()
    }
}

/// Returns the output as JSON. From then on the step has done its work, even if dropping the output panics.
fn kept<T: Serialize>(
    output: T,
    schedule_in: Option<Duration>,
    route: Option<String>,
) -> Result<HandlerOutput, JsonViolation> {
    let value = to_value(&output);
    cage::discard(output);
    Ok(HandlerOutput { value: value?, schedule_in, route })
}
