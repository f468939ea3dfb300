//! Bad input is answered with a typed error and changes nothing: a hundred thousand cases, the same ones every time.
//!
//! A panic fails a property by itself, so every property also covers panics.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

use std::str::FromStr;
use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value, json};
use squidmesh_core::command::{CommandError, DeliveryOutcome, PerformError, StartError};
use squidmesh_core::definition::{Definition, QueueName, StepName, TriggerName, WorkflowName};
use squidmesh_core::dispatch::DeliveryMessage;
use squidmesh_core::port::StoreSession;
use squidmesh_core::run::InvalidRunId;
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, block_on};
use squidmesh_core::{COMPLETE, Field, RunFilter, RunId, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow};

/// Runs a property on `cases` cases, drawn from a fixed seed.
fn check<S: Strategy>(cases: u32, strategy: S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    if let Err(error) = runner.run(&strategy, property) {
        panic!("{error}");
    }
}

/// Generates texts of every kind: ordinary, control characters, NUL, very long.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        2 => "[a-z_ \\-]{0,12}",
        1 => "[\\x00-\\x1f]{1,4}",
        1 => "[a-zé]{90,300}",
    ]
}

/// Generates JSON of every kind, nested.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(text(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

async fn nothing(_: Map<String, Value>, _: StepContext) -> StepResult<()> {
    Ok(())
}

fn shop() -> Workflow {
    let trigger = Trigger::manual("buy")
        .field(Field::string("article"))
        .field(Field::integer("count").default(1))
        .field(Field::boolean("gift").default(false));
    Workflow::builder("shop")
        .trigger(trigger)
        .step(Step::new("pack", nothing))
        .step(Step::new("send", nothing))
        .then("pack", "send")
        .then("send", COMPLETE)
        .build()
        .expect("the workflow is valid")
}

struct Host {
    mesh: Squidmesh,
    store: MemoryStore,
}

fn host() -> Host {
    let clock = Arc::new(ManualClock::default());
    let store = MemoryStore::new(clock.clone());
    let executor = MemoryExecutor::new(clock);
    let mesh = Squidmesh::builder(store.clone()).executor(executor).workflow(shop()).build().expect("it is configured");
    Host { mesh, store }
}

impl Host {
    fn newest(&self) -> Option<RunId> {
        let page = block_on(self.mesh.list_runs(&RunFilter::new().limit(1))).expect("the store is there");
        page.runs.first().map(|run| run.id)
    }
}

#[test]
fn no_text_is_an_id_by_accident() {
    let almost = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{11,13}";
    check(25_000, prop_oneof![text(), almost.prop_map(String::from)], |text| {
        let read: Result<RunId, InvalidRunId> = text.parse();
        match read {
            Ok(id) => prop_assert_eq!(id.to_string().parse(), Ok(id)),
            Err(error) => prop_assert!(error.to_string().len() < 400, "an error is not as long as its cause"),
        }
        Ok(())
    });
}

#[test]
fn a_name_is_valid_or_refused() {
    fn same<T: FromStr<Err = E> + ToString, E: std::error::Error>(text: &str) -> Result<bool, TestCaseError> {
        match text.parse::<T>() {
            Ok(name) => {
                prop_assert_eq!(name.to_string(), text);
                Ok(true)
            }
            Err(error) => {
                prop_assert!(error.to_string().len() < 1_000);
                Ok(false)
            }
        }
    }
    check(25_000, text(), |text| {
        let valid = same::<StepName, _>(&text)?;
        prop_assert_eq!(same::<WorkflowName, _>(&text)?, valid);
        prop_assert_eq!(same::<TriggerName, _>(&text)?, valid);
        prop_assert_eq!(same::<QueueName, _>(&text)?, valid);
        if valid {
            prop_assert!(!text.is_empty() && text.len() <= 100 && !text.chars().any(char::is_control));
        }
        Ok(())
    });
}

#[test]
fn a_payload_that_is_refused_starts_nothing() {
    let host = host();
    let near = (any_json(), any_json(), text())
        .prop_map(|(article, count, extra)| json!({ "article": article, "count": count, extra: 1 }));
    check(8_000, prop_oneof![any_json(), near], |payload| {
        let before = host.newest();
        match block_on(host.mesh.start_run("shop", &payload)) {
            Ok(run) => {
                prop_assert!(run.payload.get("article").is_some_and(Value::is_string));
                prop_assert!(run.payload.get("count").is_some_and(|count| count.is_i64() || count.is_u64()));
            }
            Err(StartError::InvalidPayload { .. } | StartError::UnacceptablePayload(_)) => {
                prop_assert_eq!(host.newest(), before);
            }
            Err(other) => prop_assert!(false, "a payload is no reason for {other:?}"),
        }
        Ok(())
    });
}

