//! Due times, leases and ages, exact to the millisecond of the store's clock.
//!
//! Every check is between two readings of the store's own time, so the cases also hold for a clock that runs by
//! itself. A check counts only if all of it was on one side of the instant; if none was just before it, the case
//! tries another intent.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::StoreFixture;
use super::prune::deleting;
use super::setup::{LEASE, WHILE, claim, claim_key, committed, extended, keys, started};
use crate::definition::ms;
use crate::dispatch::{IntentKey, Lease};
use crate::port::{ClaimResult, Commit, DueRequest, IntentWrite, PruneRequest, Store, StrandedRequest};
use crate::run::RunStatus;
use crate::testing::{ManualClock, sample};
use crate::time::Timestamp;

/// The number of intents on which a case tries to check just before the instant.
const ROUNDS: u64 = 10;

/// How long before the instant a case begins to check.
const AHEAD: Duration = Duration::from_millis(20);

/// The time after which due intents count as stranded, and the age at which ended runs are deleted.
const LONG_DUE: Duration = Duration::from_millis(WHILE.as_millis() as u64 * 5 + 7);

pub async fn an_intent_is_stored_with_its_due_time(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for (number, delay) in [(1, ms(0)), (2, ms(1)), (3, WHILE), (4, ms(1_234_567))] {
        put_delayed(&*store, number, delay).await;
    }
}

pub async fn an_intent_is_claimed_from_its_due_time_on(fixture: &dyn StoreFixture) {
    sharp(fixture, |store, number| put_delayed(store, number, WHILE).boxed(), by_claiming).await;
}

pub async fn an_intent_is_claimed_by_its_key_from_its_due_time_on(fixture: &dyn StoreFixture) {
    sharp(fixture, |store, number| put_delayed(store, number, WHILE).boxed(), by_claiming_its_key).await;
}

pub async fn an_intent_is_listed_from_its_due_time_on(fixture: &dyn StoreFixture) {
    sharp(fixture, |store, number| put_delayed(store, number, WHILE).boxed(), by_listing).await;
}

pub async fn an_intent_is_stranded_from_its_due_time_on(fixture: &dyn StoreFixture) {
    sharp(fixture, |store, number| put_delayed(store, number, WHILE).boxed(), by_stranding).await;
}

pub async fn an_intent_is_stranded_after_exactly_the_given_time(fixture: &dyn StoreFixture) {
    let put: Put = |store, number| async move { put_delayed(store, number, WHILE).await.after(LONG_DUE) }.boxed();
    sharp(fixture, put, by_stranding_for_long).await;
}

pub async fn a_lease_lasts_as_long_as_it_was_asked_for(fixture: &dyn StoreFixture) {
    sharp(fixture, |store, number| put_claimed(store, number).boxed(), by_claiming).await;
}

pub async fn a_lease_on_a_key_lasts_as_long_as_it_was_asked_for(fixture: &dyn StoreFixture) {
    sharp(fixture, |store, number| put_claimed_by_key(store, number).boxed(), by_claiming_its_key).await;
}

pub async fn a_lease_of_a_commit_lasts_as_long_as_it_says(fixture: &dyn StoreFixture) {
    sharp(fixture, |store, number| put_held(store, number).boxed(), by_claiming).await;
}

pub async fn an_extended_lease_lasts_as_long_as_it_was_extended_for(fixture: &dyn StoreFixture) {
    sharp(fixture, |store, number| put_extended(store, number).boxed(), by_listing).await;
}

pub async fn a_released_intent_is_due_after_exactly_its_delay(fixture: &dyn StoreFixture) {
    sharp(fixture, |store, number| put_released(store, number).boxed(), by_claiming).await;
}

pub async fn a_claim_says_exactly_when_the_next_is_due(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let due = put_delayed(&*store, 1, WHILE * 2).await;
    for _ in 0..3 {
        let before = now(&*store).await;
        let next_in = claim(&*store, 10, 1).await.next_in.expect("there is one that is due later");
        let after = now(&*store).await;
        assert!(next_in <= due.since(before) && next_in >= due.since(after), "{next_in:?}, at {before}, is not {due}");
        clock.advance(ms(1_001));
    }
}

