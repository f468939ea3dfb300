//! Leases and fences: which worker holds an intent, for how long, and that no other worker's outcome counts.

use std::sync::Arc;

use futures_util::FutureExt;

use super::StoreFixture;
use super::setup::{
    LEASE, WHILE, apply, apply_all, claim, claim_key, committed, extended, facts, held, history, keys, started, state,
    together,
};
use crate::definition::{Priority, ms, secs};
use crate::dispatch::{IntentKey, Lease};
use crate::port::{ClaimResult, Commit, CommitOutcome, IntentWrite, StepWrite};
use crate::run::{AuditEvent, AuditKind, Run, RunStatus, StepRun, StepStatus};
use crate::testing::sample;

pub async fn a_lease_that_ran_out_is_claimed_by_another(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    held(&*store, &run, 1).await;
    clock.advance(LEASE - WHILE);
    assert_eq!(keys(&claim(&*store, 10, 2).await), [], "the lease still lasts");
    clock.advance(WHILE + ms(1));
    held(&*store, &run, 3).await;
}

/// The work of a dead worker has waited for the lease already: it must not wait for all earlier due work as well.
pub async fn a_lease_that_ran_out_does_not_wait_behind_a_backlog(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let mut low = sample::start(1);
    for write in &mut low.intents {
        if let IntentWrite::Add(intent) = write {
            intent.priority = Priority::Low;
        }
    }
    let run = committed(&*store, low).await;
    held(&*store, &run, 1).await;
    apply_all(&*store, (2..10).map(sample::start).collect()).await;
    clock.advance(LEASE + ms(1));
    assert_eq!(keys(&claim(&*store, 1, 2).await), [IntentKey::step(run.id, sample::step_name("first"))]);
    assert_eq!(keys(&claim(&*store, 100, 3).await).len(), 8, "and the backlog is still there");
}

pub async fn no_backlog_hides_when_a_lease_runs_out(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    held(&*store, &run, 1).await;
    let mut later = sample::start(2);
    for write in &mut later.intents {
        if let IntentWrite::Add(intent) = write {
            intent.delay = LEASE * 10;
        }
    }
    committed(&*store, later).await;
    let next_in = claim(&*store, 10, 2).await.next_in.expect("a lease runs out");
    assert!(next_in <= LEASE, "{next_in:?}");
}

pub async fn one_whose_lease_ran_out_can_be_claimed_alone(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    clock.advance(LEASE + ms(1));
    let answer = claim_key(&*store, &lease.key, sample::lease_token(2)).await;
    assert!(matches!(answer, ClaimResult::Claimed(_)), "{answer:?}");
    assert!(!extended(&*store, &[lease], LEASE).await[0], "the first has lost it");
}

pub async fn a_commit_under_a_held_lease_lands(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    let begun = committed(&*store, fenced(&run, &lease)).await;
    let mut finish = finish(&begun, &lease);
    finish.audit.push(AuditEvent::new(AuditKind::Adopted, finish.run.revision, finish.run.updated_at));
    committed(&*store, finish).await;
    let history = history(&*store, run.id).await;
    assert_eq!((history.intents.len(), history.audit.len()), (0, 1));
}

/// A heartbeat may come at any moment, also while the outcome under its lease is committed.
pub async fn a_lease_holds_while_it_is_extended(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for number in 1..=60 {
        let run = started(&*store, number).await;
        let lease = held(&*store, &run, number).await;
        let (beating, finishing) = (Arc::clone(&store), Arc::clone(&store));
        let (beat, finish) = (lease.clone(), finish(&run, &lease));
        let heartbeats = async move {
            for _ in 0..5 {
                beating.extend_leases(std::slice::from_ref(&beat), LEASE).await.unwrap();
            }
            CommitOutcome::Committed
        };
        let finished = async move { apply(&*finishing, finish).await };
        let ended = together(fixture, [heartbeats.boxed(), finished.boxed()]).await;
        assert_eq!(ended, [CommitOutcome::Committed, CommitOutcome::Committed], "run {number}");
    }
}

/// A heartbeat may come at any moment, also while its lease is released.
pub async fn a_lease_is_given_back_while_it_is_extended(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for number in 1..=60 {
        let run = started(&*store, number).await;
        let lease = held(&*store, &run, number).await;
        let (beating, releasing) = (Arc::clone(&store), Arc::clone(&store));
        let (beat, release) = (lease.clone(), lease.clone());
        let heartbeats = async move {
            for _ in 0..5 {
                beating.extend_leases(std::slice::from_ref(&beat), LEASE).await.unwrap();
            }
        };
        let released = async move { releasing.release_leases(std::slice::from_ref(&release), LEASE).await.unwrap() };
        together(fixture, [heartbeats.boxed(), released.boxed()]).await;
        let left: Vec<_> = history(&*store, run.id).await.intents.into_iter().map(|intent| intent.lease).collect();
        assert_eq!(left, [None], "run {number}");
    }
}

