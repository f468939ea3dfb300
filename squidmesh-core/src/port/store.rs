//! The store port: keeps everything, atomically.
//!
//! It speaks of runs, commits and claims; it knows no SQL, connection or row.
//!
#![doc = include_str!("../../docs/custom-store.md")]

use std::time::Duration;

use async_trait::async_trait;

use super::{
    ClaimRequest, Claims, Commit, CommitOutcome, Due, DueRequest, PruneRequest, Pruned, RunFilter, RunPage,
    SingleClaim, StrandedRequest, Transacted, TransactionBody, TransactionType,
};
use crate::{
    Attempt, AuditEvent, Definition, Fingerprint, IntentKey, Lease, LeaseToken, Priority, QueueName, RunId, RunState,
    StepRun, Timestamp, TriggerRecord, TriggerRecords, WorkflowName,
};

/// What a command needs: to read runs and to commit changes. A store is one; so is a store joined to a host's transaction.
#[async_trait]
pub trait StoreSession: Send + Sync {
    /// The state of a run, or `None` if there is no such run.
    async fn load(&self, id: RunId) -> Result<Option<RunState>, StoreError>;

    /// Applies each commit wholly or not at all, in the order given, and answers for each. One that conflicts or fails
    /// leaves the others alone. Commits of the same run may follow each other, each expecting the revision before it.
    ///
    /// A commit is applied only if the run is at the expected revision and the intent of each of its `fences` is still held
    /// under that token. All of it is checked in the same atomic change as the writes. A lease that has run out and was not taken over
    /// still holds: ownership is by token, never by time. Of members of a batch that exclude each other, the first wins.
    /// Creating a step run or an attempt that exists is an error of that commit, and not a transient one.
    ///
    /// # Errors
    /// [`StoreError`] if the batch as a whole could not be tried. [`StoreError::OutcomeUnknown`] means that each of them may
    /// have been applied: look at the run's revision and token before trying again.
    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError>;

    /// The run started under an idempotency key of a workflow. Keys are compared byte by byte.
    async fn find_by_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError>;

    /// A stored version of a workflow, or `None` if no run ever used it.
    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError>;

    /// The attempts, audit trail and intents of a run; empty for an unknown run.
    async fn history(&self, id: RunId) -> Result<History, StoreError>;

    /// Runs that match, newest first (by id).
    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError>;
}

