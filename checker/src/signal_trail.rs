//! The audit trail has an entry for each signal that a run receives, and one for those that were left when it ended.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use squidmesh_core::port::Commit;
use squidmesh_core::run::{AuditEvent, AuditKind, FailureKind, ReceivedSignal, RunSnapshot, StepStatus};

use crate::change::Change;
use crate::findings::Findings;
use crate::life_cycle;
use crate::signals::{awaited, waiting_for};

pub(super) fn check(change: &Change<'_>, findings: &mut Findings) {
    check_received(change, findings);
    check_left(change, findings);
}

fn entries<'a>(commit: &'a Commit, kinds: &[AuditKind]) -> Vec<&'a AuditEvent> {
    commit.audit.iter().filter(|entry| kinds.contains(&entry.kind)).collect()
}

/// Each signal that is new has an entry that names it, its key and the step that waited for it, and states whether one
/// had waited in vain.
fn check_received(change: &Change<'_>, findings: &mut Findings) {
    let (after, id) = (change.after, change.after.run.id);
    let known = match change.before {
        Some(before) => before.signals.len(),
        // It has those of the run that it resumes.
        None if after.run.resumed_from.is_some() => after.signals.len(),
        None => 0,
    };
    let new = after.signals.get(known..).unwrap_or_default();
    let entries = entries(change.commit, &[AuditKind::SignalReceived, AuditKind::SignalLate]);
    findings.demand(entries.len() == new.len(), id, || format!("it received {new:?}, and the trail says {entries:?}"));
    for (signal, entry) in new.iter().zip(entries) {
        let noted = entry.metadata.as_ref();
        let text = |key: &str| noted.and_then(|noted| noted.get(key)?.as_str());
        let names_it = text("signal") == Some(signal.name.as_str()) && text("dedup_key") == signal.dedup_key.as_deref();
        let waiting = change.before.and_then(|before| waiting_for(before, &signal.name));
        let expired = change.before.is_some_and(|before| has_expired(before, signal));
        // A step may wait for a name for which another one has waited in vain.
        let is_late = expired && waiting.is_none();
        let is_right = is_late == (entry.kind == AuditKind::SignalLate);
        findings.demand(names_it && is_right && entry.step.as_ref() == waiting, id, || {
            format!("it received {signal:?}, for which {waiting:?} waited, and the trail says {entry:?}")
        });
    }
}

/// Returns whether a step has waited for a signal of this name in vain.
fn has_expired(state: &RunSnapshot, signal: &ReceivedSignal) -> bool {
    state.in_status(StepStatus::Failed).any(|step| {
        let is_expired = step.last_error.as_ref().is_some_and(|failure| failure.kind == FailureKind::EXPIRED);
        is_expired && awaited(step) == Some(&signal.name)
    })
}

/// A run that ends with signals that no step took counts them by name.
fn check_left(change: &Change<'_>, findings: &mut Findings) {
    let (after, id) = (change.after, change.after.run.id);
    let was_over = change.before.is_some_and(|before| life_cycle::is_over(before.run.status));
    let ends = life_cycle::is_over(after.run.status) && !was_over;
    let mut left: BTreeMap<String, u64> = BTreeMap::new();
    for signal in after.signals.iter().filter(|signal| ends && signal.is_buffered()) {
        *left.entry(signal.name.to_string()).or_default() += 1;
    }
    let entries = entries(change.commit, &[AuditKind::SignalsUnconsumed]);
    let noted: Vec<Option<&Map<String, Value>>> = entries.iter().map(|entry| entry.metadata.as_ref()).collect();
    let wanted: Map<String, Value> = left.into_iter().map(|(name, count)| (name, count.into())).collect();
    let is_right = if wanted.is_empty() { noted.is_empty() } else { noted == [Some(&wanted)] };
    findings.demand(is_right, id, || {
        format!("it is {}, {wanted:?} were not taken, and the trail says {noted:?}", after.run.status)
    });
}
