//! The signals of a run: written when a commit changes them, and left alone when it does not.

use serde_json::json;

use super::StoreFixture;
use super::setup::{apply_all, committed, facts, started, state};
use crate::commit::Commit;
use crate::port::{CommitOutcome, CommitToken};
use crate::run::{ReceivedSignal, Run};
use crate::testing::sample;

pub async fn the_signals_of_a_run_read_back(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    assert_eq!(state(&*store, run.id).await.signals, []);
    let run = committed(&*store, with(&run, vec![buffered("payment", 1), taken("größe '\u{1}", 2)])).await;
    let expected = [buffered("payment", 1), taken("größe '\u{1}", 2)];
    assert_eq!(state(&*store, run.id).await.signals, expected);
    committed(&*store, with(&run, Vec::new())).await;
    assert_eq!(state(&*store, run.id).await.signals, []);
}

pub async fn a_commit_without_signals_leaves_them_as_they_are(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let (one, two) = (started(&*store, 1).await, started(&*store, 2).await);
    let one = committed(&*store, with(&one, vec![buffered("payment", 1)])).await;
    // In one batch with a commit that changes them.
    let both = vec![sample::next(&one), with(&two, vec![taken("payment", 2)])];
    assert_eq!(apply_all(&*store, both).await, [CommitOutcome::Committed, CommitOutcome::Committed]);
    assert_eq!(state(&*store, one.id).await.signals, [buffered("payment", 1)]);
    assert_eq!(state(&*store, two.id).await.signals, [taken("payment", 2)]);
}

pub async fn a_run_may_be_started_with_signals(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut start = sample::start(1);
    start.signals = Some(vec![buffered("payment", 1)]);
    let run = committed(&*store, start).await;
    assert_eq!(state(&*store, run.id).await.signals, [buffered("payment", 1)]);
}

pub async fn a_refused_commit_changes_no_signal(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    committed(&*store, with(&run, vec![buffered("payment", 1)])).await;
    let before = facts(&*store, run.id).await;
    let stale = apply_all(&*store, vec![with(&run, vec![buffered("other", 3)])]).await;
    assert_eq!(stale, [CommitOutcome::Conflict]);
    assert_eq!(facts(&*store, run.id).await, before);
}

fn with(run: &Run, signals: Vec<ReceivedSignal>) -> Commit {
    Commit { signals: Some(signals), ..sample::next(run) }
}

fn buffered(name: &str, number: u128) -> ReceivedSignal {
    ReceivedSignal {
        id: CommitToken::from_uuid(uuid::Uuid::from_u128(number)),
        name: sample::signal_name(name),
        dedup_key: Some(format!("evt '{number}\u{1}")),
        payload: Some(sample::object(json!({ "amount": u64::MAX, "by": [null, 0.1, "ü"] }))),
        taken_by: None,
        at: sample::STARTED,
    }
}

fn taken(key: &str, number: u128) -> ReceivedSignal {
    let taken_by = Some(sample::step_name("first"));
    ReceivedSignal { dedup_key: Some(key.to_owned()), payload: None, taken_by, ..buffered("payment", number) }
}
