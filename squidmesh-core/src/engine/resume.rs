//! Resuming a failed run: a new run that goes on where the old one failed, with what the old one completed.
//!
//! Failed is final, so the old run stays as it is. What it did is carried over as facts; what it failed to do is dispatched.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::adopt::{Difference, differences, versions};
use super::dispatch::{DescribeJobs, DispatchError, dispatch_steps};
use super::start::fresh;
use super::{Limits, Moment, NewRun, UnitOfWork};
use crate::{
    AuditKind, Definition, DispatchOptions, EventKind, Failure, Fingerprint, RunId, RunState, RunStatus, Shape,
    StepName, StepRun, StepStatus,
};

/// Why a run cannot go on from where it failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unresumable {
    /// Only a failed run has a place to go on from.
    #[error("run {run} is {status}: only a failed run is resumed")]
    NotFailed {
        /// The run.
        run: RunId,
        /// Its status.
        status: RunStatus,
    },
    /// Siblings of the failed step still run; their outcome is not known yet.
    #[error("steps of the failed run {run} still run: {}; resume it when they have ended", list(.steps))]
    StillRunning {
        /// The run.
        run: RunId,
        /// The steps.
        steps: Vec<StepName>,
    },
    /// What completed steps did has been taken back, or is about to be: a run that built on it would stand on nothing.
    #[error("the failure of run {run} compensates its completed steps: {}; replay it instead", list(.steps))]
    Compensated {
        /// The run.
        run: RunId,
        /// The steps with a compensation.
        steps: Vec<StepName>,
    },
    /// The run did not fail in a step that could be tried again: nothing that is left to do follows from what is done.
    #[error("run {run} failed with nothing left to go on with: its workflow names no step to follow")]
    NothingLeft {
        /// The run.
        run: RunId,
    },
    /// The version in which it would go on, its own not being there, lacks what it needs.
    #[error("run {run} cannot go on in another version of its workflow: {}", .differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Differs {
        /// The run.
        run: RunId,
        /// What differs.
        differences: Vec<Difference>,
    },
}

fn list(steps: &[StepName]) -> String {
    steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// How a failed run would go on.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Resumption {
    /// The run that failed.
    pub from: RunId,
    /// The version of the workflow that it is pinned to.
    pub version: Fingerprint,
    /// The steps that begin, in order of declaration.
    pub next: Vec<StepName>,
    /// Those of them that have been tried before, and whose effects cannot be undone or taken back.
    pub irreversible: Vec<StepName>,
    carried: Vec<StepRun>,
    errors: BTreeMap<StepName, Failure>,
}

/// How a run would go on from where it failed, in this version of its workflow.
///
/// # Errors
/// [`Unresumable`] says why it would not.
pub fn resumption(state: &RunState, definition: &Definition) -> Result<Resumption, Unresumable> {
    let run = state.run.id;
    if state.run.status != RunStatus::Failed {
        return Err(Unresumable::NotFailed { run, status: state.run.status });
    }
    let names = |steps: &mut dyn Iterator<Item = &StepRun>| steps.map(|step| step.step.clone()).collect::<Vec<_>>();
    let steps = names(&mut state.in_status(StepStatus::Running));
    if !steps.is_empty() {
        return Err(Unresumable::StillRunning { run, steps });
    }
    let mut undone = state.in_status(StepStatus::Completed).filter(|step| step.recovery.compensated_by_handler);
    let steps = names(&mut undone);
    if !steps.is_empty() {
        return Err(Unresumable::Compensated { run, steps });
    }
    let next = left(state, definition);
    if next.is_empty() {
        return Err(Unresumable::NothingLeft { run });
    }
    let before = || next.iter().filter_map(|step| state.steps.get(step));
    // What was tried has an attempt; what was tried by the run that this one resumes has at least the error of it.
    let tried = before().filter(|step| step.attempt > 0 || step.last_error.is_some());
    let irreversible = tried.filter(|step| step.recovery.irreversible || !step.recovery.compensatable);
    let carried = state.steps.values().filter(|step| match step.status {
        StepStatus::Completed => true,
        StepStatus::Failed => !next.contains(&step.step),
        _ => false,
    });
    Ok(Resumption {
        from: run,
        version: state.run.fingerprint,
        irreversible: irreversible.map(|step| step.step.clone()).collect(),
        carried: carried.cloned().collect(),
        errors: before().filter_map(|step| Some((step.step.clone(), step.last_error.clone()?))).collect(),
        next,
    })
}

