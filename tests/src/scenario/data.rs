//! What steps are given, and what becomes of what they give.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use squidmesh_core::{COMPLETE, Failure, Field, RunStatus, Step, StepContext, StepResult, Trigger, Workflow};

use super::{done, nothing, workflow};
use crate::world::{attempts, step};
use crate::{Gate, Ground, Journal};

pub async fn outputs_go_over_the_payload_and_over_earlier_outputs(ground: &Ground) {
    let journal = Journal::new();
    let merging = Workflow::builder("merging")
        .trigger(
            Trigger::manual("manual").field(Field::integer("x")).field(Field::integer("y")).field(Field::integer("z")),
        )
        .step(journal.step("a", |_| Ok(json!({"y": "a", "z": "a"}))))
        .step(journal.step("b", |_| Ok(json!({"z": "b", "new": [1]}))))
        .step(journal.step("c", done))
        .then("a", "b")
        .then("b", "c")
        .then("c", COMPLETE)
        .build()
        .unwrap();
    let world = ground.world([merging]);
    let run = world.start_run("merging", &json!({"x": 0, "y": 0, "z": 0})).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(journal.of("c")[0].input, json!({"x": 0, "y": "a", "z": "b", "new": [1]}));
    assert_eq!(Value::Object(details.context), json!({"y": "a", "z": "b", "new": [1]}));
    assert_eq!(Value::Object((*details.run.payload).clone()), json!({"x": 0, "y": 0, "z": 0}), "the payload stays");
}

pub async fn an_input_mapping_picks_and_renames(ground: &Ground) {
    let journal = Journal::new();
    let mapped = workflow("mapped")
        .step(journal.step("picks", |_| Ok(json!({"shelf": 3}))).input(["order"]).output("reservation"))
        .step(journal.step("renames", done).input_from([("city", "order.to.city"), ("place", "reservation.shelf")]))
        .then("picks", "renames")
        .then("renames", COMPLETE)
        .build()
        .unwrap();
    let world = ground.world([mapped]);
    let order = json!({"to": {"city": "Oslo"}});
    let run = world.start_run("mapped", &json!({ "order": order })).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(journal.of("picks")[0].input, json!({ "order": order }));
    let renames = &journal.of("renames")[0];
    assert_eq!(renames.input, json!({"city": "Oslo", "place": 3}));
    let state = json!({"order": order, "reservation": {"shelf": 3}});
    assert_eq!(Value::Object(renames.state.clone()), state, "the whole state is at hand");
    assert_eq!(step(&details, "renames").run.as_ref().unwrap().input.len(), 2, "the snapshot is what was mapped");
}

pub async fn dependencies_are_merged_in_the_order_of_declaration(ground: &Ground) {
    for slow_is_first in [true, false] {
        let journal = Journal::new();
        let gate = std::sync::Arc::new(Gate::default());
        let wait = gate.clone();
        let slow = |name: &'static str| {
            let gate = wait.clone();
            journal.slow_step(name, move |call, _| {
                let gate = gate.clone();
                async move {
                    gate.pass().await;
                    Ok(json!({ "by": call.step }))
                }
            })
        };
        let open = gate.clone();
        let quick = |name: &'static str| {
            journal.step(name, move |call| {
                open.open(); // only now may the other one end
                Ok(json!({ "by": call.step }))
            })
        };
        let (first, second) =
            if slow_is_first { (slow("first"), quick("second")) } else { (quick("first"), slow("second")) };
        let name = format!("merge_{slow_is_first}");
        let merging = workflow(&name)
            .step(first)
            .step(second)
            .step(journal.step("join", done).after(["second", "first"]))
            .build()
            .unwrap();
        let world = ground.world([merging]);
        let run = world.start_run(&name, &nothing()).await.unwrap();
        let details = world.settle(run.id).await;
        assert_eq!(journal.of("join")[0].input, json!({"by": "second"}), "slow is first: {slow_is_first}");
        assert_eq!(Value::Object(details.context), json!({"by": "second"}));
    }
}