/// The store: a [`StoreSession`] of its own, and what workers need besides.
///
/// Whether an intent is due and whether a lease has run out is decided by the store's clock alone.
#[async_trait]
pub trait Store: StoreSession + 'static {
    /// Claims due intents and loads their runs, but for those that the claimer has at hand. An intent is due when its delay has passed, or when the lease on it has run out.
    /// Leases that have run out go first, so that what a dead worker held does not wait behind a backlog; then those with the
    /// higher priority; of these, the longest due first. No intent is given to two claimers.
    async fn claim(&self, request: &ClaimRequest) -> Result<Claims, StoreError>;

    /// Claims these intents as far as they are due, like [`claim`](Store::claim), and answers for each in its place. One that is
    /// named twice is claimed once, and held by the other.
    async fn claim_keys(
        &self,
        keys: &[IntentKey],
        token: LeaseToken,
        lease: Duration,
    ) -> Result<Vec<SingleClaim>, StoreError>;

    /// Looks at due intents without claiming them, in the order in which they would be claimed, page by page. Those that somebody
    /// claims between two pages may be in either or in none; none of the others is left out.
    async fn due(&self, request: &DueRequest) -> Result<Due, StoreError>;

    /// Extends leases to `lease` from now and answers for each whether it is still held, run out or not.
    async fn extend(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError>;

    /// Gives claimed intents back, due after `delay`. Those that are no longer held are left alone.
    async fn release(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError>;

    /// What is kept of the cron triggers of these workflows, and the time by the store's clock, which decides what is due.
    ///
    /// # Errors
    /// [`StoreError`]. A record that cannot be read is [`StoreError::Corrupt`], not left out.
    async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError>;

    /// Writes what is kept of a cron trigger, if what is stored is at the revision before the record's: with revision 1, if
    /// nothing is stored. Answers whether it was written. Of several who write the same revision at once, one succeeds.
    ///
    /// # Errors
    /// [`StoreError`]: it may have been written; read again.
    async fn put_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError>;

    /// Runs whose work lies: they have an intent that has been due for `due_for`, or whose lease ran out that long ago, and
    /// that only a version other than the known ones can carry out. Each once, in the order of their ids; nothing is claimed.
    async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError>;

    /// Completes when another process may have committed work that is due. A store that cannot tell never completes: its
    /// callers poll as well.
    async fn work_committed(&self);

    /// Tells other processes, and other handles in this one, that there may be work for them: their
    /// [`work_committed`](Store::work_committed) completes. Called after every commit that leaves work which nobody holds; a store bounds
    /// by itself how often it tells. Never blocks. What is lost is found by a look; a store that cannot tell, or tells as it commits,
    /// does nothing.
    fn tell_of_work(&self) {}

    /// Whether [`work_committed`](Store::work_committed) completes, at present, for whatever other processes tell, so that it is enough
    /// to look now and then for what was lost.
    fn hears_of_work(&self) -> bool {
        false
    }

    /// Deletes a batch of ended runs with all that is kept of them: their step runs, attempts and audit trails; all of a run, or nothing.
    /// Of those that the request asks for, a run is left alone while an intent of it is stored, while a run that has not ended was
    /// replayed or resumed from it, and while the run that it was resumed from is stored. Idempotency keys are free again
    /// afterwards; versions are kept. Several may do this at once: each run is deleted, and counted, by one; what somebody else has
    /// in hand is left for another time.
    ///
    /// A batch is bounded in all that it reads and writes, so it may find fewer runs than the limit, or none, and yet not be the last.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was deleted, except that with [`StoreError::OutcomeUnknown`] the batch may have been. A store that
    /// deletes nothing is [`StoreError::Unsupported`].
    async fn prune(&self, request: &PruneRequest) -> Result<Pruned, StoreError> {
        let _ = request;
        Err(StoreError::Unsupported { capability: "delete ended runs" })
    }

    /// The type of the transactions that [`transact`](Store::transact) lends; `None` for a store that lends none. It never
    /// changes.
    fn transaction_type(&self) -> Option<TransactionType> {
        None
    }

    /// Opens a transaction, has the body work and record in it, and ends it as the body wants. What the body writes, through
    /// the transaction that it is lent and through the session, takes effect together or not at all. The session that it
    /// records in applies commits as the store's own does: each wholly or not at all, checked against revision and fence.
    ///
    /// Nothing is half done if the caller goes away, nor if the body panics: the transaction is ended as the body wants, or
    /// rolled back.
    ///
    /// # Errors
    /// Nothing was changed, except that [`StoreError::OutcomeUnknown`] means that everything may have been.
    /// [`StoreError::Unavailable`] may come before the body was run or after it. [`StoreError::Refused`] means that the
    /// database does not commit what the body did, such as for a constraint that is checked late, or because the
    /// transaction was ended from within. A store that lends no transactions is [`StoreError::Unsupported`].
    async fn transact(&self, body: Box<dyn TransactionBody>) -> Result<Transacted, StoreError> {
        drop(body);
        Err(StoreError::Unsupported { capability: "lend its transactions to steps" })
    }
}

/// What is kept of a run besides its state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The attempts of which their step runs do not tell, by step and number; see [`History::attempts_of`].
    pub attempts: Vec<Attempt>,
    /// The audit trail, in order.
    pub audit: Vec<AuditEvent>,
    /// The live intents.
    pub intents: Vec<IntentRecord>,
}

impl History {
    /// A history of these facts.
    pub fn new(attempts: Vec<Attempt>, audit: Vec<AuditEvent>, intents: Vec<IntentRecord>) -> Self {
        History { attempts, audit, intents }
    }

