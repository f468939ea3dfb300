//! The reason why the engine dispatches nothing.

use crate::dispatch::Refusal;
use crate::id::RunId;
use crate::name::StepName;
use crate::run::{RunStatus, StepStatus};

/// The reason why the engine dispatched nothing. The unit of work is unchanged.
/// [`DispatchError`](crate::command::DispatchError) documents each reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the dispatcher's error documents the same variants")]
pub enum DispatchRefused {
    #[error("run {run} is {status} and schedules no work; only pending, running and retrying runs do")]
    NotSchedulable { run: RunId, status: RunStatus },
    #[error("{}", .0.as_ref().map_or("the run has no current step to dispatch".to_owned(), |step| format!("the workflow has no step {step}")))]
    InvalidStep(Option<StepName>),
    #[error("step {step} cannot run now: {why}")]
    NotRunnable { step: StepName, why: WhyNotRunnable },
    #[error("run {run} is {status}: only a failed run is compensated")]
    NotFailed { run: RunId, status: RunStatus },
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The reason why a step cannot be dispatched now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WhyNotRunnable {
    /// The run of a transition workflow is at another step.
    #[error("{}", not_current(.current.as_ref()))]
    NotCurrent {
        /// The step that the run is at.
        current: Option<StepName>,
    },
    /// Dependencies of the step have not completed.
    #[error("it waits for {}", .dependencies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    DependenciesOpen {
        /// The open dependencies, in the order of declaration.
        dependencies: Vec<StepName>,
    },
    /// The step is neither unscheduled nor pending, nor completed where completed steps may be dispatched again.
    #[error("it is {} already", .0.as_str())]
    InStatus(StepStatus),
}

fn not_current(current: Option<&StepName>) -> String {
    match current {
        Some(step) => format!("the run is at step {step}"),
        None => "the run is at no step".to_owned(),
    }
}
