//! Delayed work: delivered neither early nor never.

use super::ExecutorFixture;
use super::process::{Process, chain};
use super::witness::Witness;
use crate::definition::{Retry, ms};
use crate::event::EventKind;
use crate::run::RunStatus;
use crate::workflow::{Step, wait};

pub async fn delayed_work_is_not_delivered_early(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let moment = fixture.moment();
    let workflow = chain(
        "waiting",
        [
            ("before", witness.step("before")),
            ("pause", Step::new("pause", wait(moment))),
            ("behind", witness.step("behind")),
        ],
    );
    let mut process = Process::new(fixture, &store, &[workflow]);
    process.work(fixture);
    let run = process.start("waiting").await;
    process.sink.wait_for(|event| matches!(event.kind, EventKind::StepCompleted { .. })).await;
    fixture.pass(moment / 2).await;
    fixture.pass(moment * 2).await;
    assert_eq!(process.end_of(run.id).await, RunStatus::Completed);
    let details = process.details(run.id).await;
    let before = details.steps[0].attempts[0].finished_at.unwrap();
    let behind = details.steps[2].attempts[0].started_at;
    assert!(behind >= before.after(moment), "it began {behind}, less than {moment:?} after {before}");
    process.stop().await;
}

pub async fn a_retry_comes_after_its_backoff(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let moment = fixture.moment();
    let step = witness.failing_once("only").retry(Retry::fixed(2, moment));
    let mut process = Process::new(fixture, &store, &[chain("retrying", [("only", step)])]);
    process.work(fixture);
    let run = process.start("retrying").await;
    process.sink.wait_for(|event| matches!(event.kind, EventKind::StepRetryScheduled { .. })).await;
    fixture.pass(moment / 2).await;
    fixture.pass(moment * 2).await;
    assert_eq!(process.end_of(run.id).await, RunStatus::Completed);
    let attempts = process.details(run.id).await.steps.remove(0).attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
    let (failed, repeated) = (attempts[0].finished_at.unwrap(), attempts[1].started_at);
    assert!(repeated >= failed.after(moment), "it began {repeated}, less than {moment:?} after {failed}");
    process.stop().await;
}

pub async fn what_waits_does_not_hold_up_what_is_due(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let long = chain(
        "long",
        [("pause", Step::new("pause", wait(fixture.moment() * 1_000))), ("behind", witness.step("behind"))],
    );
    let mut process = Process::new(fixture, &store, &[long, chain("solo", [("only", witness.step("only"))])]);
    process.work(fixture);
    let waiting = process.start_many("long", 50).await;
    let due = process.start_many("solo", 5).await;
    process.all_completed(&due).await;
    for id in waiting {
        assert!(!process.details(id).await.run.status.is_terminal());
    }
    assert_eq!(witness.executions(), 5);
    process.stop().await;
}

pub async fn work_that_falls_due_while_nobody_works_is_delivered_later(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let moment = fixture.moment();
    let workflow = chain("waiting", [("pause", Step::new("pause", wait(moment))), ("behind", witness.step("behind"))]);
    let mut first = Process::new(fixture, &store, std::slice::from_ref(&workflow));
    first.work(fixture);
    let run = first.start("waiting").await;
    first.stop().await;
    assert_eq!(witness.executions(), 0);
    fixture.pass(moment + ms(1)).await;
    let mut second = Process::new(fixture, &store, &[workflow]);
    second.work(fixture);
    assert_eq!(second.end_of(run.id).await, RunStatus::Completed);
    assert_eq!(witness.executions(), 1);
    second.stop().await;
}
