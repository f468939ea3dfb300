//! Claiming due work: in order, from the requested queues and versions, and never twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt;

use super::StoreFixture;
use super::setup::{
    LEASE, apply_all, claim, claim_by, claim_key, committed, facts, held, keys, only, request, started, state,
    take_turns, together,
};
use crate::definition::{Priority, ms, secs};
use crate::dispatch::{IntentKey, Lease};
use crate::name::QueueName;
use crate::port::{ClaimKeysRequest, ClaimRequest, ClaimResult, Commit, CommitOutcome, IntentWrite, StepWrite};
use crate::run::RunStatus;
use crate::testing::sample;

pub async fn a_due_intent_is_claimed_with_its_run(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let (claimed, seen) = only(claim(&*store, 10, 1).await);
    assert_eq!(claimed.lease, sample::lease(run.id, "first", sample::lease_token(1)));
    assert_eq!(seen, state(&*store, run.id).await);
    assert_eq!(seen.steps.len(), 1);
}

pub async fn a_claim_carries_the_run_as_it_is_now(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let mut run = started(&*store, 1).await;
    let key = first_of(1);
    for round in 1..=3 {
        // None of this touches the intent: a claim shows the run as of the claim, not as of the dispatch.
        let mut commit = sample::next(&run);
        commit.run.status = RunStatus::Running;
        commit.steps.push(StepWrite::Create(sample::step(&format!("since-{round}"))));
        run = committed(&*store, commit).await;
        let now = state(&*store, run.id).await;
        assert_eq!((&now.run, now.steps.len()), (&run, 1 + round));
        let (_, seen) = only(claim(&*store, 10, round as u64).await);
        assert_eq!(seen, now);
        clock.advance(LEASE + ms(1));

        run = committed(&*store, sample::next(&run)).await;
        let answer = claim_key(&*store, &key, sample::lease_token(100 + round as u64)).await;
        let seen = answer.claimed().expect("its lease has run out").state.unwrap().unwrap();
        assert_eq!(*seen, state(&*store, run.id).await);
        assert_eq!(seen.run, run);
        clock.advance(LEASE + ms(1));
    }
}

pub async fn what_was_claimed_is_held_under_the_token_of_its_claim(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let first = started(&*store, 1).await;
    clock.advance(secs(1));
    let runs = [first, started(&*store, 2).await];
    let (claimed, _) = only(claim(&*store, 1, 1).await);
    assert_eq!(claimed.lease.key, first_of(1));
    assert!(claim_key(&*store, &first_of(2), sample::lease_token(2)).await.claimed().is_ok());
    for (number, run) in (1..).zip(&runs) {
        let stored = store.history(run.id).await.unwrap().intents;
        assert_eq!(stored.iter().map(|intent| intent.lease).collect::<Vec<_>>(), [Some(sample::lease_token(number))]);
        let answer = claim_key(&*store, &first_of(number), sample::lease_token(9)).await;
        assert!(matches!(answer, ClaimResult::Held), "{answer:?}");
    }
    assert_eq!(keys(&claim(&*store, 10, 3).await), []);
}

pub async fn an_empty_store_has_nothing_to_claim(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let claims = claim(&*store, 10, 1).await;
    assert!(claims.claims.is_empty());
    assert_eq!(claims.next_in, None);
}

pub async fn what_is_claimed_is_not_given_to_another(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    held(&*store, &run, 1).await;
    assert_eq!(keys(&claim(&*store, 10, 2).await), []);
    assert_eq!(keys(&claim(&*store, 10, 1).await), [], "nor to the same one again");
}

pub async fn claiming_changes_nothing_of_the_run(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let (before, _) = facts(&*store, run.id).await;
    held(&*store, &run, 1).await;
    assert_eq!(facts(&*store, run.id).await.0, before);
}

pub async fn no_more_than_the_limit_is_claimed(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    apply_all(&*store, (0..7).map(sample::start).collect()).await;
    assert_eq!(claim(&*store, 0, 1).await.claims.len(), 0);
    assert_eq!(claim(&*store, 3, 1).await.claims.len(), 3);
    assert_eq!(claim(&*store, 3, 2).await.claims.len(), 3);
    assert_eq!(claim(&*store, 3, 3).await.claims.len(), 1);
}

