//! What commits do to intents: add, replace, remove, and keep under a lease.

use std::sync::Arc;

use futures_util::FutureExt;

use super::StoreFixture;
use super::setup::{
    LEASE, WHILE, apply, claim, claim_by, claim_key, committed, extended, held, history, keys, request, started, state,
    together,
};
use crate::definition::{Priority, hours, ms};
use crate::dispatch::{Intent, IntentKey};
use crate::port::{ClaimRequest, ClaimResult, Commit, CommitOutcome, IntentWrite, StepWrite};
use crate::run::{Run, RunStatus, StepRun, StepStatus};
use crate::testing::sample;

pub async fn adding_an_intent_twice_keeps_the_first(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let mut again = sample::intent(&run, "first");
    again.delay = hours(5);
    again.queue = sample::queue("elsewhere");
    again.priority = Priority::Low;
    let run = committed(&*store, write(&run, IntentWrite::Add(again))).await;
    let kept = &history(&*store, run.id).await.intents;
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].queue.as_str(), kept[0].priority), ("default", Priority::Normal));
    held(&*store, &run, 1).await;
}

pub async fn adding_an_intent_that_is_held_leaves_it_held(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    let mut commit = write(&run, IntentWrite::Add(sample::intent(&run, "first")));
    commit.intents.push(IntentWrite::Add(sample::intent(&run, "second")));
    let run = committed(&*store, commit).await;
    assert_eq!(keys(&claim(&*store, 10, 2).await), [sample::intent(&run, "second").key]);
    assert_eq!(extended(&*store, &[lease], LEASE).await, [true]);
}

pub async fn adding_an_intent_that_is_delayed_leaves_it_delayed(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let mut start = sample::start(1);
    let mut later = sample::intent(&start.run, "first");
    later.delay = hours(1);
    start.intents = vec![IntentWrite::Add(later)];
    let run = committed(&*store, start).await;
    let run = committed(&*store, write(&run, IntentWrite::Add(sample::intent(&run, "first")))).await;
    assert_eq!(keys(&claim(&*store, 10, 1).await), []);
    clock.advance(hours(1));
    held(&*store, &run, 2).await;
}

pub async fn a_replaced_intent_is_as_if_it_were_new(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let mut new = sample::intent(&run, "first");
    new.delay = hours(1);
    new.queue = sample::queue("elsewhere");
    new.priority = Priority::High;
    let run = committed(&*store, write(&run, IntentWrite::Replace(new.clone()))).await;
    let kept = &history(&*store, run.id).await.intents;
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].queue.as_str(), kept[0].priority, kept[0].lease), ("elsewhere", Priority::High, None));
    clock.advance(hours(1));
    assert_eq!(keys(&claim(&*store, 10, 1).await), []);
    let elsewhere = ClaimRequest { queues: vec![new.queue], ..request(10, sample::lease_token(2)) };
    assert_eq!(keys(&claim_by(&*store, &elsewhere).await), [new.key]);
}

pub async fn replacing_a_held_intent_takes_it_out_of_its_holders_hands(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    let run = committed(&*store, write(&run, IntentWrite::Replace(sample::intent(&run, "first")))).await;
    let mut late = sample::next(&run);
    late.fences = vec![lease.clone()];
    assert_eq!(apply(&*store, late).await, CommitOutcome::Fenced);
    assert_eq!(extended(&*store, &[lease], LEASE).await, [false]);
    held(&*store, &run, 2).await;
}

pub async fn a_holder_may_replace_its_own_intent_for_the_next_attempt(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    let mut retry = sample::intent(&run, "first");
    retry.delay = WHILE * 2;
    let mut commit = write(&run, IntentWrite::Replace(retry));
    commit.fences = vec![lease.clone()];
    let run = committed(&*store, commit).await;
    let early = claim_key(&*store, &lease.key, sample::lease_token(2)).await;
    assert!(matches!(early, ClaimResult::NotDue), "{early:?}");
    clock.advance(WHILE * 2);
    held(&*store, &run, 3).await;
}

pub async fn replacing_what_is_not_there_adds_it(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    committed(&*store, write(&run, IntentWrite::Replace(sample::intent(&run, "second")))).await;
    assert_eq!(claim(&*store, 10, 1).await.claims.len(), 2);
}

pub async fn a_removed_intent_is_gone(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let key = sample::intent(&run, "first").key;
    let run = committed(&*store, write(&run, IntentWrite::Remove(key.clone()))).await;
    assert_eq!(keys(&claim(&*store, 10, 1).await), []);
    assert_eq!(history(&*store, run.id).await.intents, []);
    let answer = claim_key(&*store, &key, sample::lease_token(2)).await;
    assert!(matches!(answer, ClaimResult::Absent), "{answer:?}");
}

