//! Refuses declarations that are valid data and cannot be meant, as far as the types of the code say so.
//!
//! A stored definition has no types, and may have been meant otherwise when it was stored: these rules are for
//! builders alone.

use std::any::type_name;
use std::collections::{BTreeSet, HashSet};

use schemars::JsonSchema;
use serde_json::Value;

use super::StepCode;
use crate::contract::{Contract, PayloadSchema};
use crate::definition::draft::{Draft, StepDraft};
use crate::definition::{
    DefinitionError, Guard, GuardProblem, InputMapping, MAX_SUGGESTIONS, StepKind, TriggerKind, similar,
};
use crate::handler::OutputShape;

/// What a declaration must agree with, if its builder was made from a reference to the workflow.
pub(super) struct Expected {
    /// The contract of every manual trigger.
    payload: Contract,
    /// The name of the payload type, for messages.
    payload_type: &'static str,
    /// The fields that the result requires.
    result: Vec<String>,
}

impl Expected {
    pub(super) fn of<P: JsonSchema, R: JsonSchema>() -> Self {
        let schema = PayloadSchema::of::<P>();
        let is_nothing = schema.as_json().get("type").is_some_and(|kind| kind == "null");
        let payload = if is_nothing { Contract::Nothing } else { Contract::Schema(schema) };
        let schema = PayloadSchema::of::<R>();
        let required = schema.as_json().get("required").and_then(Value::as_array).into_iter().flatten();
        let result = required.filter_map(Value::as_str).map(str::to_owned).collect();
        Self { payload, payload_type: type_name::<P>(), result }
    }
}

/// Checks a draft together with the code of its steps, which are in the same order.
pub(super) fn check(
    draft: &Draft,
    code: &[StepCode],
    parallel: bool,
    expected: Option<&Expected>,
    errors: &mut Vec<DefinitionError>,
) {
    check_order(draft, parallel, errors);
    check_outputs(draft, code, errors);
    check_inputs(draft, code, errors);
    check_conditions(draft, code, errors);
    if let Some(expected) = expected {
        check_payloads(draft, expected, errors);
        check_result(draft, code, expected, errors);
    }
}

/// Reports several steps without an order, unless they are declared parallel.
fn check_order(draft: &Draft, parallel: bool, errors: &mut Vec<DefinitionError>) {
    match (parallel, draft.is_unconnected()) {
        (false, true) if draft.steps.len() > 1 => errors.push(DefinitionError::NoEdges),
        (true, false) => errors.push(DefinitionError::ParallelWithEdges),
        _ => {}
    }
}

/// Reports outputs that are no objects and have no key.
fn check_outputs(draft: &Draft, code: &[StepCode], errors: &mut Vec<DefinitionError>) {
    for (step, code) in draft.steps.iter().zip(code) {
        if let (None, OutputShape::NoObject(found)) = (&step.output, code.output_shape()) {
            errors.push(DefinitionError::OutputWithoutKey { step: step.name.clone(), found });
        }
    }
}

/// Reports input keys that nothing provides. Says nothing if a payload or an output may have any keys.
fn check_inputs(draft: &Draft, code: &[StepCode], errors: &mut Vec<DefinitionError>) {
    let wanted = draft.steps.iter().flat_map(|step| wanted(step).map(move |key| (step.name.as_str(), key)));
    for (step, key, similar) in unknown(draft, code, wanted) {
        errors.push(DefinitionError::UnknownInput { step, key, similar });
    }
}

/// Reports keys in conditions that nothing provides. Says nothing if a payload or an output may have any keys.
fn check_conditions(draft: &Draft, code: &[StepCode], errors: &mut Vec<DefinitionError>) {
    let asked = draft.transitions.iter().filter_map(|transition| match &transition.guard {
        Some(Guard::If(condition)) => Some((&transition.from, condition)),
        _ => None,
    });
    let wanted = asked.flat_map(|(from, condition)| {
        condition.paths().into_iter().filter_map(move |path| Some((from.as_str(), path.first()?.as_str())))
    });
    for (from, key, similar) in unknown(draft, code, wanted) {
        errors.push(DefinitionError::Guard { from, problem: GuardProblem::UnknownKey { key, similar } });
    }
}

