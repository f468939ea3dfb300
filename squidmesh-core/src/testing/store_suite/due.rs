//! Due times, by the store's own clock.

use std::time::Duration;

use super::StoreFixture;
use super::setup::{LEASE, WHILE, apply_all, claim, claim_by, claim_key, committed, held, keys, request, started};
use crate::definition::{Priority, hours, ms, secs};
use crate::dispatch::IntentKey;
use crate::port::{ClaimRequest, ClaimResult, Commit, CommitOutcome, DuePage, DueRequest, IntentWrite, Store};
use crate::testing::sample;

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
    let early = claim_key(&*store, &key, sample::lease_token(1)).await;
    assert!(matches!(early, ClaimResult::NotDue), "{early:?}");
    clock.advance(hours(1));
    let due = claim_key(&*store, &key, sample::lease_token(2)).await;
    assert!(matches!(due, ClaimResult::Claimed(_)), "{due:?}");
}

pub async fn a_delay_counts_from_its_commit(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    // The times in a commit are those of the deciding process: they do not affect when work is due.
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

pub async fn one_claim_separates_due_work_from_other_work(fixture: &dyn StoreFixture) {
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
    assert_about(Some(shown.since(crate::port::Clock::now(&*clock))), hours(1));
}

pub async fn nothing_is_due_in_an_empty_store(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let found = look(&*store, &wanted(10)).await;
    assert_eq!((found.intents, found.more, found.next_in), (Vec::new(), false, None));
}

pub async fn what_is_due_is_looked_at_in_the_order_of_claiming(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    for number in 0..8 {
        let mut commit = sample::start(number);
        if let Some(IntentWrite::Add(intent)) = commit.intents.first_mut() {
            intent.priority = [Priority::Low, Priority::Normal, Priority::High][number as usize % 3];
        }
        committed(&*store, commit).await;
        clock.advance(WHILE);
    }
    let last = IntentKey::step(sample::run_id(7), sample::step_name("first"));
    assert!(claim_key(&*store, &last, sample::lease_token(1)).await.claimed().is_ok());
    clock.advance(LEASE);
    let found = look(&*store, &wanted(100)).await;
    let looked_at: Vec<_> = found.intents.iter().map(|intent| intent.key.clone()).collect();
    assert_eq!(looked_at.first(), Some(&last), "a lease that has run out goes first");
    assert_eq!(found.intents.iter().filter(|intent| intent.lease_expired).count(), 1);
    assert_eq!(looked_at, keys(&claim(&*store, 100, 2).await));
}

pub async fn what_is_due_is_looked_at_page_by_page(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    // All due at the same moment, so that paging cannot use time alone.
    let mut starts: Vec<Commit> = (0..25).map(sample::start).collect();
    for (number, commit) in starts.iter_mut().enumerate() {
        if let Some(IntentWrite::Add(intent)) = commit.intents.first_mut() {
            intent.queue = sample::queue(["default", "a", "z"][number % 3]);
            intent.priority = [Priority::Normal, Priority::High][number / 20];
        }
    }
    assert_eq!(apply_all(&*store, starts).await, vec![CommitOutcome::Committed; 25]);
    let mut request = wanted(4);
    request.queues = ["default", "a", "z"].map(sample::queue).to_vec();
    let mut seen = Vec::new();
    for page in 1.. {
        let found = look(&*store, &request).await;
        seen.extend(found.intents.iter().map(|intent| intent.key.clone()));
        assert_eq!(found.more, page < 7, "page {page}");
        if !found.more || page > 7 {
            break;
        }
        assert_eq!(found.intents.len(), 4);
        request = request.after(found.intents.last().cloned());
    }
    assert_eq!(seen.len(), 25);
    assert!(seen.iter().take(5).all(|key| key.run_id >= sample::run_id(20)), "the higher class comes first");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 25, "each once");
}

