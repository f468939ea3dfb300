//! What a worker executes under a claim, and how that may end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::dispatch::Lease;
use crate::name::StepName;
use crate::run::{Failure, RunSnapshot, StepStatus};

/// A step to execute under a claim.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepTask {
    /// The step.
    pub step: StepName,
    /// The number of its open attempt.
    pub attempt: u32,
    /// The claim on the step.
    pub lease: Lease,
    /// The input snapshot.
    pub input: Arc<Map<String, Value>>,
    /// The payload with the context merged over it.
    pub visible: Arc<Map<String, Value>>,
    /// The failure whose error transition led to the step.
    pub failure: Option<Arc<Failure>>,
}

impl StepTask {
    /// Returns whether its attempt is open in a run, under its claim.
    pub(crate) fn is_open(&self, state: &RunSnapshot) -> bool {
        state.steps.get(&self.step).is_some_and(|run| {
            run.status == StepStatus::Running && run.attempt == self.attempt && run.lease == Some(self.lease.token)
        })
    }
}

/// The outcome of an attempt.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler returned.
    Completed {
        /// The returned value.
        value: Value,
        /// The delay of the successor.
        schedule_in: Option<Duration>,
        /// The route that the handler chose.
        route: Option<String>,
    },
    /// The handler failed.
    Failed {
        /// The failure.
        failure: Failure,
        /// Whether a retry may succeed.
        retryable: bool,
        /// The delay of the retry that the handler asked for.
        retry_after: Option<Duration>,
    },
    /// The worker was shut down before the handler ended.
    Interrupted,
}
