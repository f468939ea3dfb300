//! Whether a run may be repeated from its payload.

use crate::{RunState, StepName, StepRun, StepStatus};

/// The completed steps of a run whose effects cannot be undone or taken back: repeating the run would repeat them. A step that
/// still runs, beside the one that failed the run, is about to be one of them.
pub fn unsafe_to_replay(state: &RunState) -> Vec<StepName> {
    let done = |step: &&StepRun| matches!(step.status, StepStatus::Completed | StepStatus::Running);
    state
        .steps
        .values()
        .filter(done)
        .filter(|step| step.recovery.irreversible || !step.recovery.compensatable)
        .map(|step| step.step.clone())
        .collect()
}
