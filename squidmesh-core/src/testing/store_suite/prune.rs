//! Retention: what is deleted, what is kept, and that it is deleted once.
//!
//! A store that deletes nothing visibly skips these cases.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::StoreFixture;
use super::setup::{WHILE, apply, committed, facts, started, together};
use crate::dispatch::IntentKey;
use crate::id::RunId;
use crate::port::{
    Clock, Commit, CommitOutcome, IntentWrite, PruneRequest, RunHistory, Store, StoreError, StoreSession,
};
use crate::run::{Run, RunStatus};
use crate::testing::{ManualClock, sample};

/// Longer than the age of any ended run in these cases, and longer than any case runs.
const AGE: Duration = Duration::from_secs(1_000_000);

/// More batches than any of these cases needs.
const BATCHES: usize = 1_000;

/// Returns a store that deletes; for one that does not, the case only checks that it reports so.
pub(super) async fn deleting(fixture: &dyn StoreFixture) -> Option<(Arc<dyn Store>, Arc<ManualClock>)> {
    let (store, clock) = fixture.fresh().await;
    match store.prune(&all()).await {
        Err(StoreError::Unsupported { .. }) => {
            #[allow(clippy::print_stderr, reason = "a capability that is missing is to be seen")]
            {
                eprintln!("skipped: this store deletes no runs");
            }
            None
        }
        answer => {
            assert_eq!(answer.unwrap().runs, 0, "there is nothing yet");
            Some((store, clock))
        }
    }
}

/// Returns a request for every ended run.
fn all() -> PruneRequest {
    let ended = [RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled];
    PruneRequest::new(Duration::ZERO, ended.into(), 1_000)
}

async fn prune(store: &dyn Store, request: &PruneRequest) -> usize {
    let mut request = request.clone();
    let mut runs = 0;
    for _ in 0..BATCHES {
        let pruned = store.prune(&request).await.expect("the store can delete");
        runs += pruned.runs;
        if pruned.next.is_none() {
            return runs;
        }
        request = request.after(pruned.next);
    }
    panic!("the batches do not end")
}

/// Returns the commit that ends a run in a status, now, with no live intent left.
fn end(run: &Run, status: RunStatus, clock: &ManualClock) -> Commit {
    let mut end = sample::next(run);
    end.run.status = status;
    end.run.finished_at = Some(clock.now());
    end.intents.push(IntentWrite::Remove(IntentKey::step(run.id, sample::step_name("first"))));
    end
}

/// Starts a run and ends it.
async fn ended(store: &dyn Store, number: u64, status: RunStatus, clock: &ManualClock) -> Run {
    let run = started(store, number).await;
    committed(store, end(&run, status, clock)).await
}

async fn is_there(store: &dyn Store, id: RunId) -> bool {
    store.load(id).await.expect("what is there can be read").is_some()
}

pub async fn an_ended_run_is_deleted_with_everything_that_is_kept_of_it(fixture: &dyn StoreFixture) {
    let Some((store, clock)) = deleting(fixture).await else { return };
    let keyed = || {
        let mut start = sample::start(1);
        start.run.idempotency_key = Some("key".to_owned());
        start.attempts.push(sample::attempt("first", 1));
        start
    };
    let run = committed(&*store, keyed()).await;
    let other = started(&*store, 2).await;
    assert_eq!(prune(&*store, &all()).await, 0, "none has ended");
    committed(&*store, end(&run, RunStatus::Completed, &clock)).await;
    clock.advance(WHILE);
    assert_eq!(prune(&*store, &all()).await, 1);
    assert_eq!(facts(&*store, run.id).await, (None, RunHistory::default()));
    assert_eq!(store.find_by_idempotency_key(&run.workflow, "key").await.unwrap(), None);
    assert!(is_there(&*store, other.id).await);
    assert!(store.definition(&run.fingerprint).await.unwrap().is_some(), "versions are kept");
    assert_eq!(apply(&*store, keyed()).await, CommitOutcome::Committed, "as if it had never been");
    assert_eq!(prune(&*store, &all()).await, 0);
}

pub async fn only_old_enough_runs_in_a_given_status_are_deleted(fixture: &dyn StoreFixture) {
    let Some((store, clock)) = deleting(fixture).await else { return };
    let completed = ended(&*store, 1, RunStatus::Completed, &clock).await;
    let failed = ended(&*store, 2, RunStatus::Failed, &clock).await;
    clock.advance(AGE);
    let young = ended(&*store, 3, RunStatus::Completed, &clock).await;
    let request = PruneRequest::new(AGE, vec![RunStatus::Completed, RunStatus::Cancelled], 1_000);
    assert_eq!(prune(&*store, &PruneRequest { older_than: AGE * 2, ..request.clone() }).await, 0);
    assert_eq!(prune(&*store, &PruneRequest { statuses: vec![], ..request.clone() }).await, 0);
    assert_eq!(prune(&*store, &request).await, 1);
    assert!(!is_there(&*store, completed.id).await);
    assert!(is_there(&*store, failed.id).await && is_there(&*store, young.id).await);
    assert_eq!(prune(&*store, &PruneRequest { statuses: vec![RunStatus::Failed], ..request }).await, 1);
    assert!(is_there(&*store, young.id).await);
}

