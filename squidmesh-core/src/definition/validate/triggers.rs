//! The rules about triggers and their payloads.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::super::contract_problem::PayloadOwner;
use super::super::draft::TriggerDraft;
use super::super::error::DefinitionError;
use super::super::trigger::TriggerKind;
use super::contracts;
use crate::contract::FieldKind;
use crate::json::JsonLimits;
use crate::schedule::{InvalidSchedule, Schedule};

pub(super) fn check(triggers: &[TriggerDraft], errors: &mut Vec<DefinitionError>) {
    if triggers.is_empty() {
        errors.push(DefinitionError::NoTrigger);
    }
    let (mut names, mut twice) = (HashSet::new(), HashSet::new());
    let mut declared = HashMap::new();
    for trigger in triggers {
        if !names.insert(&trigger.name) && twice.insert(&trigger.name) {
            errors.push(DefinitionError::DuplicateTrigger { trigger: trigger.name.clone() });
        }
        if let TriggerKind::Cron { expression, time_zone, .. } = &trigger.kind {
            check_schedule(&trigger.name, expression, time_zone, errors);
        }
        let before = errors.len();
        contracts::check(PayloadOwner::Trigger(trigger.name.clone()), &trigger.contract, errors);
        if matches!(trigger.kind, TriggerKind::Cron { .. }) && errors.len() == before {
            check_filled_by_defaults(trigger, errors);
        }
        compare_fields(trigger, &mut declared, errors);
    }
}

fn check_schedule(trigger: &str, expression: &str, time_zone: &str, errors: &mut Vec<DefinitionError>) {
    // Each is checked by itself, so that both are reported.
    if let Err(InvalidSchedule::TimeZone { time_zone }) = Schedule::new(ANY_EXPRESSION, time_zone) {
        errors.push(DefinitionError::InvalidTimeZone { trigger: trigger.to_owned(), time_zone });
    }
    if let Err(InvalidSchedule::Expression { expression, problem }) = Schedule::new(expression, ANY_TIME_ZONE) {
        let (trigger, reason) = (trigger.to_owned(), problem.to_string());
        errors.push(DefinitionError::InvalidCronExpression { trigger, expression, reason });
    }
}

const ANY_EXPRESSION: &str = "* * * * *";
const ANY_TIME_ZONE: &str = "UTC";

/// A schedule provides no payload: every field that the trigger requires must have a default.
fn check_filled_by_defaults(trigger: &TriggerDraft, errors: &mut Vec<DefinitionError>) {
    let day = jiff::civil::date(2000, 1, 1);
    if let Err(missing) = trigger.contract.resolve(Value::Null, day, &JsonLimits::default()) {
        errors.push(DefinitionError::CronPayloadWithoutDefaults { trigger: trigger.name.clone(), missing });
    }
}

/// Remembers where each field was declared first, and reports a later trigger that declares it with another kind.
fn compare_fields(
    trigger: &TriggerDraft,
    declared: &mut HashMap<String, (String, FieldKind)>,
    errors: &mut Vec<DefinitionError>,
) {
    for (field, kind) in trigger.contract.field_kinds() {
        let (one, one_kind) = declared.entry(field.clone()).or_insert_with(|| (trigger.name.clone(), kind));
        if *one_kind != kind && *one != trigger.name {
            errors.push(DefinitionError::PayloadFieldConflict {
                field,
                one: one.clone(),
                one_kind: *one_kind,
                other: trigger.name.clone(),
                other_kind: kind,
            });
        }
    }
}
