//! A person's decision is executed once, and is answered as such, although the store's answer is lost and the run
//! continues before anyone can look at it again.
#![allow(missing_docs, clippy::unwrap_used, reason = "these are tests")]

use std::future::IntoFuture;
use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::json;
use squidmesh_core::definition::LogLevel;
use squidmesh_core::port::StoreSession;
use squidmesh_core::run::AuditKind;
use squidmesh_core::testing::{Fault, ManualClock, MemoryExecutor, MemoryStore, block_on};
use squidmesh_core::workflow::WorkflowBuilder;
use squidmesh_core::{COMPLETE, RunFilter, RunStatus, Squidmesh, Step, Trigger, Workflow, log, pause, secs};

fn held() -> WorkflowBuilder {
    Workflow::builder("held").trigger(Trigger::manual("go")).step(Step::new("first", pause()))
}

/// Unblocks the run of a workflow while the answer is lost and another process continues it. Returns the run's status
/// then, and how often it was unblocked.
fn released(workflow: WorkflowBuilder) -> (RunStatus, usize) {
    let workflow = workflow.build().unwrap();
    let clock = Arc::new(ManualClock::default());
    let store = MemoryStore::new(clock.clone());
    let process = || {
        let executor = MemoryExecutor::new(clock.clone());
        let builder = Squidmesh::builder(store.clone()).executor(executor.clone());
        (builder.workflow(workflow.clone()).build().unwrap(), executor)
    };
    let ((client, _), (worker, executor)) = (process(), process());
    let run = block_on(client.start_run("held", &json!({}))).unwrap().id;
    block_on(executor.run_to_rest(&worker)).unwrap();

    store.fail_next_commit(Fault::ErrorAfterApply);
    let mut asked = client.unblock_run(run).into_future();
    assert!((&mut asked).now_or_never().is_none(), "it waits before it looks again");
    block_on(executor.run_to_rest(&worker)).unwrap();
    clock.advance(secs(1));
    assert_eq!(block_on(asked).unwrap().id, run);

    block_on(executor.run_to_rest(&worker)).unwrap();
    let released = block_on(store.history(run)).unwrap().audit.into_iter().filter(|it| it.kind == AuditKind::Unblocked);
    (block_on(store.load(run)).unwrap().unwrap().run.status, released.count())
}

/// Polls a request whose answer is lost, and waits until it is retried.
fn asked_twice<T>(clock: &ManualClock, asked: impl Future<Output = T>) -> T {
    let mut asked = Box::pin(asked);
    assert!((&mut asked).now_or_never().is_none(), "it waits before it looks again");
    clock.advance(secs(1));
    block_on(asked)
}

#[test]
fn a_commit_applied_after_it_was_looked_up_is_not_repeated() {
    let twice = held().step(Step::new("second", pause())).then("first", "second").then("second", COMPLETE);
    let clock = Arc::new(ManualClock::default());
    let (store, executor) = (MemoryStore::new(clock.clone()), MemoryExecutor::new(clock.clone()));
    let mesh = Squidmesh::builder(store.clone()).executor(executor.clone()).workflow(twice.build().unwrap()).build();
    let mesh = mesh.unwrap();

    store.fail_next_commit(Fault::AppliedLate);
    let run = asked_twice(&clock, mesh.start_run("held", &json!({})).into_future()).unwrap().id;
    let runs = block_on(mesh.list_runs(&RunFilter::new())).unwrap().runs;
    assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), [run]);

    block_on(executor.run_to_rest(&mesh)).unwrap();
    store.fail_next_commit(Fault::AppliedLate);
    assert_eq!(asked_twice(&clock, mesh.unblock_run(run).into_future()).unwrap().id, run);
    block_on(executor.run_to_rest(&mesh)).unwrap();
    let details = block_on(mesh.inspect_run(run)).unwrap();
    assert_eq!((details.run.status, details.run.current_step.unwrap().as_str()), (RunStatus::Paused, "second"));
    assert_eq!(details.audit.iter().filter(|it| it.kind == AuditKind::Unblocked).count(), 1);
}

#[test]
fn one_release_does_not_release_the_next_pause_as_well() {
    let twice = held().step(Step::new("second", pause())).then("first", "second").then("second", COMPLETE);
    assert_eq!(released(twice), (RunStatus::Paused, 1));
}

#[test]
fn a_release_that_was_carried_out_is_not_refused() {
    let on = held().step(Step::new("on", log("on", LogLevel::Debug))).then("first", "on").then("on", COMPLETE);
    assert_eq!(released(on), (RunStatus::Completed, 1));
}