#[test]
fn a_start_under_odd_names_and_keys_starts_nothing_odd() {
    let host = host();
    check(6_000, (text(), text(), text()), |(workflow, trigger, key)| {
        let before = host.newest();
        let payload = json!({ "article": "pen" });
        let started = block_on(host.mesh.start_run(&workflow, &payload).trigger(trigger));
        let unknown = matches!(started, Err(StartError::UnknownWorkflow(_) | StartError::UnknownTrigger(_)));
        prop_assert!(unknown);
        prop_assert_eq!(host.newest(), before);
        let keyed = block_on(host.mesh.start_run("shop", &payload).idempotency_key(key.clone()));
        match keyed {
            Ok(run) => prop_assert_eq!(run.idempotency_key, Some(key)),
            Err(StartError::InvalidKey) => prop_assert!(key.is_empty() || key.len() > 255 || key.contains('\0')),
            Err(other) => prop_assert!(false, "a key is no reason for {other:?}"),
        }
        Ok(())
    });
}

#[test]
fn a_delivered_payload_that_is_refused_touches_nothing() {
    let host = host();
    let run = block_on(host.mesh.start_run("shop", &json!({ "article": "pen" }))).expect("it starts");
    let before = block_on(host.store.load(run.id)).expect("the store is there");
    let runner = host.mesh.runner();
    let valid = json!({ "v": 1, "kind": "step", "run_id": run.id, "step": "pack" });
    let fields = ["v", "kind", "run_id", "step"];
    let mutated =
        (0..fields.len(), any_json(), proptest::option::of(0_usize..90)).prop_map(move |(field, value, cut)| {
            let mut payload = valid.clone();
            payload[fields[field]] = value;
            let mut bytes = payload.to_string().into_bytes();
            bytes.truncate(cut.unwrap_or(usize::MAX));
            bytes
        });
    check(25_000, prop_oneof![mutated, vec(any::<u8>(), 0..64)], |bytes| {
        // If the generator produces the valid delivery, it is rightly executed.
        let step = DeliveryMessage::parse(&bytes).ok().and_then(|found| found.intent());
        prop_assume!(step.is_none_or(|key| key.target.step().is_none_or(|step| step.as_str() != "pack")));
        match block_on(runner.perform(&bytes)) {
            Ok(DeliveryOutcome::Ignored(_)) | Err(PerformError::InvalidMessage(_)) => {}
            other => prop_assert!(false, "{other:?}"),
        }
        prop_assert_eq!(&block_on(host.store.load(run.id)).expect("the store is there"), &before);
        Ok(())
    });
}

#[test]
fn a_definition_from_data_is_valid_or_refused() {
    let valid = serde_json::to_value(&**shop().definition()).expect("a definition is data");
    let pointers = [
        "/name",
        "/triggers",
        "/steps",
        "/transitions",
        "/steps/0",
        "/steps/1/name",
        "/transitions/0/to",
        "/triggers/0",
    ];
    let mutated = (0..pointers.len(), any_json()).prop_map(move |(place, value)| {
        let mut data = valid.clone();
        if let Some(found) = data.pointer_mut(pointers[place]) {
            *found = value;
        }
        data
    });
    check(9_000, prop_oneof![mutated, any_json()], |data| {
        if let Ok(definition) = serde_json::from_value::<Definition>(data) {
            prop_assert!(!definition.steps().is_empty());
            let again = serde_json::to_value(&definition).expect("a definition is data");
            prop_assert_eq!(serde_json::from_value::<Definition>(again).expect("it reads back"), definition);
        }
        Ok(())
    });
}

#[test]
fn commands_on_runs_that_do_not_exist_say_so() {
    let host = host();
    check(2_000, (any::<u128>(), text(), text()), |(bits, actor, comment)| {
        let id = RunId::from_uuid(uuid::Uuid::from_u128(bits));
        let mesh = &host.mesh;
        let not_found =
            |answer: Result<_, CommandError>| matches!(answer, Err(CommandError::NotFound(found)) if found.run == id);
        let cancelled = block_on(mesh.cancel_run(id).actor(&*actor).comment(&*comment));
        // Text that cannot be stored, and an actor without a name, are refused before anything is looked up.
        let storable = !actor.contains('\0') && !comment.contains('\0') && !actor.trim().is_empty();
        prop_assert!(!storable || not_found(cancelled.map(|_| ())));
        let approved = block_on(mesh.approve_run(id).actor(&*actor));
        prop_assert!(approved.is_err());
        prop_assert!(not_found(block_on(mesh.unblock_run(id)).map(|_| ())));
        prop_assert!(not_found(block_on(mesh.inspect_run(id)).map(|_| ())));
        prop_assert!(not_found(block_on(mesh.explain_run(id)).map(|_| ())));
        prop_assert!(not_found(block_on(mesh.graph(id)).map(|_| ())));
        prop_assert_eq!(host.newest(), None);
        Ok(())
    });
}
