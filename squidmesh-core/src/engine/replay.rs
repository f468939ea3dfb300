//! Decides whether a run may be replayed from its payload.

use crate::name::StepName;
use crate::run::{RunSnapshot, StepRun, StepStatus};

/// Returns the completed steps of a run whose effects cannot be undone: a replay would repeat them. A step that
/// still runs beside the failed one counts too, because it is about to complete.
pub fn unsafe_to_replay(state: &RunSnapshot) -> Vec<StepName> {
    let done = |step: &&StepRun| matches!(step.status, StepStatus::Completed | StepStatus::Running);
    state
        .steps
        .values()
        .filter(done)
        .filter(|step| step.recovery.irreversible || !step.recovery.compensatable)
        .map(|step| step.step.clone())
        .collect()
}