/// How a run of one version of its workflow would go on in another one, that could have adopted it where it stands.
///
/// # Errors
/// [`Unresumable`] says why it would not.
pub fn resumption_in(state: &RunState, from: &Definition, to: &Definition) -> Result<Resumption, Unresumable> {
    resumption(state, from)?;
    let check = |state: &RunState| match differences(state, from, to) {
        found if found.is_empty() => Ok(()),
        differences => Err(Unresumable::Differs { run: state.run.id, differences }),
    };
    check(state)?;
    let planned = resumption(state, to)?;
    let mut run = state.run.clone();
    run.status = RunStatus::Running;
    run.current_step = current(&planned, to);
    check(&RunState::new(run, planned.carried.iter().cloned()))?;
    Ok(planned)
}

/// The step whose turn it is in the run that goes on.
fn current(resumption: &Resumption, definition: &Definition) -> Option<StepName> {
    match definition.shape() {
        Shape::Transitions => resumption.next.first().cloned(),
        Shape::Dependencies => None,
    }
}

/// The steps that could be next: the one that failed, or, with dependencies, all that have what they need and are not done.
fn left(state: &RunState, definition: &Definition) -> Vec<StepName> {
    let done = |step: &StepName| state.steps.get(step).is_some_and(|run| run.status == StepStatus::Completed);
    match definition.shape() {
        Shape::Transitions => {
            let failed = state.run.last_error.as_ref().and_then(|failure| failure.step.as_ref());
            failed.filter(|step| definition.step(step.as_str()).is_some() && !done(step)).cloned().into_iter().collect()
        }
        Shape::Dependencies => {
            let runnable = definition.steps().iter().filter(|step| !done(&step.name) && step.after.iter().all(done));
            runnable.map(|step| step.name.clone()).collect()
        }
    }
}

/// Starts the run that goes on: pending, with what was completed, the next steps dispatched. No attempt of a step that was
/// carried over was made in this run, so it has none.
///
/// # Errors
/// [`DispatchError`] if the next steps cannot be dispatched; then there is no run.
pub fn resume(
    definition: Arc<Definition>,
    resumption: &Resumption,
    new: NewRun,
    actor: Option<String>,
    moment: Moment,
    limits: Limits,
    jobs: &dyn DescribeJobs,
) -> Result<UnitOfWork, DispatchError> {
    let mut run = fresh(&definition, new, moment);
    run.resumed_from = Some(resumption.from);
    run.current_step = current(resumption, &definition);
    let (from, to) = (resumption.version, run.fingerprint);
    let mut work = UnitOfWork::create(definition, run, moment, limits);
    work.tell(EventKind::RunResumed { from: resumption.from });
    work.audit(AuditKind::Continued, |event| event.actor = actor);
    if from != to {
        work.audit(AuditKind::Adopted, |event| event.metadata = Some(versions(&from, &to)));
    }
    for step in &resumption.carried {
        work.create_step(StepRun {
            attempt: 0,
            failures: 0,
            crashes: 0,
            lease: None,
            compensation: None,
            ..step.clone()
        });
    }
    let options = DispatchOptions::new().schedule_pending();
    let (metadata, _) = dispatch_steps(&mut work, &resumption.next, &options, jobs)?;
    for (step, error) in &resumption.errors {
        work.change_step(step, |run| run.last_error = Some(error.clone()));
    }
    for metadata in metadata {
        work.tell(EventKind::RunDispatched { metadata });
    }
    Ok(work)
}
