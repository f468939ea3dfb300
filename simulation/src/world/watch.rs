//! Watches every commit as it is applied, judges it, and writes down when things happened by the database's clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use squidmesh_core::{
    AuditKind, Commit, CompensationStatus, Definition, IntentRecord, RunId, RunState, StepWrite, Timestamp,
    TriggerRecord,
};

use crate::check::{Change, Times, Try, Violation, begun, check_change, end, ended};

#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) runs: BTreeMap<RunId, RunState>,
    pub(crate) definitions: BTreeMap<String, Arc<Definition>>,
    pub(crate) times: Times,
    pub(crate) violations: Vec<Violation>,
    /// From where on each schedule has been dealt with, and how far.
    pub(crate) schedules: BTreeMap<(String, String), (Timestamp, Timestamp)>,
}

impl Watch {
    /// The version that a run is pinned to.
    pub(crate) fn definition(&self, state: &RunState) -> Option<Arc<Definition>> {
        self.definitions.get(&state.run.fingerprint.to_string()).cloned()
    }

    /// A commit was applied.
    pub(crate) fn applied(&mut self, commit: &Commit, after: RunState, intents: &[IntentRecord], now: Timestamp) {
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
            let (StepWrite::Create(step) | StepWrite::Update(step)) = write;
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

    /// A trigger's record was written.
    pub(crate) fn scheduled(&mut self, record: &TriggerRecord) {
        for position in record.positions.values() {
            let key = (record.workflow.to_string(), record.trigger.to_string());
            let span = self.schedules.entry(key).or_insert((*position, *position));
            span.1 = span.1.max(*position);
        }
    }
}
