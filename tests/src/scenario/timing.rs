//! Steps that wait, and steps that start later.

use serde_json::{Value, json};
use squidmesh_core::definition::LogLevel;
use squidmesh_core::workflow::WithDelay;
use squidmesh_core::{COMPLETE, RunStatus, Step, StepContext, StepResult, log, ms, wait};

use super::{chain, done, nothing, workflow};
use crate::world::{attempts, step};
use crate::{Backend, Journal};

pub async fn a_wait_holds_the_run_for_its_time(backend: &Backend) {
    let journal = Journal::new();
    let waiting = workflow("waiting")
        .step(journal.step("before", done))
        .step(Step::new("wait", wait(ms(200))))
        .step(journal.step("after", done))
        .then("before", "wait")
        .then("wait", "after")
        .then("after", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([waiting]);
    let run = world.start_run("waiting", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    let before = step(&details, "before").attempts[0].finished_at.unwrap();
    let after = step(&details, "after").attempts[0].started_at;
    assert!(after.since(before) >= ms(200), "{:?}", after.since(before));
    assert_eq!(attempts(&details, "wait"), ["completed"]);
}

pub async fn a_wait_that_begins_a_workflow_is_kept_too(backend: &Backend) {
    let journal = Journal::new();
    let waiting = workflow("waiting")
        .step(Step::new("wait", wait(ms(150))))
        .step(journal.step("after", done).after(["wait"]))
        .build()
        .unwrap();
    let world = backend.world([waiting]);
    let run = world.start_run("waiting", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert!(step(&details, "after").attempts[0].started_at.since(run.created_at) >= ms(150));
}

pub async fn a_wait_outlives_the_process_that_began_it(backend: &Backend) {
    let journal = Journal::new();
    let waiting = || {
        workflow("waiting")
            .step(Step::new("wait", wait(ms(250))))
            .step(journal.step("after", done))
            .then("wait", "after")
            .then("after", COMPLETE)
            .build()
            .unwrap()
    };
    let first = backend.world([waiting()]);
    let run = first.start_run("waiting", &nothing()).await.unwrap();
    first.working(async {}).await; // it is looked at, and not due
    drop(first);
    backend.pass(ms(100)).await;
    let details = backend.world([waiting()]).settle(run.id).await;
    let waited = step(&details, "after").attempts[0].started_at.since(run.created_at);
    assert!(waited >= ms(250), "{waited:?}");
    assert!(waited < ms(5_000), "a restart does not begin the wait again: {waited:?}");
}

pub async fn a_log_step_passes(backend: &Backend) {
    let journal = Journal::new();
    let logging = workflow("logging")
        .step(Step::new("say", log("hello", LogLevel::Info)))
        .step(journal.step("after", done))
        .then("say", "after")
        .then("after", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([logging]);
    let run = world.start_run("logging", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, attempts(&details, "say")), (RunStatus::Completed, vec!["completed"]));
    assert!(details.context.is_empty());
}

async fn not_yet(_: Value, _: StepContext) -> StepResult<WithDelay<Value>> {
    Ok(WithDelay::by(ms(200), json!({"given": 1})))
}

pub async fn a_step_may_put_its_successor_off(backend: &Backend) {
    let journal = Journal::new();
    let delayed = workflow("delayed")
        .step(Step::new("first", not_yet))
        .step(journal.step("second", done))
        .then("first", "second")
        .then("second", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([delayed]);
    let run = world.start_run("delayed", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let first = step(&details, "first").attempts[0].finished_at.unwrap();
    let second = step(&details, "second").attempts[0].started_at;
    assert!(second.since(first) >= ms(200), "{:?}", second.since(first));
    assert_eq!(journal.of("second")[0].input, json!({"given": 1}));
}

pub async fn work_that_is_due_overtakes_work_that_waits(backend: &Backend) {
    let journal = Journal::new();
    let waiting = workflow("waiting")
        .step(Step::new("wait", wait(ms(400))))
        .step(journal.step("late", done))
        .then("wait", "late")
        .then("late", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([waiting, chain("quick", &journal, &["a", "b"])]);
    let slow = world.start_run("waiting", &nothing()).await.unwrap();
    let quick = world.start_run("quick", &nothing()).await.unwrap();
    world.settle_all([quick.id, slow.id]).await;
    assert_eq!(journal.steps(), ["a", "b", "late"]);
}
