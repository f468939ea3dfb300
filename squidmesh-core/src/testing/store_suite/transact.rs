//! Lent transactions: commits recorded in one take effect together, with the other writes in it, or not at all.
//!
//! The cases know no driver, so they do nothing with the transaction itself. A store that lends none visibly skips
//! them.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::FutureExt;

use super::StoreFixture;
use super::setup::{facts, held, history, started, state, take_turns, together};
use crate::id::RunId;
use crate::port::{
    Commit, CommitOutcome, IntentWrite, Store, StoreError, StoreSession, TransactionBody, TransactionEnd,
    TransactionOutcome,
};
use crate::run::RunSnapshot;
use crate::testing::sample;

/// What the body of a transaction saw.
#[derive(Debug, Default)]
struct Seen {
    outcomes: Vec<CommitOutcome>,
    loaded: Vec<Option<RunSnapshot>>,
}

/// A body that records these commits one after the other and reads a run after each.
struct Recording {
    worked: TransactionEnd,
    commits: Vec<Commit>,
    look_at: RunId,
    ends: fn(&Seen) -> TransactionEnd,
    /// The store to read from outside, once everything is recorded.
    outside: Option<Arc<dyn Store>>,
    panics: bool,
    seen: Arc<Mutex<Seen>>,
}

impl Recording {
    fn new(commits: impl IntoIterator<Item = Commit>) -> Self {
        let commits: Vec<Commit> = commits.into_iter().collect();
        Recording {
            worked: TransactionEnd::Commit,
            look_at: commits.first().map_or_else(|| sample::run_id(0), |commit| commit.run.id),
            commits,
            ends: |_| TransactionEnd::Commit,
            outside: None,
            panics: false,
            seen: Arc::default(),
        }
    }

    fn ends(self, ends: fn(&Seen) -> TransactionEnd) -> Self {
        Recording { ends, ..self }
    }
}

#[async_trait]
impl TransactionBody for Recording {
    async fn work(&mut self, _: &(dyn Any + Send + Sync)) -> TransactionEnd {
        take_turns().await;
        self.worked
    }

    async fn record(&mut self, session: &dyn StoreSession) -> TransactionEnd {
        for commit in self.commits.drain(..) {
            let answer = session.commit(vec![commit]).await.expect("the session tries the batch").remove(0);
            let loaded = session.load(self.look_at).await.expect("the run can be read");
            let mut seen = self.seen.lock().unwrap();
            seen.outcomes.push(answer.expect("a sound commit is answered with its outcome"));
            seen.loaded.push(loaded);
        }
        take_turns().await;
        if let Some(store) = &self.outside {
            assert_eq!(facts(&**store, self.look_at).await.0, None, "seen before the transaction has ended");
        }
        assert!(!self.panics, "a case made the body panic");
        (self.ends)(&self.seen.lock().unwrap())
    }
}

/// Returns a store that lends transactions; for one that does not, the case only checks that it reports so.
async fn lending(fixture: &dyn StoreFixture) -> Option<Arc<dyn Store>> {
    let (store, _) = fixture.fresh().await;
    if store.transaction_type().is_some() {
        return Some(store);
    }
    let answer = store.transact(Box::new(Recording::new([sample::start(1)]))).await;
    assert!(matches!(answer, Err(StoreError::Unsupported { .. })), "{answer:?}");
    #[allow(clippy::print_stderr, reason = "a capability that is missing is to be seen")]
    {
        eprintln!("skipped: this store lends no transactions");
    }
    None
}

/// Runs the body in a transaction, and returns what it saw.
async fn transact(store: &dyn Store, body: Recording) -> (TransactionOutcome, Seen) {
    let seen = Arc::clone(&body.seen);
    let ended = store.transact(Box::new(body)).await.expect("the transaction can be tried");
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (ended, seen)
}

