//! What a handler is told about the attempt that it runs in.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::heartbeat::Heartbeat;
use crate::cancellation::Cancellation;
use crate::id::RunId;
use crate::name::{StepName, WorkflowName};
use crate::time::Timestamp;

/// The circumstances of one attempt of a step.
#[derive(Clone)]
#[non_exhaustive]
pub struct StepContext {
    /// The run.
    pub run_id: RunId,
    /// The workflow of the run.
    pub workflow: WorkflowName,
    /// The step.
    pub step: StepName,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The time of the occurrence of a schedule that this is the run of, however late it started; `None` if no schedule
    /// started the run.
    pub intended_at: Option<Timestamp>,
    /// The payload with the context merged over it, whatever part of it is the step's input.
    pub state: Arc<Map<String, Value>>,
    /// Given when the attempt should stop.
    pub cancellation: Cancellation,
    /// Asks whether the attempt still counts.
    pub heartbeat: Heartbeat,
}

impl StepContext {
    /// The context of an attempt: for the runner, and for tests that call a handler directly. Its heartbeat follows the
    /// cancellation; replace it to extend a lease.
    pub fn new(
        run_id: RunId,
        workflow: WorkflowName,
        step: StepName,
        attempt: u32,
        state: Arc<Map<String, Value>>,
        cancellation: Cancellation,
    ) -> Self {
        let heartbeat = Heartbeat::following(cancellation.clone());
        Self { run_id, workflow, step, attempt, intended_at: None, state, cancellation, heartbeat }
    }
}

/// Shows everything but the state: payloads do not belong in logs.
impl fmt::Debug for StepContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepContext")
            .field("run_id", &self.run_id)
            .field("workflow", &self.workflow)
            .field("step", &self.step)
            .field("attempt", &self.attempt)
            .field("intended_at", &self.intended_at)
            .field("cancellation", &self.cancellation)
            .finish_non_exhaustive()
    }
}
