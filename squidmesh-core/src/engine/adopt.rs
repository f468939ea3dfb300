//! Adopting a run: another version of its workflow takes it over, if it has what the run needs.
//!
//! A version can adopt a run if the run could go on in it as if it had been started there:
//!
//! - It is of the same workflow and shape.
//! - It has every step that the run has reached or waits for, and each is of the same kind. Options may differ: what a step
//!   run was scheduled with (its input, its recovery policy, when it is due) stays, and the rest applies from here on.
//! - Its edges are *compatible*: they lead on from where the run stands, and never to where it has been. In a transition workflow
//!   the current step has a way on if it had one, and no way that begins there leads to a step that the run has reached. In a dependency
//!   workflow no step that the run has reached depends on one that it has not completed. How the run came to where it stands does
//!   not matter: steps that were added before that point are not made up for, except those of a dependency workflow that nothing
//!   keeps waiting, which are dispatched as the run is adopted.
//! - It has a compensation for every step of the run that may have to be compensated.
//!
//! A paused run goes on where it was going to when it paused, whatever the new version's edges say; what they lead to from
//! there on counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::UnitOfWork;
use super::advance::owes_compensation;
use super::compensate::is_owed;
use super::dispatch::{DescribeJobs, DispatchError, dispatch_successors};
use crate::{
    AuditKind, Definition, Fingerprint, IntentKey, IntentWrite, Priority, QueueName, RunState, RunStatus, Shape,
    StepKind, StepName, StepRun, StepStatus, Target, TransitionOutcome, WorkflowName,
};

/// Something about a version of a workflow that keeps it from adopting a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(tag = "difference", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Difference {
    /// It is a version of another workflow.
    #[error("it is of workflow {to}, the run is of {from}")]
    OtherWorkflow {
        /// The run's workflow.
        from: WorkflowName,
        /// The other.
        to: WorkflowName,
    },
    /// Its steps follow one another in another way.
    #[error("the run's version is made of {}, the other of {}", words(.from), words(.to))]
    OtherShape {
        /// The shape of the run's version.
        from: Shape,
        /// The shape of the other.
        to: Shape,
    },
    /// It lacks a step that the run has reached.
    #[error("there is no step {step}, which the run has reached")]
    StepMissing {
        /// The step.
        step: StepName,
    },
    /// It lacks the step that a paused run goes on with.
    #[error("there is no step {target}, with which the run goes on after {step}")]
    TargetMissing {
        /// The step that waits for a person.
        step: StepName,
        /// The step that is to follow it.
        target: StepName,
    },
    /// A step that the run has reached, or goes on with, does something else in it.
    #[error("step {step} is of the kind {to}, in the run's version {from}")]
    OtherKind {
        /// The step.
        step: StepName,
        /// The kind in the run's version.
        from: String,
        /// The kind in the other.
        to: String,
    },
    /// The run's current step would lead nowhere.
    #[error("nothing follows step {step}, where the run stands")]
    NoWayOn {
        /// The step.
        step: StepName,
    },
    /// The way on leads to a step that the run has reached already.
    #[error("step {step} follows where the run stands, and the run has been there already")]
    LeadsBack {
        /// The step.
        step: StepName,
    },
    /// A step that the run has reached depends on one that the run has not completed.
    #[error("step {step}, which the run has reached, depends on {dependency}, which it has not completed")]
    DependencyOpen {
        /// The step.
        step: StepName,
        /// What it depends on.
        dependency: StepName,
    },
    /// A step of the run may have to be compensated, and there is nothing to do so with.
    #[error("step {step} has no compensation, which the run may need")]
    CompensationMissing {
        /// The step.
        step: StepName,
    },
}

fn words(shape: &Shape) -> &'static str {
    match shape {
        Shape::Transitions => "transitions",
        Shape::Dependencies => "dependencies",
    }
}

/// Why a run was not adopted. It is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The version lacks what the run needs.
    #[error("the version cannot take the run over: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Differs(Vec<Difference>),
    /// The run has ended, and nothing is left to be done for it.
    #[error("the run is {0}: nothing is left to be done for it")]
    Ended(RunStatus),
    /// The executor refused steps that nothing keeps waiting in the version.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
}

