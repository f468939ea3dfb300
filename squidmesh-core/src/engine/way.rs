//! Chooses the transition by which a run leaves a step.
//!
//! A choice is made once, with the outcome, and is stored if there was one. Knows transitions and what is visible to
//! them; never knows what follows.

use serde_json::{Map, Value};

use super::unit_of_work::UnitOfWork;
use crate::definition::{Definition, Guard, Transition, TransitionOutcome};
use crate::event::EventKind;
use crate::name::StepName;
use crate::run::{RunSnapshot, StepRun};

/// Returns the transition by which a run leaves a completed step: the one that was taken, the one that the handler
/// chose, the first one whose condition holds, or the one without a guard.
pub(super) fn way_on(work: &UnitOfWork, step: &StepName, route: Option<&str>) -> Option<Transition> {
    let (state, definition) = (work.state(), work.definition());
    if let Some(taken) = state.steps.get(step).and_then(|run| run.taken.as_ref()) {
        return Some(taken.clone());
    }
    let guarded = definition.guarded_transitions(step.as_str());
    let chosen = chosen(guarded, route, state, definition, None);
    chosen.or_else(|| definition.transition(step.as_str(), TransitionOutcome::Ok)).cloned()
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
