//! How mutations change the signals of a commit.

use std::sync::Arc;

use serde_json::{Map, Value};
use squidmesh_core::port::Commit;
use squidmesh_core::run::{AuditKind, ReceivedSignal, RunSnapshot};

use super::written::steps;

type Payload = Arc<Map<String, Value>>;

/// Returns the places of the signals that a commit takes, each with its payload.
fn taken(commit: &Commit, stored: Option<&RunSnapshot>) -> Vec<(usize, Payload)> {
    let before = |place: usize| stored.and_then(|stored| stored.signals.get(place));
    let signals = commit.signals.iter().flatten().enumerate();
    let taken = signals
        .filter(|(place, signal)| !signal.is_buffered() && before(*place).is_none_or(ReceivedSignal::is_buffered));
    let with_payload = taken.map(|(place, signal)| {
        let kept = before(place).and_then(|before| before.payload.clone());
        (place, kept.or_else(|| payload(commit, signal)).unwrap_or_default())
    });
    with_payload.collect()
}

/// Returns the payload of a signal that was taken as it came: the output of the step that took it.
fn payload(commit: &Commit, signal: &ReceivedSignal) -> Option<Payload> {
    let mut written = commit.steps.iter().map(|write| write.step());
    let step = written.find(|step| Some(&step.step) == signal.taken_by.as_ref())?;
    let output = step.output.clone()?;
    match step.continuation.as_ref().and_then(|stored| stored.output_key.as_ref()) {
        Some(key) => Some(Arc::new(output.get(key)?.as_object()?.clone())),
        None => Some(output),
    }
}

/// Keeps a signal that is taken as if it were not.
pub(super) fn keep_taken(commit: &mut Commit, stored: Option<&RunSnapshot>) {
    for (place, payload) in taken(commit, stored) {
        if let Some(signal) = commit.signals.as_mut().and_then(|signals| signals.get_mut(place)) {
            (signal.payload, signal.taken_by) = (Some(payload), None);
        }
    }
}

/// Drops a signal that no step has taken.
pub(super) fn lose_kept(commit: &mut Commit, stored: Option<&RunSnapshot>) {
    let Some(stored) = stored.filter(|_| commit.run.revision.is_multiple_of(3)) else { return };
    let signals = commit.signals.as_ref().unwrap_or(&stored.signals);
    let mut known = signals.iter().take(stored.signals.len());
    let Some(place) = known.position(ReceivedSignal::is_buffered) else { return };
    let mut left = signals.clone();
    left.remove(place);
    commit.signals = Some(left);
}

/// Has a step take the newest signal of its name in place of the oldest.
pub(super) fn take_newest(commit: &mut Commit, stored: Option<&RunSnapshot>) {
    for (place, payload) in taken(commit, stored) {
        let Some(signals) = commit.signals.as_mut() else { return };
        let oldest = signals[place].clone();
        let newest = signals.iter_mut().rev().find(|signal| signal.is_buffered() && signal.name == oldest.name);
        let Some(newest) = newest else { continue };
        newest.taken_by.clone_from(&oldest.taken_by);
        let output = newest.payload.take().unwrap_or_default();
        (signals[place].payload, signals[place].taken_by) = (Some(payload), None);
        for step in steps(commit).filter(|step| Some(&step.step) == oldest.taken_by.as_ref()) {
            let key = step.continuation.as_ref().and_then(|stored| stored.output_key.clone());
            step.output = Some(match key {
                Some(key) => Arc::new(Map::from_iter([(key, Value::Object((*output).clone()))])),
                None => Arc::clone(&output),
            });
        }
    }
}

/// Drops a signal that comes before a step waits for it, with its entry in the trail.
pub(super) fn lose_new(commit: &mut Commit, stored: Option<&RunSnapshot>) {
    let Some(stored) = stored.filter(|_| commit.run.revision.is_multiple_of(2)) else { return };
    let known = stored.signals.len();
    let Some(signals) = commit.signals.as_mut().filter(|signals| signals.len() > known) else { return };
    if signals.iter().skip(known).all(ReceivedSignal::is_buffered) {
        signals.truncate(known);
        commit.audit.retain(|entry| entry.kind != AuditKind::SignalReceived && entry.kind != AuditKind::SignalLate);
    }
}

/// Drops the deduplication keys, from the trail too.
pub(super) fn forget_keys(commit: &mut Commit) {
    commit.signals.iter_mut().flatten().for_each(|signal| signal.dedup_key = None);
    for metadata in commit.audit.iter_mut().filter_map(|entry| entry.metadata.as_mut()) {
        metadata.remove("dedup_key");
    }
}

/// Counts one signal more for each name of which some are left.
pub(super) fn miscount(commit: &mut Commit) {
    let left = commit.audit.iter_mut().filter(|entry| entry.kind == AuditKind::SignalsUnconsumed);
    for count in left.filter_map(|entry| entry.metadata.as_mut()).flat_map(Map::values_mut) {
        *count = (count.as_u64().unwrap_or_default() + 1).into();
    }
}
