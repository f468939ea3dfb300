//! Beginning steps in the change that dispatches them, under the claims of workers that are there already.

use std::time::Duration;

use super::begin::{Begin, begin_claimed};
use super::describe::DescribeJobs;
use super::task::StepTask;
use super::unit_of_work::UnitOfWork;
use crate::definition::Priority;
use crate::dispatch::{Intent, IntentKey, Lease};
use crate::name::{QueueName, StepName};
use crate::run::InvalidTransition;
use crate::token::LeaseToken;

/// What a worker needs to continue with the successor of its step.
#[derive(Clone, Copy, Debug)]
pub struct Continuation<'a> {
    /// The token of the claim on the successor. Where steps run at the same time, no other delivery and no other try uses
    /// it.
    pub token: LeaseToken,
    /// The duration of the lease on the successor.
    pub lease: Duration,
    /// The queues that the worker serves.
    pub queues: &'a [QueueName],
    /// The lowest priority with which the worker continues. Successors below it are left for other workers,
    /// because more urgent work is due.
    pub lowest: Priority,
}

/// A step that a unit of work dispatches, due at once and not claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DueStep {
    pub(crate) step: StepName,
    pub(crate) queue: QueueName,
    pub(crate) priority: Priority,
}

/// Returns the steps that a unit of work dispatches, due at once and not claimed: the most urgent first. None if nothing
/// of the run may begin.
pub(crate) fn due_steps(work: &UnitOfWork) -> Vec<DueStep> {
    if !work.run().status.may_schedule() {
        return Vec::new();
    }
    let due = |(step, intent): (&StepName, &Intent)| DueStep {
        step: step.clone(),
        queue: intent.queue.clone(),
        priority: intent.priority,
    };
    let mut steps: Vec<DueStep> = work.due_steps().map(due).collect();
    steps.sort_by_key(|due| due.priority);
    steps
}

/// Begins the successor of the highest priority that is due at once, under the worker's own claim: one commit a hop.
pub(super) fn begin_next(
    work: &mut UnitOfWork,
    continuation: &Continuation<'_>,
    jobs: &dyn DescribeJobs,
) -> Result<Option<StepTask>, InvalidTransition> {
    let wanted =
        |intent: &Intent| intent.priority <= continuation.lowest && continuation.queues.contains(&intent.queue);
    let due = work.due_steps().filter(|(_, intent)| wanted(intent)).min_by_key(|(_, intent)| intent.priority);
    let due = due.map(|(step, _)| step.clone());
    let Some(step) = due.filter(|_| work.run().status.may_schedule()) else { return Ok(None) };
    begin_due(work, &step, continuation.token, continuation.lease, jobs)
}

/// Begins a step that the unit of work dispatches, under a claim that is made with it. Returns `None` if nothing of the
/// step is left to execute.
///
/// # Errors
/// [`InvalidTransition`] if the stored state contradicts itself.
pub(crate) fn begin_due(
    work: &mut UnitOfWork,
    step: &StepName,
    token: LeaseToken,
    duration: Duration,
    jobs: &dyn DescribeJobs,
) -> Result<Option<StepTask>, InvalidTransition> {
    let key = IntentKey::step(work.run().id, step.clone());
    if let Some(intent) = work.added_intent(&key) {
        (intent.lease, intent.delay) = (Some(token), duration);
    }
    match begin_claimed(work, step, &Lease { key, token }, jobs)? {
        Begin::Execute(task) => Ok(Some(task)),
        Begin::Advanced | Begin::Skip(_) => Ok(None),
    }
}
