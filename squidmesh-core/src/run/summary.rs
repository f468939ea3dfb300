//! A run as lists show it.

use serde::{Deserialize, Serialize};

use super::{Failure, FailureKind, Run, RunStatus};
use crate::definition::Fingerprint;
use crate::id::RunId;
use crate::name::{StepName, TriggerName, WorkflowName};
use crate::time::Timestamp;

/// The maximum length of the message in a [`FailureSummary`], in bytes.
const LONGEST_MESSAGE: usize = 256;

/// A run as lists show it: without its payload, and with the gist of its failure. However large the data of a run is,
/// a store reads nothing large for its summary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunSummary {
    /// The id of the run.
    pub id: RunId,
    /// The workflow of the run.
    pub workflow: WorkflowName,
    /// The version of the workflow that the run is pinned to.
    pub fingerprint: Fingerprint,
    /// The trigger that started the run.
    pub trigger: TriggerName,
    /// The status of the run.
    pub status: RunStatus,
    /// The current step in a transition workflow; `None` in a dependency workflow and at the end.
    pub current_step: Option<StepName>,
    /// The failure of the run.
    pub failure: Option<FailureSummary>,
    /// The run that it replays.
    pub replayed_from: Option<RunId>,
    /// The failed run that it resumes.
    pub resumed_from: Option<RunId>,
    /// The intended time of the schedule's occurrence that started it; `None` if no schedule did.
    pub intended_at: Option<Timestamp>,
    /// The idempotency key: a second start with it returns this run.
    pub idempotency_key: Option<String>,
    /// The number of commits of the run.
    pub revision: u64,
    /// The time at which the run was started.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
    /// The time at which the run ended.
    pub finished_at: Option<Timestamp>,
}

/// The gist of a failure: without its details and causes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailureSummary {
    /// The kind of the failure.
    pub kind: FailureKind,
    /// The beginning of its message, up to 256 bytes.
    pub message: String,
    /// The step that failed, or that could not be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
}

impl RunSummary {
    /// Creates the summary of a run that has just been started, at revision 1; a store fills in the rest.
    pub fn new(
        id: RunId,
        workflow: WorkflowName,
        fingerprint: Fingerprint,
        trigger: TriggerName,
        status: RunStatus,
        created_at: Timestamp,
    ) -> Self {
        RunSummary {
            id,
            workflow,
            fingerprint,
            trigger,
            status,
            current_step: None,
            failure: None,
            replayed_from: None,
            resumed_from: None,
            intended_at: None,
            idempotency_key: None,
            revision: 1,
            created_at,
            updated_at: created_at,
            finished_at: None,
        }
    }
}

impl From<&Failure> for FailureSummary {
    fn from(failure: &Failure) -> Self {
        let end = failure.message.floor_char_boundary(LONGEST_MESSAGE);
        let message = failure.message.get(..end).unwrap_or_default().to_owned();
        FailureSummary { kind: failure.kind.clone(), message, step: failure.step.clone() }
    }
}

impl From<&Run> for RunSummary {
    fn from(run: &Run) -> Self {
        let (workflow, trigger) = (run.workflow.clone(), run.trigger.clone());
        RunSummary {
            current_step: run.current_step.clone(),
            failure: run.last_error.as_ref().map(FailureSummary::from),
            replayed_from: run.replayed_from,
            resumed_from: run.resumed_from,
            intended_at: run.intended_at,
            idempotency_key: run.idempotency_key.clone(),
            revision: run.revision,
            updated_at: run.updated_at,
            finished_at: run.finished_at,
            ..RunSummary::new(run.id, workflow, run.fingerprint, trigger, run.status, run.created_at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_beginning_of_a_message() {
        let message = |text: &str| FailureSummary::from(&Failure::new("k", text)).message;
        assert_eq!(message("short"), "short");
        assert_eq!(message(&"é".repeat(200)), "é".repeat(128));
        assert_eq!(message(&format!("a{}", "é".repeat(200))), format!("a{}", "é".repeat(127)));
    }
}
