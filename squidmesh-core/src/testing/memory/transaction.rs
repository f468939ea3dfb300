//! A transaction on the store in memory: the counterpart of a host's own database transaction on a real store.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::fault::Fault;
use super::rows::Rows;
use super::store::Shared;
use crate::definition::{Definition, Fingerprint};
use crate::id::RunId;
use crate::name::WorkflowName;
use crate::port::{Commit, CommitOutcome, RunFilter, RunHistory, RunPage, StoreError, StoreSession};
use crate::run::RunSnapshot;

/// A unit of work of a host, or of a transactional step. It reads what others have committed until its first write,
/// and its own writes; others see its writes once it is committed. Dropping it rolls it back.
pub struct MemoryTransaction {
    shared: Arc<Shared>,
    work: Mutex<Work>,
}

struct Work {
    rows: Rows,
    /// The commits that took effect in this transaction, in order.
    done: Vec<Commit>,
    /// The host's effects at the commit.
    effects: Vec<Box<dyn FnOnce() + Send>>,
}

impl MemoryTransaction {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let rows = shared.rows().clone();
        MemoryTransaction { shared, work: Mutex::new(Work { rows, done: Vec::new(), effects: Vec::new() }) }
    }

    /// Runs `effect` at the moment the transaction is committed, and not at all if it is rolled back. A test uses it
    /// to stand in for the host's tables. It must not use the store.
    pub fn on_commit(&self, effect: impl FnOnce() + Send + 'static) {
        self.work().effects.push(Box::new(effect));
    }

    /// Applies everything, or nothing. An outcome other than [`CommitOutcome::Committed`] means that another commit
    /// got in between, and nothing was applied.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if a test has planted a fault.
    pub fn commit(self) -> Result<CommitOutcome, StoreError> {
        let fault = self.shared.next_fault_of_commit();
        if let Some(fault @ (Fault::Unavailable | Fault::ErrorBefore)) = fault {
            return Err(fault.error("committing a transaction"));
        }
        let now = self.shared.now();
        let Work { done: commits, effects, .. } = self.work.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut found_work = false;
        {
            let mut stored = self.shared.rows();
            let mut rows = stored.clone();
            for commit in &commits {
                let applied = rows.apply(commit, now)?;
                if applied.outcome != CommitOutcome::Committed {
                    return Ok(applied.outcome);
                }
                found_work |= applied.work;
            }
            *stored = rows;
            effects.into_iter().for_each(|effect| effect());
        }
        if found_work {
            self.shared.announce_work();
        }
        match fault {
            Some(fault) => Err(fault.error("committing a transaction")),
            None => Ok(CommitOutcome::Committed),
        }
    }

    /// Discards everything, as dropping does.
    pub fn rollback(self) {}

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the transaction's rows, with what others have committed meanwhile while it has written nothing.
    fn current(&self) -> MutexGuard<'_, Work> {
        let mut work = self.work();
        if work.done.is_empty() {
            work.rows = self.shared.rows().clone();
        }
        work
    }
}

