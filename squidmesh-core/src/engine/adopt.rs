//! Adopting a run: another version of its workflow takes it over, if that version has everything the run needs.
//!
//! A version can adopt a run if the run could continue in it as if it had been started there:
//!
//! - It is of the same workflow and shape.
//! - It has every step that the run has reached or waits for, and each is of the same kind. Options may differ:
//!   the step run keeps what it was scheduled with (its input, of which it stores a copy if the new version's mapping
//!   would change it; its recovery policy; when it is due), and the new options apply from here on.
//! - Its edges are *compatible*: they lead on from the run's current position, and never to a step that the run
//!   has reached. In a transition workflow, the current step has an ok transition if it had one, and no path from
//!   there leads to a step that the run has reached. In a dependency workflow, no step that the run has reached
//!   depends on one that it has not completed. How the run came to its position does not matter: steps that were
//!   added before that position are not run, except those of a dependency workflow whose dependencies have all
//!   completed, which are dispatched as the run is adopted.
//! - It has a compensation for every step of the run that may have to be compensated.
//!
//! A paused step continues with the targets that were resolved when it paused, even if the new version's edges
//! differ; a signal that it waits for must still be declared. The edges that lead on from those targets must be
//! compatible.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::UnitOfWork;
use super::describe::DescribeJobs;
use super::dispatch::dispatch_successors;
use super::dispatch_refused::DispatchRefused;
use super::settle::{is_owed, owes_compensation};
use crate::commit::IntentWrite;
use crate::definition::{Definition, Fingerprint, Priority, Shape, StepKind, Target, TransitionOutcome};
use crate::dispatch::IntentKey;
use crate::name::{QueueName, SignalName, StepName, WorkflowName};
use crate::run::{AuditKind, RunSnapshot, RunStatus, StepRun, StepStatus};

/// A difference of a version of a workflow that keeps it from adopting a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(tag = "difference", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Difference {
    /// The version is of another workflow.
    #[error("the version is of workflow {to}, the run of workflow {from}")]
    OtherWorkflow {
        /// The run's workflow.
        from: WorkflowName,
        /// The workflow of the version.
        to: WorkflowName,
    },
    /// The version has another shape.
    #[error("the run's version has {}, the other version has {}", words(.from), words(.to))]
    OtherShape {
        /// The shape of the run's version.
        from: Shape,
        /// The shape of the version.
        to: Shape,
    },
    /// The version lacks a step that the run has reached.
    #[error("there is no step {step}, which the run has reached")]
    StepMissing {
        /// The step.
        step: StepName,
    },
    /// The version lacks the step with which a paused run continues.
    #[error("there is no step {target}, with which the run continues after {step}")]
    TargetMissing {
        /// The paused step.
        step: StepName,
        /// The step that follows it.
        target: StepName,
    },
    /// The version does not declare the signal that a step of the run waits for.
    #[error("there is no signal {signal}, which step {step} waits for")]
    SignalMissing {
        /// The step that waits.
        step: StepName,
        /// The signal.
        signal: SignalName,
    },
    /// A step that the run has reached, or with which a paused run continues, is of another kind in the version.
    #[error("step {step} is of the kind {to}, in the run's version {from}")]
    OtherKind {
        /// The step.
        step: StepName,
        /// The kind in the run's version.
        from: String,
        /// The kind in the version.
        to: String,
    },
    /// A path from the run's position leads to a step that the run has reached.
    #[error("step {step} follows the current step of the run, and the run has reached it already")]
    LeadsBack {
        /// The step.
        step: StepName,
    },
    /// A step that the run has reached depends on one that the run has not completed.
    #[error("step {step}, which the run has reached, depends on {dependency}, which it has not completed")]
    DependencyOpen {
        /// The step.
        step: StepName,
        /// The dependency that is not completed.
        dependency: StepName,
    },
    /// A step of the run may have to be compensated, and has no compensation in the version.
    #[error("step {step} has no compensation, which the run may need")]
    CompensationMissing {
        /// The step.
        step: StepName,
    },
}

/// Returns differences for a message.
pub(super) fn sentences(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn words(shape: &Shape) -> &'static str {
    match shape {
        Shape::Transitions => "transitions",
        Shape::Dependencies => "dependencies",
    }
}

/// The reason why a run was not adopted. The run is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The version lacks what the run needs.
    #[error("the version cannot adopt the run: {}", sentences(.0))]
    Differs(Vec<Difference>),
    /// The run has ended, and no work is left for it.
    #[error("the run is {0} and has no work left")]
    Ended(RunStatus),
    /// The executor refused steps whose dependencies have all completed.
    #[error(transparent)]
    Dispatch(#[from] DispatchRefused),
}

