//! What the host is told, when and in which order.

use std::sync::{Arc, Mutex};

use squidmesh_core::{Event, EventKind, EventSink, Retry, RunFilter, RunStatus, StepError, ms};

use super::{chain, done, nothing, workflow};
use crate::{Ground, Journal};

pub async fn a_run_tells_its_life_in_order(ground: &Ground) {
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
    let world = ground.world([flaky]);
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
    // What is delivered twice is skipped, which is no part of its life.
    let mut events = world.sink.of_run(run.id);
    events.retain(|event| !matches!(event.kind, EventKind::StepSkipped { .. }));
    assert_eq!(events.iter().map(|event| event.kind.name()).collect::<Vec<_>>(), expected);
    assert!(events.iter().all(|event| event.workflow.as_str() == "flaky" && event.trigger.as_str() == "manual"));
    assert_eq!(events.last().unwrap().status, RunStatus::Completed);
    assert_eq!(events[1].current_step.as_ref().unwrap().as_str(), "one");
    assert!(matches!(&events[4].kind, EventKind::StepFailed { attempt: 1, error, .. } if error.message == "no"));
    assert!(matches!(&events[5].kind, EventKind::StepRetryScheduled { delay, .. } if *delay == ms(10)));
}

/// Asks the store, at every event, for what the event tells of.
struct Witness {
    store: Arc<dyn squidmesh_core::Store>,
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

pub async fn nothing_is_told_before_it_is_stored(ground: &Ground) {
    let journal = Journal::new();
    let untrue = Arc::new(Mutex::new(Vec::new()));
    let witness = Witness { store: ground.store(), runtime: tokio::runtime::Handle::current(), untrue: untrue.clone() };
    let world =
        ground.world_with([chain("chain", &journal, &["one", "two", "three"])], |builder| builder.event_sink(witness));
    // Started on a worker of the runtime: only there may the witness block.
    let mesh = world.mesh.clone();
    let run = tokio::spawn(async move { mesh.start_run("chain", &nothing()).await.unwrap() }).await.unwrap();
    world.settle(run.id).await;
    assert!(untrue.lock().unwrap().is_empty(), "{:?}", untrue.lock().unwrap());
    assert!(!world.told(&run).is_empty());
}

struct Panicking;

impl EventSink for Panicking {
    fn emit(&self, _: &Event) {
        panic!("this sink always panics");
    }
}

pub async fn a_sink_that_panics_harms_no_run(ground: &Ground) {
    let journal = Journal::new();
    let world = ground.world_with([chain("chain", &journal, &["one", "two"])], |builder| builder.event_sink(Panicking));
    let run = world.start_run("chain", &nothing()).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
    assert!(world.told(&run).contains(&"step.completed"), "the other sinks hear everything");
}

pub async fn a_refused_command_tells_nothing(ground: &Ground) {
    let journal = Journal::new();
    let world = ground.world([chain("chain", &journal, &["one"])]);
    assert!(world.start_run("chain", &serde_json::json!({"unknown": 1})).await.is_err());
    assert!(world.start_run("nothing", &nothing()).await.is_err());
    let unknown = "0190c5a2-7b3e-7cc1-8a55-6f0e5d3b2a10".parse().unwrap();
    assert!(world.cancel_run(unknown).await.is_err());
    assert!(world.sink.events().is_empty());
    assert!(world.list_runs(&RunFilter::new()).await.unwrap().runs.is_empty());
}

pub async fn no_event_carries_what_a_run_was_given(ground: &Ground) {
    let journal = Journal::new();
    let secret = "xyzzy-7301";
    let keeping = workflow("keeping")
        .step(journal.step("one", move |_| Ok(serde_json::json!({ "token": secret }))))
        .step(journal.step("two", done))
        .then("one", "two")
        .then("two", squidmesh_core::COMPLETE)
        .build()
        .unwrap();
    let world = ground.world([keeping]);
    let run = world.start_run("keeping", &serde_json::json!({"order": { "card": secret }})).await.unwrap();
    world.settle(run.id).await;
    let told = format!("{:?}", world.sink.events());
    assert!(told.contains("keeping") && !told.contains(secret));
}