/// Returns the keys that steps want and nothing provides, each with the provided key that was probably meant. Returns none
/// if a payload or an output may have any keys.
fn unknown<'a>(
    draft: &'a Draft,
    code: &[StepCode],
    wanted: impl Iterator<Item = (&'a str, &'a str)>,
) -> Vec<(String, String, Option<String>)> {
    let mut wanted = wanted.filter(|(_, key)| !key.is_empty()).peekable();
    let Some(provided) = wanted.peek().and_then(|_| provided(draft, code)) else { return Vec::new() };
    let (mut suggestions, mut reported, mut unknown) = (MAX_SUGGESTIONS, HashSet::new(), Vec::new());
    for (step, key) in wanted.filter(|(_, key)| !provided.contains(key)) {
        if reported.insert((step, key)) {
            let suggest = suggestions > 0;
            suggestions = suggestions.saturating_sub(1);
            let similar = suggest.then(|| similar(key, provided.iter().copied())).flatten();
            unknown.push((step.to_owned(), key.to_owned(), similar));
        }
    }
    unknown
}

/// Reports manual triggers whose payload is not of the type that the reference to the workflow names. A schedule has
/// no caller, so its payload may differ.
fn check_payloads(draft: &Draft, expected: &Expected, errors: &mut Vec<DefinitionError>) {
    for trigger in draft.triggers.iter().filter(|trigger| trigger.kind == TriggerKind::Manual) {
        if trigger.contract != expected.payload {
            let (trigger, payload) = (trigger.name.clone(), expected.payload_type);
            errors.push(DefinitionError::PayloadOfAnotherType { trigger, payload });
        }
    }
}

/// Reports fields that the type of the result requires and that no output provides.
fn check_result(draft: &Draft, code: &[StepCode], expected: &Expected, errors: &mut Vec<DefinitionError>) {
    let Some(provided) = provided_by_steps(draft, code) else { return };
    for key in expected.result.iter().filter(|key| !provided.contains(key.as_str())) {
        let similar = similar(key, provided.iter().copied());
        errors.push(DefinitionError::UnknownResult { key: key.clone(), similar });
    }
}

/// Returns the keys of payload and context that the input of a step is made of.
fn wanted(step: &StepDraft) -> Box<dyn Iterator<Item = &str> + '_> {
    match &step.input {
        InputMapping::Everything => Box::new(std::iter::empty()),
        InputMapping::Keys(keys) => Box::new(keys.iter().map(String::as_str)),
        InputMapping::Paths(paths) => Box::new(paths.values().filter_map(|path| path.first()).map(String::as_str)),
    }
}

/// Returns every key that payloads and outputs provide; `None` if one of them may have any keys.
fn provided<'a>(draft: &'a Draft, code: &[StepCode]) -> Option<BTreeSet<&'a str>> {
    let mut provided = BTreeSet::new();
    for trigger in &draft.triggers {
        provided.extend(trigger.contract.field_names()?);
    }
    provided.extend(provided_by_steps(draft, code)?);
    Some(provided)
}

/// Returns every key that outputs provide; `None` if one of them may have any keys.
fn provided_by_steps<'a>(draft: &'a Draft, code: &[StepCode]) -> Option<BTreeSet<&'a str>> {
    let mut provided = BTreeSet::new();
    for (step, code) in draft.steps.iter().zip(code) {
        match (&step.kind, &step.output) {
            (StepKind::Wait { .. }, _) => {}
            (_, Some(key)) => {
                provided.insert(key.as_str());
            }
            (StepKind::Log { .. } | StepKind::Pause, None) => {}
            (StepKind::Approval, None) => provided.extend(DECISION),
            (StepKind::WaitFor { signal }, None) => {
                let declared = draft.signals.iter().find(|declared| declared.name == *signal);
                provided.extend(declared?.contract.field_names()?);
            }
            (StepKind::Handler, None) => match code.output_shape() {
                OutputShape::Nothing | OutputShape::NoObject(_) => {}
                _ => return None,
            },
        }
    }
    Some(provided)
}

/// The keys of an approval's output: the decision that was made.
const DECISION: [&str; 5] = ["decision", "actor", "comment", "metadata", "at"];
