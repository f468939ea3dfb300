//! One commit, ready to be written: its rows, sorted by what is done with them.
//!
//! Made where the commit comes from, so that the writer, of which there are few, only writes.

use squidmesh_core::{Commit, Expected, Fingerprint, IntentWrite, Lease, RunId, StepWrite, StoreError};

use crate::rows::{
    attempt_to_row, audit_to_row, changed_run_to_row, changed_step_run_to_row, definition_to_row, intent_key_to_row,
    intent_to_row, repinned_intent_to_row, run_to_row, step_run_to_row,
};
use crate::sql::Row;

/// A commit as rows. Encoded once, written as often as it takes.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) run_id: RunId,
    pub(crate) run: RunWrite,
    pub(crate) fences: Vec<Lease>,
    pub(crate) definition: Option<(Fingerprint, Row)>,
    pub(crate) created_steps: Vec<Row>,
    pub(crate) changed_steps: Vec<Row>,
    pub(crate) attempts: Vec<Row>,
    pub(crate) added_intents: Vec<Row>,
    pub(crate) replaced_intents: Vec<Row>,
    pub(crate) removed_intents: Vec<Row>,
    pub(crate) repinned_intents: Vec<Row>,
    pub(crate) audit: Vec<Row>,
    /// The fences whose own intents stay: those that are removed are checked by that.
    pub(crate) held: Vec<Lease>,
}

/// What is done with the run's own row.
#[derive(Debug)]
pub(crate) enum RunWrite {
    /// It is inserted. Its workflow and idempotency key, if it has one, must be free.
    Insert { row: Row, key: Option<(String, String)> },
    /// It is changed, if it is at the revision that the row names.
    Change { row: Row },
}

impl Member {
    /// Encodes a commit.
    pub(crate) fn encode(commit: &Commit) -> Result<Self, StoreError> {
        let run = &commit.run;
        let mut member = Member {
            run_id: run.id,
            run: match commit.expected {
                Expected::New => RunWrite::Insert {
                    row: run_to_row(run)?,
                    key: run.idempotency_key.clone().map(|key| (run.workflow.as_str().to_owned(), key)),
                },
                Expected::Revision(revision) => RunWrite::Change { row: changed_run_to_row(run, revision)? },
            },
            fences: commit.fences.clone(),
            definition: None,
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
        if let Some(definition) = &commit.definition {
            member.definition = Some((*definition.fingerprint(), definition_to_row(definition, run.updated_at)?));
        }
        for write in &commit.steps {
            match write {
                StepWrite::Create(step) => member.created_steps.push(step_run_to_row(run.id, step)?),
                StepWrite::Update(step) => member.changed_steps.push(changed_step_run_to_row(run.id, step)?),
            }
        }
        for attempt in &commit.attempts {
            member.attempts.push(attempt_to_row(run.id, attempt)?);
        }
        for write in &commit.intents {
            match write {
                IntentWrite::Add(intent) => member.added_intents.push(intent_to_row(intent)),
                IntentWrite::Replace(intent) => member.replaced_intents.push(intent_to_row(intent)),
                IntentWrite::Remove(key) => {
                    let fence = commit.fences.iter().find(|fence| fence.key == *key);
                    member.held.retain(|held| held.key != *key);
                    let mut row = intent_key_to_row(key);
                    row.push(fence.map(|fence| *fence.token.as_uuid()).into());
                    member.removed_intents.push(row);
                }
                IntentWrite::Repin { key, fingerprint, queue, priority } => {
                    member.repinned_intents.push(repinned_intent_to_row(key, fingerprint, queue, *priority));
                }
            }
        }
        for (ordinal, event) in commit.audit.iter().enumerate() {
            member.audit.push(audit_to_row(run.id, ordinal, event)?);
        }
        Ok(member)
    }

    /// How many rows it writes, by and large: what bounds the size of a transaction.
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
