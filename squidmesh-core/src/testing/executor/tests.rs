//! The executor in memory as a host's test uses it.

use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::*;
use crate::definition::{Retry, hours, ms, secs};
use crate::engine::DispatchRefused;
use crate::facade::Squidmesh;
use crate::handler::{StepContext, StepError, StepResult};
use crate::port::RunFilter;
use crate::run::{Run, RunStatus};
use crate::runtime::StartError;
use crate::testing::{MemoryStore, RecordingSink, block_on};
use crate::time::Timestamp;
use crate::workflow::{COMPLETE, Step, Trigger, Workflow, wait};

struct Host {
    store: MemoryStore,
    executor: MemoryExecutor,
    sink: RecordingSink,
    mesh: Squidmesh,
}

fn host(workflow: Workflow) -> Host {
    let clock = Arc::new(ManualClock::default());
    let (store, executor) = (MemoryStore::new(clock.clone()), MemoryExecutor::new(clock));
    let sink = RecordingSink::new();
    let builder = Squidmesh::builder(store.clone()).executor(executor.clone()).event_sink(sink.clone());
    Host { store, executor, sink, mesh: builder.workflow(workflow).build().unwrap() }
}

impl Host {
    fn start(&self) -> Run {
        block_on(self.mesh.start_run("sample", &json!({}))).unwrap()
    }

    fn status(&self, run: &Run) -> RunStatus {
        block_on(self.mesh.inspect_run(run.id)).unwrap().run.status
    }

    fn now(&self) -> Timestamp {
        self.executor.manual_clock().now()
    }
}

async fn done(_: Value, _: StepContext) -> StepResult<Value> {
    Ok(json!({}))
}

fn waiting() -> Workflow {
    Workflow::builder("sample")
        .trigger(Trigger::manual("go"))
        .step(Step::new("before", done))
        .step(Step::new("pause", wait(hours(72))))
        .step(Step::new("behind", done).queue("behind"))
        .then("before", "pause")
        .then("pause", "behind")
        .then("behind", COMPLETE)
        .build()
        .unwrap()
}

fn solo(step: Step) -> Workflow {
    Workflow::builder("sample").trigger(Trigger::manual("go")).step(step).then("only", COMPLETE).build().unwrap()
}

#[test]
fn draining_delivers_what_is_due_and_no_more() {
    let host = host(waiting());
    let runs = [host.start(), host.start()];
    assert_eq!(block_on(host.executor.drain(&host.mesh)).unwrap(), 2);
    assert_eq!(block_on(host.executor.drain(&host.mesh)).unwrap(), 0);
    assert!(runs.iter().all(|run| host.status(run) == RunStatus::Running));
    host.executor.manual_clock().advance(hours(72));
    assert!(block_on(host.executor.drain(&host.mesh)).unwrap() >= 2);
    assert!(runs.iter().all(|run| host.status(run) == RunStatus::Completed));
}

#[test]
fn the_next_timer_is_reached_and_no_later_one() {
    let host = host(waiting());
    let (run, began) = (host.start(), host.now());
    assert_eq!(block_on(host.executor.run_to_next_timer(&host.mesh)).unwrap(), Some(hours(72)));
    assert_eq!((host.status(&run), host.now().since(began)), (RunStatus::Completed, hours(72)));
    assert_eq!(block_on(host.executor.run_to_next_timer(&host.mesh)).unwrap(), None, "nothing is scheduled");
    let failing = |_: Value, _: StepContext| async { Err::<(), _>(StepError::retryable("never")) };
    let retried = self::host(solo(Step::new("only", failing).retry(Retry::fixed(3, hours(1)))));
    retried.start();
    assert_eq!(block_on(retried.executor.run_to_next_timer(&retried.mesh)).unwrap(), Some(hours(1)));
    assert_eq!(block_on(retried.executor.run_to_next_timer(&retried.mesh)).unwrap(), Some(hours(1)));
    assert_eq!(block_on(retried.executor.run_to_next_timer(&retried.mesh)).unwrap(), None);
}

