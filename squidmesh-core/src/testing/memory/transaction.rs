//! A transaction on the store in memory: what a host's own database transaction is to a real store.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::fault::Fault;
use super::rows::Rows;
use super::store::Shared;
use crate::{
    Commit, CommitOutcome, Definition, Fingerprint, History, RunFilter, RunId, RunPage, RunState, StoreError,
    StoreSession, WorkflowName,
};

/// A unit of work of a host. It reads what was stored when it began and what it has written itself; what it writes is seen
/// by others once it is committed. Dropping it rolls it back.
pub struct MemoryTransaction {
    shared: Arc<Shared>,
    work: Mutex<Work>,
}

struct Work {
    rows: Rows,
    /// The commits that took effect here, in order.
    done: Vec<Commit>,
}

impl MemoryTransaction {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let rows = shared.rows().clone();
        MemoryTransaction { shared, work: Mutex::new(Work { rows, done: Vec::new() }) }
    }

    /// Applies everything, or nothing. An outcome other than [`CommitOutcome::Committed`] means that another got in between,
    /// and nothing was applied.
    ///
    /// # Errors
    /// [`StoreError`] if the store was told to fail.
    pub fn commit(self) -> Result<CommitOutcome, StoreError> {
        let fault = self.shared.next_fault_of_commit();
        if let Some(fault @ (Fault::Unavailable | Fault::ErrorBefore)) = fault {
            return Err(fault.error("committing a transaction"));
        }
        let now = self.shared.now();
        let commits = self.work.into_inner().unwrap_or_else(PoisonError::into_inner).done;
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
        }
        if found_work {
            self.shared.announce_work();
        }
        match fault {
            Some(fault) => Err(fault.error("committing a transaction")),
            None => Ok(CommitOutcome::Committed),
        }
    }

    /// Forgets everything, as dropping does.
    pub fn rollback(self) {}

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransaction").field("commits", &self.work().done.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl StoreSession for MemoryTransaction {
    async fn load(&self, id: RunId) -> Result<Option<RunState>, StoreError> {
        self.work().rows.load(id)
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        let now = self.shared.now();
        let mut work = self.work();
        let apply = |commit: Commit| {
            let outcome = work.rows.apply(&commit, now)?.outcome;
            if outcome == CommitOutcome::Committed {
                work.done.push(commit);
            }
            Ok(outcome)
        };
        Ok(commits.into_iter().map(apply).collect())
    }

    async fn find_by_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        Ok(self.work().rows.find_by_key(workflow, key))
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        Ok(self.work().rows.definitions.get(fingerprint).map(|definition| (**definition).clone()))
    }

    async fn history(&self, id: RunId) -> Result<History, StoreError> {
        self.work().rows.history(id)
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        self.work().rows.list(filter)
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
