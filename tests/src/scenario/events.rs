//! The events that the host receives, when and in which order.

use std::sync::{Arc, Mutex};

use squidmesh_core::event::{Event, EventKind};
use squidmesh_core::port::EventSink;
use squidmesh_core::workflow::Compensation;
use squidmesh_core::{Retry, RunFilter, RunStatus, StepContext, StepError, StepResult, ms};

use super::{chain, done, nothing, workflow};
use crate::{Backend, Journal};

pub async fn a_run_emits_its_events_in_order(backend: &Backend) {
    let journal = Journal::new();
    let flaky = workflow("flaky")
        .step(
            journal
                .step("one", |call| if call.attempt == 1 { Err(StepError::retryable("no")) } else { done(call) })
                .retry(Retry::fixed(2, ms(10))),
        )
        .step(journal.step("two", done))
        .then("one", "two")
        .then("two", squidmesh_core::COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([flaky]);
    let run = world.start_run("flaky", &nothing()).await.unwrap();
    world.settle(run.id).await;
    let expected = [
        "run.created",
        "run.dispatched",
        "run.transition", // pending → running
        "step.started",
        "step.failed",
        "step.retry_scheduled",
        "run.transition", // running → retrying
        "run.transition", // retrying → running
        "step.started",
        "step.completed",
        "run.dispatched",
        "step.started",
        "step.completed",
        "run.transition", // running → completed
    ];
    // Duplicate deliveries are skipped, which is not part of the run's life.
    let mut events = world.sink.of_run(run.id);
    events.retain(|event| !matches!(event.kind, EventKind::DeliveryIgnored { .. }));
    assert_eq!(events.iter().map(|event| event.kind.name()).collect::<Vec<_>>(), expected);
    assert!(events.iter().all(|event| event.workflow.as_str() == "flaky" && event.trigger.as_str() == "manual"));
    assert_eq!(events.last().unwrap().status, RunStatus::Completed);
    assert_eq!(events[1].current_step.as_ref().unwrap().as_str(), "one");
    assert!(matches!(&events[4].kind, EventKind::StepFailed { attempt: 1, error, .. } if error.message == "no"));
    assert!(matches!(&events[5].kind, EventKind::StepRetryScheduled { delay, .. } if *delay == ms(10)));
}

/// Reads from the store, at every event, what the event reports.
struct Witness {
    store: Arc<dyn squidmesh_core::port::Store>,
    runtime: tokio::runtime::Handle,
    untrue: Arc<Mutex<Vec<String>>>,
}

impl EventSink for Witness {
    fn emit(&self, event: &Event) {
        let state = tokio::task::block_in_place(|| self.runtime.block_on(self.store.load(event.run_id)));
        let Ok(Some(state)) = state else {
            return self.untrue.lock().unwrap().push(format!("{event:?}: there is no such run yet"));
        };
        let stored = match &event.kind {
            EventKind::StepStarted { step, attempt } | EventKind::StepCompleted { step, attempt, .. } => {
                state.steps.get(step).is_some_and(|run| run.attempt >= *attempt)
            }
            EventKind::RunTransition { to, .. } if to.is_terminal() => state.run.status == *to,
            _ => true,
        };
        if !stored {
            self.untrue.lock().unwrap().push(format!("{event:?}"));
        }
    }
}

pub async fn nothing_is_emitted_before_it_is_stored(backend: &Backend) {
    let journal = Journal::new();
    let untrue = Arc::new(Mutex::new(Vec::new()));
    let witness =
        Witness { store: backend.store(), runtime: tokio::runtime::Handle::current(), untrue: untrue.clone() };
    let world =
        backend.world_with([chain("chain", &journal, &["one", "two", "three"])], |builder| builder.event_sink(witness));
    // Started on a worker of the runtime: only there may the witness block.
    let mesh = world.mesh.clone();
    let run = tokio::spawn(async move { mesh.start_run("chain", &nothing()).await.unwrap() }).await.unwrap();
    world.settle(run.id).await;
    assert!(untrue.lock().unwrap().is_empty(), "{:?}", untrue.lock().unwrap());
    assert!(!world.event_names(&run).is_empty());
}

struct Panicking;

impl EventSink for Panicking {
    fn emit(&self, _: &Event) {
        panic!("this sink always panics");
    }
}

pub async fn a_sink_that_panics_harms_no_run(backend: &Backend) {
    let journal = Journal::new();
    let world =
        backend.world_with([chain("chain", &journal, &["one", "two"])], |builder| builder.event_sink(Panicking));
    let run = world.start_run("chain", &nothing()).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
    assert!(world.event_names(&run).contains(&"step.completed"), "the other sinks receive everything");
}

pub async fn a_refused_command_emits_nothing(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one"])]);
    assert!(world.start_run("chain", &serde_json::json!({"unknown": 1})).await.is_err());
    assert!(world.start_run("nothing", &nothing()).await.is_err());
    let unknown = "0190c5a2-7b3e-7cc1-8a55-6f0e5d3b2a10".parse().unwrap();
    assert!(world.cancel_run(unknown).await.is_err());
    assert!(world.sink.events().is_empty());
    assert!(world.list_runs(&RunFilter::new()).await.unwrap().runs.is_empty());
}

pub async fn no_event_carries_what_a_run_was_given(backend: &Backend) {
    let journal = Journal::new();
    let secret = "xyzzy-7301";
    let keeping = workflow("keeping")
        .step(journal.step("one", move |_| Ok(serde_json::json!({ "token": secret }))))
        .step(journal.step("two", done))
        .then("one", "two")
        .then("two", squidmesh_core::COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([keeping]);
    let run = world.start_run("keeping", &serde_json::json!({"order": { "card": secret }})).await.unwrap();
    world.settle(run.id).await;
    let emitted = format!("{:?}", world.sink.events());
    assert!(emitted.contains("keeping") && !emitted.contains(secret));
}

pub async fn ended_attempts_emit_their_number_and_duration(backend: &Backend) {
    let journal = Journal::new();
    let undo = |_: Compensation, context: StepContext| async move {
        if context.attempt == 1 { Err(StepError::retryable("busy")) } else { Ok(()) }
    };
    let stuck = |_: Compensation, _: StepContext| async { StepResult::<()>::Err(StepError::terminal("stuck")) };
    let failing = workflow("failing")
        .step(journal.step("one", done).compensate(stuck))
        .step(journal.step("two", done).compensate(undo).compensation_retry(Retry::fixed(2, ms(1))))
        .step(journal.step("three", |_| Err(StepError::terminal("no"))))
        .then("one", "two")
        .then("two", "three")
        .then("three", squidmesh_core::COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([failing]);
    let run = world.start_run("failing", &nothing()).await.unwrap();
    world.settle(run.id).await;
    let emitted: Vec<_> = world
        .sink
        .of_run(run.id)
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::CompensationStarted { step, attempt } => Some((step.to_string(), "started", attempt)),
            EventKind::CompensationRetryScheduled { step, attempt, duration, .. } => {
                assert!(duration < ms(60_000));
                Some((step.to_string(), "again", attempt))
            }
            EventKind::CompensationCompleted { step, attempt, .. } => Some((step.to_string(), "completed", attempt)),
            EventKind::CompensationFailed { step, attempt, .. } => Some((step.to_string(), "failed", attempt)),
            _ => None,
        })
        .collect();
    let expected = [
        ("two", "started", 1),
        ("two", "again", 1),
        ("two", "started", 2),
        ("two", "completed", 2),
        ("one", "started", 1),
        ("one", "failed", 1),
    ];
    assert_eq!(emitted, expected.map(|(step, what, attempt)| (step.to_owned(), what, attempt)));
    world.sink.take();
    let payload = serde_json::json!({"kind": "step", "v": 1, "run_id": run.id, "step": "one"}).to_string();
    world.runner().perform(payload.as_bytes()).await.unwrap();
    let events = world.sink.take();
    let ignored = events.iter().find_map(|event| match &event.kind {
        EventKind::DeliveryIgnored { attempt, duration, .. } => Some((*attempt, duration.is_some())),
        _ => None,
    });
    assert_eq!(ignored, Some((Some(1), true)), "{events:?}");
}