    /// Every attempt of a step run, from the first.
    pub fn attempts_of(&self, run: &StepRun) -> Vec<Attempt> {
        let ended = self.attempts.iter().filter(|attempt| attempt.step == run.step);
        ended.cloned().chain(run.last_attempt()).collect()
    }
}

/// A live intent, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentRecord {
    /// Which.
    pub key: IntentKey,
    /// Its queue.
    pub queue: QueueName,
    /// Its class within the queue.
    pub priority: Priority,
    /// When it falls due, or, while held, when the lease runs out; by the store's clock.
    pub available_at: Timestamp,
    /// The claim that holds it.
    pub lease: Option<LeaseToken>,
}

impl IntentRecord {
    /// A live intent.
    pub fn new(
        key: IntentKey,
        queue: QueueName,
        priority: Priority,
        available_at: Timestamp,
        lease: Option<LeaseToken>,
    ) -> Self {
        IntentRecord { key, queue, priority, available_at, lease }
    }
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong in a store. The adapter classifies; callers obey.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be reached or is too busy; nothing was changed. Trying again later may succeed.
    #[error("the store is not available while {doing}; it is tried again")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// The adapter's own error.
        #[source]
        source: Source,
    },
    /// The answer to a commit was lost: it may or may not have been applied.
    #[error("the answer to a commit was lost: it may have been applied")]
    OutcomeUnknown {
        /// The adapter's own error.
        #[source]
        source: Source,
    },
    /// Something stored cannot be read back. Only this item is affected.
    #[error("{what} is stored in a form that cannot be read: {reason}")]
    Corrupt {
        /// The item: its kind and key.
        what: String,
        /// Why it cannot be read, without its content.
        reason: String,
    },
    /// The store lacks a capability.
    #[error("this store cannot {capability}")]
    Unsupported {
        /// What was asked.
        capability: &'static str,
    },
    /// The database refused for good, such as for lack of rights or a missing table; trying again will not help.
    #[error("the store refused while {doing}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// The adapter's own error.
        #[source]
        source: Source,
    },
}

impl StoreError {
    /// The same error for another who waited for the same; its source is told as text.
    pub(crate) fn copy(&self) -> StoreError {
        let told = |source: &Source| {
            let chain = std::iter::successors(Some(&**source as &dyn std::error::Error), |error| error.source());
            Source::from(chain.map(ToString::to_string).collect::<Vec<_>>().join(": "))
        };
        match self {
            StoreError::Unavailable { doing, source } => StoreError::Unavailable { doing, source: told(source) },
            StoreError::OutcomeUnknown { source } => StoreError::OutcomeUnknown { source: told(source) },
            StoreError::Corrupt { what, reason } => StoreError::Corrupt { what: what.clone(), reason: reason.clone() },
            StoreError::Unsupported { capability } => StoreError::Unsupported { capability },
            StoreError::Refused { doing, source } => StoreError::Refused { doing, source: told(source) },
        }
    }

    /// Whether nothing was changed and trying again later may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. })
    }
}

#[cfg(feature = "testing")]
mockall::mock! {
    /// A mock of [`Store`].
    pub Store {}

    #[async_trait]
    impl StoreSession for Store {
        async fn load(&self, id: RunId) -> Result<Option<RunState>, StoreError>;
        async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError>;
        async fn find_by_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError>;
        async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError>;
        async fn history(&self, id: RunId) -> Result<History, StoreError>;
        async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError>;
    }

    #[async_trait]
    impl Store for Store {
        async fn claim(&self, request: &ClaimRequest) -> Result<Claims, StoreError>;
        async fn claim_keys(&self, keys: &[IntentKey], token: LeaseToken, lease: Duration) -> Result<Vec<SingleClaim>, StoreError>;
        async fn due(&self, request: &DueRequest) -> Result<Due, StoreError>;
        async fn extend(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError>;
        async fn release(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError>;
        async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError>;
        async fn put_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError>;
        async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError>;
        async fn work_committed(&self);
    }
}
