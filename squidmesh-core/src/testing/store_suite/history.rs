//! Attempts and the audit trail.

use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::{Map, json};

use super::StoreFixture;
use super::setup::{apply, committed, history, started, state, take_turns, together};
use crate::definition::secs;
use crate::port::{CommitOutcome, RunHistory, StepWrite, StoreSession};
use crate::run::{AttemptStatus, AuditEvent, AuditKind, StepRun};
use crate::testing::sample;

pub async fn a_run_that_was_never_started_has_an_empty_history(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    started(&*store, 2).await;
    assert_eq!(store.history(sample::run_id(1)).await.unwrap(), RunHistory::default());
}

pub async fn attempts_come_by_step_and_number(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut run = started(&*store, 1).await;
    // Twelve of one step, so that sorting by text would show.
    let order = (1..=12).map(|number| ("b", number)).chain([("c", 1), ("a", 1), ("a", 2)]);
    for (step, number) in order {
        let mut commit = sample::next(&run);
        commit.attempts.push(sample::attempt(step, number));
        run = committed(&*store, commit).await;
    }
    let expected: Vec<_> = [("a", 1), ("a", 2)]
        .into_iter()
        .chain((1..=12).map(|number| ("b", number)))
        .chain([("c", 1)])
        .map(|(step, number)| sample::attempt(step, number))
        .collect();
    assert_eq!(history(&*store, run.id).await.attempts, expected);
}

pub async fn attempts_of_every_status_read_back(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut run = started(&*store, 1).await;
    let mut attempts = Vec::new();
    let statuses =
        [AttemptStatus::Failed, AttemptStatus::Interrupted, AttemptStatus::Completed, AttemptStatus::Running];
    for (number, status) in (1..).zip(statuses) {
        let mut commit = sample::next(&run);
        let mut attempt = sample::attempt("first", number);
        attempt.status = status;
        attempt.error = (status == AttemptStatus::Failed).then(|| crate::run::Failure::new("odd", "once"));
        attempt.finished_at = (status != AttemptStatus::Running).then(|| attempt.started_at.after(secs(1)));
        commit.attempts.push(attempt.clone());
        run = committed(&*store, commit).await;
        attempts.push(attempt);
    }
    assert_eq!(history(&*store, run.id).await.attempts, attempts);
}

pub async fn attempts_are_numbered_without_gaps_under_concurrency(fixture: &dyn StoreFixture) {
    const WORKERS: u64 = 8;
    const EACH: u32 = 5;
    let (store, _) = fixture.fresh().await;
    let run = started(&*store, 1).await;
    let workers = (0..WORKERS).map(|worker| {
        let (store, id) = (Arc::clone(&store), run.id);
        async move {
            let mut done = 0;
            while done < EACH {
                let seen = state(&*store, id).await;
                take_turns().await;
                let number = seen.steps[&sample::step_name("first")].attempt + 1;
                let mut commit = sample::next(&seen.run);
                commit.run.token = sample::commit_token(worker * 1_000_000 + u64::from(number));
                commit.steps.push(StepWrite::Update(StepRun { attempt: number, ..sample::step("first") }));
                commit.attempts.push(sample::attempt("first", number));
                match apply(&*store, commit).await {
                    CommitOutcome::Committed => done += 1,
                    CommitOutcome::Conflict => take_turns().await,
                    other => panic!("neither fence nor key is involved: {other:?}"),
                }
            }
        }
        .boxed()
    });
    together(fixture, workers).await;
    let numbers: Vec<u32> = history(&*store, run.id).await.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, (1..=WORKERS as u32 * EACH).collect::<Vec<_>>());
    assert_eq!(state(&*store, run.id).await.run.revision, WORKERS * u64::from(EACH) + 1);
}

pub async fn the_audit_trail_comes_in_order(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut run = started(&*store, 1).await;
    let mut expected = Vec::new();
    for round in 0..12 {
        let mut commit = sample::next(&run);
        for (place, kind) in [AuditKind::Paused, AuditKind::Approved, AuditKind::Cancelled].into_iter().enumerate() {
            // The times run backwards: the trail is ordered by revision.
            let mut entry = AuditEvent::new(kind, commit.run.revision, sample::STARTED.after(secs(100 - round)));
            entry.comment = Some(format!("{round}.{place}"));
            commit.audit.push(entry);
        }
        expected.extend(commit.audit.iter().cloned());
        run = committed(&*store, commit).await;
    }
    assert_eq!(history(&*store, run.id).await.audit, expected);
}

pub async fn every_kind_of_audit_entry_reads_back(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    let mut start = sample::start(1);
    for kind in AuditKind::ALL {
        let mut entry = AuditEvent::new(kind, 1, sample::STARTED);
        entry.step = Some(sample::step_name("first"));
        entry.actor = Some("Zoë 🦑".to_owned());
        entry.comment = Some("“well”\nthen".to_owned());
        entry.metadata =
            Some(Map::from_iter([("amount".to_owned(), json!(12.5)), ("who".to_owned(), json!(["ü", null]))]));
        start.audit.push(entry);
    }
    start.audit.push(AuditEvent::new(AuditKind::Paused, 1, sample::STARTED));
    let expected = start.audit.clone();
    let run = committed(&*store, start).await;
    assert_eq!(history(&*store, run.id).await.audit, expected);
}

pub async fn a_history_is_of_one_run_alone(fixture: &dyn StoreFixture) {
    let (store, _) = fixture.fresh().await;
    for number in 1..=3 {
        let mut commit = sample::start(number);
        commit.attempts.push(sample::attempt("first", 1));
        commit.audit.push(AuditEvent::new(AuditKind::Paused, 1, sample::STARTED));
        committed(&*store, commit).await;
    }
    let found = history(&*store, sample::run_id(2)).await;
    assert_eq!((found.attempts.len(), found.audit.len(), found.intents.len()), (1, 1, 1));
    assert_eq!(found.intents[0].key.run_id, sample::run_id(2));
}
