//! Starting runs.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use squidmesh_core::command::{CommandError, StartError, UnknownTrigger, UnknownWorkflow};
use squidmesh_core::inspect::StepState;
use squidmesh_core::{COMPLETE, Field, RunFilter, RunId, RunStatus, Trigger, Workflow};

use super::{chain, done, nothing};
use crate::world::{attempts, states};
use crate::{Backend, Journal, World};

async fn nothing_is_stored(world: &World) -> bool {
    world.list_runs(&RunFilter::new()).await.expect("runs can be listed").runs.is_empty()
        && world.sink.events().is_empty()
}

pub async fn a_run_goes_through_its_steps_in_order(backend: &Backend) {
    let journal = Journal::new();
    let names = ["one", "two", "three", "four", "five"];
    let world = backend.world([chain("chain", &journal, &names)]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(journal.steps(), names);
    assert_eq!(details.run.status, RunStatus::Completed);
    assert_eq!(states(&details), [StepState::Completed; 5]);
    assert!(names.iter().all(|step| attempts(&details, step) == ["completed"]));
    assert!(details.run.finished_at.is_some() && details.run.current_step.is_none());
    assert!(details.intents.is_empty());
}

pub async fn a_started_run_and_its_dispatch_are_stored_before_any_work(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one", "two"])]);
    let run = world.start_run("chain", &nothing()).await.unwrap();
    let details = world.look(run.id).await;
    assert_eq!(
        (details.run.status, states(&details)),
        (RunStatus::Pending, vec![StepState::Pending, StepState::Waiting])
    );
    assert_eq!(details.intents.len(), 1);
    assert_eq!(details.intents[0].key.to_string(), format!("{}/one", run.id));
    assert!(journal.calls().is_empty());
}

pub async fn a_trigger_is_named_where_there_are_several(backend: &Backend) {
    let journal = Journal::new();
    let two = Workflow::builder("two_ways")
        .trigger(Trigger::manual("left"))
        .trigger(Trigger::manual("right").field(Field::integer("number")))
        .step(journal.step("only", done))
        .then("only", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([two, chain("one_way", &journal, &["only"])]);
    let started = world.start_run("two_ways", &nothing()).await;
    assert!(matches!(started, Err(StartError::TriggerNeeded { triggers, .. }) if triggers.len() == 2));
    let started = world.start_run("two_ways", &nothing()).trigger("middle").await;
    assert!(matches!(started, Err(StartError::UnknownTrigger(UnknownTrigger { trigger, .. })) if trigger == "middle"));
    let started = world.start_run("no_way", &nothing()).await;
    assert!(
        matches!(started, Err(StartError::UnknownWorkflow(UnknownWorkflow { registered, .. })) if registered.len() == 2)
    );
    assert!(nothing_is_stored(&world).await);

    let run = world.start_run("two_ways", &json!({"number": 3})).trigger("right").await.unwrap();
    assert_eq!(run.trigger.as_str(), "right");
    assert_eq!(world.start_run("one_way", &nothing()).await.unwrap().trigger.as_str(), "manual");
}

pub async fn a_payload_that_does_not_fit_starts_nothing(backend: &Backend) {
    let journal = Journal::new();
    let strict = Workflow::builder("strict")
        .trigger(Trigger::manual("manual").field(Field::string("name")).field(Field::integer("age")))
        .step(journal.step("only", done))
        .then("only", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([strict]);
    let Err(StartError::InvalidPayload { errors, .. }) =
        world.start_run("strict", &json!({"age": "x", "extra": 1})).await
    else {
        panic!("the payload does not fit");
    };
    let paths: BTreeSet<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, BTreeSet::from(["name", "age", "extra"]), "missing, wrong and unknown fields together");
    let big = "x".repeat(2 << 20);
    let started = world.start_run("strict", &json!({"name": big, "age": 1})).await;
    assert!(matches!(started, Err(StartError::UnacceptablePayload(_))), "{started:?}");
    let started = world.start_run("strict", &json!({"name": "a\0b", "age": 1})).await;
    assert!(matches!(started, Err(StartError::UnacceptablePayload(_))), "{started:?}");
    assert!(nothing_is_stored(&world).await);
}

pub async fn a_payload_that_is_too_large_with_its_defaults_starts_nothing(backend: &Backend) {
    let journal = Journal::new();
    let padded = Workflow::builder("padded")
        .trigger(
            Trigger::manual("manual")
                .field(Field::string("text"))
                .field(Field::string("padding").default("x".repeat(600 << 10))),
        )
        .step(journal.step("only", done))
        .then("only", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([padded]);
    let started = world.start_run("padded", &json!({"text": "x".repeat(600 << 10)})).await;
    assert!(matches!(started, Err(StartError::UnacceptablePayload(_))), "it could not be replayed: {started:?}");
    assert!(nothing_is_stored(&world).await);
    let run = world.start_run("padded", &json!({"text": "short"})).await.unwrap();
    world.settle(run.id).await;
    world.replay_run(run.id).await.unwrap();
}

pub async fn defaults_are_resolved_when_the_run_starts(backend: &Backend) {
    let journal = Journal::new();
    let defaults = Workflow::builder("defaults")
        .trigger(
            Trigger::manual("manual")
                .field(Field::string("day").default_today())
                .field(Field::integer("copies").default(2))
                .field(Field::string("note").optional()),
        )
        .step(journal.step("only", done))
        .then("only", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([defaults]);
    let run = world.start_run("defaults", &nothing()).await.unwrap();
    assert_eq!(run.payload.get("day"), Some(&json!(run.created_at.date().to_string())));
    assert_eq!(run.payload.get("copies"), Some(&json!(2)));
    assert_eq!(run.payload.len(), 2);
    world.settle(run.id).await;
    assert_eq!(journal.of("only")[0].input, json!({"day": run.created_at.date().to_string(), "copies": 2}));
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Order {
    order_id: String,
    amount_cents: u64,
}

pub async fn a_typed_payload_is_checked_against_its_type(backend: &Backend) {
    let journal = Journal::new();
    let typed = Workflow::builder("typed")
        .trigger(Trigger::manual("manual").payload::<Order>())
        .step(journal.step("only", done))
        .then("only", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([typed]);
    let started = world.start_run("typed", &json!({"order_id": 7})).await;
    assert!(matches!(started, Err(StartError::InvalidPayload { errors, .. }) if errors.len() == 2));
    let order = Order { order_id: "o-1".to_owned(), amount_cents: 1_999 };
    let run = world.start_run("typed", &order).await.unwrap();
    world.settle(run.id).await;
    assert_eq!(journal.of("only")[0].input, json!({"order_id": "o-1", "amount_cents": 1_999}));
}

pub async fn a_key_starts_one_run(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one"]), chain("other", &Journal::new(), &["one"])]);
    let first = world.start_run("chain", &json!({"order": {"n": 1}})).idempotency_key("k").await.unwrap();
    let again = world.start_run("chain", &json!({"order": {"n": 2}})).idempotency_key("k").await.unwrap();
    assert_eq!(again.id, first.id);
    assert_eq!(again.payload, first.payload, "the first start counts, regardless of the payload of the second");
    let elsewhere = world.start_run("other", &nothing()).idempotency_key("k").await.unwrap();
    assert_ne!(elsewhere.id, first.id, "a key is one of its workflow");
    world.settle(first.id).await;
    let late = world.start_run("chain", &nothing()).idempotency_key("k").await.unwrap();
    assert_eq!((late.id, late.status), (first.id, RunStatus::Completed));
    assert_eq!(journal.calls().len(), 1);
    for key in ["", "a\0b", &"x".repeat(256)] {
        let started = world.start_run("chain", &nothing()).idempotency_key(key).await;
        assert!(matches!(started, Err(StartError::InvalidKey)), "{key:?}");
    }
}

pub async fn many_starts_with_one_key_at_once_start_one_run(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one"])]);
    let starts = (0..16).map(|_| {
        let mesh = world.mesh.clone();
        tokio::spawn(async move { mesh.start_run("chain", &nothing()).idempotency_key("k").await.unwrap().id })
    });
    let ids: BTreeSet<RunId> = join_all(starts).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(world.list_runs(&RunFilter::new()).await.unwrap().runs.len(), 1);
    let created = world.sink.names().into_iter().filter(|name| *name == "run.created").count();
    assert_eq!(created, 1, "one start is emitted");
    world.settle(*ids.first().unwrap()).await;
    assert_eq!(journal.calls().len(), 1);
}

pub async fn an_unknown_run_is_not_found(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["one"])]);
    let id: RunId = "0190c5a2-7b3e-7cc1-8a55-6f0e5d3b2a10".parse().unwrap();
    assert!(matches!(world.inspect_run(id).await, Err(CommandError::NotFound(found)) if found.run == id));
    assert!(matches!(world.cancel_run(id).await, Err(CommandError::NotFound(found)) if found.run == id));
}

pub async fn many_runs_are_started_together_and_each_is_answered_for(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["only"])]);
    let start = |number: usize| {
        let workflow = if number == 7 { "unknown" } else { "chain" };
        world.start_run(workflow, &nothing()).idempotency_key(format!("{}", number % 100))
    };
    let started = world.start_runs((0..150).map(start)).await;
    assert_eq!(started.len(), 150);
    let ids: Vec<Option<RunId>> = started.iter().map(|run| run.as_ref().ok().map(|run| run.id)).collect();
    assert!(matches!(started[7], Err(StartError::UnknownWorkflow(_))), "{:?}", started[7]);
    assert_eq!(ids.iter().filter(|id| id.is_none()).count(), 1, "one is wrong, and harms no other");
    assert_eq!(ids[..7], ids[100..107], "the same key is the same run");
    assert_eq!(ids.iter().flatten().collect::<BTreeSet<_>>().len(), 100);
    let details = world.settle_all(ids.into_iter().flatten().collect::<BTreeSet<_>>()).await;
    assert!(details.iter().all(|details| details.run.status == RunStatus::Completed));
    assert_eq!(journal.calls().len(), 100);
}

