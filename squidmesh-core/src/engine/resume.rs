//! Resuming a failed run: a new run that continues where the old one failed, with the results of its completed
//! steps.
//!
//! Failed is final, so the old run stays as it is. Its completed steps are carried over as facts; the step that
//! failed is dispatched.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::adopt::{Difference, differences, inputs_to_keep, sentences, versions};
use super::describe::DescribeJobs;
use super::dispatch::{dispatch_steps, emit};
use super::dispatch_refused::DispatchRefused;
use super::start::fresh;
use super::{DecisionInputs, Limits, NewRun, UnitOfWork};
use crate::definition::{Definition, Fingerprint, Shape};
use crate::dispatch::DispatchOptions;
use crate::event::EventKind;
use crate::id::RunId;
use crate::name::{StepName, listed};
use crate::run::{AuditKind, Failure, InputSnapshot, ReceivedSignal, RunSnapshot, RunStatus, StepRun, StepStatus};

/// The reason why a run cannot be resumed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unresumable {
    /// The run is not failed; only a failed run can be resumed.
    #[error("run {run} is {status}: only a failed run is resumed")]
    NotFailed {
        /// The run.
        run: RunId,
        /// The status of the run.
        status: RunStatus,
    },
    /// Siblings of the failed step still run; their outcome is not known yet.
    #[error("steps of the failed run {run} still run: {}; resume it when they have ended", listed(.steps))]
    StillRunning {
        /// The run.
        run: RunId,
        /// The running steps.
        steps: Vec<StepName>,
    },
    /// Completed steps are compensated, or are about to be: a resumed run would build on effects that are undone.
    #[error("the failure of run {run} compensates its completed steps: {}; replay it instead", listed(.steps))]
    Compensated {
        /// The run.
        run: RunId,
        /// The steps with a compensation.
        steps: Vec<StepName>,
    },
    /// The run did not fail in a step that could be tried again: no step is left that follows from the completed
    /// ones.
    #[error(
        "run {run} has nothing left to run: no step of its workflow follows the completed ones, or its path has ended in \
         `FAIL`; replay it instead"
    )]
    NothingLeft {
        /// The run.
        run: RunId,
    },
    /// A step has completed, and chose a route that leads nowhere: nothing follows from what it did.
    #[error("step {step} of run {run} has completed, and chose a route that it does not declare; replay it instead")]
    UnknownRoute {
        /// The run.
        run: RunId,
        /// The step.
        step: StepName,
    },
    /// The run's own version is not registered, and the version in which it would be resumed lacks what it needs.
    #[error("run {run} cannot continue in another version of its workflow: {}", sentences(.differences))]
    Differs {
        /// The run.
        run: RunId,
        /// The differences of that version.
        differences: Vec<Difference>,
    },
}

/// The plan for resuming a failed run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Resumption {
    /// The run that failed.
    pub from: RunId,
    /// The version of the workflow that it is pinned to.
    pub version: Fingerprint,
    /// The steps that begin, in the order of declaration.
    pub next: Vec<StepName>,
    /// Those of them that have been attempted before, and whose effects cannot be undone.
    pub irreversible: Vec<StepName>,
    carried: Vec<StepRun>,
    signals: Vec<ReceivedSignal>,
    errors: BTreeMap<StepName, Failure>,
}

/// Plans the resumption of a failed run in this version of its workflow.
///
/// # Errors
/// Returns [`Unresumable`] if the run cannot be resumed.
pub fn resumption(state: &RunSnapshot, definition: &Definition) -> Result<Resumption, Unresumable> {
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
    let lost = state.run.last_error.as_ref().and_then(|failure| Some((failure, failure.step.as_ref()?)));
    if let Some((failure, step)) = lost
        && failure.is_unknown_route(step)
        && state.is_completed(step)
    {
        return Err(Unresumable::UnknownRoute { run, step: step.clone() });
    }
    let next = left(state, definition);
    if next.is_empty() {
        return Err(Unresumable::NothingLeft { run });
    }
    let before = || next.iter().filter_map(|step| state.steps.get(step));
    // A step that was attempted has an attempt; one that was attempted by the run that this one resumes has at
    // least its error.
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
        signals: state.signals.clone(),
        errors: before().filter_map(|step| Some((step.step.clone(), step.last_error.clone()?))).collect(),
        next,
    })
}

