//! The rules about the options of one step.

use std::collections::HashSet;

use super::super::draft::StepDraft;
use super::super::duration::LONGEST;
use super::super::error::DefinitionError;
use super::super::retry::Retry;
use super::super::step::{InputMapping, StepKind};

pub(super) fn check(steps: &[StepDraft], errors: &mut Vec<DefinitionError>) {
    if steps.is_empty() {
        errors.push(DefinitionError::NoStep);
    }
    for step in steps {
        check_kind(step, errors);
        check_data(step, errors);
        check_times(step, errors);
        check_deadline(step, errors);
        check_recovery(step, errors);
        check_compensation_retry(step, errors);
    }
}

fn check_kind(step: &StepDraft, errors: &mut Vec<DefinitionError>) {
    match &step.kind {
        StepKind::Wait { duration } if duration.is_zero() => {
            errors.push(DefinitionError::ZeroWait { step: step.name.clone() });
        }
        StepKind::Wait { duration } if *duration > LONGEST => {
            errors.push(DefinitionError::DurationTooLong { step: step.name.clone(), what: "wait" });
        }
        StepKind::Log { message, .. } if message.trim().is_empty() => {
            errors.push(DefinitionError::EmptyLogMessage { step: step.name.clone() });
        }
        _ => {}
    }
    if step.timeout.is_some() && step.kind != StepKind::Handler {
        errors.push(DefinitionError::TimeoutOnBuiltIn { step: step.name.clone(), kind: step.kind.word() });
    }
    if step.transactional && step.kind != StepKind::Handler {
        errors.push(DefinitionError::TransactionalBuiltIn { step: step.name.clone(), kind: step.kind.word() });
    }
}

fn check_data(step: &StepDraft, errors: &mut Vec<DefinitionError>) {
    if step.output.as_deref() == Some("") {
        errors.push(DefinitionError::EmptyOutputKey { step: step.name.clone() });
    }
    let empty = match &step.input {
        InputMapping::Everything => false,
        InputMapping::Keys(keys) => {
            let (mut seen, mut twice) = (HashSet::new(), HashSet::new());
            for key in keys {
                if !seen.insert(key) && twice.insert(key) {
                    errors.push(DefinitionError::DuplicateInputKey { step: step.name.clone(), key: key.clone() });
                }
            }
            keys.iter().any(String::is_empty)
        }
        InputMapping::Paths(paths) => {
            paths.iter().any(|(key, path)| key.is_empty() || path.is_empty() || path.iter().any(String::is_empty))
        }
    };
    if empty {
        errors.push(DefinitionError::EmptyInputKey { step: step.name.clone() });
    }
}

fn check_times(step: &StepDraft, errors: &mut Vec<DefinitionError>) {
    check_retry(&step.name, &step.retry, "step", "backoff", errors);
    match step.timeout {
        Some(timeout) if timeout.is_zero() => errors.push(DefinitionError::ZeroTimeout { step: step.name.clone() }),
        Some(timeout) if timeout > LONGEST => {
            errors.push(DefinitionError::DurationTooLong { step: step.name.clone(), what: "timeout" });
        }
        _ => {}
    }
}

fn check_deadline(step: &StepDraft, errors: &mut Vec<DefinitionError>) {
    let Some(deadline) = &step.deadline else { return };
    if !matches!(step.kind, StepKind::Approval | StepKind::WaitFor { .. }) {
        errors.push(DefinitionError::DeadlineNotAllowed { step: step.name.clone(), kind: step.kind.word() });
    } else if deadline.after.is_zero() {
        errors.push(DefinitionError::ZeroDeadline { step: step.name.clone() });
    } else if deadline.after > LONGEST {
        errors.push(DefinitionError::DurationTooLong { step: step.name.clone(), what: "deadline" });
    }
}

fn check_compensation_retry(step: &StepDraft, errors: &mut Vec<DefinitionError>) {
    let Some(retry) = &step.compensation_retry else { return };
    if !step.recovery.compensated_by_handler {
        errors.push(DefinitionError::CompensationRetryWithoutHandler { step: step.name.clone() });
    }
    check_retry(&step.name, retry, "compensation of the step", "compensation backoff", errors);
}

/// Checks a retry policy: `what` is retried, and `backoff` is how errors name its delays.
fn check_retry(
    step: &str,
    retry: &Retry,
    what: &'static str,
    backoff: &'static str,
    errors: &mut Vec<DefinitionError>,
) {
    let step = || step.to_owned();
    let (min, max) = (retry.min(), retry.max());
    if retry.max_attempts() == 0 {
        errors.push(DefinitionError::ZeroAttempts { step: step(), what });
    }
    if min > max {
        errors.push(DefinitionError::InvertedBackoff { step: step(), what, min, max });
    }
    if min.is_zero() && !max.is_zero() {
        errors.push(DefinitionError::ZeroBackoff { step: step(), what: backoff, max });
    }
    if min.max(max) > LONGEST {
        errors.push(DefinitionError::DurationTooLong { step: step(), what: backoff });
    }
}

fn check_recovery(step: &StepDraft, errors: &mut Vec<DefinitionError>) {
    let recovery = &step.recovery;
    if recovery.irreversible && recovery.compensatable {
        errors.push(DefinitionError::IrreversibleAndCompensatable { step: step.name.clone() });
    } else if recovery.compensated_by_handler && !recovery.compensatable {
        errors.push(DefinitionError::CompensateNotAllowed { step: step.name.clone() });
    }
}