pub async fn what_a_transaction_records_is_stored_when_it_commits(fixture: &dyn StoreFixture) {
    let Some(store) = lending(fixture).await else { return };
    let (ended, seen) = transact(&*store, Recording::new([sample::start(1)])).await;
    assert_eq!((ended, seen.outcomes), (TransactionOutcome::Committed, vec![CommitOutcome::Committed]));
    let stored = state(&*store, sample::run_id(1)).await;
    assert_eq!(stored.run, sample::run(1));
    assert!(store.definition(sample::definition().fingerprint()).await.unwrap().is_some());
    held(&*store, &stored.run, 1).await;
}

pub async fn nothing_of_a_transaction_is_seen_before_it_ends(fixture: &dyn StoreFixture) {
    let Some(store) = lending(fixture).await else { return };
    let body = Recording { outside: Some(Arc::clone(&store)), ..Recording::new([sample::start(1)]) };
    assert_eq!(transact(&*store, body).await.0, TransactionOutcome::Committed);
    assert!(facts(&*store, sample::run_id(1)).await.0.is_some());
}

pub async fn a_transaction_sees_what_it_has_written(fixture: &dyn StoreFixture) {
    let Some(store) = lending(fixture).await else { return };
    let start = sample::start(1);
    let next = sample::next(&start.run);
    let (_, seen) = transact(&*store, Recording::new([start, next.clone()])).await;
    let revisions: Vec<u64> = seen.loaded.iter().flatten().map(|state| state.run.revision).collect();
    assert_eq!(revisions, [1, 2]);
    assert_eq!(state(&*store, next.run.id).await.run, next.run);
}

pub async fn a_transaction_that_is_rolled_back_leaves_no_trace(fixture: &dyn StoreFixture) {
    let Some(store) = lending(fixture).await else { return };
    let old = started(&*store, 1).await;
    let before = facts(&*store, old.id).await;
    let body = Recording::new([sample::next(&old), sample::start(2)]).ends(|_| TransactionEnd::RollBack);
    let (ended, seen) = transact(&*store, body).await;
    assert_eq!((ended, seen.outcomes), (TransactionOutcome::RolledBack, vec![CommitOutcome::Committed; 2]));
    assert_eq!(facts(&*store, old.id).await, before);
    assert_eq!(facts(&*store, sample::run_id(2)).await, (None, crate::port::RunHistory::default()));
}

pub async fn work_that_is_rolled_back_is_not_recorded(fixture: &dyn StoreFixture) {
    let Some(store) = lending(fixture).await else { return };
    let body = Recording { worked: TransactionEnd::RollBack, ..Recording::new([sample::start(1)]) };
    let (ended, seen) = transact(&*store, body).await;
    assert_eq!((ended, seen.outcomes), (TransactionOutcome::RolledBack, vec![]), "it was not asked to record anything");
    assert_eq!(facts(&*store, sample::run_id(1)).await.0, None);
}

pub async fn a_transaction_may_continue_after_a_conflict(fixture: &dyn StoreFixture) {
    let Some(store) = lending(fixture).await else { return };
    let old = started(&*store, 1).await;
    let mut rival = sample::next(&old);
    rival.run.token = sample::commit_token(9);
    let rival = super::setup::committed(&*store, rival).await;
    let after = sample::next(&rival);
    let (ended, seen) = transact(&*store, Recording::new([sample::next(&old), after.clone()])).await;
    assert_eq!(seen.outcomes, [CommitOutcome::Conflict, CommitOutcome::Committed]);
    assert_eq!(seen.loaded[0].as_ref().map(|state| &state.run), Some(&rival), "it sees what came in between");
    assert_eq!(ended, TransactionOutcome::Committed);
    assert_eq!(state(&*store, old.id).await.run, after.run);
}

