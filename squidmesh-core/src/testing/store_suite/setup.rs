//! Shared parts of the cases: starting runs, claiming, and reading stored runs.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join_all};

use super::StoreFixture;
use crate::dispatch::{IntentKey, Lease};
use crate::id::RunId;
use crate::name::QueueName;
use crate::port::{
    Claim, ClaimBatch, ClaimKeysRequest, ClaimRequest, ClaimResult, Commit, CommitOutcome, LeaseState, LeaseToken,
    RunHistory, Store, StoreError,
};
use crate::run::{Run, RunSnapshot};
use crate::testing::sample;

/// The duration of the suite's leases: longer than any case runs in real time.
pub(super) const LEASE: Duration = Duration::from_secs(600);

/// A span shorter than any lease, and longer than any case runs in real time.
pub(super) const WHILE: Duration = Duration::from_secs(60);

/// Commits one change. Panics if the store returns an error.
pub(super) async fn apply(store: &dyn Store, commit: Commit) -> CommitOutcome {
    try_apply(store, commit).await.expect("a sound commit is answered with its outcome")
}

/// Commits one change that the store may refuse.
pub(super) async fn try_apply(store: &dyn Store, commit: Commit) -> Result<CommitOutcome, StoreError> {
    let mut answers = store.commit(vec![commit]).await.expect("the store tries the batch");
    assert_eq!(answers.len(), 1, "one answer for one commit");
    answers.remove(0)
}

/// Commits a batch. Panics if the store returns an error for a member.
pub(super) async fn apply_all(store: &dyn Store, commits: Vec<Commit>) -> Vec<CommitOutcome> {
    let answers = store.commit(commits).await.expect("the store tries the batch");
    answers.into_iter().map(|answer| answer.expect("a sound commit is answered with its outcome")).collect()
}

/// Starts the sample run with this number.
pub(super) async fn started(store: &dyn Store, number: u64) -> Run {
    committed(store, sample::start(number)).await
}

/// Commits a change that must succeed, and returns the run as of then.
pub(super) async fn committed(store: &dyn Store, commit: Commit) -> Run {
    let run = commit.run.clone();
    assert_eq!(apply(store, commit).await, CommitOutcome::Committed);
    run
}

/// Returns the state of a run that exists.
pub(super) async fn state(store: &dyn Store, id: RunId) -> RunSnapshot {
    store.load(id).await.expect("the run can be read").expect("the run exists")
}

/// Returns the history of a run.
pub(super) async fn history(store: &dyn Store, id: RunId) -> RunHistory {
    store.history(id).await.expect("the history can be read")
}

/// Returns everything stored about a run, to compare before and after.
pub(super) async fn facts(store: &dyn Store, id: RunId) -> (Option<RunSnapshot>, RunHistory) {
    (store.load(id).await.expect("the run can be read"), history(store, id).await)
}

/// Returns a request for intents of the sample workflow in the default queue.
pub(super) fn request(limit: usize, token: LeaseToken) -> ClaimRequest {
    let fingerprint = *sample::definition().fingerprint();
    ClaimRequest::new(vec![QueueName::default()], vec![fingerprint], limit, token, LEASE)
}

/// Claims up to `limit` intents of the sample workflow in the default queue, under the token with this number.
pub(super) async fn claim(store: &dyn Store, limit: usize, token: u64) -> ClaimBatch {
    claim_by(store, &request(limit, sample::lease_token(token))).await
}

/// Claims by a request.
pub(super) async fn claim_by(store: &dyn Store, request: &ClaimRequest) -> ClaimBatch {
    store.claim(request).await.expect("the store can claim")
}

/// Claims one intent.
pub(super) async fn claim_key(store: &dyn Store, key: &IntentKey, token: LeaseToken) -> ClaimResult {
    let answers = store.claim_keys(&ClaimKeysRequest::new(vec![key.clone()], token, LEASE)).await;
    let mut answers = answers.expect("the store can claim");
    assert_eq!(answers.len(), 1, "one answer for one key");
    answers.remove(0)
}

/// Extends leases, and returns for each whether it is held.
pub(super) async fn extended(store: &dyn Store, leases: &[Lease], lease: Duration) -> Vec<bool> {
    let states = store.extend_leases(leases, lease).await.expect("the store can extend leases");
    states.into_iter().map(LeaseState::is_held).collect()
}

/// Returns the claimed keys, in order.
pub(super) fn keys(claims: &ClaimBatch) -> Vec<IntentKey> {
    claims.claims.iter().map(|claim| claim.lease.key.clone()).collect()
}

/// Returns the only claim among these, with its run's state.
pub(super) fn only(mut claims: ClaimBatch) -> (Claim, RunSnapshot) {
    assert_eq!(claims.claims.len(), 1, "exactly one intent is claimed");
    let mut claim = claims.claims.remove(0);
    let state = std::mem::replace(&mut claim.state, Ok(None)).expect("the run of a claim can be read");
    (claim, Arc::unwrap_or_clone(state.expect("a claimer who has nothing cached is given the run")))
}

/// Claims the intent of a sample run's step `first` under the token with this number.
pub(super) async fn held(store: &dyn Store, run: &Run, token: u64) -> Lease {
    let (claim, _) = only(claim(store, 1, token).await);
    assert_eq!(claim.lease, sample::lease(run.id, "first", sample::lease_token(token)));
    claim.lease
}

/// Runs all of these concurrently, by the fixture's means, and returns their results in order.
pub(super) async fn together<T: Send + 'static>(
    fixture: &dyn StoreFixture,
    parts: impl IntoIterator<Item = BoxFuture<'static, T>>,
) -> Vec<T> {
    let spawned: Vec<_> = parts
        .into_iter()
        .map(|part| {
            let result = Arc::new(Mutex::new(None));
            let keep = Arc::clone(&result);
            let done = fixture.spawn(async move { *keep.lock().unwrap() = Some(part.await) }.boxed());
            async move {
                done.await;
                result.lock().unwrap().take().expect("a part that was spawned has ended")
            }
        })
        .collect();
    join_all(spawned).await
}

/// Lets the other parts of a case have their turn, whether they share its task or not.
pub(crate) async fn take_turns() {
    let mut taken = false;
    std::thread::yield_now();
    poll_fn(|context| {
        if std::mem::replace(&mut taken, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
