//! Due times, by the store's own clock.

use std::time::Duration;

use super::StoreFixture;
use super::setup::{LEASE, WHILE, claim, claim_by, committed, held, keys, request, started};
use crate::testing::sample;
use crate::{ClaimRequest, Commit, IntentKey, IntentWrite, SingleClaim, hours, ms, secs};

pub async fn a_delayed_intent_is_not_claimed_before_it_is_due(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = committed(&*store, delayed(1, hours(1))).await;
    assert_eq!(keys(&claim(&*store, 10, 1).await), []);
    clock.advance(hours(1) - WHILE);
    assert_eq!(keys(&claim(&*store, 10, 2).await), []);
    clock.advance(WHILE);
    held(&*store, &run, 3).await;
}

pub async fn one_that_is_not_due_is_not_claimed_alone(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = committed(&*store, delayed(1, hours(1))).await;
    let key = IntentKey::step(run.id, sample::step_name("first"));
    let early = store.claim_one(&key, sample::lease_token(1), LEASE).await.unwrap();
    assert!(matches!(early, SingleClaim::NotDue), "{early:?}");
    clock.advance(hours(1));
    let due = store.claim_one(&key, sample::lease_token(2), LEASE).await.unwrap();
    assert!(matches!(due, SingleClaim::Claimed(_)), "{due:?}");
}

pub async fn a_delay_counts_from_its_commit(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    // The times that a commit carries are the deciding process's: they have no say in when something is due.
    clock.advance(hours(24 * 365));
    let run = committed(&*store, delayed(1, hours(1))).await;
    assert_eq!(keys(&claim(&*store, 10, 1).await), []);
    clock.advance(hours(1));
    held(&*store, &run, 2).await;
}

pub async fn a_delay_of_years_is_kept(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let years = hours(24 * 365 * 50);
    let run = committed(&*store, delayed(1, years)).await;
    clock.advance(years - hours(1));
    assert_eq!(keys(&claim(&*store, 10, 1).await), []);
    clock.advance(hours(1));
    held(&*store, &run, 2).await;
}

pub async fn the_next_due_time_is_that_of_the_earliest(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    for (number, delay) in [(1, hours(3)), (2, hours(1)), (3, hours(2))] {
        committed(&*store, delayed(number, delay)).await;
    }
    assert_about(claim(&*store, 10, 1).await.next_in, hours(1));
    clock.advance(hours(1) - WHILE * 5);
    assert_about(claim(&*store, 10, 2).await.next_in, WHILE * 5);
}

pub async fn the_next_due_time_of_nothing_is_none(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    assert_eq!(claim(&*store, 10, 1).await.next_in, None);
    let mut commit = sample::next(&started(&*store, 1).await);
    commit.intents.push(IntentWrite::Remove(IntentKey::step(commit.run.id, sample::step_name("first"))));
    committed(&*store, commit).await;
    assert_eq!(claim(&*store, 10, 2).await.next_in, None);
}

pub async fn the_next_due_time_counts_leases_that_run_out(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    held(&*store, &run, 1).await;
    assert_about(claim(&*store, 10, 2).await.next_in, LEASE);
    clock.advance(LEASE - WHILE * 3);
    assert_about(claim(&*store, 10, 3).await.next_in, WHILE * 3);
    committed(&*store, delayed(2, WHILE)).await;
    assert_about(claim(&*store, 10, 4).await.next_in, WHILE);
}

pub async fn the_next_due_time_is_for_the_queues_and_versions_asked_for(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut elsewhere = delayed(1, hours(1));
    if let Some(IntentWrite::Add(intent)) = elsewhere.intents.first_mut() {
        intent.queue = sample::queue("elsewhere");
    }
    committed(&*store, elsewhere).await;
    let other = sample::definition_of("other", &["first"]);
    let mut unknown = sample::start_of(&other, 2);
    if let Some(IntentWrite::Add(intent)) = unknown.intents.first_mut() {
        intent.delay = hours(2);
    }
    committed(&*store, unknown).await;
    assert_eq!(claim(&*store, 10, 1).await.next_in, None);
    committed(&*store, delayed(3, hours(3))).await;
    assert_about(claim(&*store, 10, 2).await.next_in, hours(3));
    let both = ClaimRequest {
        queues: vec![sample::queue("elsewhere"), sample::queue("default")],
        ..request(10, sample::lease_token(3))
    };
    assert_about(claim_by(&*store, &both).await.next_in, hours(1));
}

pub async fn what_is_due_and_what_is_not_are_told_apart_in_one_claim(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let now = started(&*store, 1).await;
    committed(&*store, delayed(2, WHILE * 2)).await;
    let claims = claim(&*store, 10, 1).await;
    assert_eq!(keys(&claims), [IntentKey::step(now.id, sample::step_name("first"))]);
    assert_about(claims.next_in, WHILE * 2);
}

pub async fn a_due_time_in_the_future_is_shown(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = committed(&*store, delayed(1, hours(1))).await;
    let shown = store.history(run.id).await.unwrap().intents[0].available_at;
    assert_about(Some(shown.since(crate::Clock::now(&*clock))), hours(1));
}

/// The start of a run whose first step is due after `delay`.
fn delayed(number: u64, delay: Duration) -> Commit {
    let mut commit = sample::start(number);
    let mut intent = sample::intent(&commit.run, "first");
    intent.delay = delay;
    commit.intents = vec![IntentWrite::Add(intent)];
    commit
}

/// That a span is the expected one, less what a clock that runs by itself may have taken off since, and never more.
#[track_caller]
fn assert_about(found: Option<Duration>, expected: Duration) {
    let found = found.expect("there is a next due time");
    assert!(found <= expected + ms(1), "{found:?} is later than {expected:?}");
    assert!(found + secs(30) >= expected, "{found:?} is earlier than {expected:?}");
}
