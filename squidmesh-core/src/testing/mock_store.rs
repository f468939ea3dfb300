//! A mock of the whole store port, for unit tests of a host's own error handling.

use std::time::Duration;

use async_trait::async_trait;

use crate::definition::{Definition, Fingerprint};
use crate::dispatch::Lease;
use crate::id::RunId;
use crate::name::WorkflowName;
use crate::port::{
    ClaimBatch, ClaimKeysRequest, ClaimRequest, ClaimResult, Commit, CommitOutcome, DuePage, DueRequest, Heartbeats,
    LeaseState, PruneBatch, PruneRequest, RunFilter, RunHistory, RunPage, Store, StoreError, StoreSession,
    StrandedRequest, TransactionBody, TransactionOutcome, TransactionType, TriggerRecords,
};
use crate::run::RunSnapshot;
use crate::schedule::TriggerRecord;

mockall::mock! {
    /// A mock of [`Store`]: it answers what a test expects, and panics at any other call. It covers every method of the
    /// port, those with a default body included: a test that builds a runtime on it expects
    /// [`bound_calls`](Store::bound_calls) and [`transaction_type`](Store::transaction_type).
    pub Store {}

    #[async_trait]
    impl StoreSession for Store {
        async fn load(&self, id: RunId) -> Result<Option<RunSnapshot>, StoreError>;
        async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError>;
        async fn find_by_idempotency_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError>;
        async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError>;
        async fn history(&self, id: RunId) -> Result<RunHistory, StoreError>;
        async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError>;
    }

    #[async_trait]
    impl Store for Store {
        async fn claim(&self, request: &ClaimRequest) -> Result<ClaimBatch, StoreError>;
        async fn claim_keys(&self, request: &ClaimKeysRequest) -> Result<Vec<ClaimResult>, StoreError>;
        async fn list_due(&self, request: &DueRequest) -> Result<DuePage, StoreError>;
        async fn extend_leases(&self, leases: &[Lease], lease: Duration) -> Result<Vec<LeaseState>, StoreError>;
        async fn heartbeats(&self) -> Result<Option<Box<dyn Heartbeats>>, StoreError>;
        async fn release_leases(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError>;
        async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError>;
        async fn compare_and_set_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError>;
        async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError>;
        async fn identity(&self) -> Result<Option<String>, StoreError>;
        async fn work_notified(&self);
        fn notify_work(&self);
        fn is_listening(&self) -> bool;
        async fn prune(&self, request: &PruneRequest) -> Result<PruneBatch, StoreError>;
        fn bound_calls(&self, lease: Duration) -> Result<(), String>;
        fn transaction_type(&self) -> Option<TransactionType>;
        async fn transact(&self, body: Box<dyn TransactionBody>) -> Result<TransactionOutcome, StoreError>;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures_util::FutureExt;

    use super::*;
    use crate::testing::sample;

    /// Returns the names of the methods that a source text declares or implements, from a mark on.
    fn methods<'a>(source: &'a str, from: &str) -> BTreeSet<&'a str> {
        let (_, source) = source.split_once(from).expect("the source has the mark");
        let source = source.split("\n#[cfg(test)]").next().unwrap_or_default();
        let declared = source.lines().filter_map(|line| {
            let line = line.trim_start();
            line.strip_prefix("async fn ")
                .or_else(|| line.strip_prefix("fn "))?
                .split_once("(&self")
                .map(|(name, _)| name)
        });
        declared.collect()
    }

    #[test]
    fn every_method_of_the_port_is_mocked_and_passed_on() {
        let mut port = methods(include_str!("../port/session.rs"), "pub trait StoreSession");
        port.extend(methods(include_str!("../port/store.rs"), "pub trait Store"));
        assert!(port.len() > 20 && port.contains("transact") && port.contains("load"), "{port:?}");
        assert_eq!(methods(include_str!("mock_store.rs"), "mockall::mock!"), port);
        assert_eq!(methods(include_str!("../port/shared_store.rs"), "impl<S: StoreSession"), port);
        let intercepted = include_str!("intercepted_store.rs");
        port.iter().for_each(|method| assert!(intercepted.contains(&format!(" {method}(")), "{method}"));
    }

    #[test]
    fn a_method_with_a_default_body_answers_what_is_expected() {
        let mut store = MockStore::new();
        store.expect_prune().times(1).returning(|_| Ok(PruneBatch::new(3, None)));
        store.expect_identity().times(1).returning(|| Ok(Some("orders".to_owned())));
        store.expect_is_listening().times(1).return_const(true);
        store.expect_bound_calls().times(1).returning(|_| Err("the calls take too long".to_owned()));
        store.expect_transaction_type().times(1).return_const(TransactionType::of::<u8>());
        store.expect_history().times(1).returning(|_| Ok(RunHistory::default()));
        let request = PruneRequest::new(Duration::ZERO, Vec::new(), 1);
        assert_eq!(store.prune(&request).now_or_never().unwrap().unwrap().runs, 3);
        assert_eq!(store.identity().now_or_never().unwrap().unwrap().as_deref(), Some("orders"));
        assert!(store.is_listening() && store.bound_calls(Duration::ZERO).is_err());
        assert_eq!(store.transaction_type(), Some(TransactionType::of::<u8>()));
        assert_eq!(store.history(sample::run_id(1)).now_or_never().unwrap().unwrap(), RunHistory::default());
    }
}
