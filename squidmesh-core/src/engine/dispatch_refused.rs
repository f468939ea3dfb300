//! The reason why the engine dispatches nothing.

use crate::dispatch::Refusal;
use crate::id::RunId;
use crate::name::{StepName, listed};
use crate::run::{RunStatus, StepStatus};

/// The reason why the engine dispatched nothing. The unit of work is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DispatchRefused {
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
    #[error("{}", .0.as_ref().map_or("the run has no current step to dispatch".to_owned(), |step| format!("the workflow has no step {step}")))]
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
    /// The executor refused the jobs. [`DispatchRefused::refused_step`] returns the refused step.
    #[error(transparent)]
    ByExecutor(#[from] Refusal),
}

impl DispatchRefused {
    /// Returns the step that the executor refused; `None` for any other reason, or if the refusal is about no
    /// particular step.
    pub fn refused_step(&self) -> Option<StepName> {
        match self {
            DispatchRefused::ByExecutor(refusal) => refusal.step(),
            _ => None,
        }
    }
}

/// The reason why a step cannot be dispatched now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WhyNotRunnable {
    /// The run of a transition workflow is at another step.
    #[error("{}", .current.as_ref().map_or("the run is at no step".to_owned(), |step| format!("the run is at step {step}")))]
    NotCurrent {
        /// The step that the run is at.
        current: Option<StepName>,
    },
    /// Dependencies of the step have not completed.
    #[error("it waits for {}", listed(.dependencies))]
    DependenciesOpen {
        /// The open dependencies, in the order of declaration.
        dependencies: Vec<StepName>,
    },
    /// The step is neither unscheduled nor pending, nor completed where completed steps may be dispatched again.
    #[error("it is {} already", .0.as_str())]
    InStatus(StepStatus),
}
