//! One commit, ready to be written: its rows, sorted by operation.
//!
//! Encoded in the caller's task, so that the few writers only write.

use std::collections::BTreeMap;
use std::sync::Arc;

use sea_orm::DbErr;
use squidmesh_core::definition::{Definition, Fingerprint};
use squidmesh_core::dispatch::Lease;
use squidmesh_core::port::{Commit, IntentWrite, Precondition, StepWrite, StoreError};
use squidmesh_core::{RunId, Timestamp};

use super::key_owners::Key;
use crate::rows::{
    attempt_to_row, audit_to_row, changed_run_to_row, changed_step_run_to_row, definition_to_row, intent_key_to_row,
    intent_to_row, repinned_intent_to_row, run_to_row, step_run_to_row,
};
use crate::sql::Row;

/// A commit as rows. Encoded once, written as often as needed.
#[derive(Debug)]
pub(crate) struct EncodedCommit {
    pub(crate) run_id: RunId,
    pub(crate) run: RunWrite,
    pub(crate) fences: Vec<Lease>,
    /// The version that the run is pinned to, and the time to record if it is stored for the first time.
    pub(crate) definition: Option<(Arc<Definition>, Timestamp)>,
    pub(crate) created_steps: Vec<Row>,
    pub(crate) changed_steps: Vec<Row>,
    pub(crate) attempts: Vec<Row>,
    pub(crate) added_intents: Vec<Row>,
    pub(crate) replaced_intents: Vec<Row>,
    pub(crate) removed_intents: Vec<Row>,
    pub(crate) repinned_intents: Vec<Row>,
    pub(crate) audit: Vec<Row>,
    /// The fences whose own intents stay. Fences whose intents are removed are checked by the removal.
    pub(crate) held: Vec<Lease>,
}

/// The operation on the run's own row.
#[derive(Debug)]
pub(crate) enum RunWrite {
    /// Inserts the row. Its workflow and idempotency key, if it has one, must be free.
    Insert { row: Row, key: Option<Key> },
    /// Changes the row, if it has the revision that the new row names.
    Change { row: Row },
}

impl EncodedCommit {
    /// Encodes a commit.
    pub(crate) fn encode(commit: &Commit) -> Result<Self, StoreError> {
        let (run, signals) = (&commit.run, commit.signals.as_deref());
        let mut encoded = EncodedCommit {
            run_id: run.id,
            run: match commit.precondition {
                Precondition::Absent => RunWrite::Insert {
                    row: run_to_row(run, signals)?,
                    key: run.idempotency_key.clone().map(|key| (run.workflow.as_str().to_owned(), key)),
                },
                Precondition::Revision(revision) => {
                    RunWrite::Change { row: changed_run_to_row(run, revision, signals)? }
                }
            },
            fences: commit.fences.clone(),
            definition: commit.definition.clone().map(|definition| (definition, run.updated_at)),
            created_steps: Vec::new(),
            changed_steps: Vec::new(),
            attempts: Vec::new(),
            added_intents: Vec::new(),
            replaced_intents: Vec::new(),
            removed_intents: Vec::new(),
            repinned_intents: Vec::new(),
            audit: Vec::new(),
            held: commit.fences.clone(),
        };
        for write in &commit.steps {
            match write {
                StepWrite::Create(step) => encoded.created_steps.push(step_run_to_row(run.id, step)?),
                StepWrite::Update(step) => encoded.changed_steps.push(changed_step_run_to_row(run.id, step, None)?),
                StepWrite::CopyInput(step) => {
                    let input = Some(&step.input);
                    encoded.changed_steps.push(changed_step_run_to_row(run.id, step, input)?);
                }
            }
        }
        for attempt in &commit.attempts {
            encoded.attempts.push(attempt_to_row(run.id, attempt)?);
        }
        for write in &commit.intents {
            match write {
                IntentWrite::Add(intent) => encoded.added_intents.push(intent_to_row(intent)),
                IntentWrite::Replace(intent) => encoded.replaced_intents.push(intent_to_row(intent)),
                IntentWrite::Remove(key) => {
                    let fence = commit.fences.iter().find(|fence| fence.key == *key);
                    encoded.held.retain(|held| held.key != *key);
                    let mut row = intent_key_to_row(key);
                    row.push(fence.map(|fence| *fence.token.as_uuid()).into());
                    encoded.removed_intents.push(row);
                }
                IntentWrite::Repin { key, fingerprint, queue, priority } => {
                    encoded.repinned_intents.push(repinned_intent_to_row(key, fingerprint, queue, *priority));
                }
            }
        }
        for (ordinal, event) in commit.audit.iter().enumerate() {
            encoded.audit.push(audit_to_row(run.id, ordinal, event)?);
        }
        Ok(encoded)
    }

    /// Returns whether this starts its run.
    pub(crate) fn is_start(&self) -> bool {
        matches!(self.run, RunWrite::Insert { .. })
    }

    /// Returns the idempotency key under which this starts its run.
    pub(super) fn key(&self) -> Option<&Key> {
        match &self.run {
            RunWrite::Insert { key, .. } => key.as_ref(),
            RunWrite::Change { .. } => None,
        }
    }

    /// Returns the version to which this pins the run.
    pub(crate) fn version(&self) -> Option<&Fingerprint> {
        self.definition.as_ref().map(|(definition, _)| definition.fingerprint())
    }

    /// Returns the row of that version. It is large and almost always already stored, so it is encoded only when
    /// it is written.
    pub(crate) fn definition_row(&self) -> Result<Option<Row>, DbErr> {
        let row = self.definition.as_ref().map(|(definition, since)| definition_to_row(definition, *since));
        row.transpose().map_err(|error| DbErr::Json(error.to_string()))
    }

    /// Returns the estimated number of rows to write, which bounds the size of a transaction.
    pub(crate) fn weight(&self) -> usize {
        1 + self.created_steps.len()
            + self.changed_steps.len()
            + self.attempts.len()
            + self.added_intents.len()
            + self.replaced_intents.len()
            + self.removed_intents.len()
            + self.repinned_intents.len()
            + self.audit.len()
    }
}

/// Returns the rows of the runs to change, in the order in which all transactions lock runs.
pub(super) fn changed_runs<'a>(commits: &[&'a EncodedCommit]) -> Vec<&'a Row> {
    let changed = commits.iter().filter_map(|commit| match &commit.run {
        RunWrite::Change { row } => Some((commit.run_id, row)),
        RunWrite::Insert { .. } => None,
    });
    changed.collect::<BTreeMap<_, _>>().into_values().collect()
}

/// Returns the rows of the runs to start, by idempotency key, so that two writers with the same keys cannot deadlock.
/// Of equal keys, the first one wins.
pub(super) fn started_runs<'a>(commits: &[&'a EncodedCommit]) -> Vec<&'a Row> {
    let started = commits.iter().filter_map(|commit| match &commit.run {
        RunWrite::Insert { row, key } => Some((key.as_ref(), row)),
        RunWrite::Change { .. } => None,
    });
    let mut started: Vec<_> = started.collect();
    started.sort_by_key(|(key, _)| *key);
    started.into_iter().map(|(_, row)| row).collect()
}

/// Returns the rows of one kind of all commits.
pub(super) fn rows<'a>(commits: &[&'a EncodedCommit], of: impl Fn(&'a EncodedCommit) -> &'a Vec<Row>) -> Vec<&'a Row> {
    commits.iter().flat_map(|commit| of(commit)).collect()
}
