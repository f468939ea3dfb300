//! The error of a dispatch.

use crate::dispatch::Refusal;
use crate::engine::{DispatchRefused, WhyNotRunnable};
use crate::id::RunId;
use crate::name::StepName;
use crate::port::StoreError;
use crate::run::RunStatus;

/// The reason why nothing was dispatched. Changes that the call had begun are undone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DispatchError {
    /// There is no run with this id.
    #[error("there is no run {0}")]
    NotFound(RunId),
    /// The status of the run does not allow scheduling.
    #[error("run {run} is {status} and schedules no work; only pending, running and retrying runs do")]
    NotSchedulable {
        /// The run.
        run: RunId,
        /// The status of the run.
        status: RunStatus,
    },
    /// The workflow has no such step; or, with `None`, the run has no current step and its workflow has no entry
    /// steps to dispatch instead.
    #[error("{}", DispatchRefused::InvalidStep(.0.clone()))]
    InvalidStep(Option<StepName>),
    /// The step cannot run now. The whole call fails, so that nothing is dispatched ahead of the run.
    #[error("step {step} cannot run now: {why}")]
    NotRunnable {
        /// The first such step of the call.
        step: StepName,
        /// The reason why it cannot run.
        why: WhyNotRunnable,
    },
    /// The run is not failed; only the compensation of a failed run is dispatched.
    #[error("run {run} is {status}: only a failed run is compensated")]
    NotFailed {
        /// The run.
        run: RunId,
        /// The status of the run.
        status: RunStatus,
    },
    /// The run's version of the workflow is not registered in this process.
    #[error("run {0} is pinned to a version of its workflow that this process does not have: register that version")]
    UnknownDefinition(RunId),
    /// The executor refused the jobs. [`DispatchError::refused_step`] returns the refused step.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The run kept changing, and the call gave up after many tries.
    #[error("run {0} kept changing while it was dispatched; try again")]
    Conflict(RunId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DispatchError {
    /// Returns the step that the executor refused; `None` for any other error, or if the refusal is about no
    /// particular step.
    pub fn refused_step(&self) -> Option<StepName> {
        match self {
            DispatchError::Refused(refusal) => refusal.step(),
            _ => None,
        }
    }
}

impl From<DispatchRefused> for DispatchError {
    fn from(refused: DispatchRefused) -> Self {
        match refused {
            DispatchRefused::NotSchedulable { run, status } => DispatchError::NotSchedulable { run, status },
            DispatchRefused::InvalidStep(step) => DispatchError::InvalidStep(step),
            DispatchRefused::NotRunnable { step, why } => DispatchError::NotRunnable { step, why },
            DispatchRefused::NotFailed { run, status } => DispatchError::NotFailed { run, status },
            DispatchRefused::Refused(refusal) => DispatchError::Refused(refusal),
        }
    }
}
