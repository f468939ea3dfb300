//! Several workers on one store: they share the work, and one finishes what another leaves behind.

use super::ExecutorFixture;
use super::process::{LOOKS, Process, chain};
use super::witness::Witness;
use crate::definition::{Retry, ms};
use crate::port::{IntentRecord, Store};
use crate::run::{AttemptStatus, FailureKind, RunStatus};
use crate::testing::store_suite::take_turns;

pub async fn two_workers_on_one_store_do_each_step_once(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let workflow = chain("pair", [("one", witness.step("one")), ("two", witness.step("two"))]);
    let mut processes = [0, 1].map(|_| Process::new(fixture, &store, std::slice::from_ref(&workflow)));
    for process in &mut processes {
        process.work(fixture);
    }
    let mut runs = processes[0].start_many("pair", 50).await;
    runs.extend(processes[1].start_many("pair", 50).await);
    witness.seen(200).await;
    for process in &mut processes {
        process.stop().await;
    }
    assert_eq!(witness.each(), vec![1; 200]);
    for id in runs {
        let details = processes[0].details(id).await;
        assert_eq!(details.run.status, RunStatus::Completed);
        assert!(details.steps.iter().all(|step| step.attempts.len() == 1));
    }
}

pub async fn a_dead_workers_step_is_retried_after_its_lease(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let step = witness.stuck_once("only").retry(Retry::fixed(3, ms(0)));
    let workflow = chain("stuck", [("only", step)]);
    let mut doomed = Process::new(fixture, &store, std::slice::from_ref(&workflow));
    doomed.work(fixture);
    let run = doomed.start("stuck").await;
    witness.seen(1).await;
    doomed.kill().await;

    let mut heir = Process::new(fixture, &store, &[workflow]);
    heir.work(fixture);
    assert_eq!(heir.details(run.id).await.steps[0].attempts.len(), 1, "the lease still lasts");
    fixture.pass(fixture.moment() * 11).await;
    assert_eq!(heir.end_of(run.id).await, RunStatus::Completed);
    let attempts = heir.details(run.id).await.steps.remove(0).attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(attempts[0].error.as_ref().unwrap().kind, FailureKind::STALE_RUNNING_STEP);
    assert_eq!(attempts[1].status, AttemptStatus::Completed);
    heir.stop().await;
}

pub async fn a_slow_step_is_not_taken_from_its_worker(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let workflow = chain("slow", [("only", witness.gated("only"))]);
    let mut slow = Process::new(fixture, &store, std::slice::from_ref(&workflow));
    slow.work(fixture);
    let run = slow.start("slow").await;
    witness.seen(1).await;
    let mut idle = Process::new(fixture, &store, &[workflow]);
    idle.work(fixture);
    // Six heartbeats are longer than the lease.
    let mut held = lease(&*store, run.id).await;
    let mut heartbeats = 0;
    while heartbeats < 6 {
        fixture.pass(fixture.moment()).await;
        for _ in 0..LOOKS {
            let now = lease(&*store, run.id).await;
            assert_eq!(now.lease, held.lease, "no other worker took it over");
            if now.available_at > held.available_at {
                held = now;
                heartbeats += 1;
                break;
            }
            take_turns().await;
        }
    }
    witness.open_gate();
    slow.all_completed(&[run.id]).await;
    let attempts = slow.details(run.id).await.steps.remove(0).attempts;
    assert_eq!(attempts.len(), 1);
    assert_eq!(witness.executions(), 1);
    slow.stop().await;
    idle.stop().await;
}

pub async fn a_worker_that_died_between_steps_loses_none(fixture: &dyn ExecutorFixture) {
    let (store, witness) = (fixture.store().await, Witness::default());
    let step = witness.stuck_once("two").retry(Retry::fixed(3, ms(0)));
    let workflow = chain("hops", [("one", witness.step("one")), ("two", step), ("three", witness.step("three"))]);
    let mut doomed = Process::new(fixture, &store, std::slice::from_ref(&workflow));
    doomed.work(fixture);
    let runs = doomed.start_many("hops", 3).await;
    witness.seen(6).await;
    doomed.kill().await;
    let mut heir = Process::new(fixture, &store, &[workflow]);
    heir.work(fixture);
    fixture.pass(fixture.moment() * 11).await;
    heir.all_completed(&runs).await;
    for id in runs {
        let attempts: Vec<usize> = heir.details(id).await.steps.iter().map(|step| step.attempts.len()).collect();
        assert_eq!(attempts, [1, 2, 1]);
    }
    heir.stop().await;
}

/// Returns the intent of a run's only step, as it is held.
async fn lease(store: &dyn Store, run: crate::id::RunId) -> IntentRecord {
    store.history(run).await.unwrap().intents.remove(0)
}