pub async fn a_run_for_which_something_is_left_to_be_delivered_is_kept(fixture: &dyn StoreFixture) {
    let Some((store, clock)) = deleting(fixture).await else { return };
    let run = started(&*store, 1).await;
    let mut failure = end(&run, RunStatus::Failed, &clock);
    let mut compensation = sample::intent(&run, "first");
    compensation.key = IntentKey::compensation(run.id);
    failure.intents.push(IntentWrite::Add(compensation));
    let failed = committed(&*store, failure).await;
    clock.advance(WHILE);
    assert_eq!(prune(&*store, &all()).await, 0, "it is to be compensated");
    let mut compensated = sample::next(&failed);
    compensated.intents.push(IntentWrite::Remove(IntentKey::compensation(run.id)));
    committed(&*store, compensated).await;
    assert_eq!(prune(&*store, &all()).await, 1);
}

pub async fn what_a_live_run_came_from_is_kept(fixture: &dyn StoreFixture) {
    let Some((store, clock)) = deleting(fixture).await else { return };
    let origins = [
        ended(&*store, 1, RunStatus::Completed, &clock).await.id,
        ended(&*store, 2, RunStatus::Failed, &clock).await.id,
    ];
    let (mut replay, mut resumed) = (sample::start(3), sample::start(4));
    replay.run.replayed_from = Some(origins[0]);
    resumed.run.resumed_from = Some(origins[1]);
    let (replay, resumed) = (committed(&*store, replay).await, committed(&*store, resumed).await);
    clock.advance(WHILE);
    assert_eq!(prune(&*store, &all()).await, 0);
    committed(&*store, end(&replay, RunStatus::Completed, &clock)).await;
    committed(&*store, end(&resumed, RunStatus::Completed, &clock)).await;
    clock.advance(WHILE);
    let deleted = prune(&*store, &all()).await + prune(&*store, &all()).await;
    assert_eq!(deleted, 4, "the whole lineage has ended");
}

pub async fn runs_that_continue_a_kept_run_are_kept(fixture: &dyn StoreFixture) {
    let Some((store, clock)) = deleting(fixture).await else { return };
    let failed = ended(&*store, 1, RunStatus::Failed, &clock).await;
    let mut resumed = sample::start(2);
    resumed.run.resumed_from = Some(failed.id);
    let resumed = committed(&*store, resumed).await;
    committed(&*store, end(&resumed, RunStatus::Completed, &clock)).await;
    clock.advance(WHILE);
    let request = PruneRequest { statuses: vec![RunStatus::Completed], ..all() };
    assert_eq!(prune(&*store, &request).await, 0, "or the failed run could be resumed once more");
    assert!(is_there(&*store, resumed.id).await);
}

pub async fn a_dry_run_counts_and_deletes_nothing(fixture: &dyn StoreFixture) {
    let Some((store, clock)) = deleting(fixture).await else { return };
    for number in 1..=5 {
        ended(&*store, number, RunStatus::Completed, &clock).await;
    }
    started(&*store, 6).await;
    clock.advance(WHILE);
    for _ in 0..2 {
        assert_eq!(prune(&*store, &all().dry_run(true)).await, 5);
    }
    assert_eq!(prune(&*store, &all()).await, 5);
}

pub async fn a_batch_is_bounded_and_the_next_continues_behind_it(fixture: &dyn StoreFixture) {
    let Some((store, clock)) = deleting(fixture).await else { return };
    for number in 1..=7 {
        if number == 3 {
            started(&*store, number).await;
        } else {
            ended(&*store, number, RunStatus::Completed, &clock).await;
        }
    }
    clock.advance(WHILE);
    for dry_run in [true, false] {
        let (mut request, mut batches) = (PruneRequest { limit: 2, ..all().dry_run(dry_run) }, Vec::new());
        loop {
            let pruned = store.prune(&request).await.unwrap();
            batches.push(pruned.runs);
            assert!(batches.len() <= BATCHES, "the batches end");
            if pruned.next.is_none() {
                break;
            }
            request = request.after(pruned.next);
        }
        assert_eq!(batches.iter().sum::<usize>(), 6, "{batches:?}");
        assert!(batches.iter().all(|runs| *runs <= 2), "{batches:?}");
    }
    assert!(is_there(&*store, sample::run_id(3)).await);
    assert_eq!(store.prune(&PruneRequest { limit: 0, ..all() }).await.unwrap().runs, 0);
}

pub async fn of_several_who_delete_at_once_each_run_is_counted_by_one(fixture: &dyn StoreFixture) {
    let Some((store, clock)) = deleting(fixture).await else { return };
    for number in 1..=40 {
        ended(&*store, number, RunStatus::Completed, &clock).await;
    }
    clock.advance(WHILE);
    let parts = (0..4).map(|_| {
        let store = Arc::clone(&store);
        async move { prune(&*store, &PruneRequest { limit: 5, ..all() }).await }.boxed()
    });
    let counts = together(fixture, parts).await;
    // A run that one pruner has locked is skipped by the others; it may have to be looked for once more.
    let rest = prune(&*store, &all()).await;
    assert_eq!(counts.iter().sum::<usize>() + rest, 40, "{counts:?} and {rest}");
    for number in 1..=40 {
        assert!(!is_there(&*store, sample::run_id(number)).await);
    }
}