pub async fn higher_priorities_are_claimed_first(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    for (number, priority) in [(1, Priority::Low), (2, Priority::Normal), (3, Priority::High), (4, Priority::Normal)] {
        committed(&*store, due(number, priority, "default")).await;
        clock.advance(secs(1));
    }
    let numbers = [3, 2, 4, 1];
    assert_eq!(keys(&claim(&*store, 10, 1).await), numbers.map(first_of));
}

pub async fn what_has_been_due_longest_is_claimed_first(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    // In the order of due times, which is neither that of the commits nor that of the ids.
    for (number, seconds) in [(1, 300), (2, 100), (3, 200), (4, 0)] {
        let mut commit = sample::start(number);
        commit.intents.clear();
        let mut intent = sample::intent(&commit.run, "first");
        intent.delay = secs(seconds);
        commit.intents.push(IntentWrite::Add(intent));
        committed(&*store, commit).await;
    }
    clock.advance(secs(1_000));
    assert_eq!(keys(&claim(&*store, 2, 1).await), [4, 2].map(first_of));
    assert_eq!(keys(&claim(&*store, 10, 2).await), [3, 1].map(first_of));
}

pub async fn only_the_queues_asked_for_are_claimed(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for (number, queue) in [(1, "mail"), (2, "default"), (3, "reports"), (4, "Größe ’n")] {
        committed(&*store, due(number, Priority::Normal, queue)).await;
    }
    let from = |queues: &[&str], token| ClaimRequest {
        queues: queues.iter().map(|name| sample::queue(name)).collect(),
        ..request(10, sample::lease_token(token))
    };
    assert_eq!(keys(&claim_by(&*store, &from(&[], 1)).await), []);
    assert_eq!(keys(&claim_by(&*store, &from(&["nobody's"], 2)).await), []);
    assert_eq!(sorted(keys(&claim_by(&*store, &from(&["mail", "reports"], 3)).await)), [1, 3].map(first_of));
    assert_eq!(keys(&claim_by(&*store, &from(&["Größe ’n"], 4)).await), [4].map(first_of));
    assert_eq!(keys(&claim(&*store, 10, 5).await), [2].map(first_of));
}

pub async fn only_the_versions_asked_for_are_claimed(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let newer = sample::definition_of(sample::WORKFLOW, &["first", "second", "third"]);
    let other = sample::definition_of("other", &["first"]);
    started(&*store, 1).await;
    committed(&*store, sample::start_of(&newer, 2)).await;
    committed(&*store, sample::start_of(&other, 3)).await;
    let of = |fingerprints: &[crate::definition::Fingerprint], token| {
        ClaimRequest::new(vec![QueueName::default()], fingerprints.to_vec(), 10, sample::lease_token(token), LEASE)
    };
    assert_eq!(keys(&claim_by(&*store, &of(&[], 1)).await), []);
    assert_eq!(keys(&claim_by(&*store, &of(&[sample::unknown_fingerprint()], 2)).await), []);
    assert_eq!(keys(&claim_by(&*store, &of(&[*newer.fingerprint()], 3)).await), [2].map(first_of));
    let rest = [*sample::definition().fingerprint(), *other.fingerprint()];
    assert_eq!(sorted(keys(&claim_by(&*store, &of(&rest, 4)).await)), [1, 3].map(first_of));
}

pub async fn unwanted_work_does_not_stand_in_the_way(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    let other = sample::definition_of("other", &["first"]);
    apply_all(&*store, (0..200).map(|number| sample::start_of(&other, number)).collect()).await;
    apply_all(&*store, (200..400).map(|number| due(number, Priority::High, "elsewhere")).collect()).await;
    clock.advance(secs(1));
    let run = started(&*store, 1_000).await;
    assert_eq!(keys(&claim(&*store, 5, 1).await), [IntentKey::step(run.id, sample::step_name("first"))]);
}

pub async fn several_intents_of_one_run_are_claimed_together(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut commit = sample::start(1);
    for name in ["a", "b", "c"] {
        commit.steps.push(StepWrite::Create(sample::step(name)));
        commit.intents.push(IntentWrite::Add(sample::intent(&commit.run, name)));
    }
    let run = committed(&*store, commit).await;
    let claims = claim(&*store, 10, 1).await;
    assert_eq!(claims.claims.len(), 4);
    for claim in claims.claims {
        let state = claim.state.unwrap().unwrap();
        assert_eq!((&state.run, state.steps.len()), (&run, 4));
    }
}