pub async fn an_invalid_payload_is_refused_though_its_key_is_taken(backend: &Backend) {
    let journal = Journal::new();
    let strict = Workflow::builder("strict")
        .trigger(Trigger::manual("manual").field(Field::integer("age")))
        .step(journal.step("only", done))
        .then("only", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([strict]);
    let first = world.start_run("strict", &json!({"age": 1})).idempotency_key("k").await.unwrap();
    let second = world.start_run("strict", &json!({"age": "x"})).idempotency_key("k").await;
    let Err(StartError::InvalidPayload { errors, .. }) = second else { panic!("{second:?}") };
    assert_eq!(errors.to_string(), "the payload does not fit: age must be an integer, not a string");
    let again = world.start_run("strict", &json!({"age": 2})).idempotency_key("k").await.unwrap();
    assert_eq!((again.id, again.payload), (first.id, first.payload), "one that fits returns the first run");
}

pub async fn a_key_that_no_run_can_have_finds_none(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([chain("chain", &journal, &["only"])]);
    let run = world.start_run("chain", &nothing()).idempotency_key("k").await.unwrap();
    assert_eq!(world.find_run("chain", "k").await.unwrap().map(|found| found.id), Some(run.id));
    let long = "k".repeat(256);
    for key in ["", "k\0", "\0", &long, "K", "k "] {
        assert_eq!(world.find_run("chain", key).await.unwrap(), None, "{key:?}");
        if key.is_empty() || key.contains('\0') || key.len() > 255 {
            let refused = world.start_run("chain", &nothing()).idempotency_key(key).await;
            assert!(matches!(refused, Err(StartError::InvalidKey)), "{refused:?}");
        }
    }
    for workflow in ["", "ch\0ain", &long] {
        assert_eq!(world.find_run(workflow, "k").await.unwrap(), None, "{workflow:?}");
    }
}
