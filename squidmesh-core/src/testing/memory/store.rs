//! The store in memory, and its faults.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use event_listener::Event;

use super::fault::{Fault, Faults};
use super::intents::Availability;
use super::rows::Rows;
use super::transaction::MemoryTransaction;
use crate::definition::{Definition, Fingerprint};
use crate::dispatch::{IntentKey, Lease};
use crate::id::RunId;
use crate::name::WorkflowName;
use crate::port::{
    ClaimBatch, ClaimKeysRequest, ClaimRequest, ClaimResult, Clock, Commit, CommitOutcome, DuePage, DueRequest,
    IntentRecord, LeaseState, PruneBatch, PruneRequest, RunFilter, RunHistory, RunPage, Store, StoreError,
    StoreSession, StrandedRequest, TransactionBody, TransactionEnd, TransactionOutcome, TransactionType,
    TriggerRecords,
};
use crate::run::RunSnapshot;
use crate::schedule::TriggerRecord;
use crate::time::Timestamp;

/// A store in memory. Clones share what is stored: several runtimes over clones are several processes on one
/// database.
///
/// Due times and leases follow the clock that the store is created with. A commit that breaks the port's contract is
/// refused with a [`ContractBreach`](super::ContractBreach) as source.
pub struct MemoryStore {
    shared: Arc<Shared>,
    /// The number of the last announcement that this handle's waiters have received.
    notified: AtomicU64,
}

pub(super) struct Shared {
    identity: String,
    rows: Mutex<Rows>,
    faults: Mutex<Faults>,
    /// Commits that are applied before the next one.
    late: Mutex<Vec<Commit>>,
    clock: Arc<dyn Clock>,
    announced: AtomicU64,
    work: Event,
}

impl MemoryStore {
    /// Creates an empty store on this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let shared = Shared {
            identity: uuid::Uuid::new_v4().simple().to_string(),
            rows: Mutex::default(),
            faults: Mutex::default(),
            late: Mutex::default(),
            clock,
            announced: AtomicU64::new(0),
            work: Event::new(),
        };
        MemoryStore { shared: Arc::new(shared), notified: AtomicU64::new(0) }
    }

    /// Begins a transaction, such as a host has with its own database: the commands given to it take effect together
    /// with [`MemoryTransaction::commit`], or not at all.
    pub fn begin(&self) -> MemoryTransaction {
        MemoryTransaction::new(Arc::clone(&self.shared))
    }

    /// Makes the next call fail. [`Fault::Unavailable`] affects any call, the others the next commit.
    pub fn fail_next(&self, fault: Fault) {
        self.shared.faults().plant(fault);
    }

    /// Makes the next commit fail, even if other calls come before it.
    pub fn fail_next_commit(&self, fault: Fault) {
        self.shared.faults().plant_in_commit(fault);
    }

    /// Makes a run unreadable: reading it returns [`StoreError::Corrupt`] from now on.
    pub fn corrupt(&self, run: RunId) {
        self.shared.rows().corrupt.insert(run);
    }

    /// Returns all live intents, by key.
    pub fn intents(&self) -> Vec<IntentRecord> {
        self.shared.rows().intents.records(None)
    }

    fn reading(&self, doing: &'static str) -> Result<MutexGuard<'_, Rows>, StoreError> {
        match self.shared.faults().next_of_call() {
            Some(fault) => Err(fault.error(doing)),
            None => Ok(self.shared.rows()),
        }
    }
}

impl Shared {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn late(&self) -> MutexGuard<'_, Vec<Commit>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_fault_of_commit(&self) -> Option<Fault> {
        self.faults().next_of_commit()
    }

    /// Notifies every waiter that there may be work.
    pub(super) fn announce_work(&self) {
        self.announced.fetch_add(1, Ordering::SeqCst);
        self.work.notify(usize::MAX);
    }
}

