//! The rules about transitions that have a guard.

use std::collections::{HashMap, HashSet};

use super::super::draft::{Draft, StepDraft, TransitionDraft};
use super::super::error::DefinitionError;
use super::super::guard_problem::GuardProblem;
use super::super::step::StepKind;
use super::super::transition::{Guard, TransitionOutcome};
use crate::name;

/// The maximum length of a failure's kind, in bytes: longer ones are cut when they are recorded.
const LONGEST_KIND: usize = 100;

pub(super) fn check(draft: &Draft, errors: &mut Vec<DefinitionError>) {
    let steps: HashMap<&str, &StepDraft> = draft.steps.iter().map(|step| (step.name.as_str(), step)).collect();
    let mut seen = HashSet::new();
    for transition in &draft.transitions {
        let Some(guard) = &transition.guard else { continue };
        check_guard(transition, guard, errors);
        if let (Guard::Route(_), Some(step)) = (guard, steps.get(transition.from.as_str()))
            && step.kind != StepKind::Handler
        {
            report(transition, GuardProblem::RouteOnBuiltIn { kind: step.kind.word() }, errors);
        }
        // As data: two conditions may read alike, with a dot in a key or between two.
        let data = serde_json::to_string(guard).unwrap_or_else(|_| guard.to_string());
        if !seen.insert((&transition.from, data)) {
            report(transition, GuardProblem::Duplicate { guard: guard.to_string() }, errors);
        }
    }
}

fn check_guard(transition: &TransitionDraft, guard: &Guard, errors: &mut Vec<DefinitionError>) {
    let outcome = match guard {
        Guard::If(_) | Guard::Route(_) => TransitionOutcome::Ok,
        Guard::Kind(_) => TransitionOutcome::Error,
    };
    if transition.on != outcome {
        report(transition, GuardProblem::OtherOutcome { on: transition.on, guard: guard.to_string() }, errors);
    }
    match guard {
        Guard::If(condition) if condition.has_gap() => {
            report(transition, GuardProblem::Incomplete { condition: condition.to_string() }, errors);
        }
        Guard::Kind(kind) if kind.is_empty() || kind.len() > LONGEST_KIND => {
            report(transition, GuardProblem::InvalidKind, errors);
        }
        Guard::Route(route) => errors.extend(name::check("route", route).err().map(DefinitionError::InvalidName)),
        Guard::If(_) | Guard::Kind(_) => {}
    }
}

fn report(transition: &TransitionDraft, problem: GuardProblem, errors: &mut Vec<DefinitionError>) {
    errors.push(DefinitionError::Guard { from: transition.from.clone(), problem });
}