pub async fn looking_at_what_is_due_claims_nothing(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let before = store.history(run.id).await.unwrap();
    let found = look(&*store, &wanted(10)).await;
    let [intent] = &found.intents[..] else { panic!("{found:?}") };
    assert_eq!(intent.key, IntentKey::step(run.id, sample::step_name("first")));
    assert_eq!((intent.fingerprint, &intent.queue), (run.fingerprint, &sample::queue("default")));
    assert_eq!((intent.available_at, intent.lease_expired), (before.intents[0].available_at, false));
    assert_eq!(store.history(run.id).await.unwrap(), before);
    held(&*store, &run, 1).await;
}

pub async fn what_is_held_is_not_due_until_its_lease_has_run_out(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    held(&*store, &run, 1).await;
    let found = look(&*store, &wanted(10)).await;
    assert_eq!(found.intents, []);
    assert_about(found.next_in, LEASE);
    clock.advance(LEASE);
    let found = look(&*store, &wanted(10)).await;
    assert!(matches!(&found.intents[..], [intent] if intent.lease_expired), "{found:?}");
}

pub async fn only_what_fell_due_since_is_looked_at(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    started(&*store, 1).await;
    committed(&*store, delayed(2, WHILE * 2)).await;
    clock.advance(WHILE);
    let since = look(&*store, &wanted(10)).await.now;
    let later = wanted(10).since(Some(since));
    assert_eq!(look(&*store, &later).await.intents, []);
    clock.advance(WHILE * 2);
    let found = look(&*store, &later).await.intents;
    assert!(matches!(&found[..], [intent] if intent.key.run_id == sample::run_id(2)), "{found:?}");
    assert_eq!(look(&*store, &wanted(10)).await.intents.len(), 2);
}

pub async fn only_due_work_of_the_given_queues_and_versions_is_listed(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut elsewhere = sample::start(1);
    if let Some(IntentWrite::Add(intent)) = elsewhere.intents.first_mut() {
        intent.queue = sample::queue("elsewhere");
    }
    committed(&*store, elsewhere).await;
    let other = committed(&*store, sample::start_of(&sample::definition_of("other", &["first"]), 2)).await;
    assert_eq!(look(&*store, &wanted(10)).await.intents, []);
    let mut both = wanted(10);
    both.queues.push(sample::queue("elsewhere"));
    both.fingerprints.push(other.fingerprint);
    assert_eq!(look(&*store, &both).await.intents.len(), 2);
    assert_eq!(look(&*store, &DueRequest { queues: Vec::new(), ..both.clone() }).await.intents, []);
    assert_eq!(look(&*store, &DueRequest { fingerprints: Vec::new(), ..both }).await.intents, []);
}

pub async fn a_listing_returns_the_time_and_the_next_due_time(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    started(&*store, 1).await;
    committed(&*store, delayed(2, hours(2))).await;
    committed(&*store, delayed(3, hours(1))).await;
    let found = look(&*store, &wanted(10)).await;
    assert_eq!(found.intents.len(), 1);
    assert_about(found.next_in, hours(1));
    clock.advance(hours(1));
    let later = look(&*store, &wanted(10)).await;
    assert_about(Some(later.now.since(found.now)), hours(1));
    assert_eq!(later.intents.len(), 2);
    assert_about(later.next_in, hours(1));
}

/// Returns a request for due intents of the sample workflow in the default queue.
fn wanted(limit: usize) -> DueRequest {
    DueRequest::new(vec![sample::queue("default")], vec![*sample::definition().fingerprint()], limit)
}

async fn look(store: &dyn Store, request: &DueRequest) -> DuePage {
    store.list_due(request).await.expect("the store can look")
}

/// Returns the start of a run whose first step is due after `delay`.
fn delayed(number: u64, delay: Duration) -> Commit {
    let mut commit = sample::start(number);
    let mut intent = sample::intent(&commit.run, "first");
    intent.delay = delay;
    commit.intents = vec![IntentWrite::Add(intent)];
    commit
}

/// Asserts that a span is the expected one, less what a clock that runs by itself may have taken off since, and never
/// more.
#[track_caller]
fn assert_about(found: Option<Duration>, expected: Duration) {
    let found = found.expect("there is a next due time");
    assert!(found <= expected + ms(1), "{found:?} is later than {expected:?}");
    assert!(found + secs(30) >= expected, "{found:?} is earlier than {expected:?}");
}