pub async fn a_look_says_exactly_when_the_next_is_due(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let due = put_delayed(&*store, 1, WHILE * 2).await;
    for _ in 0..3 {
        let before = now(&*store).await;
        let found = store.list_due(&wanted()).await.expect("the store can look");
        let after = now(&*store).await;
        assert!(before <= found.now && found.now <= after, "{} is not between {before} and {after}", found.now);
        assert_eq!(found.next_in, Some(due.since(found.now)));
        clock.advance(ms(1_001));
    }
}

pub async fn work_due_since_is_exact_to_the_millisecond(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let due = put_delayed(&*store, 1, WHILE).await;
    clock.advance(WHILE);
    for (since, found) in [(before(due, ms(1)), 1), (due, 0)] {
        let look = store.list_due(&wanted().since(Some(since))).await.expect("the store can look");
        assert_eq!(look.intents.len(), found, "since {since}, of what fell due {due}");
    }
}

pub async fn a_run_is_deleted_when_it_ended_exactly_as_long_ago_as_asked(fixture: &dyn StoreFixture) {
    let Some((store, clock)) = deleting(fixture).await else { return };
    sharp_in(&*store, &clock, |store, number| put_ended(store, number).boxed(), by_deleting).await;
}

/// Writes an intent of the run with this number and returns the time from which it can be claimed.
type Put = for<'a> fn(&'a dyn Store, u64) -> BoxFuture<'a, Timestamp>;

/// Returns whether the intent of the run with this number can be claimed. The check may claim it.
type Look = for<'a> fn(&'a dyn Store, u64) -> BoxFuture<'a, bool>;

/// Asserts that an intent is found from an instant on, and not a millisecond earlier.
async fn sharp(fixture: &dyn StoreFixture, put: Put, look: Look) {
    let (store, clock) = fixture.fresh().await;
    sharp_in(&*store, &clock, put, look).await;
}

async fn sharp_in(store: &dyn Store, clock: &ManualClock, put: Put, look: Look) {
    for number in 1..=ROUNDS {
        let instant = put(store, number).await;
        if is_found_from_on(store, clock, instant, look, number).await {
            return;
        }
    }
    tracing::warn!(target: "squidmesh", "the clock is too fast to look in time: only lateness was tested");
}

/// Returns whether there was a check in the last milliseconds before the instant.
async fn is_found_from_on(store: &dyn Store, clock: &ManualClock, instant: Timestamp, look: Look, number: u64) -> bool {
    clock.advance(before(instant, AHEAD).since(now(store).await));
    let mut looked = false;
    loop {
        let begun = now(store).await;
        let found = look(store, number).await;
        let ended = now(store).await;
        if ended < instant {
            assert!(!found, "it was found between {begun} and {ended}, before {instant}");
            looked = true;
        } else if begun >= instant {
            assert!(found, "it was not found between {begun} and {ended}, though it is due since {instant}");
        }
        if found {
            return looked;
        }
        if begun == ended {
            clock.advance(ms(1));
        }
    }
}

fn by_claiming(store: &dyn Store, number: u64) -> BoxFuture<'_, bool> {
    async move { keys(&claim(store, 100, 1_000 + number).await).contains(&key(number)) }.boxed()
}

fn by_claiming_its_key(store: &dyn Store, number: u64) -> BoxFuture<'_, bool> {
    async move {
        match claim_key(store, &key(number), sample::lease_token(1_000 + number)).await {
            ClaimResult::Claimed(_) => true,
            ClaimResult::NotDue | ClaimResult::Held => false,
            ClaimResult::Absent => panic!("it is there"),
        }
    }
    .boxed()
}

fn by_listing(store: &dyn Store, number: u64) -> BoxFuture<'_, bool> {
    async move {
        let due = store.list_due(&wanted()).await.expect("the store can look");
        due.intents.iter().any(|intent| intent.key == key(number))
    }
    .boxed()
}

fn by_stranding(store: &dyn Store, number: u64) -> BoxFuture<'_, bool> {
    is_stranded(store, number, Duration::ZERO).boxed()
}

fn by_stranding_for_long(store: &dyn Store, number: u64) -> BoxFuture<'_, bool> {
    is_stranded(store, number, LONG_DUE).boxed()
}

async fn is_stranded(store: &dyn Store, number: u64, due_for: Duration) -> bool {
    let request = StrandedRequest::new(Vec::new(), due_for, 100).run(sample::run_id(number));
    !store.stranded(&request).await.expect("the store can look").is_empty()
}

