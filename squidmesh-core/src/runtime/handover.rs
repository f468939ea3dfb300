//! Begins the steps that a change dispatches, for idle workers of this process.
//!
//! Knows the engine and the offers of workers. Never commits: its caller does, and states what became of the commit. Runs
//! while a run is locked for a decision, so it does not look at the cached runs.

use super::begun_step::Handover;
use super::shared::Runtime;
use crate::engine::{self, UnitOfWork};
use crate::run::InvalidTransition;

/// Begins steps that a change dispatches, at most `limit` of them, as long as there are idle workers.
///
/// # Errors
/// [`InvalidTransition`] if the run's state contradicts itself.
pub(crate) fn begin_steps(
    runtime: &Runtime,
    work: &mut UnitOfWork,
    limit: usize,
) -> Result<Vec<Handover>, InvalidTransition> {
    let mut begun = Vec::new();
    if runtime.offers.is_empty() {
        return Ok(begun);
    }
    for due in engine::due_steps(work) {
        if begun.len() == limit {
            break;
        }
        let Some(worker) = runtime.offers.reserve(&due) else { continue };
        let token = runtime.entropy.lease_token();
        match engine::begin_due(work, &due.step, token, runtime.config.lease, runtime) {
            Ok(Some(task)) => {
                let held = runtime.leases.expect(&task.lease, worker.family());
                let (handover, step) = Handover::of(held, task);
                begun.push(handover);
                worker.hand_over(step);
            }
            Ok(None) => {}
            Err(error) => {
                begun.into_iter().for_each(Handover::cancel);
                return Err(error);
            }
        }
    }
    Ok(begun)
}
