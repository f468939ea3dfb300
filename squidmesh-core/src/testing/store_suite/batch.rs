//! Several commits in one call: each succeeds or fails independently.

use serde_json::json;

use super::StoreFixture;
use super::setup::{apply_all, claim, committed, facts, held, keys, started, state};
use crate::port::{Commit, CommitOutcome, IntentWrite, StepWrite, StoreSession};
use crate::run::{RunStatus, StepRun, StepStatus};
use crate::testing::sample;

const LANDED: CommitOutcome = CommitOutcome::Committed;

pub async fn an_empty_batch_has_no_answers(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    assert!(store.commit(Vec::new()).await.unwrap().is_empty());
}

pub async fn a_batch_of_a_thousand_starts_lands(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let outcomes = apply_all(&*store, (0..1_000).map(sample::start).collect()).await;
    assert_eq!(outcomes, vec![LANDED; 1_000]);
    for number in [0, 1, 500, 999] {
        assert_eq!(state(&*store, sample::run_id(number)).await.run, sample::run(number));
    }
}

pub async fn answers_come_in_the_order_of_the_batch(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let first = started(&*store, 1).await;
    let keyed = |number| {
        let mut commit = sample::start(number);
        commit.run.idempotency_key = Some("key".to_owned());
        commit
    };
    committed(&*store, keyed(9)).await;
    let mut fenced = sample::next(&first);
    fenced.fences = vec![sample::lease(first.id, "first", sample::lease_token(5))];
    let batch = vec![sample::start(1), sample::start(2), keyed(3), fenced, sample::start(4)];
    assert_eq!(
        apply_all(&*store, batch).await,
        [CommitOutcome::Conflict, LANDED, CommitOutcome::KeyTaken(sample::run_id(9)), CommitOutcome::Fenced, LANDED]
    );
}

pub async fn a_conflict_leaves_the_rest_of_its_batch_alone(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let runs = [started(&*store, 1).await, started(&*store, 2).await, started(&*store, 3).await];
    committed(&*store, sample::next(&runs[1])).await;
    let before = facts(&*store, runs[1].id).await;
    let running = |run| {
        let mut commit = sample::next(run);
        commit.run.status = RunStatus::Running;
        commit.run.token = sample::commit_token(90);
        commit.steps.push(StepWrite::Create(sample::step("second")));
        commit
    };
    let outcomes = apply_all(&*store, runs.iter().map(running).collect()).await;
    assert_eq!(outcomes, [LANDED, CommitOutcome::Conflict, LANDED]);
    assert_eq!(facts(&*store, runs[1].id).await, before);
    for run in [&runs[0], &runs[2]] {
        let state = state(&*store, run.id).await;
        assert_eq!((state.run.status, state.steps.len()), (RunStatus::Running, 2));
    }
}

pub async fn a_fenced_commit_leaves_the_rest_of_its_batch_alone(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let held_run = started(&*store, 1).await;
    let lease = held(&*store, &held_run, 1).await;
    let lost_run = started(&*store, 2).await;
    let before = facts(&*store, lost_run.id).await;
    let mut good = sample::next(&held_run);
    good.fences = vec![lease];
    let mut stale = sample::next(&lost_run);
    stale.fences = vec![sample::lease(lost_run.id, "first", sample::lease_token(1))];
    stale.intents.push(IntentWrite::Remove(sample::intent(&lost_run, "first").key));
    let outcomes = apply_all(&*store, vec![stale, good, sample::start(3)]).await;
    assert_eq!(outcomes, [CommitOutcome::Fenced, LANDED, LANDED]);
    assert_eq!(facts(&*store, lost_run.id).await, before);
    assert_eq!(state(&*store, held_run.id).await.run.revision, 2);
}

pub async fn an_unwritable_commit_leaves_the_rest_of_its_batch_alone(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let runs = [started(&*store, 1).await, started(&*store, 2).await, started(&*store, 3).await];
    let before = facts(&*store, runs[1].id).await;
    let mut batch: Vec<Commit> = runs.iter().map(sample::next).collect();
    batch[0].steps.push(StepWrite::Create(sample::step("second")));
    batch[1].steps.push(StepWrite::Create(sample::step("first")));
    batch[2].steps.push(StepWrite::Create(sample::step("second")));
    let answers = store.commit(batch).await.unwrap();
    assert!(
        matches!(answers.as_slice(), [Ok(CommitOutcome::Committed), Err(_), Ok(CommitOutcome::Committed)]),
        "{answers:?}"
    );
    assert_eq!(facts(&*store, runs[1].id).await, before);
    for run in [&runs[0], &runs[2]] {
        assert_eq!(state(&*store, run.id).await.steps.len(), 2);
    }
}

