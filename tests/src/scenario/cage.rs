//! A host's code that panics wherever it can: when it is called, polled, formatted, and dropped.

use std::fmt;
use std::future::pending;
use std::panic::panic_any;
use std::sync::Arc;
use std::thread::panicking;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use squidmesh_core::event::Event;
use squidmesh_core::port::EventSink;
use squidmesh_core::run::{CompensationStatus, FailureKind};
use squidmesh_core::workflow::Compensation;
use squidmesh_core::{COMPLETE, Retry, RunStatus, Step, StepContext, StepError, StepResult, ms};

use super::{chain, done, nothing, workflow};
use crate::world::{attempts, step};
use crate::{Backend, Gate, Journal};

/// Panics when it is dropped, with a payload that does so as well.
pub(crate) struct Spiteful;

impl Drop for Spiteful {
    fn drop(&mut self) {
        if !panicking() {
            panic_any(Endless);
        }
    }
}

/// As an output: an empty object.
impl Serialize for Spiteful {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json!({}).serialize(serializer)
    }
}

/// A panic payload that panics with another one like it when it is dropped.
struct Endless;

impl Drop for Endless {
    fn drop(&mut self) {
        panic_any(Endless);
    }
}

/// An error that cannot be formatted.
#[derive(Debug)]
struct Unspeakable;

impl std::error::Error for Unspeakable {}

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic_any(Endless);
    }
}

/// Times out, panics and fails, then completes, each time leaving a value that panics.
async fn spite(_: Value, context: StepContext) -> StepResult<Spiteful> {
    match context.attempt {
        1 => {
            let _kept = Spiteful;
            pending().await
        }
        2 => panic_any(Endless),
        3 => Err(Unspeakable)?,
        _ => Ok(Spiteful),
    }
}

pub async fn what_panics_when_it_is_dropped_is_recorded_as_what_it_was(backend: &Backend) {
    let step_of = |retry| Step::new("spite", spite).timeout(ms(100)).retry(retry);
    let spiteful = workflow("spiteful").step(step_of(Retry::fixed(4, ms(1)))).then("spite", COMPLETE).build().unwrap();
    let world = backend.world([spiteful]);
    let run = world.start_run("spiteful", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let tries = &step(&details, "spite").attempts;
    let kinds: Vec<_> =
        tries.iter().filter_map(|attempt| attempt.error.as_ref()).map(|error| error.kind.clone()).collect();
    assert_eq!(kinds, [FailureKind::TIMEOUT, FailureKind::PANIC, FailureKind::ERROR]);
    assert_eq!((details.run.status, tries.len()), (RunStatus::Completed, 4));
}

pub async fn a_handler_that_panics_when_it_is_cut_off_burns_no_attempt(backend: &Backend) {
    let gate = Arc::new(Gate::default());
    let hold = gate.clone();
    let hangs_once = move |_: Value, context: StepContext| {
        let gate = hold.clone();
        async move {
            if context.attempt == 1 {
                let _kept = Spiteful;
                gate.pass().await;
            }
            StepResult::Ok(json!({}))
        }
    };
    let step = Step::new("one", hangs_once).retry(Retry::never());
    let world = backend.world([workflow("hanging").step(step).then("one", COMPLETE).build().unwrap()]);
    let run = world.start_run("hanging", &nothing()).await.unwrap();
    let runner = world.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    let delivered = runner.clone();
    let worker = tokio::spawn(async move { delivered.deliver(claim).await });
    gate.arrived(1).await;
    runner.interrupt();
    worker.await.expect("the delivery ends in good order");
    assert_eq!(attempts(&world.look(run.id).await, "one"), ["interrupted"]);
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Completed);
}

pub async fn a_compensation_that_panics_when_it_is_dropped_has_timed_out(backend: &Backend) {
    let journal = Journal::new();
    let undo = |_: Compensation, _: StepContext| async {
        let _kept = Spiteful;
        pending::<StepResult<()>>().await
    };
    let fails = journal.step("two", |_| Err(StepError::terminal("no"))).retry(Retry::never());
    let undone = workflow("undone")
        .step(journal.step("one", done).timeout(ms(100)).compensate(undo))
        .step(fails)
        .then("one", "two")
        .then("two", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([undone]);
    let run = world.start_run("undone", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let callback = step(&details, "one").run.as_ref().unwrap().compensation.clone().unwrap();
    assert_eq!(callback.status, CompensationStatus::Failed);
    assert_eq!(callback.error.unwrap().kind, FailureKind::TIMEOUT);
}

struct Panicking;

impl EventSink for Panicking {
    fn emit(&self, _: &Event) {
        panic_any(Endless);
    }
}

pub async fn a_sink_whose_panic_panics_harms_no_run(backend: &Backend) {
    let journal = Journal::new();
    let world =
        backend.world_with([chain("chain", &journal, &["one", "two"])], |builder| builder.event_sink(Panicking));
    let run = world.start_run("chain", &nothing()).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
    assert!(world.event_names(&run).contains(&"step.completed"), "the other sinks receive everything");
}

pub async fn workers_drain_when_the_signal_to_shut_down_panics(backend: &Backend) {
    let gate = Arc::new(Gate::default());
    let hold = gate.clone();
    let waits = move |_: Value, context: StepContext| {
        let gate = hold.clone();
        async move {
            gate.pass().await;
            context.cancellation.cancelled().await;
            StepResult::Ok(json!({}))
        }
    };
    let world = backend.world([workflow("one").step(Step::new("one", waits)).then("one", COMPLETE).build().unwrap()]);
    let run = world.start_run("one", &nothing()).await.unwrap();
    let signal = async {
        gate.arrived(1).await;
        gate.open();
        panic_any(Endless);
    };
    let ended = world.mesh.run_workers(signal).await.expect_err("it is said that the signal panicked");
    assert!(ended.reason.contains("shut down panicked"), "{ended}");
    assert_eq!(attempts(&world.look(run.id).await, "one"), ["completed"]);
}