/// Returns a handle on the same data.
impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        MemoryStore { shared: Arc::clone(&self.shared), notified: AtomicU64::new(self.notified.load(Ordering::SeqCst)) }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("runs", &self.shared.rows().runs.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl StoreSession for MemoryStore {
    async fn load(&self, id: RunId) -> Result<Option<RunSnapshot>, StoreError> {
        self.reading("loading a run")?.load(id)
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        let fault = self.shared.next_fault_of_commit();
        if let Some(fault @ (Fault::Unavailable | Fault::ErrorBefore)) = fault {
            return Err(fault.error("committing"));
        }
        if let Some(fault @ Fault::AppliedLate) = fault {
            self.shared.late().extend(commits);
            return Err(fault.error("committing"));
        }
        let late = std::mem::take(&mut *self.shared.late());
        let now = self.shared.now();
        let mut work = false;
        let outcomes = {
            let mut rows = self.shared.rows();
            let apply = |commit: &Commit| {
                let applied = rows.apply(commit, now)?;
                work |= applied.work;
                Ok(applied.outcome)
            };
            let mut outcomes: Vec<_> = late.iter().chain(&commits).map(apply).collect();
            outcomes.split_off(late.len())
        };
        if work {
            self.shared.announce_work();
        }
        match fault {
            Some(fault) => Err(fault.error("committing")),
            None => Ok(outcomes),
        }
    }

    async fn find_by_idempotency_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        Ok(self.reading("looking up an idempotency key")?.find_by_idempotency_key(workflow, key))
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        let rows = self.reading("loading a definition")?;
        Ok(rows.definitions.get(fingerprint).map(|definition| (**definition).clone()))
    }

    async fn history(&self, id: RunId) -> Result<RunHistory, StoreError> {
        self.reading("loading the history of a run")?.history(id)
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        self.reading("listing runs")?.list(filter)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimBatch, StoreError> {
        let now = self.shared.now();
        let mut rows = self.reading("claiming work")?;
        let leases = rows.intents.claim(request, now);
        let next_in = if leases.len() < request.limit { rows.intents.next_in(request, now) } else { None };
        let claims = leases.into_iter().map(|lease| rows.claim(lease, &request.cached_runs));
        Ok(ClaimBatch { claims: claims.collect(), next_in })
    }

    async fn claim_keys(&self, request: &ClaimKeysRequest) -> Result<Vec<ClaimResult>, StoreError> {
        let now = self.shared.now();
        let mut rows = self.reading("claiming work")?;
        let claim = |key: &IntentKey| match rows.intents.availability(key, &request.takeover, now) {
            Availability::Absent => ClaimResult::Absent,
            Availability::NotDue => ClaimResult::NotDue,
            Availability::Held => ClaimResult::Held,
            Availability::Due => {
                let lease = rows.intents.hold(key.clone(), request.token, now.after(request.lease));
                ClaimResult::Claimed(Box::new(rows.claim(lease, &request.cached_runs)))
            }
        };
        Ok(request.keys.iter().map(claim).collect())
    }

    async fn list_due(&self, request: &DueRequest) -> Result<DuePage, StoreError> {
        let now = self.shared.now();
        Ok(self.reading("listing due work")?.intents.due(request, now))
    }

    async fn extend_leases(&self, leases: &[Lease], lease: Duration) -> Result<Vec<LeaseState>, StoreError> {
        let until = self.shared.now().after(lease);
        let mut rows = self.reading("extending leases")?;
        let extend = |lease: &Lease| match rows.intents.extend(lease, until) {
            true => LeaseState::Held(rows.status(lease.key.run_id)),
            false => LeaseState::Lost,
        };
        Ok(leases.iter().map(extend).collect())
    }

    async fn release_leases(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
        let due = self.shared.now().after(delay);
        let mut rows = self.reading("releasing leases")?;
        let mut released = false;
        for lease in leases {
            released |= rows.intents.release(lease, due);
        }
        drop(rows);
        if released {
            self.shared.announce_work();
        }
        Ok(())
    }

    async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
        let now = self.shared.now();
        let rows = self.reading("reading cron triggers")?;
        let wanted = rows.triggers.values().filter(|record| workflows.contains(&record.workflow));
        Ok(TriggerRecords::new(now, wanted.cloned().collect()))
    }

    async fn compare_and_set_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError> {
        Ok(self.reading("writing a cron trigger")?.compare_and_set_trigger(record))
    }

    async fn identity(&self) -> Result<Option<String>, StoreError> {
        drop(self.reading("identifying the database")?);
        Ok(Some(self.shared.identity.clone()))
    }

    async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
        let now = self.shared.now();
        Ok(self.reading("listing stranded runs")?.intents.stranded(request, now))
    }

    async fn prune(&self, request: &PruneRequest) -> Result<PruneBatch, StoreError> {
        let now = self.shared.now();
        Ok(self.reading("pruning runs")?.prune(request, now))
    }

    async fn work_notified(&self) {
        // Listening before checking avoids missing an announcement between the two, or one made while there was no
        // waiter.
        let work = self.shared.work.listen();
        if self.notified.swap(self.shared.announced.load(Ordering::SeqCst), Ordering::SeqCst)
            == self.shared.announced.load(Ordering::SeqCst)
        {
            work.await;
            self.notified.store(self.shared.announced.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    }

    fn transaction_type(&self) -> Option<TransactionType> {
        Some(TransactionType::of::<MemoryTransaction>())
    }

    /// Works in the caller's own future: if that is dropped, or the body panics, everything is rolled back.
    async fn transact(&self, mut body: Box<dyn TransactionBody>) -> Result<TransactionOutcome, StoreError> {
        drop(self.reading("beginning a transaction")?);
        let transaction = self.begin();
        if body.work(&transaction).await == TransactionEnd::RollBack
            || body.record(&transaction).await == TransactionEnd::RollBack
        {
            return Ok(TransactionOutcome::RolledBack);
        }
        match transaction.commit()? {
            CommitOutcome::Committed => Ok(TransactionOutcome::Committed),
            _ => Ok(TransactionOutcome::Conflict),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::definition::secs;
    use crate::port::RunFilter;
    use crate::testing::{ManualClock, block_on, sample};

    fn store() -> MemoryStore {
        MemoryStore::new(Arc::new(ManualClock::default()))
    }

    fn start(store: &MemoryStore, number: u64) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        block_on(store.commit(vec![sample::start(number)]))
    }

    #[test]
    fn a_fault_strikes_once() {
        let store = store();
        store.fail_next(Fault::Unavailable);
        assert!(block_on(store.load(sample::run_id(1))).unwrap_err().is_transient());
        assert!(block_on(store.load(sample::run_id(1))).unwrap().is_none());
    }

    #[test]
    fn a_fault_for_a_commit_waits_for_it() {
        let store = store();
        store.fail_next_commit(Fault::Unavailable);
        assert!(block_on(store.load(sample::run_id(1))).unwrap().is_none());
        assert!(start(&store, 1).unwrap_err().is_transient());
        assert!(block_on(store.load(sample::run_id(1))).unwrap().is_none());
    }

    #[test]
    fn a_lost_answer_may_hide_a_commit_or_not() {
        let store = store();
        store.fail_next(Fault::ErrorAfterApply);
        assert!(matches!(start(&store, 1), Err(StoreError::OutcomeUnknown { .. })));
        assert_eq!(block_on(store.load(sample::run_id(1))).unwrap().unwrap().run, sample::run(1));
        store.fail_next(Fault::ErrorBefore);
        assert!(matches!(start(&store, 2), Err(StoreError::OutcomeUnknown { .. })));
        assert!(block_on(store.load(sample::run_id(2))).unwrap().is_none());
    }

    #[test]
    fn a_corrupt_run_harms_no_other() {
        let store = store();
        start(&store, 1).unwrap();
        start(&store, 2).unwrap();
        store.corrupt(sample::run_id(1));
        assert!(matches!(block_on(store.load(sample::run_id(1))), Err(StoreError::Corrupt { .. })));
        assert!(matches!(block_on(store.history(sample::run_id(1))), Err(StoreError::Corrupt { .. })));
        assert!(matches!(block_on(store.list(&RunFilter::new())), Err(StoreError::Corrupt { .. })));
        let fingerprints = vec![*sample::definition().fingerprint()];
        let request = ClaimRequest::new(
            vec![crate::name::QueueName::default()],
            fingerprints,
            9,
            sample::lease_token(1),
            secs(1),
        );
        let readable: Vec<bool> =
            block_on(store.claim(&request)).unwrap().claims.iter().map(|claim| claim.state.is_ok()).collect();
        assert_eq!(readable, [false, true]);
    }

    #[test]
    fn work_is_announced_to_every_handle_even_if_nobody_waited() {
        let store = store();
        let other = store.clone();
        assert!(store.work_notified().now_or_never().is_none());
        start(&store, 1).unwrap();
        for handle in [&store, &other] {
            assert!(handle.work_notified().now_or_never().is_some());
            assert!(handle.work_notified().now_or_never().is_none());
        }
    }

    #[test]
    fn a_commit_that_leaves_no_work_announces_none() {
        let store = store();
        start(&store, 1).unwrap();
        block_on(store.work_notified());
        block_on(store.commit(vec![sample::next(&sample::run(1))])).unwrap();
        assert!(store.work_notified().now_or_never().is_none());
    }

    #[test]
    fn a_breach_of_the_contract_is_refused_permanently() {
        let store = store();
        start(&store, 1).unwrap();
        let mut commit = sample::next(&sample::run(1));
        commit.run.revision = 9;
        let answer = block_on(store.commit(vec![commit])).unwrap().remove(0).unwrap_err();
        assert!(matches!(answer, StoreError::Refused { .. }), "{answer:?}");
        assert_eq!(
            std::error::Error::source(&answer).unwrap().to_string(),
            "the commit makes revision 9, but 2 follows the one that it was decided on"
        );
    }
}
