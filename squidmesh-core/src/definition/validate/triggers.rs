//! The rules about triggers and their payloads.

use std::collections::{HashMap, HashSet};

use super::super::draft::TriggerDraft;
use super::super::error::DefinitionError;
use super::super::trigger::TriggerKind;
use crate::contract::{Contract, Field, FieldKind};

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
        check_contract(&trigger.name, &trigger.contract, errors);
        compare_fields(trigger, &mut declared, errors);
    }
}

fn check_schedule(trigger: &str, expression: &str, time_zone: &str, errors: &mut Vec<DefinitionError>) {
    if jiff::tz::TimeZone::get(time_zone).is_err() {
        let (trigger, time_zone) = (trigger.to_owned(), shown(time_zone));
        errors.push(DefinitionError::InvalidTimeZone { trigger, time_zone });
    }
    if let Some(reason) = schedule_problem(expression) {
        errors.push(DefinitionError::InvalidCronExpression {
            trigger: trigger.to_owned(),
            expression: shown(expression),
            reason,
        });
    }
}

/// Longer than any useful expression; what reads it is not asked about more.
const EXPRESSION_BYTES: usize = 1_000;

fn schedule_problem(expression: &str) -> Option<String> {
    if expression.trim().is_empty() {
        return Some("it is empty; write five fields: minute, hour, day of month, month, day of week".to_owned());
    }
    if expression.len() > EXPRESSION_BYTES {
        return Some(format!("it is longer than {EXPRESSION_BYTES} bytes"));
    }
    // The reader wants a zone behind the fields; which one does not matter for their validity.
    let Ok(schedule) = cronexpr::parse_crontab(&format!("{expression} UTC")) else {
        return Some(
            "write five fields: minute, hour, day of month, month, day of week, as in `0 3 * * 1-5`".to_owned(),
        );
    };
    match schedule.find_next(LEAP_YEAR) {
        Ok(_) => None,
        Err(_) => Some("it never fires: no date fits it within four years".to_owned()),
    }
}

/// Four years from here have a 29 February.
const LEAP_YEAR: &str = "2024-01-01T00:00:00Z";

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

fn check_contract(trigger: &str, contract: &Contract, errors: &mut Vec<DefinitionError>) {
    match contract {
        Contract::Nothing => {}
        Contract::Fields(fields) => check_fields(trigger, fields, errors),
        Contract::Schema(schema) => {
            if let Err(reason) = schema.compile() {
                errors.push(DefinitionError::InvalidPayloadSchema {
                    trigger: trigger.to_owned(),
                    reason: reason.to_owned(),
                });
            } else if !schema.takes_objects() {
                errors.push(DefinitionError::PayloadNotAnObject { trigger: trigger.to_owned() });
            }
        }
    }
}

fn check_fields(trigger: &str, fields: &[Field], errors: &mut Vec<DefinitionError>) {
    let (mut names, mut twice) = (HashSet::new(), HashSet::new());
    for field in fields {
        if field.name().is_empty() {
            errors.push(DefinitionError::EmptyFieldName { trigger: trigger.to_owned() });
        }
        if !names.insert(field.name()) && twice.insert(field.name()) {
            errors
                .push(DefinitionError::DuplicateField { trigger: trigger.to_owned(), field: field.name().to_owned() });
        }
        if !field.default_fits() {
            errors.push(DefinitionError::DefaultTypeMismatch {
                trigger: trigger.to_owned(),
                field: field.name().to_owned(),
                expected: field.kind(),
            });
        }
    }
}

/// Remembers where each field was declared first, and reports a later trigger that sees it otherwise.
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