/// Only counts, among the runs from this one on.
fn by_deleting(store: &dyn Store, number: u64) -> BoxFuture<'_, bool> {
    async move {
        let request = PruneRequest::new(LONG_DUE, vec![RunStatus::Completed], 100).dry_run(true);
        let pruned = store.prune(&request.after(Some(sample::run_id(number - 1)))).await;
        pruned.expect("the store can delete").runs > 0
    }
    .boxed()
}

async fn put_delayed(store: &dyn Store, number: u64, delay: Duration) -> Timestamp {
    exactly_after(store, number, delay, committed(store, with_delay(number, delay)).map(drop)).await
}

async fn put_claimed(store: &dyn Store, number: u64) -> Timestamp {
    started(store, number).await;
    exactly_after(store, number, LEASE, async { assert!(by_claiming(store, number).await) }).await
}

async fn put_claimed_by_key(store: &dyn Store, number: u64) -> Timestamp {
    started(store, number).await;
    exactly_after(store, number, LEASE, async { assert!(by_claiming_its_key(store, number).await) }).await
}

/// Held from its commit on, like the successor that a worker continues with.
async fn put_held(store: &dyn Store, number: u64) -> Timestamp {
    let mut commit = with_delay(number, WHILE);
    for write in &mut commit.intents {
        if let IntentWrite::Add(intent) = write {
            intent.lease = Some(sample::lease_token(number));
        }
    }
    exactly_after(store, number, WHILE, committed(store, commit).map(drop)).await
}

async fn put_extended(store: &dyn Store, number: u64) -> Timestamp {
    put_claimed(store, number).await;
    let lease = [Lease { key: key(number), token: sample::lease_token(1_000 + number) }];
    exactly_after(store, number, WHILE * 3, async {
        assert_eq!(extended(store, &lease, WHILE * 3).await, [true]);
    })
    .await
}

async fn put_released(store: &dyn Store, number: u64) -> Timestamp {
    put_claimed(store, number).await;
    let lease = [Lease { key: key(number), token: sample::lease_token(1_000 + number) }];
    exactly_after(store, number, WHILE * 3, async {
        store.release_leases(&lease, WHILE * 3).await.expect("the store can release");
    })
    .await
}

/// Ends a run, by the store's time; returns the time from which it can be deleted.
async fn put_ended(store: &dyn Store, number: u64) -> Timestamp {
    let ended_at = now(store).await;
    let mut start = sample::start(number);
    start.intents.clear();
    (start.run.status, start.run.finished_at) = (RunStatus::Completed, Some(ended_at));
    committed(store, start).await;
    ended_at.after(LONG_DUE)
}

/// Does something after which the intent of a run can be claimed after exactly this time; returns that time, as
/// stored.
async fn exactly_after(
    store: &dyn Store,
    number: u64,
    delay: Duration,
    work: impl Future<Output = ()> + Send,
) -> Timestamp {
    let begun = now(store).await;
    work.await;
    let ended = now(store).await;
    let history = store.history(sample::run_id(number)).await.expect("the history can be read");
    let [intent] = &history.intents[..] else { panic!("one intent is stored: {:?}", history.intents) };
    let (at, earliest, latest) = (intent.available_at, begun.after(delay), ended.after(delay));
    assert!(earliest <= at && at <= latest, "{at} is not {delay:?} after a time between {begun} and {ended}");
    at
}

/// Returns the start of the run with this number, whose first step is due after `delay`.
fn with_delay(number: u64, delay: Duration) -> Commit {
    let mut commit = sample::start(number);
    for write in &mut commit.intents {
        if let IntentWrite::Add(intent) = write {
            intent.delay = delay;
        }
    }
    commit
}

fn key(number: u64) -> IntentKey {
    IntentKey::step(sample::run_id(number), sample::step_name("first"))
}

fn wanted() -> DueRequest {
    DueRequest::new(vec![sample::queue("default")], vec![*sample::definition().fingerprint()], 100)
}

/// Returns the store's own time.
async fn now(store: &dyn Store) -> Timestamp {
    store.triggers(&[]).await.expect("the store returns its time").now
}

fn before(time: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_millis(time.as_millis() - i64::try_from(span.as_millis()).expect("a short span"))
}
