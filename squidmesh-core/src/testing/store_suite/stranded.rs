//! Stranded work: no process that asks has the version that can execute it.

use std::time::Duration;

use super::StoreFixture;
use super::setup::{LEASE, WHILE, committed, facts, held, started};
use crate::definition::Priority;
use crate::dispatch::IntentKey;
use crate::id::RunId;
use crate::port::{Commit, IntentWrite, Store, StrandedRequest};
use crate::testing::sample;

pub async fn an_empty_store_has_nothing_stranded(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    assert_eq!(stranded(&*store, &unknown()).await, []);
}

pub async fn what_a_known_version_left_is_not_stranded(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let other = committed(&*store, sample::start_of(&sample::definition_of("other", &["first"]), 2)).await;
    assert_eq!(stranded(&*store, &unknown()).await, [run.id, other.id]);
    let known = |known: Vec<_>| StrandedRequest { known, ..unknown() };
    assert_eq!(stranded(&*store, &known(vec![run.fingerprint])).await, [other.id]);
    assert_eq!(stranded(&*store, &known(vec![run.fingerprint, other.fingerprint])).await, []);
}

pub async fn what_has_not_been_due_long_enough_is_not_stranded(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = committed(&*store, delayed(1, WHILE)).await;
    let longer = StrandedRequest { due_for: WHILE * 10, ..unknown() };
    assert_eq!(stranded(&*store, &unknown()).await, [], "it is not due");
    clock.advance(WHILE);
    assert_eq!(stranded(&*store, &unknown()).await, [run.id]);
    assert_eq!(stranded(&*store, &longer).await, []);
    clock.advance(WHILE * 10);
    assert_eq!(stranded(&*store, &longer).await, [run.id]);
}

pub async fn held_work_is_not_stranded_until_its_lease_expires(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    held(&*store, &run, 1).await;
    assert_eq!(stranded(&*store, &unknown()).await, []);
    clock.advance(LEASE);
    assert_eq!(stranded(&*store, &unknown()).await, [run.id]);
}

pub async fn every_queue_and_priority_is_looked_through(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut expected = Vec::new();
    for (number, queue) in ["default", "a", "z", "\u{444}"].into_iter().enumerate() {
        for (rank, priority) in [Priority::High, Priority::Normal, Priority::Low].into_iter().enumerate() {
            let mut commit = sample::start((number * 3 + rank) as u64);
            if let Some(IntentWrite::Add(intent)) = commit.intents.first_mut() {
                (intent.queue, intent.priority) = (sample::queue(queue), priority);
            }
            expected.push(committed(&*store, commit).await.id);
        }
    }
    assert_eq!(stranded(&*store, &unknown()).await, expected);
}

pub async fn a_run_is_stranded_once_however_many_intents_it_has(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut commit = sample::start(1);
    let mut compensation = sample::intent(&commit.run, "first");
    compensation.key = IntentKey::compensation(commit.run.id);
    let mut second = sample::intent(&commit.run, "second");
    second.queue = sample::queue("elsewhere");
    commit.intents.extend([IntentWrite::Add(compensation), IntentWrite::Add(second)]);
    let run = committed(&*store, commit).await;
    assert_eq!(stranded(&*store, &unknown()).await, [run.id]);
}

pub async fn looking_for_stranded_runs_claims_nothing(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let before = facts(&*store, run.id).await;
    assert_eq!(stranded(&*store, &unknown()).await, [run.id]);
    assert_eq!(facts(&*store, run.id).await, before);
    held(&*store, &run, 1).await;
}

pub async fn stranded_runs_come_page_by_page(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for number in 0..7 {
        started(&*store, number).await;
    }
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let request = StrandedRequest { limit: 2, ..unknown() }.after(after);
        let page = stranded(&*store, &request).await;
        let Some(last) = page.last() else { break };
        after = Some(*last);
        pages.push(page);
        assert!(pages.len() < 10, "the pages end");
    }
    let expected: Vec<Vec<RunId>> = [&[0, 1][..], &[2, 3], &[4, 5], &[6]]
        .iter()
        .map(|page| page.iter().map(|run| sample::run_id(*run)).collect())
        .collect();
    assert_eq!(pages, expected);
}

pub async fn one_run_is_asked_about_alone(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let (run, other) = (started(&*store, 1).await, started(&*store, 2).await);
    held(&*store, &run, 1).await;
    assert_eq!(stranded(&*store, &unknown().run(run.id)).await, []);
    assert_eq!(stranded(&*store, &unknown().run(other.id)).await, [other.id]);
    assert_eq!(stranded(&*store, &unknown().run(sample::run_id(9))).await, []);
}

/// Returns a request that knows no version: all due work is stranded.
fn unknown() -> StrandedRequest {
    StrandedRequest::new(Vec::new(), Duration::ZERO, 100)
}

async fn stranded(store: &dyn Store, request: &StrandedRequest) -> Vec<RunId> {
    store.stranded(request).await.expect("the store can look")
}

/// Returns the start of a run whose first step is due after `delay`.
fn delayed(number: u64, delay: Duration) -> Commit {
    let mut commit = sample::start(number);
    if let Some(IntentWrite::Add(intent)) = commit.intents.first_mut() {
        intent.delay = delay;
    }
    commit
}