/// Returns the differences that keep the version `to` from adopting a run of the version `from`; empty if it can
/// adopt it. The documentation of [`SquidmeshBuilder::adopt`](crate::command::SquidmeshBuilder::adopt) lists what has to
/// be the same.
pub fn differences(state: &RunSnapshot, from: &Definition, to: &Definition) -> Vec<Difference> {
    if from.name() != to.name() {
        return vec![Difference::OtherWorkflow { from: from.name().clone(), to: to.name().clone() }];
    }
    if from.shape() != to.shape() {
        return vec![Difference::OtherShape { from: from.shape(), to: to.shape() }];
    }
    let mut found = Vec::new();
    for step in in_order(state, from) {
        match to.step(step.step.as_str()) {
            None => found.push(Difference::StepMissing { step: step.step.clone() }),
            Some(there) => {
                found.extend(other_kind(&step.step, from, &there.kind));
                if may_be_compensated(step) && !there.recovery.compensated_by_handler {
                    found.push(Difference::CompensationMissing { step: step.step.clone() });
                }
            }
        }
    }
    if !state.run.status.is_terminal() {
        match to.shape() {
            Shape::Transitions => transitions(state, from, to, &mut found),
            Shape::Dependencies => dependencies(state, from, to, &mut found),
        }
    }
    found
}

/// Pins the run to another version, which executes it from here on. Its live intents are moved to that version,
/// and steps whose dependencies have all completed there are dispatched. Claims on steps stay valid.
///
/// # Errors
/// [`AdoptError`]; the unit of work must then be discarded.
pub fn adopt(work: &mut UnitOfWork, to: &Arc<Definition>, jobs: &dyn DescribeJobs) -> Result<(), AdoptError> {
    let status = work.run().status;
    if status.is_terminal() && !(status == RunStatus::Failed && owes_compensation(work)) {
        return Err(AdoptError::Ended(status));
    }
    let found = differences(work.state(), work.definition(), to);
    if !found.is_empty() {
        return Err(AdoptError::Differs(found));
    }
    let from = work.run().fingerprint;
    for (step, input) in inputs_to_keep(work.state(), work.definition(), to) {
        work.copy_input(&step, input);
    }
    work.pin(to);
    for write in repinned(work, to) {
        work.write_intent(write);
    }
    work.audit(AuditKind::Adopted, |event| {
        event.metadata = Some(versions(&from, to.fingerprint()));
    });
    if to.shape() == Shape::Dependencies && status.may_schedule() {
        let runnable = runnable(work.state(), to);
        dispatch_successors(work, &runnable, None, jobs)?;
    }
    Ok(())
}

/// Returns the inputs that another version's mapping would change: the steps that have them keep copies.
pub(super) fn inputs_to_keep(
    state: &RunSnapshot,
    from: &Definition,
    to: &Definition,
) -> Vec<(StepName, Arc<Map<String, Value>>)> {
    let mapping = |version: &Definition, step: &StepRun| version.step(step.step.as_str()).map(|it| it.input.clone());
    let same_outputs = sees_same_outputs(state, from, to);
    let is_moved =
        |step: &&StepRun| step.input.copy().is_none() && (!same_outputs || mapping(from, step) != mapping(to, step));
    let moved = state.steps.values().filter(is_moved).map(|step| (step, state.input_of(step, from)));
    let changed = moved.filter(|(step, input)| state.input_of(step, to) != *input);
    changed.map(|(step, input)| (step.step.clone(), input)).collect()
}

/// Returns whether every step that the run has reached receives the same outputs in both versions, merged in the same
/// order. Usually it does, which is known without deriving any input.
fn sees_same_outputs(state: &RunSnapshot, from: &Definition, to: &Definition) -> bool {
    let reached = |version: &Definition| {
        let reached = version.steps().iter().filter(|step| state.steps.contains_key(&step.name));
        reached.map(|step| (step.name.clone(), step.after.clone())).collect::<Vec<_>>()
    };
    from.shape() == Shape::Transitions || reached(from) == reached(to)
}

/// Returns the audit metadata of a change of version.
pub(super) fn versions(from: &Fingerprint, to: &Fingerprint) -> Map<String, Value> {
    Map::from_iter([("from".to_owned(), json!(from)), ("to".to_owned(), json!(to))])
}

/// Returns the step runs in the order of declaration, so that differences are listed in that order.
fn in_order<'a>(state: &'a RunSnapshot, definition: &Definition) -> Vec<&'a StepRun> {
    let mut steps: Vec<&StepRun> = state.steps.values().collect();
    steps.sort_by_key(|step| definition.position(step.step.as_str()));
    steps
}

fn other_kind(step: &StepName, from: &Definition, there: &StepKind) -> Option<Difference> {
    let here = &from.step(step.as_str())?.kind;
    (std::mem::discriminant(here) != std::mem::discriminant(there)).then(|| Difference::OtherKind {
        step: step.clone(),
        from: here.to_string(),
        to: there.to_string(),
    })
}

