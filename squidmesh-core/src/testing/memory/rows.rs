//! Everything that the store in memory keeps, and how it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::intents::Intents;
use crate::definition::{Definition, Fingerprint};
use crate::dispatch::Lease;
use crate::id::RunId;
use crate::name::{StepName, TriggerName, WorkflowName};
use crate::port::{Claim, RunFilter, RunHistory, RunPage, StoreError};
use crate::run::{Attempt, AuditEvent, ReceivedSignal, Run, RunSnapshot, RunStatus, RunSummary, StepRun};
use crate::schedule::TriggerRecord;

/// All stored data. Runs are shared until they change, so that a transaction can start from a copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) runs: BTreeMap<RunId, Arc<RunRows>>,
    pub(super) keys: BTreeMap<WorkflowName, BTreeMap<String, RunId>>,
    pub(super) definitions: BTreeMap<Fingerprint, Arc<Definition>>,
    pub(super) intents: Intents,
    pub(super) triggers: BTreeMap<(WorkflowName, TriggerName), TriggerRecord>,
    /// The runs that a test has made unreadable.
    pub(super) corrupt: BTreeSet<RunId>,
}

/// The stored rows of one run.
#[derive(Clone, Debug)]
pub(super) struct RunRows {
    pub(super) run: Run,
    pub(super) steps: BTreeMap<StepName, StepRun>,
    pub(super) signals: Vec<ReceivedSignal>,
    pub(super) attempts: BTreeMap<StepName, Vec<Attempt>>,
    pub(super) audit: Vec<AuditEvent>,
}

impl Rows {
    pub(super) fn load(&self, id: RunId) -> Result<Option<RunSnapshot>, StoreError> {
        self.readable(id)?;
        Ok(self.runs.get(&id).map(|rows| {
            RunSnapshot::new(rows.run.clone(), rows.steps.values().cloned()).with_signals(rows.signals.clone())
        }))
    }

    /// Returns the status of a run, if it can be read.
    pub(super) fn status(&self, id: RunId) -> Option<RunStatus> {
        self.readable(id).ok()?;
        self.runs.get(&id).map(|rows| rows.run.status)
    }

    /// Returns a claim with its run, unless the claimer has the run cached.
    pub(super) fn claim(&self, lease: Lease, cached_runs: &[RunId]) -> Claim {
        let id = lease.key.run_id;
        let state = (!cached_runs.contains(&id)).then(|| self.load_claimed(id).map(Arc::new));
        Claim { lease, state: state.transpose() }
    }

    /// Returns the run that an intent belongs to. No commit removes a run, so a missing one is one that cannot be
    /// read.
    fn load_claimed(&self, id: RunId) -> Result<RunSnapshot, StoreError> {
        self.load(id)?.ok_or_else(|| corrupt(id, "there is an intent for it but no run"))
    }

    pub(super) fn history(&self, id: RunId) -> Result<RunHistory, StoreError> {
        self.readable(id)?;
        Ok(self.runs.get(&id).map_or_else(RunHistory::default, |rows| RunHistory {
            attempts: rows.attempts.values().flatten().cloned().collect(),
            audit: rows.audit.clone(),
            intents: self.intents.records(Some(id)),
        }))
    }

    /// Writes a record if the stored one is at the revision before it.
    pub(super) fn compare_and_set_trigger(&mut self, record: &TriggerRecord) -> bool {
        let key = (record.workflow.clone(), record.trigger.clone());
        let stored = self.triggers.get(&key).map_or(0, |stored| stored.revision);
        let follows = stored.checked_add(1) == Some(record.revision);
        if follows {
            self.triggers.insert(key, record.clone());
        }
        follows
    }

    pub(super) fn find_by_idempotency_key(&self, workflow: &WorkflowName, key: &str) -> Option<RunId> {
        self.keys.get(workflow)?.get(key).copied()
    }

    pub(super) fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        let below = filter.after.map_or(Bound::Unbounded, Bound::Excluded);
        let newest_first = self.runs.range((Bound::Unbounded, below)).rev().map(|(_, rows)| &rows.run);
        let size = filter.page_size();
        let found = newest_first.filter(|run| matches(filter, run)).take(size.saturating_add(1));
        let mut runs: Vec<RunSummary> = found.map(RunSummary::from).collect();
        let more = runs.len() > size;
        runs.truncate(size);
        for run in &runs {
            self.readable(run.id)?;
        }
        let next = runs.last().filter(|_| more).map(|run| run.id);
        Ok(RunPage { runs, next })
    }

    fn readable(&self, id: RunId) -> Result<(), StoreError> {
        if self.corrupt.contains(&id) { Err(corrupt(id, "a test made it unreadable")) } else { Ok(()) }
    }
}

fn matches(filter: &RunFilter, run: &Run) -> bool {
    filter.workflow.as_ref().is_none_or(|workflow| *workflow == run.workflow)
        && (filter.statuses.is_empty() || filter.statuses.contains(&run.status))
        && filter.created_from.is_none_or(|from| run.created_at >= from)
        && filter.created_before.is_none_or(|before| run.created_at < before)
}

fn corrupt(id: RunId, reason: &str) -> StoreError {
    StoreError::Corrupt { what: format!("run {id}"), reason: reason.to_owned() }
}
