//! A single applied commit, for observers that see each one.

use squidmesh_core::definition::{Definition, StepName};
use squidmesh_core::port::{Commit, IntentRecord, StepWrite};
use squidmesh_core::run::{Attempt, AttemptStatus, CompensationRun, RunSnapshot, StepRun, StepStatus};

/// One applied commit.
#[derive(Debug)]
pub struct Change<'a> {
    /// The run before the commit; `None` if the commit starts it.
    pub before: Option<&'a RunSnapshot>,
    /// The run after the commit.
    pub after: &'a RunSnapshot,
    /// The commit.
    pub commit: &'a Commit,
    /// The live intents of the run before the commit.
    pub intents: &'a [IntentRecord],
    /// The version that the run was pinned to before the commit.
    pub definition: Option<&'a Definition>,
}

/// Returns the step runs of which a commit begins an attempt.
pub fn begun<'a>(commit: &'a Commit, before: Option<&'a RunSnapshot>) -> impl Iterator<Item = &'a StepRun> {
    let steps = commit.steps.iter().map(StepWrite::step);
    steps.filter(move |step| {
        let old = before.and_then(|before| before.steps.get(&step.step));
        step.attempt > old.map_or(0, |old| old.attempt)
    })
}

/// Returns the attempts that a commit ends.
pub fn ended(commit: &Commit, before: Option<&RunSnapshot>) -> Vec<Attempt> {
    let done = |step: &StepName| {
        let old = before.and_then(|before| before.steps.get(step));
        old.is_some_and(|old| old.status == StepStatus::Completed)
    };
    let open = commit.steps.iter().map(StepWrite::step).filter(|step| !done(&step.step));
    let completed = open.filter_map(StepRun::last_attempt);
    let completed = completed.filter(|attempt| attempt.status == AttemptStatus::Completed);
    commit.attempts.iter().cloned().chain(completed).collect()
}

/// Returns the callbacks that a commit writes: the step, the callback before and the callback after.
pub(super) fn written<'a>(
    change: &Change<'a>,
) -> impl Iterator<Item = (&'a StepRun, Option<&'a CompensationRun>, &'a CompensationRun)> {
    let before = change.before;
    change.commit.steps.iter().filter_map(move |write| {
        let step = write.step();
        let old = before.and_then(|before| before.steps.get(&step.step)?.compensation.as_ref());
        Some((step, old, step.compensation.as_ref()?))
    })
}