pub async fn of_two_starts_with_one_key_in_a_batch_the_first_wins(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let keyed = |number| {
        let mut commit = sample::start(number);
        commit.run.idempotency_key = Some("key".to_owned());
        commit
    };
    // The losing run has the smaller id: only the order of the batch counts.
    let outcomes = apply_all(&*store, vec![keyed(2), keyed(1), sample::start(3)]).await;
    assert_eq!(outcomes, [LANDED, CommitOutcome::KeyTaken(sample::run_id(2)), LANDED]);
    assert!(store.load(sample::run_id(1)).await.unwrap().is_none());
}

pub async fn of_two_starts_of_one_run_in_a_batch_the_first_wins(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut again = sample::start(1);
    again.run.payload = sample::object(json!({ "again": true }));
    again.run.token = sample::commit_token(5);
    let outcomes = apply_all(&*store, vec![sample::start(1), again]).await;
    assert_eq!(outcomes, [LANDED, CommitOutcome::Conflict]);
    assert_eq!(state(&*store, sample::run_id(1)).await.run, sample::run(1));
}

pub async fn of_two_commits_on_one_revision_in_a_batch_the_first_wins(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let (one, mut other) = (sample::next(&run), sample::next(&run));
    other.run.token = sample::commit_token(50);
    let token = one.run.token;
    assert_eq!(apply_all(&*store, vec![one, other]).await, [LANDED, CommitOutcome::Conflict]);
    assert_eq!(state(&*store, run.id).await.run.token, token);
}

pub async fn successive_commits_of_one_run_land_in_one_batch(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let start = sample::start(1);
    let mut begin = sample::next(&start.run);
    begin.run.status = RunStatus::Running;
    begin.steps.push(StepWrite::Update(StepRun { status: StepStatus::Running, attempt: 1, ..sample::step("first") }));
    let mut finish = sample::next(&begin.run);
    let first = StepRun {
        status: StepStatus::Completed,
        attempt: 1,
        output: Some(sample::object(json!({ "n": 1 }))),
        ..sample::step("first")
    };
    finish.steps.push(StepWrite::Update(first.clone()));
    finish.steps.push(StepWrite::Create(sample::step("second")));
    finish.intents.push(IntentWrite::Remove(sample::intent(&start.run, "first").key));
    finish.intents.push(IntentWrite::Add(sample::intent(&start.run, "second")));
    let last = finish.run.clone();

    // Another run's commits stand between them.
    let batch = vec![start, sample::start(2), begin, sample::next(&sample::run(2)), finish];
    assert_eq!(apply_all(&*store, batch).await, vec![LANDED; 5]);
    let state = state(&*store, last.id).await;
    assert_eq!(state.run, last);
    assert_eq!(state.steps.into_values().collect::<Vec<_>>(), [first, sample::step("second")]);
    let mut due = keys(&claim(&*store, 10, 1).await);
    due.sort();
    assert_eq!(due, [sample::intent(&last, "second").key, sample::intent(&sample::run(2), "first").key]);
}

pub async fn what_follows_a_refused_commit_of_its_run_is_refused(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let mut fenced = sample::next(&run);
    fenced.fences = vec![sample::lease(run.id, "first", sample::lease_token(3))];
    let follower = sample::next(&fenced.run);
    let outcomes = apply_all(&*store, vec![fenced, follower, sample::start(2)]).await;
    assert_eq!(outcomes, [CommitOutcome::Fenced, CommitOutcome::Conflict, LANDED]);
    assert_eq!(state(&*store, run.id).await.run, run);
}

pub async fn a_commit_may_be_fenced_by_a_lease_of_its_batch(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let lease = held(&*store, &run, 1).await;
    let next_token = sample::lease_token(2);
    let mut hop = sample::next(&run);
    hop.fences = vec![lease];
    hop.intents.push(IntentWrite::Remove(sample::intent(&run, "first").key));
    let mut leased = sample::intent(&run, "second");
    leased.lease = Some(next_token);
    leased.delay = super::setup::LEASE;
    hop.intents.push(IntentWrite::Add(leased));
    let mut after = sample::next(&hop.run);
    after.fences = vec![sample::lease(run.id, "second", next_token)];
    after.intents.push(IntentWrite::Remove(sample::intent(&run, "second").key));
    assert_eq!(apply_all(&*store, vec![hop, after]).await, [LANDED, LANDED]);
    assert_eq!(super::setup::history(&*store, run.id).await.intents, []);
}

pub async fn a_hundred_successive_commits_of_one_run_land_in_one_batch(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut run = started(&*store, 1).await;
    let mut batch = Vec::new();
    for _ in 0..100 {
        let commit = sample::next(&run);
        run = commit.run.clone();
        batch.push(commit);
    }
    assert_eq!(apply_all(&*store, batch).await, vec![LANDED; 100]);
    assert_eq!(state(&*store, run.id).await.run, run);
}