#[test]
fn running_to_rest_lets_waits_and_backoffs_pass() {
    let failing = |_: Value, context: StepContext| async move {
        if context.attempt < 6 { Err(StepError::retryable("not yet")) } else { Ok(json!({})) }
    };
    let host = host(solo(Step::new("only", failing).retry(Retry::fixed(6, hours(1)))));
    let (run, began) = (host.start(), host.now());
    assert_eq!(block_on(host.executor.run_to_rest(&host.mesh)).unwrap(), 6);
    assert_eq!(host.status(&run), RunStatus::Completed);
    assert_eq!(host.now().since(began), hours(5));
    assert_eq!(host.store.intents(), []);
}

#[test]
fn the_same_work_is_delivered_in_the_same_order() {
    let events = || {
        let host = host(waiting());
        let runs: Vec<Run> = (0..5).map(|_| host.start()).collect();
        block_on(host.executor.run_to_rest(&host.mesh)).unwrap();
        let place = |id| runs.iter().position(|run| run.id == id);
        let names: Vec<_> = host.sink.events().iter().map(|event| (place(event.run_id), event.kind.name())).collect();
        names
    };
    assert_eq!(events(), events());
}

#[test]
fn a_workflow_that_never_rests_is_distinguished() {
    let host = host(solo(Step::new("only", done)));
    let run = host.start();
    let mut deliveries = drain::RESTLESS;
    let answer = block_on(drain::deliver_one(&host.mesh.runner(), &mut deliveries));
    assert!(matches!(answer, Err(DrainError::Restless { .. })));
    assert_eq!(host.status(&run), RunStatus::Pending);
}

#[test]
fn a_run_that_cannot_be_read_stops_the_draining_with_its_error() {
    let host = host(solo(Step::new("only", done)));
    let (broken, good) = (host.start(), host.start());
    host.store.corrupt(broken.id);
    let answer = block_on(host.executor.drain(&host.mesh));
    assert!(matches!(answer, Err(DrainError::Store(crate::port::StoreError::Corrupt { .. }))), "{answer:?}");
    assert_eq!(block_on(host.executor.drain(&host.mesh)).unwrap(), 1);
    assert_eq!(host.status(&good), RunStatus::Completed);
}

#[test]
fn published_intents_can_be_looked_at() {
    let host = host(waiting());
    let run = host.start();
    let published = host.executor.take_published();
    assert_eq!(
        published.iter().map(|intent| intent.key.to_string()).collect::<Vec<_>>(),
        [format!("{}/before", run.id)]
    );
    assert!(host.executor.published().is_empty());
}

#[test]
fn an_executor_that_refuses_or_panics_starts_nothing() {
    let host = host(solo(Step::new("only", done)));
    for upset in [
        (|executor: &MemoryExecutor| executor.refuse(QueueName::default())) as fn(&MemoryExecutor),
        MemoryExecutor::panic_in_describe,
    ] {
        upset(&host.executor);
        let answer = block_on(host.mesh.start_run("sample", &json!({})));
        assert!(matches!(answer, Err(StartError::Refused(DispatchRefused::ByExecutor(_)))), "{answer:?}");
        assert_eq!((host.store.intents(), host.sink.events()), (Vec::new(), Vec::new()));
        host.executor.accept();
    }
    let run = host.start();
    block_on(host.executor.drain(&host.mesh)).unwrap();
    assert_eq!(host.status(&run), RunStatus::Completed);
}

#[test]
fn an_executor_that_is_down_fails_no_run() {
    let host = host(waiting());
    let run = host.start();
    host.executor.be_unavailable();
    block_on(host.executor.run_to_rest(&host.mesh)).unwrap();
    assert_eq!(host.status(&run), RunStatus::Completed);
}

#[test]
fn a_run_started_in_a_hosts_transaction_vanishes_with_it() {
    let host = host(solo(Step::new("only", done)));
    for commits in [false, true] {
        let transaction = host.store.begin();
        let joined = host.mesh.within(&transaction);
        let run = block_on(joined.start_run("sample", &json!({}))).unwrap();
        let after = joined.into_after_commit();
        assert!(host.sink.events().is_empty(), "nothing is emitted before the commit");
        if commits {
            transaction.commit().unwrap();
            after.committed();
            assert_eq!(block_on(host.executor.drain(&host.mesh)).unwrap(), 1);
            assert_eq!(host.status(&run), RunStatus::Completed);
            assert_eq!(host.sink.names().first(), Some(&"run.created"));
        } else {
            transaction.rollback();
            after.rolled_back();
            assert_eq!(block_on(host.executor.drain(&host.mesh)).unwrap(), 0);
        }
    }
}

