//! Graceful shutdown: running deliveries may finish, nothing is lost, and no attempt is used up.

use super::ExecutorFixture;
use super::process::{Process, chain, while_time_passes};
use super::witness::Witness;
use crate::definition::Retry;
use crate::run::{AttemptStatus, RunStatus};

pub async fn idle_workers_stop(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let mut process = Process::new(fixture, &store, &[chain("solo", [("only", witness.step("only"))])]);
    process.work(fixture);
    process.stop().await;
}

pub async fn workers_stopped_before_they_start_take_nothing(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let mut process = Process::new(fixture, &store, &[chain("solo", [("only", witness.step("only"))])]);
    process.shut_down();
    let run = process.start("solo").await;
    process.work(fixture);
    process.ended().await;
    let left = process.details(run.id).await;
    // Whether or not it was just in time to be claimed, the run is whole: started and completed, or untouched.
    assert!(matches!(left.run.status, RunStatus::Pending | RunStatus::Completed), "{:?}", left.run.status);
    assert!(left.intents.iter().all(|intent| intent.lease.is_none()), "nothing stays claimed");
}

pub async fn a_step_that_runs_may_finish(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let workflow = chain("pair", [("one", witness.gated("one")), ("two", witness.step("two"))]);
    let mut process = Process::new(fixture, &store, std::slice::from_ref(&workflow));
    process.work(fixture);
    let run = process.start("pair").await;
    witness.seen(1).await;
    process.shut_down();
    witness.open_gate();
    process.ended().await;
    let details = process.details(run.id).await;
    let attempts: Vec<_> = details.steps[0].attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(attempts, [AttemptStatus::Completed]);
    assert!(details.intents.iter().all(|intent| intent.lease.is_none()), "what follows is left for others");

    let mut next = Process::new(fixture, &store, &[workflow]);
    if details.run.status != RunStatus::Completed {
        next.work(fixture);
        assert_eq!(next.end_of(run.id).await, RunStatus::Completed);
        next.stop().await;
    }
    assert_eq!(witness.each(), [1, 1]);
}

pub async fn what_has_not_begun_is_left_for_others(fixture: &dyn ExecutorFixture) {
    const RUNS: u32 = 200;
    let (store, witness) = (fixture.store().await, Witness::default());
    let workflow = chain("solo", [("only", witness.gated("only"))]);
    let mut process = Process::new(fixture, &store, std::slice::from_ref(&workflow));
    let runs = process.start_many("solo", RUNS as usize).await;
    process.work(fixture);
    witness.seen(1).await;
    process.shut_down();
    witness.open_gate();
    process.ended().await;
    let done = witness.executions();

    let mut next = Process::new(fixture, &store, &[workflow]);
    next.work(fixture);
    for id in &runs {
        let finished_before = next.details(*id).await.run.status == RunStatus::Completed;
        assert!(finished_before || next.end_of(*id).await == RunStatus::Completed);
    }
    assert_eq!(witness.each(), vec![1; RUNS as usize], "{done} were done by the first, and none of them again");
    for id in runs {
        let attempts = next.details(id).await.steps.remove(0).attempts;
        assert_eq!(attempts.len(), 1, "no attempt was burnt");
    }
    next.stop().await;
}

pub async fn a_step_that_does_not_end_is_interrupted_and_does_not_count(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let workflow = chain("stuck", [("only", witness.stuck_once("only").retry(Retry::never()))]);
    let mut process = Process::new(fixture, &store, std::slice::from_ref(&workflow));
    process.work(fixture);
    let run = process.start("stuck").await;
    witness.seen(1).await;
    process.shut_down();
    while_time_passes(fixture, process.ended()).await;
    let step = process.details(run.id).await.steps.remove(0);
    assert_eq!(step.attempts[0].status, AttemptStatus::Interrupted);
    assert_eq!(step.run.unwrap().failures, 0);

    let mut next = Process::new(fixture, &store, &[workflow]);
    next.work(fixture);
    assert_eq!(next.end_of(run.id).await, RunStatus::Completed);
    assert_eq!(witness.executions(), 2);
    next.stop().await;
}
