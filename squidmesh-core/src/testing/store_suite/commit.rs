//! One commit: all of it or nothing, and only on the revision that it was decided on.

use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::json;

use super::StoreFixture;
use super::setup::{apply, committed, facts, history, started, state, together, try_apply};
use crate::definition::secs;
use crate::port::{CommitOutcome, IntentWrite, Precondition, StepWrite};
use crate::run::{
    AttemptStatus, AuditEvent, AuditKind, Failure, FailureKind, Run, RunSnapshot, RunStatus, StepRun, StepStatus,
};
use crate::testing::sample;

pub async fn a_started_run_reads_back_as_it_was_written(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut commit = sample::start(1);
    commit.run.replayed_from = Some(sample::run_id(0));
    commit.run.resumed_from = Some(sample::run_id(1));
    commit.run.intended_at = Some(sample::STARTED.after(secs(60)));
    commit.run.idempotency_key = Some("order-1".to_owned());
    let run = committed(&*store, commit).await;
    assert_eq!(state(&*store, run.id).await, RunSnapshot::new(run, [sample::step("first")]));
}

pub async fn a_run_that_was_never_started_is_none(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    assert!(store.load(sample::run_id(1)).await.unwrap().is_none());
    started(&*store, 2).await;
    assert!(store.load(sample::run_id(1)).await.unwrap().is_none());
}

pub async fn starting_a_run_that_exists_is_a_conflict(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let before = facts(&*store, run.id).await;
    let mut again = sample::start(1);
    again.run.payload = sample::object(json!({ "another": true }));
    again.run.token = sample::commit_token(77);
    assert_eq!(apply(&*store, again).await, CommitOutcome::Conflict);
    assert_eq!(facts(&*store, run.id).await, before);
}

/// A caller that lost the answer finds out by the run's token; the store does not guess.
pub async fn the_same_commit_twice_is_a_conflict(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    assert_eq!(apply(&*store, sample::start(1)).await, CommitOutcome::Conflict);
    let mut next = sample::next(&run);
    next.audit.push(AuditEvent::new(AuditKind::Unblocked, next.run.revision, next.run.updated_at));
    committed(&*store, next.clone()).await;
    let before = facts(&*store, run.id).await;
    assert_eq!(apply(&*store, next).await, CommitOutcome::Conflict);
    assert_eq!(facts(&*store, run.id).await, before);
}

pub async fn changing_a_run_that_does_not_exist_is_a_conflict(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut commit = sample::next(&sample::run(1));
    commit.steps.push(StepWrite::Create(sample::step("first")));
    commit.intents.push(IntentWrite::Add(sample::intent(&commit.run, "first")));
    let id = commit.run.id;
    assert_eq!(apply(&*store, commit).await, CommitOutcome::Conflict);
    assert!(store.load(id).await.unwrap().is_none());
    assert_eq!(history(&*store, id).await.intents, []);
}

pub async fn a_commit_on_an_old_revision_conflicts_and_changes_nothing(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let old = started(&*store, 1).await;
    committed(&*store, sample::next(&old)).await;
    let before = facts(&*store, old.id).await;

    let mut late = sample::next(&old);
    late.run.status = RunStatus::Failed;
    late.run.token = sample::commit_token(99);
    late.steps.push(StepWrite::Update(StepRun { status: StepStatus::Running, ..sample::step("first") }));
    late.steps.push(StepWrite::Create(sample::step("second")));
    late.attempts.push(sample::attempt("first", 1));
    late.intents.push(IntentWrite::Add(sample::intent(&old, "second")));
    late.audit.push(AuditEvent::new(AuditKind::Cancelled, late.run.revision, late.run.updated_at));
    assert_eq!(apply(&*store, late).await, CommitOutcome::Conflict);
    assert_eq!(facts(&*store, old.id).await, before);
}

pub async fn a_commit_on_a_revision_not_yet_reached_is_a_conflict(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let skipped = sample::next(&run).run;
    assert_eq!(apply(&*store, sample::next(&skipped)).await, CommitOutcome::Conflict);
    assert_eq!(state(&*store, run.id).await.run.revision, 1);
}

