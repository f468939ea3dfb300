//! Steps that wait, and steps that start later.

use serde_json::{Value, json};
use squidmesh_core::{COMPLETE, Delayed, LogLevel, RunStatus, Step, StepContext, StepResult, log, ms, wait};

use super::{chain, done, nothing, workflow};
use crate::world::{attempts, step};
use crate::{Ground, Journal};

pub async fn a_wait_holds_the_run_for_its_time(ground: &Ground) {
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
    let world = ground.world([waiting]);
    let run = world.start_run("waiting", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
    let before = step(&details, "before").attempts[0].finished_at.unwrap();
    let after = step(&details, "after").attempts[0].started_at;
    assert!(after.since(before) >= ms(200), "{:?}", after.since(before));
    assert_eq!(attempts(&details, "wait"), ["completed"]);
}

pub async fn a_wait_that_begins_a_workflow_is_kept_too(ground: &Ground) {
    let journal = Journal::new();
    let waiting = workflow("waiting")
        .step(Step::new("wait", wait(ms(150))))
        .step(journal.step("after", done).after(["wait"]))
        .build()
        .unwrap();
    let world = ground.world([waiting]);
    let run = world.start_run("waiting", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert!(step(&details, "after").attempts[0].started_at.since(run.created_at) >= ms(150));
}

pub async fn a_wait_outlives_the_process_that_began_it(ground: &Ground) {
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
    let first = ground.world([waiting()]);
    let run = first.start_run("waiting", &nothing()).await.unwrap();
    first.working(async {}).await; // it is looked at, and not due
    drop(first);
    ground.pass(ms(100)).await;
    let details = ground.world([waiting()]).settle(run.id).await;
    let waited = step(&details, "after").attempts[0].started_at.since(run.created_at);
    assert!(waited >= ms(250), "{waited:?}");
    assert!(waited < ms(5_000), "a restart does not begin the wait again: {waited:?}");
}

pub async fn a_log_step_passes(ground: &Ground) {
    let journal = Journal::new();
    let logging = workflow("logging")
        .step(Step::new("say", log("hello", LogLevel::Info)))
        .step(journal.step("after", done))
        .then("say", "after")
        .then("after", COMPLETE)
        .build()
        .unwrap();
    let world = ground.world([logging]);
    let run = world.start_run("logging", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!((details.run.status, attempts(&details, "say")), (RunStatus::Completed, vec!["completed"]));
    assert!(details.context.is_empty());
}

async fn not_yet(_: Value, _: StepContext) -> StepResult<Delayed<Value>> {
    Ok(Delayed::by(ms(200), json!({"given": 1})))
}

pub async fn a_step_may_put_its_successor_off(ground: &Ground) {
    let journal = Journal::new();
    let delayed = workflow("delayed")
        .step(Step::new("first", not_yet))
        .step(journal.step("second", done))
        .then("first", "second")
        .then("second", COMPLETE)
        .build()
        .unwrap();
    let world = ground.world([delayed]);
    let run = world.start_run("delayed", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let first = step(&details, "first").attempts[0].finished_at.unwrap();
    let second = step(&details, "second").attempts[0].started_at;
    assert!(second.since(first) >= ms(200), "{:?}", second.since(first));
    assert_eq!(journal.of("second")[0].input, json!({"given": 1}));
}

pub async fn work_that_is_due_overtakes_work_that_waits(ground: &Ground) {
    let journal = Journal::new();
    let waiting = workflow("waiting")
        .step(Step::new("wait", wait(ms(400))))
        .step(journal.step("late", done))
        .then("wait", "late")
        .then("late", COMPLETE)
        .build()
        .unwrap();
    let world = ground.world([waiting, chain("quick", &journal, &["a", "b"])]);
    let slow = world.start_run("waiting", &nothing()).await.unwrap();
    let quick = world.start_run("quick", &nothing()).await.unwrap();
    world.settle_all([quick.id, slow.id]).await;
    assert_eq!(journal.steps(), ["a", "b", "late"]);
}
