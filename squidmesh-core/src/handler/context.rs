//! What a handler knows about the attempt that it runs in.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::heartbeat::Heartbeat;
use crate::cancellation::Cancellation;
use crate::id::RunId;
use crate::name::{StepName, WorkflowName};
use crate::run::Failure;
use crate::time::Timestamp;

/// The context of one attempt of a step.
#[derive(Clone)]
#[non_exhaustive]
pub struct StepContext {
    /// The run.
    pub run_id: RunId,
    /// The workflow of the run.
    pub workflow: WorkflowName,
    /// The step.
    pub step: StepName,
    /// The number of this attempt, starting at 1.
    pub attempt: u32,
    /// The intended time of the schedule's occurrence that started the run, however late it started; `None` if no
    /// schedule started the run.
    pub intended_at: Option<Timestamp>,
    /// The payload with the context merged over it, independent of the step's input mapping.
    pub state: Arc<Map<String, Value>>,
    /// The failure whose error transition led onto the run's current path: of a failed step, or of an approval
    /// that was rejected or expired. Every later step receives it, until the end of the run. `None` in a
    /// dependency workflow.
    pub failure: Option<Failure>,
    /// Cancelled when the attempt should stop.
    pub cancellation: Cancellation,
    /// Checks whether the attempt still counts.
    pub heartbeat: Heartbeat,
}

impl StepContext {
    /// Creates the context of an attempt: for the runner, and for tests that call a handler directly. Its
    /// heartbeat follows the cancellation; replace it to extend a lease.
    pub fn new(
        run_id: RunId,
        workflow: WorkflowName,
        step: StepName,
        attempt: u32,
        state: Arc<Map<String, Value>>,
        cancellation: Cancellation,
    ) -> Self {
        let heartbeat = Heartbeat::following(cancellation.clone());
        Self { run_id, workflow, step, attempt, intended_at: None, state, failure: None, cancellation, heartbeat }
    }
}

/// Shows everything but the state, and of the failure only its kind: payloads do not belong in logs.
impl fmt::Debug for StepContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepContext")
            .field("run_id", &self.run_id)
            .field("workflow", &self.workflow)
            .field("step", &self.step)
            .field("attempt", &self.attempt)
            .field("intended_at", &self.intended_at)
            .field("failure", &self.failure.as_ref().map(|failure| &failure.kind))
            .field("cancellation", &self.cancellation)
            .finish_non_exhaustive()
    }
}