pub async fn of_concurrent_commits_on_one_revision_exactly_one_lands(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut run = started(&*store, 1).await;
    for round in 0..10 {
        let racers = (0..8).map(|racer| {
            let (store, mut commit) = (Arc::clone(&store), sample::next(&run));
            commit.run.token = sample::commit_token(1_000 + round * 10 + racer);
            async move { (commit.run.clone(), apply(&*store, commit).await) }.boxed()
        });
        let ended = together(fixture, racers).await;
        let won: Vec<&Run> =
            ended.iter().filter(|(_, outcome)| *outcome == CommitOutcome::Committed).map(|(run, _)| run).collect();
        assert_eq!(won.len(), 1, "{ended:?}");
        assert!(ended.iter().all(|(_, outcome)| matches!(outcome, CommitOutcome::Committed | CommitOutcome::Conflict)));
        run = state(&*store, run.id).await.run;
        assert_eq!(&run, won[0]);
    }
}

pub async fn of_concurrent_starts_of_one_run_exactly_one_lands(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let racers = (0..8).map(|racer| {
        let (store, mut commit) = (Arc::clone(&store), sample::start(1));
        commit.run.token = sample::commit_token(1_000 + racer);
        async move { (commit.run.token, apply(&*store, commit).await) }.boxed()
    });
    let ended = together(fixture, racers).await;
    let won: Vec<_> = ended.iter().filter(|(_, outcome)| *outcome == CommitOutcome::Committed).collect();
    assert_eq!(won.len(), 1, "{ended:?}");
    assert!(ended.iter().all(|(_, outcome)| matches!(outcome, CommitOutcome::Committed | CommitOutcome::Conflict)));
    assert_eq!(state(&*store, sample::run_id(1)).await.run.token, won[0].0);
}

pub async fn everything_that_may_change_of_a_run_is_changed(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let other = sample::definition_of(sample::WORKFLOW, &["first", "second", "third"]);
    let mut commit = sample::next(&started(&*store, 1).await);
    commit.run.status = RunStatus::Failed;
    commit.run.current_step = None;
    commit.run.last_error = Some(Failure::new(FailureKind::TIMEOUT, "too slow").at(&sample::step_name("first")));
    commit.run.fingerprint = *other.fingerprint();
    commit.run.updated_at = sample::STARTED.after(secs(5));
    commit.run.finished_at = Some(sample::STARTED.after(secs(6)));
    commit.definition = Some(other);
    let failed = committed(&*store, commit).await;
    assert_eq!(state(&*store, failed.id).await.run, failed);

    let mut cleared = sample::next(&failed);
    cleared.run.last_error = None;
    cleared.run.finished_at = None;
    cleared.run.current_step = Some(sample::step_name("second"));
    let cleared = committed(&*store, cleared).await;
    assert_eq!(state(&*store, failed.id).await.run, cleared);
}

pub async fn every_status_of_a_run_reads_back(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for (number, status) in RunStatus::ALL.into_iter().enumerate() {
        let mut commit = sample::start(number as u64);
        commit.run.status = status;
        let run = committed(&*store, commit).await;
        assert_eq!(state(&*store, run.id).await.run.status, status);
    }
}

pub async fn a_commit_names_itself_by_its_token(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let mut commit = sample::next(&run);
    commit.run.token = sample::commit_token(42);
    committed(&*store, commit).await;
    let stored = state(&*store, run.id).await.run;
    assert_eq!((stored.revision, stored.token), (2, sample::commit_token(42)));
}

pub async fn a_step_run_that_is_created_twice_fails_its_whole_commit(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let before = facts(&*store, run.id).await;
    let mut commit = sample::next(&run);
    commit.run.status = RunStatus::Running;
    commit.steps.push(StepWrite::Create(sample::step("second")));
    commit.steps.push(StepWrite::Create(sample::step("first")));
    commit.intents.push(IntentWrite::Add(sample::intent(&run, "second")));
    commit.intents.push(IntentWrite::Remove(sample::intent(&run, "first").key));
    commit.audit.push(AuditEvent::new(AuditKind::Unblocked, commit.run.revision, commit.run.updated_at));
    let answer = try_apply(&*store, commit).await;
    assert!(answer.as_ref().is_err_and(|error| !error.is_transient()), "{answer:?}");
    assert_eq!(facts(&*store, run.id).await, before);
}

