//! A fingerprint identifies the version of a workflow that a run belongs to, for as long as the run is kept.

use std::collections::HashMap;

use schemars::JsonSchema;
use squidmesh_core::definition::{Definition, LogLevel, MissedPolicy, Priority, RecoveryRoute};
use squidmesh_core::workflow::WorkflowBuilder;
use squidmesh_core::{
    COMPLETE, FAIL, Field, Retry, Step, StepContext, StepResult, Trigger, Workflow, approval, log, ms, pause, secs,
    transactional, wait,
};

use crate::declared::{chain, echo, step, triggered};

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Order {
    /// The number on the invoice.
    id: String,
    lines: Vec<Line>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Line {
    price: f64,
    copies: u32,
}

/// Returns a workflow that uses every option.
fn full() -> WorkflowBuilder {
    Workflow::builder("checkout")
        .trigger(Trigger::manual("place").payload::<Order>())
        .trigger(
            Trigger::cron("nightly")
                .expression("0 3 * * *")
                .time_zone("Europe/Berlin")
                .missed(MissedPolicy::All)
                .field(Field::string("day").default_today())
                .field(Field::float("rate").default(1.5))
                .field(Field::list("tags").optional()),
        )
        .step(
            step("reserve")
                .input(["id"])
                .input_from([("first", "lines.0.price")])
                .output("reservation")
                .retry(Retry::exponential(5, ms(200)..secs(30)).jitter(true))
                .timeout(secs(10))
                .compensate(echo)
                .queue("stock")
                .priority(Priority::High),
        )
        .step(Step::new("review", approval()).output("review"))
        .step(Step::new("note", log("approved", LogLevel::Info)))
        .step(Step::new("stop", pause()))
        .step(Step::new("nap", wait(secs(60))))
        .step(step("capture").irreversible())
        .then("reserve", "review")
        .then("review", "note")
        .on_error("review", COMPLETE)
        .recovery(RecoveryRoute::Compensation)
        .then("note", "stop")
        .then("stop", "nap")
        .then("nap", "capture")
        .then("capture", COMPLETE)
}

fn fingerprint(builder: WorkflowBuilder) -> String {
    builder.build().unwrap().definition().fingerprint().to_string()
}

#[test]
fn the_fingerprint_of_a_stored_workflow_never_changes() {
    // If this fails, stored runs would lose their workflow: keep the canonical form instead.
    assert_eq!(fingerprint(chain()), "4a93c2f6865b216d9c12afd25486251d");
    assert_eq!(fingerprint(full()), "09725e50a41b62c8468788632a558a67");
}

#[test]
fn the_same_declaration_has_the_same_fingerprint() {
    assert_eq!(fingerprint(full()), fingerprint(full()));
    assert_eq!(full().build().unwrap().definition(), full().build().unwrap().definition());
}

#[test]
fn storing_keeps_the_definition_and_its_fingerprint() {
    for builder in [chain(), full(), triggered().step(step("a")).step(step("b").after(["a"]))] {
        let workflow = builder.build().unwrap();
        let definition = workflow.definition().as_ref();
        let text = serde_json::to_string(definition).unwrap();
        let read: Definition = serde_json::from_str(&text).unwrap();
        assert_eq!(read.fingerprint(), definition.fingerprint());
        assert_eq!(read.steps(), definition.steps());
        assert_eq!(read.transitions(), definition.transitions());
        assert_eq!(read.triggers(), definition.triggers());
        assert_eq!(read.shape(), definition.shape());
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}

#[test]
fn the_order_of_keys_in_storage_does_not_matter() {
    let workflow = full().build().unwrap();
    let value = serde_json::to_value(workflow.definition().as_ref()).unwrap();
    let read: Definition = serde_json::from_str(&backwards(&value)).unwrap();
    assert_eq!(read.fingerprint(), workflow.definition().fingerprint());
}

/// Returns the value as text, with the keys of every object in reverse order.
fn backwards(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(members) => {
            let mut members: Vec<_> = members
                .iter()
                .map(|(key, value)| format!("{}:{}", serde_json::Value::from(key.as_str()), backwards(value)))
                .collect();
            members.sort_unstable_by(|one, other| other.cmp(one));
            format!("{{{}}}", members.join(","))
        }
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(backwards).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

mod documented {
    use schemars::JsonSchema;

    /// Another explanation and another order, but the same fields.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    pub(super) struct Order {
        /// What is bought.
        pub(super) lines: Vec<Line>,
        pub(super) id: String,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    pub(super) struct Line {
        pub(super) copies: u32,
        pub(super) price: f64,
    }
}

#[test]
fn the_documentation_of_a_payload_does_not_matter() {
    let with = |trigger: Trigger| fingerprint(triggered().trigger(trigger).step(step("a")));
    assert_eq!(
        with(Trigger::manual("t").payload::<Order>()),
        with(Trigger::manual("t").payload::<documented::Order>())
    );
}

#[test]
fn every_change_changes_the_fingerprint() {
    let base = || Workflow::builder("w").trigger(Trigger::manual("t"));
    let one = |step: Step| base().step(step);
    let field = |field: Field| Workflow::builder("w").trigger(Trigger::manual("t").field(field)).step(step("a"));
    let cron = || Trigger::cron("t").expression("0 3 * * *").time_zone("Europe/Berlin");
    let scheduled = |trigger: Trigger| Workflow::builder("w").trigger(trigger).step(step("a"));
    let two = || base().step(step("a")).step(step("b"));
    let retry = || Retry::exponential(5, ms(200)..secs(30));
    let variants = vec![
        ("base", one(step("a"))),
        ("workflow name", Workflow::builder("v").trigger(Trigger::manual("t")).step(step("a"))),
        ("trigger name", Workflow::builder("w").trigger(Trigger::manual("u")).step(step("a"))),
        ("second trigger", one(step("a")).trigger(Trigger::manual("u"))),
        ("cron", scheduled(cron())),
        ("cron expression", scheduled(cron().expression("1 3 * * *"))),
        ("cron time zone", scheduled(cron().time_zone("Europe/Paris"))),
        ("cron missed once", scheduled(cron().missed(MissedPolicy::Once))),
        ("cron missed all", scheduled(cron().missed(MissedPolicy::All))),
        ("payload type", scheduled(Trigger::manual("t").payload::<Order>())),
        ("another payload type", scheduled(Trigger::manual("t").payload::<Line>())),
        ("field", field(Field::string("x"))),
        ("field name", field(Field::string("y"))),
        ("field kind", field(Field::integer("x"))),
        ("field default", field(Field::string("x").default("a"))),
        ("field other default", field(Field::string("x").default("b"))),
        ("field today", field(Field::string("x").default_today())),
        ("field optional", field(Field::string("x").optional())),
        ("step name", one(step("b"))),
        ("wait", one(Step::new("a", wait(secs(1))))),
        ("longer wait", one(Step::new("a", wait(ms(1_001))))),
        ("log", one(Step::new("a", log("x", LogLevel::Info)))),
        ("log message", one(Step::new("a", log("y", LogLevel::Info)))),
        ("log level", one(Step::new("a", log("x", LogLevel::Warn)))),
        ("input keys", one(step("a").input(["x"]))),
        ("no input", one(step("a").input([""; 0]))),
        ("input key order", one(step("a").input(["x", "y"]))),
        ("input key order, turned", one(step("a").input(["y", "x"]))),
        ("input path", one(step("a").input_from([("x", "y")]))),
        ("deeper input path", one(step("a").input_from([("x", "y.z")]))),
        ("output", one(step("a").output("x"))),
        ("other output", one(step("a").output("y"))),
        ("retry", one(step("a").retry(retry()))),
        ("retry attempts", one(step("a").retry(Retry::exponential(6, ms(200)..secs(30))))),
        ("retry min", one(step("a").retry(Retry::exponential(5, ms(201)..secs(30))))),
        ("retry max", one(step("a").retry(Retry::exponential(5, ms(200)..secs(31))))),
        ("retry jitter", one(step("a").retry(retry().jitter(true)))),
        ("timeout", one(step("a").timeout(secs(1)))),
        ("longer timeout", one(step("a").timeout(secs(2)))),
        ("compensation", one(step("a").compensate(echo))),
        ("transactional", one(Step::new("a", transactional(in_a_transaction)))),
        ("irreversible", one(step("a").irreversible())),
        ("not compensatable", one(step("a").compensatable(false))),
        ("queue", one(step("a").queue("q"))),
        ("high priority", one(step("a").priority(Priority::High))),
        ("low priority", one(step("a").priority(Priority::Low))),
        ("two roots", two().parallel()),
        ("two roots, turned", base().step(step("b")).step(step("a")).parallel()),
        ("dependency", base().step(step("a")).step(step("b").after(["a"]))),
        ("dependency, turned", base().step(step("a").after(["b"])).step(step("b"))),
        ("transition", two().then("a", "b").then("b", FAIL)),
        ("two transitions", two().then("a", "b").then("b", COMPLETE)),
        ("error transition", two().then("a", COMPLETE).on_error("a", "b").then("b", COMPLETE)),
        ("undo", two().then("a", COMPLETE).then("b", COMPLETE).on_error("a", "b").recovery(RecoveryRoute::Undo)),
        (
            "compensate",
            two().then("a", COMPLETE).then("b", COMPLETE).on_error("a", "b").recovery(RecoveryRoute::Compensation),
        ),
    ];
    let mut seen = HashMap::new();
    for (change, builder) in variants {
        if let Some(other) = seen.insert(fingerprint(builder), change) {
            panic!("{change:?} has the fingerprint of {other:?}");
        }
    }
}

async fn in_a_transaction(_: serde_json::Value, _: &(), _: StepContext) -> StepResult<()> {
    Ok(())
}

#[test]
fn saying_a_default_is_saying_nothing() {
    let spelled = step("a").queue("default").priority(Priority::Normal).retry(Retry::default()).compensatable(true);
    assert_eq!(fingerprint(triggered().step(spelled)), fingerprint(triggered().step(step("a"))));
}