pub async fn an_output_that_is_no_object_needs_a_key(ground: &Ground) {
    let journal = Journal::new();
    let keyed = workflow("keyed")
        .step(journal.step("only", |_| Ok(json!([1, 2]))).output("list"))
        .then("only", COMPLETE)
        .build()
        .unwrap();
    let bare =
        workflow("bare").step(journal.step("only", |_| Ok(json!([1, 2])))).then("only", COMPLETE).build().unwrap();
    let world = ground.world([keyed, bare]);
    let run = world.start_run("keyed", &nothing()).await.unwrap();
    assert_eq!(Value::Object(world.settle(run.id).await.context), json!({"list": [1, 2]}));
    let run = world.start_run("bare", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Failed);
    assert_eq!(details.run.last_error.as_ref().unwrap().kind, Failure::INVALID_OUTPUT);
    assert_eq!(attempts(&details, "only"), ["failed"], "trying again would not help");
}

pub async fn an_output_beyond_the_limits_is_a_recorded_failure(ground: &Ground) {
    type Output = fn() -> Value;
    let outputs: [(&str, Output); 3] = [
        ("too_big", || json!({"text": "x".repeat(2 << 20)})),
        ("too_deep", || json!({"deep": (0..80).fold(json!(1), |inner, _| json!([inner]))})),
        ("with_nul", || json!({"text": "a\0b"})),
    ];
    let journal = Journal::new();
    let world = ground.world(outputs.map(|(name, output)| {
        workflow(name).step(journal.step("only", move |_| Ok(output()))).then("only", COMPLETE).build().unwrap()
    }));
    for (name, _) in outputs {
        let run = world.start_run(name, &nothing()).await.unwrap();
        let details = world.settle(run.id).await;
        assert_eq!(details.run.status, RunStatus::Failed, "{name}");
        assert_eq!(details.run.last_error.as_ref().unwrap().kind, Failure::INVALID_OUTPUT, "{name}");
        assert_eq!(attempts(&details, "only"), ["failed"], "{name}");
    }
}

#[derive(Deserialize, JsonSchema)]
struct Number {
    #[allow(dead_code, reason = "only whether it can be read counts")]
    number: u8,
}

async fn takes_a_number(_: Number, _: StepContext) -> StepResult<()> {
    Ok(())
}

pub async fn an_input_that_does_not_fit_the_handler_is_terminal(ground: &Ground) {
    let journal = Journal::new();
    let typed = workflow("typed")
        .step(journal.step("gives", |_| Ok(json!({"number": 300}))))
        .step(Step::new("takes", takes_a_number))
        .then("gives", "takes")
        .then("takes", COMPLETE)
        .build()
        .unwrap();
    let world = ground.world([typed]);
    let run = world.start_run("typed", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let error = details.run.last_error.as_ref().unwrap();
    assert_eq!((error.kind.as_str(), error.step.as_ref().unwrap().as_str()), (Failure::INVALID_INPUT, "takes"));
    assert_eq!(attempts(&details, "takes"), ["failed"]);
}

pub async fn what_is_stored_reads_back_exactly(ground: &Ground) {
    let odd = json!({
        "text": "ü – 漢字 🦑 \u{200d} \"quoted\" \\ \n\t\u{1}",
        "": "an empty key",
        "big": 9_007_199_254_740_993_u64,
        "bigger": u64::MAX,
        "least": i64::MIN,
        "float": 0.1,
        "tiny": 5e-324,
        "huge": 1.797_693_134_862_315_7e308,
        "nothing": null,
        "nested": [[[{"a": [true, false, {}]}]]],
    });
    let journal = Journal::new();
    let told = odd.clone();
    let keeping = workflow("keeping")
        .step(journal.step("gives", move |_| Ok(told.clone())).output("kept"))
        .step(journal.step("takes", done))
        .then("gives", "takes")
        .then("takes", COMPLETE)
        .build()
        .unwrap();
    let world = ground.world([keeping]);
    let run = world.start_run("keeping", &json!({ "order": odd })).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(journal.of("takes")[0].input, json!({"order": odd, "kept": odd}));
    assert_eq!(details.context.get("kept"), Some(&odd));
    assert_eq!(details.run.payload.get("order"), Some(&odd));
}