pub async fn an_attempt_that_is_created_twice_fails_its_whole_commit(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut begin = sample::next(&started(&*store, 1).await);
    begin.attempts.push(sample::attempt("first", 1));
    let run = committed(&*store, begin).await;
    let before = facts(&*store, run.id).await;
    let mut again = sample::next(&run);
    again.steps.push(StepWrite::Create(sample::step("second")));
    again.attempts.push(sample::attempt("first", 1));
    again.intents.push(IntentWrite::Remove(sample::intent(&run, "first").key));
    let answer = try_apply(&*store, again).await;
    assert!(answer.as_ref().is_err_and(|error| !error.is_transient()), "{answer:?}");
    assert_eq!(facts(&*store, run.id).await, before);
}

pub async fn a_failed_start_leaves_no_trace(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let definition = sample::definition_of("unlucky", &["first"]);
    let mut commit = sample::start_of(&definition, 1);
    commit.run.idempotency_key = Some("key".to_owned());
    commit.attempts.push(sample::attempt("first", 1));
    commit.attempts.push(sample::attempt("first", 1));
    let answer = try_apply(&*store, commit).await;
    assert!(answer.is_err(), "an attempt cannot be created twice: {answer:?}");
    assert_eq!(facts(&*store, sample::run_id(1)).await, (None, crate::port::RunHistory::default()));
    assert_eq!(store.find_by_idempotency_key(definition.name(), "key").await.unwrap(), None);
    assert_eq!(store.definition(definition.fingerprint()).await.unwrap(), None);
}

pub async fn a_commit_writes_all_its_parts_together(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let mut commit = sample::next(&run);
    commit.run.status = RunStatus::Running;
    commit.run.current_step = Some(sample::step_name("second"));
    let first = StepRun {
        status: StepStatus::Completed,
        output: Some(sample::object(json!({ "done": true }))),
        attempt: 1,
        sequence: Some(1),
        ..sample::step("first")
    };
    let mut attempt = sample::attempt("first", 1);
    attempt.status = AttemptStatus::Completed;
    attempt.finished_at = Some(attempt.started_at.after(secs(1)));
    let audit = AuditEvent::new(AuditKind::Approved, 2, commit.run.updated_at);
    commit.steps = vec![StepWrite::Update(first.clone()), StepWrite::Create(sample::step("second"))];
    commit.attempts = vec![attempt.clone()];
    commit.audit = vec![audit.clone()];
    commit.intents =
        vec![IntentWrite::Remove(sample::intent(&run, "first").key), IntentWrite::Add(sample::intent(&run, "second"))];
    let run = committed(&*store, commit).await;

    assert_eq!(state(&*store, run.id).await, RunSnapshot::new(run.clone(), [first, sample::step("second")]));
    let history = history(&*store, run.id).await;
    assert_eq!((history.attempts, history.audit), (vec![attempt], vec![audit]));
    let live: Vec<_> = history.intents.into_iter().map(|intent| intent.key).collect();
    assert_eq!(live, [sample::intent(&run, "second").key]);
}

pub async fn a_commit_of_a_thousand_steps_lands_whole(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let names: Vec<String> = (0..1_000).map(|number| format!("part-{number:04}")).collect();
    let mut fan_out = sample::next(&run);
    for name in &names {
        fan_out.steps.push(StepWrite::Create(sample::step(name)));
        fan_out.intents.push(IntentWrite::Add(sample::intent(&run, name)));
    }
    let run = committed(&*store, fan_out).await;
    assert_eq!(state(&*store, run.id).await.steps.len(), 1_001);
    assert_eq!(history(&*store, run.id).await.intents.len(), 1_001);

    let mut done = sample::next(&run);
    for name in &names {
        done.steps.push(StepWrite::Update(StepRun { status: StepStatus::Completed, attempt: 1, ..sample::step(name) }));
        done.attempts.push(sample::attempt(name, 1));
        done.intents.push(IntentWrite::Remove(sample::intent(&run, name).key));
    }
    let run = committed(&*store, done).await;
    let state = state(&*store, run.id).await;
    assert_eq!(state.in_status(StepStatus::Completed).count(), 1_000);
    let history = history(&*store, run.id).await;
    assert_eq!((history.attempts.len(), history.intents.len()), (1_000, 1));
}

pub async fn the_revision_counts_every_commit(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut run = started(&*store, 1).await;
    for expected in 1..=20 {
        assert_eq!(state(&*store, run.id).await.run.revision, expected);
        let commit = sample::next(&run);
        assert_eq!(commit.precondition, Precondition::Revision(expected));
        run = committed(&*store, commit).await;
    }
}
