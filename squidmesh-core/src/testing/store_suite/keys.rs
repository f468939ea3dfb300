//! Idempotency keys: a workflow has one run for each key.

use std::sync::Arc;

use futures_util::FutureExt;

use super::StoreFixture;
use super::setup::{apply, apply_all, claim, committed, facts, history, started, state, together};
use crate::port::{Commit, CommitOutcome, RunHistory, StoreSession};
use crate::run::RunStatus;
use crate::testing::sample;

pub async fn a_second_start_under_a_key_returns_the_first(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let first = committed(&*store, keyed(1, "order-7")).await;
    let before = facts(&*store, first.id).await;
    assert_eq!(apply(&*store, keyed(2, "order-7")).await, CommitOutcome::KeyTaken(first.id));
    assert_eq!(facts(&*store, first.id).await, before);
    assert_eq!(facts(&*store, sample::run_id(2)).await, (None, RunHistory::default()));
    assert_eq!(claim(&*store, 10, 1).await.claims.len(), 1, "the second left no intent");
}

pub async fn a_run_is_found_by_its_key(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = committed(&*store, keyed(1, "order-7")).await;
    let workflow = sample::workflow(sample::WORKFLOW);
    assert_eq!(store.find_by_idempotency_key(&workflow, "order-7").await.unwrap(), Some(run.id));
    for other in ["order-8", "Order-7", "order-7 ", "order", "", "%", "order_7"] {
        assert_eq!(store.find_by_idempotency_key(&workflow, other).await.unwrap(), None, "{other:?}");
    }
    assert_eq!(store.find_by_idempotency_key(&sample::workflow("other"), "order-7").await.unwrap(), None);
}

pub async fn a_key_counts_within_its_workflow(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let other = sample::definition_of("other", &["first"]);
    let mut commit = sample::start_of(&other, 2);
    commit.run.idempotency_key = Some("same".to_owned());
    committed(&*store, keyed(1, "same")).await;
    committed(&*store, commit).await;
    assert_eq!(store.find_by_idempotency_key(other.name(), "same").await.unwrap(), Some(sample::run_id(2)));
}

pub async fn a_key_counts_across_the_versions_of_its_workflow(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    committed(&*store, keyed(1, "same")).await;
    let newer = sample::definition_of(sample::WORKFLOW, &["first", "second", "third"]);
    let mut commit = sample::start_of(&newer, 2);
    commit.run.idempotency_key = Some("same".to_owned());
    assert_eq!(apply(&*store, commit).await, CommitOutcome::KeyTaken(sample::run_id(1)));
}

pub async fn runs_without_a_key_do_not_meet(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    started(&*store, 1).await;
    started(&*store, 2).await;
    assert_eq!(apply_all(&*store, vec![sample::start(3), sample::start(4)]).await, vec![CommitOutcome::Committed; 2]);
}

pub async fn a_run_keeps_its_key_when_it_changes(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = committed(&*store, keyed(1, "mine")).await;
    let mut commit = sample::next(&run);
    commit.run.status = RunStatus::Running;
    let run = committed(&*store, commit).await;
    assert_eq!(state(&*store, run.id).await.run.idempotency_key.as_deref(), Some("mine"));
}

pub async fn a_key_stays_taken_after_its_run_has_ended(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = committed(&*store, keyed(1, "mine")).await;
    let mut commit = sample::next(&run);
    commit.run.status = RunStatus::Completed;
    commit.run.finished_at = Some(commit.run.updated_at);
    committed(&*store, commit).await;
    assert_eq!(apply(&*store, keyed(2, "mine")).await, CommitOutcome::KeyTaken(run.id));
}

pub async fn of_concurrent_starts_under_one_key_exactly_one_lands(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for round in 0..10 {
        let key = format!("key-{round}");
        let starters = (0..8).map(|racer| {
            let (store, commit) = (Arc::clone(&store), keyed(round * 100 + racer, &key));
            async move { (commit.run.id, apply(&*store, commit).await) }.boxed()
        });
        let ended = together(fixture, starters).await;
        let won: Vec<_> = ended.iter().filter(|(_, outcome)| *outcome == CommitOutcome::Committed).collect();
        assert_eq!(won.len(), 1, "{ended:?}");
        let first = won[0].0;
        let taken = ended.iter().filter(|(_, outcome)| *outcome == CommitOutcome::KeyTaken(first)).count();
        assert_eq!(taken, 7, "{ended:?}");
        assert_eq!(
            store.find_by_idempotency_key(&sample::workflow(sample::WORKFLOW), &key).await.unwrap(),
            Some(first)
        );
    }
    assert_eq!(history(&*store, sample::run_id(0)).await.audit, []);
}

pub async fn keys_may_be_long_and_of_any_script(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let long = "k".repeat(255);
    for (number, key) in ["größe 🦑 'x' \"y\"", &long, " ", "a\nb"].into_iter().enumerate() {
        let run = committed(&*store, keyed(number as u64, key)).await;
        let workflow = sample::workflow(sample::WORKFLOW);
        assert_eq!(store.find_by_idempotency_key(&workflow, key).await.unwrap(), Some(run.id), "{key:?}");
        let again = keyed(100 + number as u64, key);
        assert_eq!(apply(&*store, again).await, CommitOutcome::KeyTaken(run.id), "{key:?}");
    }
}

/// Returns the start of a run under a key.
fn keyed(number: u64, key: &str) -> Commit {
    let mut commit = sample::start(number);
    commit.run.idempotency_key = Some(key.to_owned());
    commit
}