impl fmt::Debug for MemoryTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransaction").field("commits", &self.work().done.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl StoreSession for MemoryTransaction {
    async fn load(&self, id: RunId) -> Result<Option<RunSnapshot>, StoreError> {
        self.current().rows.load(id)
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        let now = self.shared.now();
        let mut work = self.current();
        let Work { rows, done, .. } = &mut *work;
        let apply = |commit: Commit| {
            let outcome = rows.apply(&commit, now)?.outcome;
            if outcome == CommitOutcome::Committed {
                done.push(commit);
            }
            Ok(outcome)
        };
        Ok(commits.into_iter().map(apply).collect())
    }

    async fn find_by_idempotency_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        Ok(self.current().rows.find_by_idempotency_key(workflow, key))
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        Ok(self.current().rows.definitions.get(fingerprint).map(|definition| (**definition).clone()))
    }

    async fn history(&self, id: RunId) -> Result<RunHistory, StoreError> {
        self.current().rows.history(id)
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        self.current().rows.list(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ManualClock, MemoryStore, block_on, sample};

    fn store() -> MemoryStore {
        MemoryStore::new(Arc::new(ManualClock::default()))
    }

    fn write(session: &dyn StoreSession, commit: Commit) -> CommitOutcome {
        block_on(session.commit(vec![commit])).unwrap().remove(0).unwrap()
    }

    #[test]
    fn nothing_of_a_transaction_is_seen_before_its_commit() {
        let store = store();
        let transaction = store.begin();
        assert_eq!(write(&transaction, sample::start(1)), CommitOutcome::Committed);
        assert_eq!(write(&transaction, sample::next(&sample::run(1))), CommitOutcome::Committed);
        assert_eq!(block_on(transaction.load(sample::run_id(1))).unwrap().unwrap().run.revision, 2);
        assert!(block_on(store.load(sample::run_id(1))).unwrap().is_none());
        assert_eq!(transaction.commit().unwrap(), CommitOutcome::Committed);
        assert_eq!(block_on(store.load(sample::run_id(1))).unwrap().unwrap().run.revision, 2);
        assert_eq!(store.intents().len(), 1);
    }

    #[test]
    fn a_transaction_that_is_dropped_leaves_nothing() {
        let store = store();
        let transaction = store.begin();
        write(&transaction, sample::start(1));
        transaction.rollback();
        assert!(block_on(store.load(sample::run_id(1))).unwrap().is_none());
        assert_eq!(store.intents(), []);
    }

    #[test]
    fn a_transaction_that_another_got_in_the_way_of_applies_nothing() {
        let store = store();
        write(&store, sample::start(1));
        let transaction = store.begin();
        write(&transaction, sample::start(2));
        write(&transaction, sample::next(&sample::run(1)));
        let mut rival = sample::next(&sample::run(1));
        rival.run.token = sample::commit_token(9);
        write(&store, rival);
        assert_eq!(transaction.commit().unwrap(), CommitOutcome::Conflict);
        assert!(block_on(store.load(sample::run_id(2))).unwrap().is_none());
        assert_eq!(block_on(store.load(sample::run_id(1))).unwrap().unwrap().run.token, sample::commit_token(9));
    }

    #[test]
    fn a_transaction_sees_what_others_commit_until_it_writes() {
        let store = store();
        let transaction = store.begin();
        write(&store, sample::start(1));
        assert_eq!(write(&transaction, sample::next(&sample::run(1))), CommitOutcome::Committed);
        write(&store, sample::start(2));
        assert!(block_on(transaction.load(sample::run_id(2))).unwrap().is_none());
        assert_eq!(transaction.commit().unwrap(), CommitOutcome::Committed);
        assert_eq!(block_on(store.load(sample::run_id(1))).unwrap().unwrap().run.revision, 2);
        assert!(block_on(store.load(sample::run_id(2))).unwrap().is_some());
    }

    #[test]
    fn the_hosts_effects_happen_with_the_commit_or_not_at_all() {
        let store = store();
        let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let transaction = || {
            let (transaction, count) = (store.begin(), count.clone());
            transaction.on_commit(move || {
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            });
            transaction
        };
        transaction().rollback();
        let conflicting = transaction();
        write(&conflicting, sample::start(1));
        write(&store, sample::start(1));
        assert_eq!(conflicting.commit().unwrap(), CommitOutcome::Conflict);
        assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 0);
        assert_eq!(transaction().commit().unwrap(), CommitOutcome::Committed);
        assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
    }

    #[test]
    fn a_refused_commit_is_no_part_of_its_transaction() {
        let store = store();
        write(&store, sample::start(1));
        let transaction = store.begin();
        assert_eq!(write(&transaction, sample::start(1)), CommitOutcome::Conflict);
        write(&transaction, sample::start(2));
        assert_eq!(transaction.commit().unwrap(), CommitOutcome::Committed);
        assert!(block_on(store.load(sample::run_id(2))).unwrap().is_some());
    }

    #[test]
    fn a_transaction_can_lose_its_answer() {
        let store = store();
        let transaction = store.begin();
        write(&transaction, sample::start(1));
        store.fail_next(Fault::ErrorAfterApply);
        assert!(matches!(transaction.commit(), Err(StoreError::OutcomeUnknown { .. })));
        assert!(block_on(store.load(sample::run_id(1))).unwrap().is_some());
    }
}