pub async fn work_of_cached_runs_is_claimed_too(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let (known, other) = (started(&*store, 1).await, started(&*store, 2).await);
    let (queues, versions) = (vec![QueueName::default()], vec![*sample::definition().fingerprint()]);
    let request = ClaimRequest::new(queues, versions, 10, sample::lease_token(1), LEASE).cached_runs(vec![known.id]);
    let claims = store.claim(&request).await.unwrap().claims;
    assert_eq!(claims.len(), 2);
    for claim in claims {
        let (id, seen) = (claim.lease.key.run_id, claim.state.unwrap());
        // Its state may be returned all the same, but no other run's in its place.
        assert!(seen.is_some() || id == known.id, "no process has cached run {}", other.id);
        assert!(seen.is_none_or(|seen| seen.run.id == id));
    }
}

pub async fn a_compensation_is_claimed_like_a_step(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut commit = sample::next(&started(&*store, 1).await);
    let key = IntentKey::compensation(commit.run.id);
    let mut intent = sample::intent(&commit.run, "first");
    intent.key = key.clone();
    commit.intents.push(IntentWrite::Add(intent));
    commit.intents.push(IntentWrite::Remove(IntentKey::step(commit.run.id, sample::step_name("first"))));
    committed(&*store, commit).await;
    assert_eq!(keys(&claim(&*store, 10, 1).await), [key]);
}

pub async fn claiming_one_takes_just_that_one(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let (run, other) = (started(&*store, 1).await, started(&*store, 2).await);
    let lease = sample::lease(run.id, "first", sample::lease_token(1));
    match claim_key(&*store, &lease.key, lease.token).await {
        ClaimResult::Claimed(claim) => {
            assert_eq!(claim.lease, lease);
            assert_eq!(*claim.state.unwrap().unwrap(), state(&*store, run.id).await);
        }
        refused => panic!("it was due: {refused:?}"),
    }
    let again = claim_key(&*store, &lease.key, sample::lease_token(2)).await;
    assert!(matches!(again, ClaimResult::Held), "{again:?}");
    assert_eq!(keys(&claim(&*store, 10, 3).await), [IntentKey::step(other.id, sample::step_name("first"))]);
}

pub async fn claiming_one_that_is_not_there_is_absent(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    for key in [
        IntentKey::step(run.id, sample::step_name("second")),
        IntentKey::step(sample::run_id(2), sample::step_name("first")),
        IntentKey::compensation(run.id),
    ] {
        let answer = claim_key(&*store, &key, sample::lease_token(1)).await;
        assert!(matches!(answer, ClaimResult::Absent), "{key}: {answer:?}");
    }
}

pub async fn several_keys_are_claimed_and_answered_in_order(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let runs = [started(&*store, 1).await, started(&*store, 2).await, started(&*store, 3).await];
    let [first, second, third] = runs.map(|run| IntentKey::step(run.id, sample::step_name("first")));
    claim_key(&*store, &second, sample::lease_token(1)).await;
    let unknown = IntentKey::step(sample::run_id(9), sample::step_name("first"));
    let keys = [third.clone(), unknown, second, first.clone()];
    let answers = store.claim_keys(&ClaimKeysRequest::new(keys.to_vec(), sample::lease_token(2), LEASE)).await.unwrap();
    let [ClaimResult::Claimed(one), ClaimResult::Absent, ClaimResult::Held, ClaimResult::Claimed(other)] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!((&one.lease.key, &other.lease.key), (&third, &first));
    for claim in [one, other] {
        assert_eq!(claim.lease.token, sample::lease_token(2));
        let seen = claim.state.as_ref().unwrap().as_deref();
        assert_eq!(seen, Some(&state(&*store, claim.lease.key.run_id).await));
    }
    assert!(store.claim_keys(&ClaimKeysRequest::new(vec![], sample::lease_token(3), LEASE)).await.unwrap().is_empty());
}

