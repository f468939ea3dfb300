//! Step handlers: the code of the host that a step runs.
//!
//! Knows how typed code is called with JSON and how its failures are reported; must never know runs, stores or
//! retries.

mod classified;
mod compensation;
mod context;
mod erased;
mod error;
mod fails;
mod heartbeat;
mod output;
mod output_shape;
mod transactional;

use std::future::Future;

use serde::de::DeserializeOwned;

pub use self::compensation::Compensation;
pub use self::context::StepContext;
pub use self::erased::ErasedHandler;
pub use self::error::{StepError, StepResult};
pub use self::fails::{StepFailure, StepResultExt};
pub use self::heartbeat::{AttemptCancelled, Heartbeat};
pub use self::output::{HandlerOutput, Output, Routed, WithDelay};
pub use self::output_shape::OutputShape;
pub use self::transactional::{ErasedTransactional, TransactionalHandler};

pub(crate) use self::classified::{Classified, Rule};
pub(crate) use self::erased::{Typed, decode_input, encode_output};
pub(crate) use self::transactional::{TypedTransactional, expected};

/// The code of a step that carries state of its own; a step without state can be a plain async function.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use squidmesh_core::{Handler, StepContext, StepResult};
///
/// struct Capture { currency: String }
///
/// #[derive(Deserialize)]
/// struct Amount { cents: u64 }
///
/// #[derive(Serialize)]
/// struct Receipt { text: String }
///
/// impl Handler for Capture {
///     type Input = Amount;
///     type Output = Receipt;
///
///     async fn run(&self, amount: Amount, _: StepContext) -> StepResult<Receipt> {
///         Ok(Receipt { text: format!("{} {}", amount.cents, self.currency) })
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a step handler",
    note = "implement `Handler` for it, or use an `async fn(Input, StepContext) -> StepResult<Output>`"
)]
pub trait Handler: Send + Sync + 'static {
    /// The input of the step. Input that does not fit fails the step permanently.
    type Input: DeserializeOwned + Send;
    /// The output of the step, or [`WithDelay`] or [`Routed`] of it.
    type Output: Output;

    /// Runs one attempt; an implementation writes `async fn run(..)`. It may be called again for the same step of the
    /// same run: after a failure, and after a crash that lost its success.
    ///
    /// # Errors
    /// A [`StepError`] says whether a retry makes sense; `?` on any error makes a retryable one.
    fn run(&self, input: Self::Input, context: StepContext) -> impl Future<Output = StepResult<Self::Output>> + Send;
}
