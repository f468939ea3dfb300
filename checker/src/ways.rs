//! A run leaves a step by the way that its outcome opens, and the choice stays.
//!
//! Conditions are evaluated here by themselves, not by the code that is under test.

use std::cmp::Ordering;

use serde_json::{Number, Value};
use squidmesh_core::RunStatus;
use squidmesh_core::definition::{Comparison, Condition, Definition, Guard, Target, Transition, TransitionOutcome};
use squidmesh_core::run::{FailureKind, RunSnapshot, StepRun, StepStatus};

use crate::change::Change;
use crate::findings::Findings;

pub(super) fn check(change: &Change<'_>, findings: &mut Findings) {
    let (Some(before), after) = (change.before, change.after) else { return };
    for step in change.commit.steps.iter().map(squidmesh_core::port::StepWrite::step) {
        let old = before.steps.get(&step.step);
        let has_ended = |step: &StepRun| matches!(step.status, StepStatus::Completed | StepStatus::Failed);
        if old.is_some_and(has_ended) {
            let taken = old.and_then(|old| old.taken.as_ref());
            findings.demand(step.taken.as_ref() == taken, after.run.id, || {
                format!("{} had been left by {taken:?}, and then by {:?}", step.step, step.taken)
            });
            continue;
        }
        if has_ended(step) {
            check_ended(change, before, step, findings);
        }
    }
}

fn check_ended(change: &Change<'_>, before: &RunSnapshot, step: &StepRun, findings: &mut Findings) {
    let (after, run) = (change.after, &change.after.run);
    let Some(definition) = change.definition.filter(|_| run.fingerprint == before.run.fingerprint) else { return };
    let guarded: Vec<&Transition> = match &step.continuation {
        Some(continuation) => continuation.guarded.iter().collect(),
        None => definition.guarded_transitions(step.step.as_str()).collect(),
    };
    // The target of a deadline itself is no transition.
    let to_own_target = failure_kind(step) == Some(FailureKind::EXPIRED)
        && step.continuation.as_ref().is_some_and(|stored| stored.own_deadline);
    let Some(taken) = &step.taken else {
        let on = match failure_kind(step) {
            None => TransitionOutcome::Ok,
            Some(_) => TransitionOutcome::Error,
        };
        let has_choice = guarded.iter().any(|transition| transition.on == on);
        let continues = !matches!(run.status, RunStatus::Failed | RunStatus::Cancelling | RunStatus::Cancelled);
        findings.demand(!(has_choice && continues) || to_own_target, run.id, || {
            format!("{} was left without a choice, and has {} ways on", step.step, guarded.len())
        });
        return;
    };
    findings.demand(!to_own_target, run.id, || {
        format!("{} was left by {taken:?}, and its deadline has a target of its own", step.step)
    });
    let is_open = |transition: &&Transition| match &transition.guard {
        Some(Guard::If(condition)) => holds(condition, after, step.sequence),
        Some(Guard::Kind(kind)) => failure_kind(step).is_some_and(|failure| failure == kind.as_str()),
        _ => false,
    };
    let first = guarded.iter().filter(|transition| transition.on == taken.on).find(|transition| is_open(transition));
    let is_right = match &taken.guard {
        // Only the handler knows which route it chose.
        Some(Guard::Route(_)) => guarded.contains(&taken),
        Some(_) => first == Some(&taken),
        None => first.is_none() && Some(&taken.to) == otherwise(step, taken.on, definition),
    };
    findings.demand(is_right, run.id, || format!("{} was left by {taken:?}, and not by {first:?}", step.step));
    let follows = match &taken.to {
        Target::Step(next) => after.steps.contains_key(next),
        Target::Complete => run.status == RunStatus::Completed,
        Target::Fail => run.status == RunStatus::Failed,
    };
    findings.demand(follows || run.status == RunStatus::Failed, run.id, || {
        format!("{} was left by {taken:?}, and the run is {}", step.step, run.status)
    });
}

/// Returns where a run continues if no guard is open.
fn otherwise<'a>(step: &'a StepRun, on: TransitionOutcome, definition: &'a Definition) -> Option<&'a Target> {
    match (&step.continuation, on) {
        (Some(continuation), TransitionOutcome::Ok) => Some(&continuation.ok),
        (Some(continuation), TransitionOutcome::Error) => continuation.error.as_ref(),
        (None, _) => definition.transition(step.step.as_str(), on).map(|transition| &transition.to),
    }
}

/// Returns the kind of the failure with which a step ended, if it failed or took an error transition.
fn failure_kind(step: &StepRun) -> Option<FailureKind> {
    match step.manual.as_ref().map(|manual| manual.decision.as_str()) {
        Some("rejected") => Some(FailureKind::REJECTED),
        Some("expired") => Some(FailureKind::EXPIRED),
        Some(_) => None,
        None => {
            let has_failed = step.status == StepStatus::Failed
                || step.taken.as_ref().is_some_and(|taken| taken.on == TransitionOutcome::Error);
            step.last_error.as_ref().filter(|_| has_failed).map(|failure| failure.kind.clone())
        }
    }
}

/// Returns whether a condition holds with what was visible once a step had completed: later steps may have completed in
/// the same commit.
fn holds(condition: &Condition, state: &RunSnapshot, as_of: Option<u64>) -> bool {
    match condition {
        Condition::Compare { path, by, to } => {
            let Some(found) = value(path, state, as_of) else { return false };
            let order = match (&found, to) {
                (Value::Number(one), Value::Number(other)) => numbers(one, other),
                (Value::String(one), Value::String(other)) => Some(one.chars().cmp(other.chars())),
                _ => None,
            };
            match by {
                Comparison::Is => order.map_or(found == *to, Ordering::is_eq),
                Comparison::LessThan => order.is_some_and(Ordering::is_lt),
                Comparison::AtMost => order.is_some_and(Ordering::is_le),
                Comparison::GreaterThan => order.is_some_and(Ordering::is_gt),
                Comparison::AtLeast => order.is_some_and(Ordering::is_ge),
            }
        }
        Condition::OneOf { path, values } => values.iter().any(|to| {
            let is = Condition::Compare { path: path.clone(), by: Comparison::Is, to: to.clone() };
            holds(&is, state, as_of)
        }),
        Condition::Exists { path } => value(path, state, as_of).is_some(),
        Condition::All(all) => all.iter().all(|condition| holds(condition, state, as_of)),
        Condition::Any(any) => any.iter().any(|condition| holds(condition, state, as_of)),
        Condition::Not(condition) => !holds(condition, state, as_of),
        other => panic!("a condition that the checker does not know: {other:?}"),
    }
}

/// Compares small numbers: those that tests use.
fn numbers(one: &Number, other: &Number) -> Option<Ordering> {
    one.as_f64()?.partial_cmp(&other.as_f64()?)
}

fn value(path: &[String], state: &RunSnapshot, as_of: Option<u64>) -> Option<Value> {
    let mut visible = (*state.run.payload).clone();
    let is_visible = |step: &&StepRun| step.output.is_some() && (as_of.is_none() || step.sequence <= as_of);
    let mut completed: Vec<&StepRun> = state.steps.values().filter(is_visible).collect();
    completed.sort_by_key(|step| step.sequence);
    completed.iter().filter_map(|step| step.output.as_deref()).for_each(|output| visible.extend(output.clone()));
    let pointer: String =
        path.iter().map(|segment| format!("/{}", segment.replace('~', "~0").replace('/', "~1"))).collect();
    Value::Object(visible).pointer(&pointer).cloned()
}
