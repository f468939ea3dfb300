//! Features that a crate of the host may turn on for every crate: numbers kept as written, the order of keys, raw
//! JSON text, no depth limit. `cargo xtask host-features` builds these tests and the core's other tests with all of
//! them.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "these are tests: what cannot continue has failed")]

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use squidmesh_core::definition::{Definition, JsonLimits, JsonViolation};
use squidmesh_core::testing::json::{parse, to_value};
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, block_on};
use squidmesh_core::{COMPLETE, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow, secs, wait};

fn limits() -> JsonLimits {
    JsonLimits::default()
}

fn written(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_features_are_on() {
    assert_eq!(written("0.10").to_string(), "0.10", "arbitrary_precision");
    assert_eq!(written(r#"{"b":1,"a":2}"#).to_string(), r#"{"b":1,"a":2}"#, "preserve_order");
}

#[test]
fn a_number_that_is_read_is_a_number_as_it_was_written() {
    for text in ["1", "-1", "18446744073709551615", "0.1", "0.10", "12345678901234567.89", "1e3", "-0", "0.5e-7"] {
        let read = parse(text, &limits()).unwrap();
        assert!(read.is_number(), "{text}: {read:?}");
        assert_eq!(read.as_f64(), text.parse().ok(), "{text}");
    }
    assert_eq!(parse("12345678901234567.89", &limits()).unwrap().to_string(), "12345678901234567.89");
    let deep = format!("{}1{}", "[".repeat(64), "]".repeat(64));
    assert!(parse(deep, &limits()).is_ok(), "a number is no level of its own");
}

#[test]
fn a_number_that_another_process_cannot_read_is_refused() {
    for (text, integer) in [("123456789012345678901234567890", true), ("-9223372036854775809", true), ("1e400", false)]
    {
        let violation = limits().check(&json!({ "a": written(text) })).unwrap_err();
        let path = "a".to_owned();
        let expected = match integer {
            true => JsonViolation::IntegerTooLarge { path },
            false => JsonViolation::NotFinite { path },
        };
        assert_eq!(violation, expected, "{text}");
    }
    assert!(to_value(&u128::MAX).is_err() && to_value(&f64::NAN).is_err());
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case")]
enum Pay {
    Card { cents: u64, share: f64, most: i64 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Order {
    count: u64,
    least: i64,
    rate: f32,
    #[serde(default)]
    copies: u8,
    #[serde(flatten)]
    pay: Pay,
}

fn order() -> Order {
    let pay = Pay::Card { cents: u64::MAX, share: 0.1, most: i64::MAX };
    Order { count: 9_007_199_254_740_993, least: i64::MIN, rate: 0.5, copies: 1, pay }
}

async fn reads(given: Order, _: StepContext) -> StepResult<Order> {
    assert_eq!(given, order());
    Ok(given)
}

async fn keeps(given: Box<RawValue>, _: StepContext) -> StepResult<Box<RawValue>> {
    Ok(given)
}

#[derive(Serialize, Deserialize)]
struct Holding {
    rate: Box<RawValue>,
    cents: Value,
}

async fn holds(given: Holding, _: StepContext) -> StepResult<Holding> {
    assert_eq!((given.rate.get(), given.cents), ("0.5", json!(u64::MAX)));
    Ok(Holding { rate: given.rate, cents: written("0.10") })
}

fn workflow() -> Workflow {
    Workflow::builder("numbers")
        .trigger(Trigger::manual("start").payload::<Order>())
        .step(Step::new("waits", wait(secs(5))))
        .step(Step::new("reads", reads).output("read"))
        .step(Step::new("keeps", keeps).output("kept"))
        .step(Step::new("holds", holds).input(["rate", "cents"]).output("held"))
        .then("waits", "reads")
        .then("reads", "keeps")
        .then("keeps", "holds")
        .then("holds", COMPLETE)
        .build()
        .unwrap()
}

#[test]
fn a_stored_definition_reads_back() {
    let workflow = workflow();
    let stored = serde_json::to_string(workflow.definition().as_ref()).unwrap();
    let read: Definition = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.fingerprint(), workflow.definition().fingerprint());
    assert_eq!(serde_json::to_string(&read).unwrap(), stored);
}

#[test]
fn numbers_pass_through_a_run_exactly() {
    let clock = Arc::new(ManualClock::default());
    let executor = MemoryExecutor::new(clock.clone());
    let mesh =
        Squidmesh::builder(MemoryStore::new(clock)).executor(executor.clone()).workflow(workflow()).build().unwrap();
    let run = block_on(mesh.start_run("numbers", &order())).unwrap();
    block_on(executor.run_to_rest(&mesh)).unwrap();
    let details = block_on(mesh.inspect_run(run.id)).unwrap();
    assert_eq!(details.run.status, RunStatus::Completed, "{:?}", details.run.last_error);
    let read: Order = serde_json::from_value(details.context["read"].clone()).unwrap();
    assert_eq!(read, order());
    assert_eq!(details.context["kept"]["count"], json!(9_007_199_254_740_993_u64));
    assert_eq!(details.context["held"].to_string(), r#"{"rate":0.5,"cents":0.10}"#);
}

#[test]
fn a_key_that_stands_for_a_number_is_refused() {
    let forged = Value::Object([("$serde_json::private::Number".to_owned(), json!("1"))].into_iter().collect());
    let violation = limits().check(&json!({ "a": forged })).unwrap_err();
    assert!(matches!(violation, JsonViolation::ReservedKey { .. }), "{violation}");
}
