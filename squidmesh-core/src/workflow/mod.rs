//! Workflows as a host declares them: a definition together with the code of its steps.
//!
//! Knows the builder and the declarations of steps and triggers. The module `definition` decides which
//! declarations are valid.

mod action;
mod builder;
mod built_in;
mod destination;
mod intention;
mod payload;
mod reference;
mod signal;
mod step;
mod step_function;
mod transactional;
mod trigger;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub use self::action::{Action, StepAction};
pub use self::builder::WorkflowBuilder;
pub use self::built_in::{
    Approval, ApprovalUntil, BuiltIn, WaitFor, WaitForUntil, approval, log, pause, wait, wait_for,
};
pub use self::destination::{COMPLETE, Complete, Destination, FAIL, Fail};
pub use self::payload::Payload;
pub use self::reference::WorkflowRef;
pub use self::signal::Signal;
pub use self::step::Step;
pub use self::step_function::{StepFuture, StepInput, With, with};
pub use self::transactional::{Transactional, TransactionalAction, transactional};
pub use self::trigger::Trigger;

pub use crate::cancellation::{CancelReason, Cancellation};
pub use crate::handler::{
    AttemptCancelled, Compensation, ErasedHandler, ErasedTransactional, Handler, HandlerOutput, Heartbeat, Output,
    OutputShape, Routed, StepContext, StepError, StepFailure, StepResult, StepResultExt, TransactionalHandler,
    WithDelay,
};

use crate::definition::Definition;
use crate::name::StepName;

/// A validated workflow with the code of its steps. Cheap to clone.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use squidmesh_core::{COMPLETE, Field, Retry, Step, StepContext, StepResult, Trigger, Workflow, approval, ms, secs};
///
/// #[derive(Deserialize)]
/// struct Order { order_id: String }
/// #[derive(Serialize)]
/// struct Reservation { shelf: u32 }
///
/// async fn reserve(order: Order, _: StepContext) -> StepResult<Reservation> {
///     Ok(Reservation { shelf: order.order_id.parse()? })
/// }
/// async fn capture(_: Order, _: StepContext) -> StepResult<()> { Ok(()) }
///
/// let checkout = Workflow::builder("checkout")
///     .trigger(Trigger::manual("place_order").field(Field::string("order_id")))
///     .step(Step::new("reserve", reserve).output("reservation"))
///     .step(Step::new("review", approval()).output("review"))
///     .step(Step::new("capture", capture).retry(Retry::exponential(5, ms(200)..secs(30))).irreversible())
///     .then("reserve", "review")
///     .then("review", "capture")
///     .on_error("review", COMPLETE)
///     .then("capture", COMPLETE)
///     .build()?;
/// assert_eq!(checkout.definition().steps().len(), 3);
/// # Ok::<(), squidmesh_core::DefinitionErrors>(())
/// ```
#[derive(Clone)]
pub struct Workflow {
    definition: Arc<Definition>,
    code: Arc<HashMap<StepName, StepCode>>,
}

/// The code of one step.
struct StepCode {
    handler: Option<Arc<dyn ErasedHandler>>,
    transactional: Option<Arc<dyn ErasedTransactional>>,
    compensation: Option<Arc<dyn ErasedHandler>>,
}

impl StepCode {
    /// Returns what the type of the handler's output says about its JSON.
    fn output_shape(&self) -> OutputShape {
        match (&self.handler, &self.transactional) {
            (Some(handler), _) => handler.output_shape(),
            (None, Some(handler)) => handler.output_shape(),
            (None, None) => OutputShape::Any,
        }
    }
}

impl Workflow {
    /// Returns the definition: the steps, triggers and edges of the workflow.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// Returns the handler of a step, or `None` for a transactional, built-in or unknown step.
    pub fn handler(&self, step: &str) -> Option<&Arc<dyn ErasedHandler>> {
        self.code.get(step)?.handler.as_ref()
    }

    /// Returns the handler of a transactional step, or `None` for any other step.
    pub fn transactional_handler(&self, step: &str) -> Option<&Arc<dyn ErasedTransactional>> {
        self.code.get(step)?.transactional.as_ref()
    }

    /// Returns the handler that undoes a step. It takes a [`Compensation`] as JSON.
    pub fn compensation(&self, step: &str) -> Option<&Arc<dyn ErasedHandler>> {
        self.code.get(step)?.compensation.as_ref()
    }
}

impl fmt::Debug for Workflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workflow")
            .field("name", self.definition.name())
            .field("fingerprint", self.definition.fingerprint())
            .finish_non_exhaustive()
    }
}
