//! Trims failures to the limits of storage: recording a failure never fails.

use serde_json::{Map, Value, json};

use super::Limits;
use crate::json as rules;
use crate::run::Failure;

/// The maximum number of causes of a failure, and the maximum length of its kind in bytes.
const CAUSES: usize = 32;
const KIND: usize = 100;

/// Returns the failure trimmed to the limits.
pub(super) fn recordable(mut failure: Failure, limits: &Limits) -> Failure {
    let share = limits.json.max_bytes / 4;
    let clean = |text: String, bound| rules::truncate_text(text.replace('\0', "\u{fffd}"), bound);
    failure.kind = clean(failure.kind.to_string(), KIND).into();
    failure.message = clean(failure.message, share);
    failure.chain = failure.chain.into_iter().take(CAUSES).map(|cause| clean(cause, share / CAUSES)).collect();
    if failure.details.as_ref().is_some_and(|details| limits.json.check(details).is_err()) {
        failure.details = Some(Value::from(LEFT_OUT));
    }
    failure
}

/// The text that replaces details beyond the limits.
const LEFT_OUT: &str = "the details were beyond the limits and were left out";
/// The minimum room for a list of compensation failures beside which the details of the run's own failure are kept.
const ROOM: usize = 4_096;

/// Adds the compensations that failed afterwards to the failure of a run. They are listed among its details, as
/// far as the whole stays within the limit. A cut list is marked; each failure is recorded in full with its step.
pub(super) fn with_compensation_failures(mut failure: Failure, failed: &[Failure], limits: &Limits) -> Failure {
    let limit = limits.json.max_bytes;
    if limit.saturating_sub(size(&failure)) < ROOM && failure.details.is_some() {
        failure.details = Some(json!({ "details": LEFT_OUT }));
    }
    let mut details = match failure.details.take() {
        Some(Value::Object(map)) => map,
        Some(other) => Map::from_iter([("details".to_owned(), other)]),
        None => Map::new(),
    };
    failure.details = Some(Value::Object(details.clone()));
    // The key, the brackets and the number of omitted failures need some room of their own.
    let mut room = limit.saturating_sub(size(&failure)).saturating_sub(200);
    let share = room / failed.len().max(1) / 2;
    let mut listed = Vec::with_capacity(failed.len());
    for one in failed {
        let entry = json!({
            "step": one.step,
            "kind": one.kind,
            "message": rules::truncate_text(one.message.clone(), share),
        });
        let Some(left) = room.checked_sub(size(&entry) + 1) else { break };
        room = left;
        listed.push(entry);
    }
    if listed.len() < failed.len() {
        details.insert("compensation_failures_left_out".to_owned(), Value::from(failed.len() - listed.len()));
    }
    details.insert("compensation_failures".to_owned(), Value::Array(listed));
    failure.details = Some(Value::Object(details));
    failure
}

/// Returns the size of a value as JSON, in bytes.
fn size(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}