/// Returns whether a step's compensation is still to come if the run fails.
fn may_be_compensated(step: &StepRun) -> bool {
    let may_complete = matches!(step.status, StepStatus::Pending | StepStatus::Running | StepStatus::Paused);
    is_owed(step) || (may_complete && step.recovery.compensated_by_handler)
}

fn transitions(state: &RunSnapshot, from: &Definition, to: &Definition, found: &mut Vec<Difference>) {
    let Some(current) = state.run.current_step.as_ref() else { return };
    let paused = state.steps.get(current).filter(|step| step.status == StepStatus::Paused);
    let continuation = paused.and_then(|step| step.continuation.as_ref());
    let mut ahead: Vec<StepName> = Vec::new();
    match continuation {
        Some(continuation) => {
            if let Some(signal) = continuation.signal.as_ref().filter(|signal| to.signal(signal.as_str()).is_none()) {
                found.push(Difference::SignalMissing { step: current.clone(), signal: signal.clone() });
            }
            let targets = [Some(&continuation.ok), continuation.error.as_ref(), continuation.expired.as_ref()];
            let guarded = continuation.guarded.iter().map(|transition| &transition.to);
            for target in targets.into_iter().flatten().chain(guarded).filter_map(Target::step) {
                match to.step(target.as_str()) {
                    None => {
                        found.push(Difference::TargetMissing { step: current.clone(), target: target.clone() });
                    }
                    Some(there) => {
                        found.extend(other_kind(target, from, &there.kind));
                        ahead.push(target.clone());
                    }
                }
            }
        }
        None => {
            if to.step(current.as_str()).is_none() {
                return; // it is missing, which is reported already
            }
            ahead.extend(successors(to, current));
        }
    }
    let mut seen = BTreeSet::new();
    while let Some(step) = ahead.pop() {
        if seen.insert(step.clone()) {
            ahead.extend(successors(to, &step));
        }
    }
    let back = to.steps().iter().map(|step| &step.name);
    let back = back.filter(|step| seen.contains(*step) && state.steps.contains_key(*step));
    found.extend(back.map(|step| Difference::LeadsBack { step: step.clone() }));
}

fn successors(definition: &Definition, step: &StepName) -> Vec<StepName> {
    let both = [TransitionOutcome::Ok, TransitionOutcome::Error];
    let deadline = definition.step(step.as_str()).and_then(|step| step.deadline.as_ref()?.to.as_ref());
    let guarded = definition.guarded_transitions(step.as_str());
    let plain = both.into_iter().filter_map(|on| definition.transition(step.as_str(), on));
    let targets = guarded.chain(plain).map(|transition| &transition.to).chain(deadline);
    targets.filter_map(Target::step).cloned().collect()
}

fn dependencies(state: &RunSnapshot, from: &Definition, to: &Definition, found: &mut Vec<Difference>) {
    for step in in_order(state, from) {
        let Some(there) = to.step(step.step.as_str()) else { continue };
        let open = there.after.iter().filter(|dependency| !state.is_completed(dependency));
        found.extend(
            open.map(|dependency| Difference::DependencyOpen {
                step: step.step.clone(),
                dependency: dependency.clone(),
            }),
        );
    }
}

/// Returns the steps that the run has not reached and whose dependencies have all completed.
fn runnable(state: &RunSnapshot, definition: &Definition) -> Vec<StepName> {
    let new = definition.steps().iter().filter(|step| !state.steps.contains_key(&step.name));
    let free = new.filter(|step| step.after.iter().all(|dependency| state.is_completed(dependency)));
    free.map(|step| step.name.clone()).collect()
}

/// Returns the writes that move the run's intents to the other version.
fn repinned(work: &UnitOfWork, to: &Definition) -> Vec<IntentWrite> {
    let (run, fingerprint) = (work.run(), *to.fingerprint());
    let compensation = (run.status == RunStatus::Failed).then(|| IntentWrite::Repin {
        key: IntentKey::compensation(run.id),
        fingerprint,
        queue: QueueName::default(),
        priority: Priority::Normal,
    });
    // A host may have dispatched a completed step again: its delivery is due in the new version too.
    let dispatched =
        work.state().steps.values().filter(|step| !matches!(step.status, StepStatus::Failed | StepStatus::Cancelled));
    let declared = dispatched.filter_map(|step| to.step(step.step.as_str()));
    declared
        .map(|step| IntentWrite::Repin {
            key: IntentKey::step(run.id, step.name.clone()),
            fingerprint,
            queue: step.queue.clone(),
            priority: step.priority,
        })
        .chain(compensation)
        .collect()
}