/// What keeps the version `to` from adopting a run of the version `from`; empty if it can. What has to be the same is told
/// in the documentation of [`SquidmeshBuilder::adopt`](crate::SquidmeshBuilder::adopt).
pub fn differences(state: &RunState, from: &Definition, to: &Definition) -> Vec<Difference> {
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

/// Pins the run to another version, which carries it on from here: its live intents go with it, and steps that nothing keeps
/// waiting in that version are dispatched. Who holds a step goes on holding it.
///
/// # Errors
/// [`AdoptError`]; the unit of work is then to be thrown away.
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

/// What the audit trail says of a change of version.
pub(super) fn versions(from: &Fingerprint, to: &Fingerprint) -> Map<String, Value> {
    Map::from_iter([("from".to_owned(), json!(from)), ("to".to_owned(), json!(to))])
}

/// The step runs in the order of declaration, so that differences come in the order in which people think of the steps.
fn in_order<'a>(state: &'a RunState, definition: &Definition) -> Vec<&'a StepRun> {
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

/// Whether a step's callback is still to come, should the run fail.
fn may_be_compensated(step: &StepRun) -> bool {
    let may_complete = matches!(step.status, StepStatus::Pending | StepStatus::Running | StepStatus::Paused);
    is_owed(step) || (may_complete && step.recovery.compensated_by_handler)
}

fn transitions(state: &RunState, from: &Definition, to: &Definition, found: &mut Vec<Difference>) {
    let Some(current) = state.run.current_step.as_ref() else { return };
    let resume = state.steps.get(current).and_then(|step| step.resume.as_ref());
    let mut ahead: Vec<StepName> = Vec::new();
    match resume {
        Some(resume) if state.run.status == RunStatus::Paused => {
            let targets = [Some(&resume.ok), resume.error.as_ref(), resume.expired.as_ref()];
            for target in targets.into_iter().flatten() {
                let Target::Step(target) = target else { continue };
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
        _ => {
            let leads_on = |version: &Definition| version.transition(current.as_str(), TransitionOutcome::Ok).is_some();
            if to.step(current.as_str()).is_none() {
                return; // it is missing, which is told already
            }
            if leads_on(from) && !leads_on(to) {
                found.push(Difference::NoWayOn { step: current.clone() });
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
    let targets = both.into_iter().filter_map(|on| Some(&definition.transition(step.as_str(), on)?.to)).chain(deadline);
    targets
        .filter_map(|target| match target {
            Target::Step(step) => Some(step.clone()),
            Target::Complete => None,
        })
        .collect()
}

fn dependencies(state: &RunState, from: &Definition, to: &Definition, found: &mut Vec<Difference>) {
    for step in in_order(state, from) {
        let Some(there) = to.step(step.step.as_str()) else { continue };
        let open = there.after.iter().filter(|dependency| !completed(state, dependency));
        found.extend(
            open.map(|dependency| Difference::DependencyOpen {
                step: step.step.clone(),
                dependency: dependency.clone(),
            }),
        );
    }
}

fn completed(state: &RunState, step: &StepName) -> bool {
    state.steps.get(step).is_some_and(|step| step.status == StepStatus::Completed)
}

/// The steps that the run has not reached and that wait for nothing.
fn runnable(state: &RunState, definition: &Definition) -> Vec<StepName> {
    let new = definition.steps().iter().filter(|step| !state.steps.contains_key(&step.name));
    let free = new.filter(|step| step.after.iter().all(|dependency| completed(state, dependency)));
    free.map(|step| step.name.clone()).collect()
}

/// What becomes of the intents that the run may have.
fn repinned(work: &UnitOfWork, to: &Definition) -> Vec<IntentWrite> {
    let (run, fingerprint) = (work.run(), *to.fingerprint());
    let compensation = (run.status == RunStatus::Failed).then(|| IntentWrite::Repin {
        key: IntentKey::compensation(run.id),
        fingerprint,
        queue: QueueName::default(),
        priority: Priority::Normal,
    });
    let live = work
        .state()
        .steps
        .values()
        .filter(|step| matches!(step.status, StepStatus::Pending | StepStatus::Running | StepStatus::Paused));
    let declared = live.filter_map(|step| to.step(step.step.as_str()));
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