#[test]
fn a_step_that_times_out_follows_the_manual_clock() {
    let stuck = |_: Value, _: StepContext| async move { futures_util::future::pending::<StepResult<Value>>().await };
    let host = host(solo(Step::new("only", stuck).timeout(secs(30)).retry(Retry::never())));
    let run = host.start();
    let mut work = Box::pin(host.executor.drain(&host.mesh));
    {
        use futures_util::FutureExt;
        assert!(work.as_mut().now_or_never().is_none());
        host.executor.manual_clock().advance(secs(30) - ms(1));
        assert!(work.as_mut().now_or_never().is_none());
        host.executor.manual_clock().advance(ms(1));
    }
    assert_eq!(block_on(work).unwrap(), 1);
    assert_eq!(host.status(&run), RunStatus::Failed);
}

fn nightly() -> Workflow {
    Workflow::builder("nightly")
        .trigger(Trigger::cron("night").expression("0 3 * * *").time_zone("UTC"))
        .step(Step::new("only", done))
        .then("only", COMPLETE)
        .build()
        .unwrap()
}

#[test]
fn draining_fires_the_occurrences_that_have_come() {
    let host = host(nightly());
    let midnight = host.now();
    assert_eq!(block_on(host.executor.drain(&host.mesh)).unwrap(), 0, "the trigger begins");
    host.executor.manual_clock().advance(hours(3) - ms(1));
    assert_eq!(block_on(host.executor.drain(&host.mesh)).unwrap(), 0);
    host.executor.manual_clock().advance(ms(1));
    assert_eq!(block_on(host.executor.drain(&host.mesh)).unwrap(), 1);
    assert_eq!(block_on(host.executor.drain(&host.mesh)).unwrap(), 0);
    let runs = block_on(host.mesh.list_runs(&RunFilter::new())).unwrap().runs;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].intended_at, Some(midnight.after(hours(3))));
    assert_eq!(runs[0].status, RunStatus::Completed);
}

#[test]
fn schedules_fire_while_time_passes_for_other_work() {
    let clock = Arc::new(ManualClock::default());
    let (store, executor) = (MemoryStore::new(clock.clone()), MemoryExecutor::new(clock));
    let builder = Squidmesh::builder(store).executor(executor.clone());
    let mesh = builder.workflow(waiting()).workflow(nightly()).build().unwrap();
    assert_eq!(block_on(executor.run_to_rest(&mesh)).unwrap(), 0, "a schedule alone is at rest");
    block_on(mesh.start_run("sample", &json!({}))).unwrap();
    block_on(executor.run_to_rest(&mesh)).unwrap();
    let fired = block_on(mesh.list_runs(&RunFilter::new().workflow("nightly".parse().unwrap()))).unwrap().runs;
    assert_eq!(fired.len(), 3, "three nights pass in 72 hours");
    assert!(fired.iter().all(|run| run.status == RunStatus::Completed));
}

#[test]
fn schedules_are_checked_when_due_and_every_ten_seconds() {
    let host = host(nightly());
    let clock = host.executor.manual_clock().clone();
    let runner = host.mesh.runner();
    let mut kept = Box::pin(runner.run_scheduler());
    let mut look = || {
        assert!(kept.as_mut().now_or_never().is_none(), "it runs until the runner drains");
        clock.next_deadline().expect("it sleeps").since(clock.now())
    };
    assert_eq!(look(), secs(10), "the next occurrence is hours away");
    clock.advance(hours(3) - secs(4));
    assert_eq!(look(), secs(4), "it comes before the next look");
    clock.advance(secs(4));
    assert_eq!(look(), secs(10));
    let runs = || block_on(host.mesh.list_runs(&RunFilter::new())).unwrap().runs.len();
    assert_eq!(runs(), 1);

    block_on(host.mesh.pause_trigger("nightly", "night")).unwrap();
    clock.advance(hours(24) - secs(1));
    assert_eq!(look(), secs(10), "what is paused is never due");
    block_on(host.mesh.resume_trigger("nightly", "night")).unwrap();
    assert_eq!(look(), secs(1), "what is resumed here is seen at once");
    clock.advance(secs(1));
    look();
    assert_eq!(runs(), 2);
    runner.drain();
    assert!(kept.now_or_never().is_some());
}