pub async fn a_stale_fence_is_refused_within_a_transaction(fixture: &dyn StoreFixture) {
    let Some(store) = lending(fixture).await else { return };
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    store.release_leases(std::slice::from_ref(&lease), std::time::Duration::ZERO).await.unwrap();
    held(&*store, &run, 2).await;
    let before = facts(&*store, run.id).await;
    let mut late = sample::next(&run);
    late.intents.push(IntentWrite::Remove(lease.key.clone()));
    late.fences = vec![lease];
    let body = Recording::new([late]).ends(|_| TransactionEnd::RollBack);
    let (ended, seen) = transact(&*store, body).await;
    assert_eq!((ended, seen.outcomes), (TransactionOutcome::RolledBack, vec![CommitOutcome::Fenced]));
    assert_eq!(facts(&*store, run.id).await, before);
}

pub async fn of_concurrent_transactions_on_one_revision_exactly_one_lands(fixture: &dyn StoreFixture) {
    let Some(store) = lending(fixture).await else { return };
    let mut run = started(&*store, 1).await;
    for round in 0..5 {
        let racers = (0..6).map(|racer| {
            let (store, mut commit) = (Arc::clone(&store), sample::next(&run));
            commit.run.token = sample::commit_token(1_000 + round * 10 + racer);
            let ends = |seen: &Seen| match seen.outcomes.as_slice() {
                [CommitOutcome::Committed] => TransactionEnd::Commit,
                _ => TransactionEnd::RollBack,
            };
            async move { (commit.run.clone(), transact(&*store, Recording::new([commit]).ends(ends)).await.0) }.boxed()
        });
        let ended = together(fixture, racers).await;
        let won: Vec<_> = ended.iter().filter(|(_, ended)| *ended == TransactionOutcome::Committed).collect();
        assert_eq!(won.len(), 1, "{ended:?}");
        run = state(&*store, run.id).await.run;
        assert_eq!(run, won[0].0);
    }
}

pub async fn transactions_of_many_runs_all_land(fixture: &dyn StoreFixture) {
    let Some(store) = lending(fixture).await else { return };
    let all = (1..=24).map(|number| {
        let store = Arc::clone(&store);
        async move {
            // Where a whole transaction conflicts because another commit came in between, it is retried.
            while transact(&*store, Recording::new([sample::start(number)])).await.0 != TransactionOutcome::Committed {}
        }
        .boxed()
    });
    together(fixture, all).await;
    for number in 1..=24 {
        assert_eq!(state(&*store, sample::run_id(number)).await.run, sample::run(number));
    }
}

pub async fn a_transaction_whose_caller_goes_away_is_whole_or_nothing(fixture: &dyn StoreFixture) {
    let Some(store) = lending(fixture).await else { return };
    for number in 1..=20 {
        let start = sample::start(number);
        let (id, next) = (start.run.id, sample::next(&start.run));
        let mut abandoned = store.transact(Box::new(Recording::new([start, next])));
        for _ in 0..number {
            if (&mut abandoned).now_or_never().is_some() {
                break;
            }
            take_turns().await;
        }
        drop(abandoned);
        let intents = history(&*store, id).await.intents.len();
        let found = store.load(id).await.unwrap().map(|state| state.run.revision);
        assert!(matches!((found, intents), (None, 0) | (Some(2), 0 | 1)), "{found:?}, {intents}");
    }
    let (ended, _) = transact(&*store, Recording::new([sample::start(99)])).await;
    assert_eq!(ended, TransactionOutcome::Committed, "nothing is left open");
}

pub async fn a_body_that_panics_leaves_no_trace(fixture: &dyn StoreFixture) {
    let Some(store) = lending(fixture).await else { return };
    let body = Recording { panics: true, ..Recording::new([sample::start(1)]) };
    let ended = AssertUnwindSafe(store.transact(Box::new(body))).catch_unwind().await;
    assert!(!matches!(ended, Ok(Ok(_))), "{ended:?}");
    assert_eq!(facts(&*store, sample::run_id(1)).await.0, None);
    let (ended, _) = transact(&*store, Recording::new([sample::start(1)])).await;
    assert_eq!(ended, TransactionOutcome::Committed, "nothing is left open");
}