pub async fn a_stale_fence_is_refused_and_changes_nothing(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let stale = held(&*store, &run, 1).await;
    clock.advance(LEASE + ms(1));
    let fresh = held(&*store, &run, 2).await;
    let before = facts(&*store, run.id).await;
    assert_eq!(apply(&*store, finish(&run, &stale)).await, CommitOutcome::Fenced);
    assert_eq!(facts(&*store, run.id).await, before);
    committed(&*store, finish(&run, &fresh)).await;
}

pub async fn a_fence_on_an_intent_that_is_done_is_refused(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    let done = committed(&*store, finish(&run, &lease)).await;
    let before = facts(&*store, run.id).await;
    assert_eq!(apply(&*store, fenced(&done, &lease)).await, CommitOutcome::Fenced);
    assert_eq!(facts(&*store, run.id).await, before);
}

pub async fn a_fence_on_an_intent_that_nobody_claimed_is_refused(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = sample::lease(run.id, "first", sample::lease_token(1));
    assert_eq!(apply(&*store, fenced(&run, &lease)).await, CommitOutcome::Fenced);
    assert_eq!(state(&*store, run.id).await.run, run);
}

pub async fn a_fence_proves_one_intent_only(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut commit = sample::start(1);
    let mut later = sample::intent(&commit.run, "second");
    later.delay = LEASE;
    commit.steps.push(StepWrite::Create(sample::step("second")));
    commit.intents.push(IntentWrite::Add(later));
    let run = committed(&*store, commit).await;
    let lease = held(&*store, &run, 1).await;
    let wrong = sample::lease(run.id, "second", lease.token);
    assert_eq!(apply(&*store, fenced(&run, &wrong)).await, CommitOutcome::Fenced);
}

pub async fn every_fence_of_a_commit_must_hold(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let mut commit = sample::start(1);
    for name in ["second", "third"] {
        commit.steps.push(StepWrite::Create(sample::step(name)));
        commit.intents.push(IntentWrite::Add(sample::intent(&commit.run, name)));
    }
    let run = committed(&*store, commit).await;
    let claims = claim(&*store, 3, 1).await.claims;
    let leases: Vec<Lease> = claims.into_iter().map(|claim| claim.lease).collect();
    clock.advance(LEASE + ms(1));
    let taken = claim_key(&*store, &leases[1].key, sample::lease_token(2)).await;
    assert!(matches!(taken, ClaimResult::Claimed(_)), "{taken:?}");
    let before = facts(&*store, run.id).await;
    // Each in both forms: its intent stays, or is removed with the commit.
    for removed in [vec![], vec![0], vec![1], vec![0, 1, 2]] {
        let mut all = fenced(&run, &leases[0]);
        all.fences = leases.clone();
        all.intents.extend(removed.iter().map(|place: &usize| IntentWrite::Remove(leases[*place].key.clone())));
        assert_eq!(apply(&*store, all).await, CommitOutcome::Fenced, "{removed:?}");
        assert_eq!(facts(&*store, run.id).await, before);
    }
    let mut two = fenced(&run, &leases[0]);
    two.fences.push(leases[2].clone());
    two.intents.push(IntentWrite::Remove(leases[2].key.clone()));
    committed(&*store, two).await;
}

pub async fn a_lease_that_ran_out_but_was_not_taken_over_still_counts(fixture: &dyn StoreFixture) {
    // Ownership is by token, never by time: completed work is kept unless another worker has begun it.
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    clock.advance(LEASE * 3);
    committed(&*store, finish(&run, &lease)).await;
    assert_eq!(keys(&claim(&*store, 10, 2).await), []);
}

pub async fn an_expired_lease_that_nobody_took_over_is_extended(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    clock.advance(LEASE * 3);
    assert_eq!(extended(&*store, std::slice::from_ref(&lease), LEASE).await, [true]);
    assert_eq!(keys(&claim(&*store, 10, 2).await), [], "it lasts from now on");
    clock.advance(LEASE + ms(1));
    held(&*store, &run, 3).await;
    assert_eq!(extended(&*store, &[lease], LEASE).await, [false]);
}

pub async fn an_outcome_and_a_takeover_never_both_succeed(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    for round in 0..20 {
        let run = started(&*store, round).await;
        let lease = held(&*store, &run, round * 10).await;
        clock.advance(LEASE + ms(1));
        let recording = {
            let (store, commit) = (Arc::clone(&store), finish(&run, &lease));
            async move { apply(&*store, commit).await == CommitOutcome::Committed }.boxed()
        };
        let taking_over = {
            let (store, key, token) = (Arc::clone(&store), lease.key.clone(), sample::lease_token(round * 10 + 1));
            async move { matches!(claim_key(&*store, &key, token).await, ClaimResult::Claimed(_)) }.boxed()
        };
        let won = together(fixture, [recording, taking_over]).await;
        assert!(won[0] != won[1], "round {round}: recorded {}, taken over {}", won[0], won[1]);
        // Removed before the next rounds.
        if won[1] {
            let lease = Lease { key: lease.key, token: sample::lease_token(round * 10 + 1) };
            committed(&*store, finish(&run, &lease)).await;
        }
    }
}

