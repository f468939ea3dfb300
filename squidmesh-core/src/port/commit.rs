//! What a decision changes, as data: the commit that a store applies wholly or not at all.
//!
//! Knows what is written and what it was decided on; never how it is stored.

use std::sync::Arc;

use crate::{
    Attempt, AuditEvent, Definition, Fingerprint, Intent, IntentKey, Lease, Priority, QueueName, Run, RunId, StepRun,
};

/// What changes, as decided: applied whole or not at all.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The run as it is after this commit. Of an existing run, only `status`, `current_step`, `last_error`, `fingerprint`,
    /// `revision`, `token`, `updated_at` and `finished_at` differ from what is stored.
    pub run: Run,
    /// What the decision was based on.
    pub expected: Expected,
    /// The claims under which the change was decided: every one of them must hold. Each is on an intent of this run.
    pub fences: Vec<Lease>,
    /// The step runs that are new or changed.
    pub steps: Vec<StepWrite>,
    /// Attempts that have ended and of which their step run does not tell, see [`StepRun::last_attempt`]. Their numbers must not
    /// exist.
    pub attempts: Vec<Attempt>,
    /// What becomes of intents. At most one write for each key.
    pub intents: Vec<IntentWrite>,
    /// What is added to the audit trail.
    pub audit: Vec<AuditEvent>,
    /// The definition, when it may not be stored yet. Storing it again changes nothing.
    pub definition: Option<Arc<Definition>>,
}

impl Commit {
    /// A commit that changes only the run itself.
    pub fn new(run: Run, expected: Expected) -> Self {
        Commit {
            run,
            expected,
            fences: Vec::new(),
            steps: Vec::new(),
            attempts: Vec::new(),
            intents: Vec::new(),
            audit: Vec::new(),
            definition: None,
        }
    }
}

/// What a commit was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The run does not exist.
    New,
    /// The run is at this revision.
    Revision(u64),
}

/// A step run that a commit writes.
#[derive(Clone, Debug, PartialEq)]
pub enum StepWrite {
    /// It is new. Its key must not exist.
    Create(StepRun),
    /// It exists. Its `input`, `recovery` and `created_at` have not changed.
    Update(StepRun),
}

/// What becomes of an intent.
#[derive(Clone, Debug, PartialEq)]
pub enum IntentWrite {
    /// Add it; if there is one with this key, that one stays as it is.
    Add(Intent),
    /// Put it in the place of whatever has this key.
    Replace(Intent),
    /// Take it away, if it is there.
    Remove(IntentKey),
    /// Leave when it is due and who holds it as they are, and change which version may claim it and where; if it is there.
    Repin {
        /// Which.
        key: IntentKey,
        /// The version that carries it out from now on.
        fingerprint: Fingerprint,
        /// The queue in that version.
        queue: QueueName,
        /// The class in that version.
        priority: Priority,
    },
}

impl IntentWrite {
    /// The intent that it writes.
    pub fn key(&self) -> &IntentKey {
        match self {
            IntentWrite::Add(intent) | IntentWrite::Replace(intent) => &intent.key,
            IntentWrite::Remove(key) | IntentWrite::Repin { key, .. } => key,
        }
    }
}

/// How a commit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitOutcome {
    /// Applied.
    Committed,
    /// Not applied: the run is not at the expected revision, or already exists. Load it and decide again.
    Conflict,
    /// Not applied: the intent is not held under the fence's token any more.
    Fenced,
    /// Not applied: a run of this workflow was started under the same idempotency key.
    KeyTaken(RunId),
}