pub async fn keys_of_cached_runs_are_claimed_too(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let (known, other) = (started(&*store, 1).await, started(&*store, 2).await);
    let keys = [&known, &other].map(|run| IntentKey::step(run.id, sample::step_name("first")));
    let request = ClaimKeysRequest::new(keys.to_vec(), sample::lease_token(1), LEASE).cached_runs(vec![known.id]);
    let answers = store.claim_keys(&request).await.unwrap();
    assert_eq!(answers.len(), 2);
    for (key, answer) in keys.into_iter().zip(answers) {
        let claim = answer.claimed().expect("it was due");
        assert_eq!(claim.lease, Lease { key: key.clone(), token: sample::lease_token(1) });
        // As with other claims, the state of the cached run may be returned all the same.
        let seen = claim.state.unwrap();
        assert!(seen.is_some() || key.run_id == known.id, "no process has cached run {}", other.id);
        assert!(seen.is_none_or(|seen| seen.run.id == key.run_id));
    }
}

pub async fn an_intent_that_is_named_twice_is_claimed_once(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let key = IntentKey::step(started(&*store, 1).await.id, sample::step_name("first"));
    let answers =
        store.claim_keys(&ClaimKeysRequest::new(vec![key.clone(), key], sample::lease_token(1), LEASE)).await.unwrap();
    assert!(matches!(&answers[..], [ClaimResult::Claimed(_), ClaimResult::Held]), "{answers:?}");
}

pub async fn five_hundred_are_claimed_by_their_keys(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    apply_all(&*store, (0..500).map(sample::start).collect()).await;
    let keys: Vec<IntentKey> =
        (0..500).rev().map(|number| IntentKey::step(sample::run_id(number), sample::step_name("first"))).collect();
    let answers = store.claim_keys(&ClaimKeysRequest::new(keys.to_vec(), sample::lease_token(1), LEASE)).await.unwrap();
    let claimed = |answer: ClaimResult| answer.claimed().expect("it was due").lease.key;
    assert_eq!(answers.into_iter().map(claimed).collect::<Vec<_>>(), keys);
}

pub async fn of_eight_who_claim_the_same_keys_each_is_given_to_one(fixture: &dyn StoreFixture) {
    const RUNS: u64 = 40;
    let (store, _) = fixture.fresh().await;
    apply_all(&*store, (0..RUNS).map(sample::start).collect()).await;
    let racers = (0..8).map(|racer| {
        let store = Arc::clone(&store);
        async move {
            let mut keys: Vec<IntentKey> =
                (0..RUNS).map(|number| IntentKey::step(sample::run_id(number), sample::step_name("first"))).collect();
            keys.rotate_left(racer as usize * 5);
            let mut mine = Vec::new();
            for turn in 0..20 {
                let token = sample::lease_token(racer * 100 + turn);
                let answers = store.claim_keys(&ClaimKeysRequest::new(keys.to_vec(), token, LEASE)).await.unwrap();
                mine.extend(
                    answers.into_iter().filter_map(|answer| answer.claimed().ok()).map(|claim| claim.lease.key),
                );
                take_turns().await;
            }
            mine
        }
        .boxed()
    });
    let mut claimed: Vec<IntentKey> = together(fixture, racers).await.into_iter().flatten().collect();
    assert_eq!(claimed.len() as u64, RUNS, "none twice, and none left");
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed.len() as u64, RUNS);
}

pub async fn of_eight_who_claim_the_same_intent_one_gets_it(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for round in 0..10 {
        let key = IntentKey::step(started(&*store, round).await.id, sample::step_name("first"));
        let racers = (0..8).map(|racer| {
            let (store, key, token) = (Arc::clone(&store), key.clone(), sample::lease_token(round * 10 + racer));
            async move { claim_key(&*store, &key, token).await }.boxed()
        });
        let answers = together(fixture, racers).await;
        let won = answers.iter().filter(|answer| matches!(answer, ClaimResult::Claimed(_))).count();
        let held = answers.iter().filter(|answer| matches!(answer, ClaimResult::Held)).count();
        assert_eq!((won, held), (1, 7), "{answers:?}");
    }
}

