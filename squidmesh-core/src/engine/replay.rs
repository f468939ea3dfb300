//! Whether a run may be repeated from its payload.

use crate::{RunState, StepName, StepStatus};

/// The completed steps of a run whose effects cannot be undone or taken back: repeating the run would repeat them.
pub fn unsafe_to_replay(state: &RunState) -> Vec<StepName> {
    let completed = state.in_status(StepStatus::Completed);
    completed
        .filter(|step| step.recovery.irreversible || !step.recovery.compensatable)
        .map(|step| step.step.clone())
        .collect()
}
