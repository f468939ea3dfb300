//! A decision's changes as data: the commit that a store applies completely or not at all.
//!
//! Knows what is written and on which precondition; never how it is stored.

use std::sync::Arc;

use crate::definition::{Definition, Fingerprint, Priority};
use crate::dispatch::{Intent, IntentKey, Lease};
use crate::id::RunId;
use crate::name::QueueName;
use crate::run::{Attempt, AuditEvent, ReceivedSignal, Run, StepRun};

/// The changes of one decision: applied completely or not at all.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The run as it is after this commit. For an existing run, only `status`, `current_step`, `last_error`,
    /// `fingerprint`, `revision`, `token`, `updated_at` and `finished_at` may differ from what is stored.
    pub run: Run,
    /// The state of the run that the decision was based on.
    pub precondition: Precondition,
    /// The leases that must all still be held for the commit to apply. Each is on an intent of this run.
    pub fences: Vec<Lease>,
    /// The step runs that are new or changed.
    pub steps: Vec<StepWrite>,
    /// The ended attempts that no step run holds itself, see [`StepRun::last_attempt`]. Their numbers must not exist.
    pub attempts: Vec<Attempt>,
    /// The writes to intents. At most one for each key.
    pub intents: Vec<IntentWrite>,
    /// All signals that the run has received, in that order, if this commit changes them.
    pub signals: Option<Vec<ReceivedSignal>>,
    /// The entries to append to the audit trail.
    pub audit: Vec<AuditEvent>,
    /// The version that the run is pinned to, if this commit pins it. It must be stored once the commit is applied;
    /// storing a stored version again changes nothing. A store that caches which versions are stored must check that
    /// in the commit itself: the database may have been restored or emptied meanwhile.
    pub definition: Option<Arc<Definition>>,
}

impl Commit {
    /// Creates a commit that changes only the run itself.
    pub fn new(run: Run, precondition: Precondition) -> Self {
        Commit {
            run,
            precondition,
            fences: Vec::new(),
            steps: Vec::new(),
            attempts: Vec::new(),
            intents: Vec::new(),
            signals: None,
            audit: Vec::new(),
            definition: None,
        }
    }
}

/// The state of a run that a commit requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The run does not exist.
    Absent,
    /// The run is at this revision.
    Revision(u64),
}

/// A step run that a commit writes.
#[derive(Clone, Debug, PartialEq)]
pub enum StepWrite {
    /// Creates a step run. Its key must not exist.
    Create(StepRun),
    /// Updates an existing step run. Its `input`, `recovery` and `created_at` have not changed.
    Update(StepRun),
    /// Updates an existing step run, and stores its `input`, which is a copy, in place of the reference. Its `recovery`
    /// and `created_at` have not changed.
    CopyInput(StepRun),
}

impl StepWrite {
    /// Returns the step run as it is written.
    pub fn step(&self) -> &StepRun {
        match self {
            StepWrite::Create(step) | StepWrite::Update(step) | StepWrite::CopyInput(step) => step,
        }
    }

    /// Returns the step run as it is written, to change it.
    pub fn step_mut(&mut self) -> &mut StepRun {
        match self {
            StepWrite::Create(step) | StepWrite::Update(step) | StepWrite::CopyInput(step) => step,
        }
    }
}

/// A write to an intent.
#[derive(Clone, Debug, PartialEq)]
pub enum IntentWrite {
    /// Adds the intent; an existing intent with this key stays unchanged.
    Add(Intent),
    /// Adds the intent, replacing any with this key.
    Replace(Intent),
    /// Removes the intent, if it exists.
    Remove(IntentKey),
    /// Changes which version may claim the intent, and from which queue, if the intent exists. When it is due and
    /// which claim holds it stay unchanged.
    Repin {
        /// The intent's key.
        key: IntentKey,
        /// The version that executes it from now on.
        fingerprint: Fingerprint,
        /// Its queue in that version.
        queue: QueueName,
        /// Its priority in that version.
        priority: Priority,
    },
}

impl IntentWrite {
    /// Returns the key of the intent that is written.
    pub fn key(&self) -> &IntentKey {
        match self {
            IntentWrite::Add(intent) | IntentWrite::Replace(intent) => &intent.key,
            IntentWrite::Remove(key) | IntentWrite::Repin { key, .. } => key,
        }
    }
}

/// The result of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitOutcome {
    /// The commit was applied.
    Committed,
    /// Not applied: the run is not at the expected revision, or already exists. Load it and decide again.
    Conflict,
    /// Not applied: an intent is no longer held under the fence's token.
    Fenced,
    /// Not applied: this run of the workflow was started under the same idempotency key.
    KeyTaken(RunId),
}