pub async fn eight_claimers_share_the_work_without_a_double_claim(fixture: &dyn StoreFixture) {
    const RUNS: u64 = 800;
    let (store, _) = fixture.fresh().await;
    apply_all(&*store, (0..RUNS).map(sample::start).collect()).await;
    let claimers = (0..8).map(|claimer| {
        let store = Arc::clone(&store);
        async move {
            let mut mine = Vec::new();
            // A claim may return nothing while others briefly lock rows, so each claims often enough for all of it.
            for turn in 0..RUNS / 7 + 1 {
                mine.extend(keys(&claim(&*store, 7, claimer * 1_000 + turn).await));
                take_turns().await;
            }
            mine
        }
        .boxed()
    });
    let mut claimed: Vec<IntentKey> = together(fixture, claimers).await.into_iter().flatten().collect();
    claimed.extend(keys(&claim(&*store, RUNS as usize, 99_999).await));
    assert_eq!(claimed.len() as u64, RUNS, "none twice");
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>().len() as u64, RUNS, "none left out");
}

pub async fn claimers_beside_committers_find_everything_once(fixture: &dyn StoreFixture) {
    const EACH: u64 = 60;
    let (store, _) = fixture.fresh().await;
    let committers = (0..4).map(|committer| {
        let store = Arc::clone(&store);
        async move {
            for number in 0..EACH {
                started(&*store, committer * EACH + number).await;
                take_turns().await;
            }
            Vec::new()
        }
        .boxed()
    });
    let claimers = (0..4).map(|claimer| {
        let store = Arc::clone(&store);
        async move {
            let mut mine = Vec::new();
            for turn in 0..EACH {
                mine.extend(keys(&claim(&*store, 5, claimer * 1_000 + turn).await));
                take_turns().await;
            }
            mine
        }
        .boxed()
    });
    let mut claimed: Vec<IntentKey> =
        together(fixture, committers.chain(claimers)).await.into_iter().flatten().collect();
    claimed.extend(keys(&claim(&*store, 1_000, 99_999).await));
    assert_eq!(claimed.len() as u64, 4 * EACH, "none twice");
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>().len() as u64, 4 * EACH, "none left out");
}

pub async fn ten_thousand_intents_are_claimed_in_order_in_batches(fixture: &dyn StoreFixture) {
    let (store, clock) = fixture.fresh().await;
    // A thousand runs of ten steps, each step due a while after the one before it, written in one batch.
    let batch: Vec<Commit> = (0..1_000).map(ten_steps).collect();
    let expected: Vec<IntentKey> = batch.iter().flat_map(step_keys).collect();
    assert_eq!(apply_all(&*store, batch).await, vec![CommitOutcome::Committed; 1_000]);
    clock.advance(secs(10_000));
    let mut claimed = Vec::new();
    for batch in 0..10 {
        let claims = claim(&*store, 1_000, batch).await;
        assert_eq!(claims.claims.len(), 1_000);
        claimed.extend(keys(&claims));
    }
    assert_eq!(claimed.len(), expected.len());
    let first_wrong = claimed.iter().zip(&expected).position(|(claimed, expected)| claimed != expected);
    assert_eq!(first_wrong, None, "claimed out of order");
    assert_eq!(keys(&claim(&*store, 10, 99).await), []);
}

/// Returns the start of a run whose ten steps become due one by one, after those of all runs with a smaller number.
fn ten_steps(number: u64) -> Commit {
    let mut commit = sample::start(number);
    commit.intents.clear();
    for step in 0..10 {
        let name = format!("step-{step}");
        let mut intent = sample::intent(&commit.run, &name);
        intent.delay = ms((number * 10 + step) * 500);
        commit.steps.push(StepWrite::Create(sample::step(&name)));
        commit.intents.push(IntentWrite::Add(intent));
    }
    commit
}

fn step_keys(commit: &Commit) -> Vec<IntentKey> {
    commit
        .intents
        .iter()
        .filter_map(|write| match write {
            IntentWrite::Add(intent) => Some(intent.key.clone()),
            _ => None,
        })
        .collect()
}

/// Returns the start of a run whose first step is due at once, with this priority in this queue.
fn due(number: u64, priority: Priority, queue: &str) -> Commit {
    let mut commit = sample::start(number);
    let mut intent = sample::intent(&commit.run, "first");
    intent.priority = priority;
    intent.queue = sample::queue(queue);
    commit.intents = vec![IntentWrite::Add(intent)];
    commit
}

fn first_of(number: u64) -> IntentKey {
    IntentKey::step(sample::run_id(number), sample::step_name("first"))
}

fn sorted(mut keys: Vec<IntentKey>) -> Vec<IntentKey> {
    keys.sort();
    keys
}
