//! Watches every commit as it is applied, checks it, and records when things happened by the database's clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use squidmesh_checker::{Change, Times, Try, Violation, begun, check_change, end, ended};
use squidmesh_core::definition::Definition;
use squidmesh_core::port::{Commit, IntentRecord, StepWrite};
use squidmesh_core::run::{AuditKind, CompensationStatus, RunSnapshot};
use squidmesh_core::schedule::TriggerRecord;
use squidmesh_core::{RunId, Timestamp};

#[derive(Default)]
pub(crate) struct Observer {
    pub(crate) runs: BTreeMap<RunId, RunSnapshot>,
    pub(crate) definitions: BTreeMap<String, Arc<Definition>>,
    pub(crate) times: Times,
    pub(crate) violations: Vec<Violation>,
    /// The time from which on each schedule has been processed, and the time up to which it has been.
    pub(crate) schedules: BTreeMap<(String, String), (Timestamp, Timestamp)>,
}

impl Observer {
    /// Returns the version that a run is pinned to.
    pub(crate) fn definition(&self, state: &RunSnapshot) -> Option<Arc<Definition>> {
        self.definitions.get(&state.run.fingerprint.to_string()).cloned()
    }

    /// Records an applied commit.
    pub(crate) fn applied(&mut self, commit: &Commit, after: RunSnapshot, intents: &[IntentRecord], now: Timestamp) {
        if let Some(definition) = &commit.definition {
            self.definitions.entry(definition.fingerprint().to_string()).or_insert_with(|| Arc::clone(definition));
        }
        let id = after.run.id;
        let before = self.runs.get(&id);
        let definition = self.definition(before.unwrap_or(&after));
        let change = Change { before, after: &after, commit, intents, definition: definition.as_deref() };
        self.violations.extend(check_change(&change));
        self.write_down(commit, now);
        self.runs.insert(id, after);
    }

    fn write_down(&mut self, commit: &Commit, now: Timestamp) {
        let id = commit.run.id;
        for write in &commit.steps {
            let step = write.step();
            if matches!(write, StepWrite::Create(_)) {
                self.times.scheduled.insert((id, step.step.clone()), now);
            }
            let old = self.runs.get(&id).and_then(|run| run.steps.get(&step.step)?.compensation.as_ref());
            let Some(new) = &step.compensation else { continue };
            let tries = self.times.callbacks.entry((id, step.step.clone())).or_default();
            if let (Some(end), Some(last)) = (old.and_then(|old| end(old, new)), tries.last_mut()) {
                last.ended = Some((now, end));
            }
            if new.status == CompensationStatus::Running && old.is_none_or(|old| old.attempt < new.attempt) {
                tries.push(Try { attempt: new.attempt, began: now, ended: None });
                self.times.compensated.entry(id).or_default().push(step.step.clone());
            }
        }
        let before = self.runs.get(&id);
        for step in begun(commit, before) {
            self.times.began.insert((id, step.step.clone(), step.attempt), now);
        }
        for attempt in ended(commit, before) {
            self.times.ended.entry((id, attempt.step, attempt.number)).or_insert(now);
        }
        if commit.audit.iter().any(|entry| entry.kind == AuditKind::Cancelled) {
            self.times.cancelled.entry(id).or_insert(now);
        }
    }

    /// Records a written trigger record.
    pub(crate) fn scheduled(&mut self, record: &TriggerRecord) {
        for position in record.positions.values() {
            let key = (record.workflow.to_string(), record.trigger.to_string());
            let span = self.schedules.entry(key).or_insert((*position, *position));
            span.1 = span.1.max(*position);
        }
    }
}