pub async fn an_extended_lease_lasts_longer(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    for _ in 0..5 {
        clock.advance(LEASE - WHILE);
        assert_eq!(extended(&*store, std::slice::from_ref(&lease), LEASE).await, [true]);
        assert_eq!(keys(&claim(&*store, 10, 2).await), []);
    }
    clock.advance(LEASE + ms(1));
    held(&*store, &run, 3).await;
}

pub async fn a_lost_lease_is_not_extended(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let runs = [started(&*store, 1).await, started(&*store, 2).await];
    let lost: Vec<Lease> = claim(&*store, 10, 1).await.claims.into_iter().map(|claim| claim.lease).collect();
    assert_eq!(lost.len(), 2);
    clock.advance(LEASE + ms(1));
    assert_eq!(claim(&*store, 10, 2).await.claims.len(), 2);
    assert_eq!(extended(&*store, &lost, LEASE * 10).await, [false, false]);
    let holder = |run: &Run| sample::lease(run.id, "first", sample::lease_token(2));
    clock.advance(LEASE + ms(1));
    // The old worker's attempt did not extend the new holder's lease.
    assert_eq!(claim(&*store, 10, 3).await.claims.len(), 2);
    assert_eq!(extended(&*store, &runs.each_ref().map(holder), LEASE).await, [false, false]);
}

pub async fn extending_answers_for_each_lease_in_order(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    apply_all(&*store, (0..300).map(sample::start).collect()).await;
    let mut leases: Vec<Lease> = claim(&*store, 300, 1).await.claims.into_iter().map(|claim| claim.lease).collect();
    let mut expected = vec![true; 300];
    for lost in [0, 7, 150, 299] {
        leases[lost].token = sample::lease_token(55);
        expected[lost] = false;
    }
    leases.push(sample::lease(sample::run_id(9_999), "first", sample::lease_token(1)));
    expected.push(false);
    assert_eq!(extended(&*store, &leases, LEASE).await, expected);
    assert_eq!(extended(&*store, &[], LEASE).await, Vec::<bool>::new());
}

pub async fn a_released_intent_is_due_at_once(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    store.release_leases(std::slice::from_ref(&lease), ms(0)).await.unwrap();
    assert_eq!(history(&*store, run.id).await.intents[0].lease, None);
    held(&*store, &run, 2).await;
}

pub async fn a_released_intent_is_due_after_its_delay(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    store.release_leases(&[lease], LEASE * 5).await.unwrap();
    clock.advance(LEASE * 2);
    assert_eq!(keys(&claim(&*store, 10, 2).await), [], "not when the lease would have run out");
    clock.advance(LEASE * 3 + ms(1));
    held(&*store, &run, 3).await;
}

pub async fn a_released_lease_proves_nothing(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    store.release_leases(std::slice::from_ref(&lease), secs(0)).await.unwrap();
    assert_eq!(apply(&*store, finish(&run, &lease)).await, CommitOutcome::Fenced);
    assert_eq!(extended(&*store, &[lease], LEASE).await, [false]);
}

pub async fn releasing_what_is_not_held_changes_nothing(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let stale = held(&*store, &run, 1).await;
    clock.advance(LEASE + ms(1));
    let fresh = held(&*store, &run, 2).await;
    let before = facts(&*store, run.id).await;
    let unknown = sample::lease(sample::run_id(2), "first", sample::lease_token(1));
    store.release_leases(&[unknown, stale], secs(0)).await.unwrap();
    store.release_leases(&[], secs(0)).await.unwrap();
    assert_eq!(facts(&*store, run.id).await, before);
    assert_eq!(keys(&claim(&*store, 10, 3).await), []);
    committed(&*store, finish(&run, &fresh)).await;
}

pub async fn many_are_released_at_once(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    apply_all(&*store, (0..200).map(sample::start).collect()).await;
    let leases: Vec<Lease> = claim(&*store, 200, 1).await.claims.into_iter().map(|claim| claim.lease).collect();
    store.release_leases(&leases[..150], secs(0)).await.unwrap();
    assert_eq!(claim(&*store, 200, 2).await.claims.len(), 150);
}

/// Returns a change under a lease that leaves its intent in place.
fn fenced(run: &Run, lease: &Lease) -> Commit {
    let mut commit = sample::next(run);
    commit.run.status = RunStatus::Running;
    commit.fences = vec![lease.clone()];
    commit
}

/// Returns a change under a lease that records the step and removes its intent, with content in every part.
fn finish(run: &Run, lease: &Lease) -> Commit {
    let mut commit = fenced(run, lease);
    let step = StepRun { status: StepStatus::Completed, attempt: 1, lease: Some(lease.token), ..sample::step("first") };
    commit.steps.push(StepWrite::Update(step));
    commit.attempts.push(sample::attempt("first", 1));
    commit.intents.push(IntentWrite::Remove(lease.key.clone()));
    commit
}
