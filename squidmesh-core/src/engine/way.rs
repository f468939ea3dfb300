//! Chooses the transition by which a run leaves a step.
//!
//! A choice is made once, with the outcome, and is stored if there was one. Knows transitions and what is visible to
//! them; never knows what follows.

use serde_json::{Map, Value};

use super::unit_of_work::UnitOfWork;
use crate::definition::{Definition, Guard, Transition, TransitionOutcome};
use crate::event::EventKind;
use crate::name::StepName;
use crate::run::{FailureKind, PausedContinuation, RunSnapshot, StepRun};

/// Returns the transition by which a run leaves a completed step: the one that was taken, the one that the handler
/// chose, the first one whose condition holds, or the one without a guard.
pub(super) fn way_on(work: &UnitOfWork, step: &StepName, route: Option<&str>) -> Option<Transition> {
    let (state, definition) = (work.state(), work.definition());
    if let Some(taken) = state.steps.get(step).and_then(|run| run.taken.as_ref()) {
        return Some(taken.clone());
    }
    if let Some(stored) = waited(state, step) {
        let chosen = chosen(stored.guarded.iter(), None, state, definition, None).cloned();
        return chosen.or_else(|| Some(Transition::plain(step.clone(), TransitionOutcome::Ok, stored.ok.clone())));
    }
    let guarded = definition.guarded_transitions(step.as_str());
    let chosen = chosen(guarded, route, state, definition, None);
    chosen.or_else(|| definition.transition(step.as_str(), TransitionOutcome::Ok)).cloned()
}

/// Returns the transition by which a run leaves a step that has failed with this kind; `None` if the failure fails the
/// run.
pub(super) fn way_on_failure(work: &UnitOfWork, step: &StepName, kind: &str) -> Option<Transition> {
    let definition = work.definition();
    let Some(stored) = waited(work.state(), step) else {
        return definition.transition_on_failure(step.as_str(), kind).cloned();
    };
    let is_for_it = |found: &&Transition| matches!(&found.guard, Some(Guard::Kind(of)) if of == kind);
    if let Some(found) = stored.guarded.iter().find(is_for_it) {
        return Some(found.clone());
    }
    let to = stored.error.as_ref()?;
    let declared = definition.transition(step.as_str(), TransitionOutcome::Error).filter(|found| found.to == *to);
    Some(declared.cloned().unwrap_or_else(|| Transition::plain(step.clone(), TransitionOutcome::Error, to.clone())))
}

/// Returns whether a run ends when this step fails for the last time: there is no error transition for that failure.
pub(super) fn has_no_way_on(work: &UnitOfWork, step: &StepName, failure: &FailureKind) -> bool {
    way_on_failure(work, step, failure.as_str()).is_none()
}

/// Returns what was stored when a step began to wait for a signal. It counts, even if the version declares something
/// else by now.
fn waited<'a>(state: &'a RunSnapshot, step: &StepName) -> Option<&'a PausedContinuation> {
    let stored = state.steps.get(step)?.continuation.as_ref()?;
    stored.signal.is_some().then_some(stored)
}

/// Returns the first transition whose route is chosen, or whose condition holds. `output` is one that the run does not
/// have yet.
pub(super) fn chosen<'a>(
    guarded: impl Iterator<Item = &'a Transition>,
    route: Option<&str>,
    state: &RunSnapshot,
    definition: &Definition,
    output: Option<&Map<String, Value>>,
) -> Option<&'a Transition> {
    let mut guarded = guarded.filter(|transition| transition.on == TransitionOutcome::Ok).peekable();
    guarded.peek()?;
    let guarded: Vec<&Transition> = guarded.collect();
    if let Some(name) = route {
        let is_named = |found: &&Transition| matches!(&found.guard, Some(Guard::Route(route)) if route == name);
        return guarded.into_iter().find(is_named);
    }
    let completed: Vec<&StepRun> = state.completed(definition);
    let value_of = |key: &str| {
        let outputs = completed.iter().rev().filter_map(|step| step.output.as_deref());
        output.into_iter().chain(outputs).find_map(|output| output.get(key)).or_else(|| state.run.payload.get(key))
    };
    let holds = |found: &&Transition| matches!(&found.guard, Some(Guard::If(condition)) if condition.holds(&value_of));
    guarded.into_iter().find(holds)
}

/// Returns whether a step declares a route.
pub(super) fn has_route(work: &UnitOfWork, step: &StepName, name: &str) -> bool {
    let mut guarded = work.definition().guarded_transitions(step.as_str());
    guarded.any(|found| matches!(&found.guard, Some(Guard::Route(route)) if route == name))
}

/// Returns whether several transitions leave a step on an outcome.
pub(super) fn is_a_choice(work: &UnitOfWork, step: &StepName, on: TransitionOutcome) -> bool {
    if let Some(stored) = waited(work.state(), step) {
        return stored.guarded.iter().any(|transition| transition.on == on);
    }
    work.definition().guarded_transitions(step.as_str()).any(|transition| transition.on == on)
}

/// Stores the transition by which a run leaves a step.
pub(super) fn take(work: &mut UnitOfWork, step: &StepName, transition: &Transition) {
    if work.state().steps.get(step).is_some_and(|run| run.taken.is_some()) {
        return;
    }
    work.change_step(step, |run| run.taken = Some(transition.clone()));
    work.emit(EventKind::StepRouted { transition: Box::new(transition.clone()) });
}
