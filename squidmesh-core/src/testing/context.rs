//! The context of a handler that a test calls directly.

use std::sync::Arc;

use uuid::Uuid;

use crate::cancellation::Cancellation;
use crate::handler::StepContext;
use crate::id::RunId;
use crate::name::{InvalidName, StepName, WorkflowName};

/// Returns the context of the first attempt of a step, for a test that calls a handler directly: of a run with the nil
/// id and an empty state. Its fields can be set.
///
/// ```
/// use squidmesh_core::testing::{block_on, step_context};
/// use squidmesh_core::{StepContext, StepResult};
///
/// async fn charge(cents: u64, context: StepContext) -> StepResult<u64> {
///     Ok(if context.attempt > 1 { 0 } else { cents })
/// }
///
/// let mut context = step_context("checkout", "charge")?;
/// context.attempt = 2;
/// assert!(block_on(charge(5, context)).is_ok_and(|charged| charged == 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`InvalidName`] if one of the names breaks the rules for names.
pub fn step_context(workflow: impl AsRef<str>, step: impl AsRef<str>) -> Result<StepContext, InvalidName> {
    let (run, workflow, step) = (RunId::from_uuid(Uuid::nil()), WorkflowName::new(workflow)?, StepName::new(step)?);
    Ok(StepContext::new(run, workflow, step, 1, Arc::default(), Cancellation::new()))
}