/// Plans the resumption of a failed run of one version of its workflow in another version, which must be able to
/// adopt it where it stands.
///
/// # Errors
/// Returns [`Unresumable`] if the run cannot be resumed.
pub fn resumption_in(state: &RunSnapshot, from: &Definition, to: &Definition) -> Result<Resumption, Unresumable> {
    resumption(state, from)?;
    let check = |state: &RunSnapshot| match differences(state, from, to) {
        found if found.is_empty() => Ok(()),
        differences => Err(Unresumable::Differs { run: state.run.id, differences }),
    };
    check(state)?;
    let mut planned = resumption(state, to)?;
    for (step, input) in inputs_to_keep(state, from, to) {
        let carried = planned.carried.iter_mut().find(|carried| carried.step == step);
        carried.into_iter().for_each(|carried| carried.input = InputSnapshot::Copy(Arc::clone(&input)));
    }
    let mut run = state.run.clone();
    run.status = RunStatus::Running;
    run.current_step = current(&planned, to);
    check(&RunSnapshot::new(run, planned.carried.iter().cloned()))?;
    Ok(planned)
}

/// Returns the current step of the resumed run.
fn current(resumption: &Resumption, definition: &Definition) -> Option<StepName> {
    match definition.shape() {
        Shape::Transitions => resumption.next.first().cloned(),
        Shape::Dependencies => None,
    }
}

/// Returns the steps that could be next: the one that failed, or, with dependencies, all that are not completed
/// and whose dependencies are. A step that took its error transition is not next: its path has ended in `FAIL`.
fn left(state: &RunSnapshot, definition: &Definition) -> Vec<StepName> {
    let done = |step: &StepName| state.is_completed(step);
    match definition.shape() {
        Shape::Transitions => {
            let failed = state.run.last_error.as_ref().and_then(|failure| failure.step.as_ref());
            // Only a failed step that took its error transition has a position in the order of advances.
            let routed = |step: &StepName| state.steps.get(step).is_some_and(|run| run.sequence.is_some());
            let is_next = |step: &&StepName| definition.step(step.as_str()).is_some() && !done(step) && !routed(step);
            failed.filter(is_next).cloned().into_iter().collect()
        }
        Shape::Dependencies => {
            let runnable = definition.steps().iter().filter(|step| !done(&step.name) && step.after.iter().all(done));
            runnable.map(|step| step.name.clone()).collect()
        }
    }
}

/// Starts the resumed run: pending, with the completed steps of the failed run, and the next steps dispatched. A
/// step that was carried over has no attempt, because none was made in this run.
///
/// # Errors
/// [`DispatchRefused`] if the next steps cannot be dispatched; then no run is created.
pub fn resume(
    definition: Arc<Definition>,
    resumption: &Resumption,
    new: NewRun,
    actor: Option<String>,
    inputs: DecisionInputs,
    limits: Limits,
    jobs: &dyn DescribeJobs,
) -> Result<UnitOfWork, DispatchRefused> {
    let mut run = fresh(&definition, new, inputs);
    run.resumed_from = Some(resumption.from);
    run.current_step = current(resumption, &definition);
    let (from, to) = (resumption.version, run.fingerprint);
    let mut work = UnitOfWork::create(definition, run, inputs, limits);
    work.emit(EventKind::RunResumed { from: resumption.from });
    work.audit(AuditKind::Resumed, |event| event.actor = actor);
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
    if !resumption.signals.is_empty() {
        work.signals_mut().clone_from(&resumption.signals);
    }
    let options = DispatchOptions::new().schedule_pending();
    let (metadata, _) = dispatch_steps(&mut work, &resumption.next, &options, jobs)?;
    for (step, error) in &resumption.errors {
        work.change_step(step, |run| run.last_error = Some(error.clone()));
    }
    emit(&mut work, metadata);
    Ok(work)
}