pub async fn removing_what_is_not_there_is_harmless(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let mut commit = write(&run, IntentWrite::Remove(IntentKey::compensation(run.id)));
    commit.intents.push(IntentWrite::Remove(sample::intent(&run, "second").key));
    let run = committed(&*store, commit).await;
    held(&*store, &run, 1).await;
}

pub async fn an_intent_may_be_added_again_after_it_was_removed(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let old = held(&*store, &run, 1).await;
    let run = committed(&*store, write(&run, IntentWrite::Remove(old.key.clone()))).await;
    let run = committed(&*store, write(&run, IntentWrite::Add(sample::intent(&run, "first")))).await;
    assert_eq!(extended(&*store, &[old], LEASE).await, [false], "the old lease does not hold the new intent");
    held(&*store, &run, 2).await;
}

pub async fn a_run_has_an_intent_for_each_of_its_targets(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let compensation = Intent { key: IntentKey::compensation(run.id), ..sample::intent(&run, "first") };
    let mut commit = write(&run, IntentWrite::Add(compensation.clone()));
    commit.intents.push(IntentWrite::Add(sample::intent(&run, "second")));
    let run = committed(&*store, commit).await;
    let run = committed(&*store, write(&run, IntentWrite::Remove(sample::intent(&run, "first").key))).await;
    let mut live = keys(&claim(&*store, 10, 1).await);
    live.sort();
    let mut expected = [sample::intent(&run, "second").key, compensation.key];
    expected.sort();
    assert_eq!(live, expected);
}

pub async fn an_intent_committed_under_a_lease_is_in_its_holders_hands(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    let token = sample::lease_token(2);
    let run = committed(&*store, hop(&run, &lease, token)).await;
    assert_eq!(keys(&claim(&*store, 10, 3).await), []);
    assert_eq!(history(&*store, run.id).await.intents[0].lease, Some(token));
    let mut commit = sample::next(&run);
    commit.fences = vec![sample::lease(run.id, "second", token)];
    commit.intents.push(IntentWrite::Remove(sample::intent(&run, "second").key));
    committed(&*store, commit).await;
}

pub async fn a_run_may_be_started_with_its_first_step_begun(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let lease = sample::lease(sample::run_id(1), "first", sample::lease_token(1));
    let mut start = sample::start(1);
    start.run.status = RunStatus::Running;
    let begun_at = start.run.created_at;
    let begun = StepRun {
        status: StepStatus::Running,
        attempt: 1,
        lease: Some(lease.token),
        started_at: Some(begun_at),
        attempt_started_at: Some(begun_at),
        ..sample::step("first")
    };
    start.steps = vec![StepWrite::Create(begun.clone())];
    let first = Intent { lease: Some(lease.token), delay: LEASE, ..sample::intent(&start.run, "first") };
    start.intents = vec![IntentWrite::Add(first)];
    let run = committed(&*store, start).await;
    let stored = state(&*store, run.id).await;
    assert_eq!((stored.run, stored.steps.into_values().collect()), (run.clone(), vec![begun]));
    assert_eq!(keys(&claim(&*store, 10, 2).await), []);
    assert_eq!(extended(&*store, std::slice::from_ref(&lease), LEASE).await, [true]);
    let mut commit = sample::next(&run);
    commit.fences = vec![lease];
    committed(&*store, commit).await;
    clock.advance(LEASE + ms(1));
    assert_eq!(keys(&claim(&*store, 10, 3).await), [sample::intent(&run, "first").key], "its worker died");
}

pub async fn an_intent_committed_under_a_lease_survives_its_holder(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    let run = committed(&*store, hop(&run, &lease, sample::lease_token(2))).await;
    clock.advance(LEASE - WHILE);
    assert_eq!(keys(&claim(&*store, 10, 3).await), []);
    clock.advance(WHILE + ms(1));
    assert_eq!(keys(&claim(&*store, 10, 4).await), [sample::intent(&run, "second").key]);
}

pub async fn a_refused_commit_adds_and_removes_nothing(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let old = started(&*store, 1).await;
    let run = committed(&*store, sample::next(&old)).await;
    let mut late = write(&old, IntentWrite::Add(sample::intent(&old, "second")));
    late.intents.push(IntentWrite::Remove(sample::intent(&old, "first").key));
    assert_eq!(apply(&*store, late).await, CommitOutcome::Conflict);
    held(&*store, &run, 1).await;
    assert_eq!(keys(&claim(&*store, 10, 2).await), []);
}

pub async fn intents_show_their_queue_priority_and_holder(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut start = sample::start(1);
    let mut intent = sample::intent(&start.run, "first");
    intent.priority = Priority::High;
    start.intents = vec![IntentWrite::Add(intent)];
    let run = committed(&*store, start).await;
    let before = history(&*store, run.id).await.intents.remove(0);
    assert_eq!((before.queue.as_str(), before.priority, before.lease), ("default", Priority::High, None));
    let lease = held(&*store, &run, 1).await;
    let after = history(&*store, run.id).await.intents.remove(0);
    assert_eq!((after.key, after.lease), (lease.key, Some(lease.token)));
    assert!(after.available_at > before.available_at, "it shows when the lease runs out");
}

