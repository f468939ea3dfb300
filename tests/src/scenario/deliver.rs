//! Duplicate, stale, late and malformed deliveries.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;
use squidmesh_core::command::{DeliveryOutcome, PerformError};
use squidmesh_core::definition::StepName;
use squidmesh_core::dispatch::{DeliveryMessage, InvalidMessage};
use squidmesh_core::event::IgnoreReason;
use squidmesh_core::{RunStatus, Step, ms, wait};

use super::{chain, done, nothing, workflow};
use crate::world::attempts;
use crate::{Backend, Gate, Journal};

fn payload(run: squidmesh_core::RunId, step: &str) -> Vec<u8> {
    json!({"kind": "step", "v": 1, "run_id": run, "step": step}).to_string().into_bytes()
}

fn reason(delivery: &DeliveryOutcome) -> IgnoreReason {
    match delivery {
        DeliveryOutcome::Ignored(reason) => *reason,
        other => panic!("not ignored: {other:?}"),
    }
}

pub async fn four_deliveries_at_once_are_one_execution(backend: &Backend) {
    let journal = Journal::new();
    let gate = Arc::new(Gate::default());
    let hold = gate.clone();
    let slow = workflow("slow")
        .step(journal.slow_step("only", move |_, _| {
            let gate = hold.clone();
            async move {
                gate.pass().await;
                Ok(json!({}))
            }
        }))
        .then("only", squidmesh_core::COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([slow]);
    let run = world.start_run("slow", &nothing()).await.unwrap();
    let runner = world.runner();
    let deliveries: Vec<_> = (0..4)
        .map(|_| {
            let (runner, payload) = (runner.clone(), payload(run.id, "only"));
            tokio::spawn(async move { runner.perform(&payload).await.unwrap() })
        })
        .collect();
    gate.arrived(1).await;
    // The three others end by themselves while the first still runs.
    while world.ignored_deliveries(run.id).len() < 3 {
        tokio::task::yield_now().await;
    }
    gate.open();
    let mut count = BTreeMap::new();
    for delivery in join_all(deliveries).await {
        *count.entry(format!("{:?}", delivery.unwrap())).or_insert(0) += 1;
    }
    assert_eq!(count, BTreeMap::from([("Done { steps: 1 }".to_owned(), 1), ("Ignored(Held)".to_owned(), 3)]));
    assert_eq!((gate.count(), journal.calls().len()), (1, 1));
    let details = world.look(run.id).await;
    assert_eq!((details.run.status, attempts(&details, "only")), (RunStatus::Completed, vec!["completed"]));
    assert_eq!(world.ignored_deliveries(run.id), ["held"; 3]);
}

pub async fn a_late_delivery_is_a_no_op_with_a_reason(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one", "two"])]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    let runner = world.runner();
    world.settle(run.id).await;
    let before = world.look(run.id).await;
    for step in ["one", "two", "nowhere"] {
        assert_eq!(reason(&runner.perform(&payload(run.id, step)).await.unwrap()), IgnoreReason::NoIntent, "{step}");
    }
    assert_eq!(world.look(run.id).await, before);
    // A queue may deliver once more by itself, also while a worker held the step.
    let ignored = world.ignored_deliveries(run.id);
    assert!(ignored.iter().filter(|reason| **reason == "no_intent").count() >= 3, "{ignored:?}");
    assert!(ignored.iter().all(|reason| ["no_intent", "held"].contains(reason)), "{ignored:?}");
    assert_eq!(journal.calls().len(), 2);
}

pub async fn an_early_delivery_waits_for_its_time(backend: &Backend) {
    let journal = Journal::new();
    let waiting = workflow("waiting")
        .step(Step::new("wait", wait(ms(500))))
        .step(journal.step("after", done))
        .then("wait", "after")
        .then("after", squidmesh_core::COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([waiting]);
    let run = world.start_run("waiting", &nothing()).await.unwrap();
    let early = world.runner().perform(&payload(run.id, "wait")).await.unwrap();
    assert_eq!(reason(&early), IgnoreReason::NotDue);
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
}

pub async fn a_delivery_for_an_unknown_run_is_a_no_op(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one"])]);
    let unknown = "0190c5a2-7b3e-7cc1-8a55-6f0e5d3b2a10".parse().unwrap();
    assert_eq!(reason(&world.runner().perform(&payload(unknown, "one")).await.unwrap()), IgnoreReason::NoIntent);
    let payload = DeliveryMessage::Compensation { run_id: unknown }.to_string();
    assert_eq!(reason(&world.runner().perform(payload.as_bytes()).await.unwrap()), IgnoreReason::NoIntent);
}

pub async fn a_delivery_without_an_executor_carries_a_run_all_the_way(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one", "two", "three"])]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    let step = DeliveryMessage::Step { run_id: run.id, step: StepName::new("one").unwrap() };
    let delivery = world.runner().perform(step.to_string().as_bytes()).await.unwrap();
    assert!(matches!(delivery, DeliveryOutcome::Done { steps: 3 }), "one commit a hop: {delivery:?}");
    assert_eq!(world.status(run.id).await, RunStatus::Completed);
}

pub async fn a_malformed_payload_touches_nothing(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one"])]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    world.sink.take();
    let before = world.look(run.id).await;
    let id = run.id;
    let payloads = [
        String::new(),
        "no json".to_owned(),
        "{}".to_owned(),
        r#"{"v":1}"#.to_owned(),
        r#"{"v":1,"kind":"dance"}"#.to_owned(),
        r#"{"v":1,"kind":"step","run_id":"seven","step":"one"}"#.to_owned(),
        format!(r#"{{"v":1,"kind":"step","run_id":"{id}"}}"#),
        format!(r#"{{"v":1,"kind":"step","run_id":"{id}","step":""}}"#),
        format!(r#"{{"v":1,"kind":"step","run_id":"{id}","step":7}}"#),
        format!(r#"{{"v":"1","kind":"step","run_id":"{id}","step":"one"}}"#),
    ];
    for text in payloads {
        let refused = world.runner().perform(text.as_bytes()).await;
        assert!(matches!(refused, Err(PerformError::InvalidMessage(_))), "{text}: {refused:?}");
    }
    let newer = format!(r#"{{"v":2,"kind":"step","run_id":"{id}","step":"one"}}"#);
    let refused = world.runner().perform(newer.as_bytes()).await;
    assert!(
        matches!(refused, Err(PerformError::InvalidMessage(InvalidMessage::UnknownVersion { version: 2 }))),
        "{refused:?}"
    );
    assert_eq!(world.look(run.id).await, before);
    assert!(world.sink.events().is_empty());
}