pub async fn a_repinned_intent_is_for_the_other_version_and_queue(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    committed(&*store, write(&run, repinned(&run, "first"))).await;
    assert_eq!(keys(&claim(&*store, 10, 1).await), [], "its old version does not claim it any more");
    let (other, queue) = (sample::unknown_fingerprint(), sample::queue("elsewhere"));
    let request = ClaimRequest::new(vec![queue], vec![other], 10, sample::lease_token(2), LEASE);
    let claims = store.claim(&request).await.unwrap();
    assert_eq!(keys(&claims), [sample::intent(&run, "first").key]);
    assert_eq!(history(&*store, run.id).await.intents[0].priority, Priority::High);
}

pub async fn a_repinned_intent_keeps_its_due_time(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let mut start = sample::start(1);
    let mut intent = sample::intent(&start.run, "first");
    intent.delay = LEASE;
    start.intents = vec![IntentWrite::Add(intent)];
    let run = committed(&*store, start).await;
    let before = history(&*store, run.id).await.intents.remove(0);
    clock.advance(WHILE);
    committed(&*store, write(&run, repinned(&run, "first"))).await;
    let after = history(&*store, run.id).await.intents.remove(0);
    assert_eq!((after.available_at, after.lease), (before.available_at, None));
}

pub async fn a_repinned_intent_keeps_its_holder(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    let before = history(&*store, run.id).await.intents.remove(0);
    let run = committed(&*store, write(&run, repinned(&run, "first"))).await;
    let after = history(&*store, run.id).await.intents.remove(0);
    assert_eq!((after.available_at, after.lease), (before.available_at, Some(lease.token)));
    assert_eq!(extended(&*store, std::slice::from_ref(&lease), LEASE).await, [true]);
    let mut outcome = write(&run, IntentWrite::Remove(lease.key.clone()));
    outcome.fences = vec![lease];
    committed(&*store, outcome).await;
}

/// A heartbeat may come at any moment, also while its intent moves to another version.
pub async fn a_repinned_intent_is_repinned_while_it_is_extended(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for number in 1..=60 {
        let run = started(&*store, number).await;
        let lease = held(&*store, &run, number).await;
        let (beating, repinning) = (Arc::clone(&store), Arc::clone(&store));
        let commit = write(&run, repinned(&run, "first"));
        let heartbeats = async move {
            for _ in 0..5 {
                beating.extend_leases(std::slice::from_ref(&lease), LEASE).await.unwrap();
            }
        };
        let taken = async move {
            committed(&*repinning, commit).await;
        };
        together(fixture, [heartbeats.boxed(), taken.boxed()]).await;
        let intent = history(&*store, run.id).await.intents.remove(0);
        assert_eq!(intent.queue, sample::queue("elsewhere"), "run {number}");
    }
}

pub async fn repinning_what_is_not_there_is_harmless(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let run = committed(&*store, write(&run, repinned(&run, "second"))).await;
    assert_eq!(history(&*store, run.id).await.intents.len(), 1);
    held(&*store, &run, 1).await;
}

pub async fn a_run_takes_its_intents_along_to_another_version(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut start = sample::start(1);
    start.intents.push(IntentWrite::Add(sample::intent(&start.run, "second")));
    let run = committed(&*store, start).await;
    let bystander = started(&*store, 2).await;
    let mut adopted = write(&run, repinned(&run, "first"));
    adopted.intents.push(repinned(&run, "second"));
    adopted.run.fingerprint = sample::unknown_fingerprint();
    let run = committed(&*store, adopted).await;
    assert_eq!(state(&*store, run.id).await.run, run);
    assert_eq!(keys(&claim(&*store, 10, 1).await), [sample::intent(&bystander, "first").key]);
}

/// Returns the intent of a step, repinned to a version that no sample has, in another queue.
fn repinned(run: &Run, step: &str) -> IntentWrite {
    IntentWrite::Repin {
        key: sample::intent(run, step).key,
        fingerprint: sample::unknown_fingerprint(),
        queue: sample::queue("elsewhere"),
        priority: Priority::High,
    }
}

/// Returns a change of one intent.
fn write(run: &Run, write: IntentWrite) -> Commit {
    let mut commit = sample::next(run);
    commit.intents.push(write);
    commit
}

/// Returns the commit that ends `first` under a lease and holds `second` for the same worker.
fn hop(run: &Run, lease: &crate::dispatch::Lease, token: crate::port::LeaseToken) -> Commit {
    let mut second = sample::intent(run, "second");
    second.lease = Some(token);
    second.delay = LEASE;
    let mut commit = write(run, IntentWrite::Remove(lease.key.clone()));
    commit.fences = vec![lease.clone()];
    commit.intents.push(IntentWrite::Add(second));
    commit
}
