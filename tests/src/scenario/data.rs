//! The inputs of steps, and what becomes of their outputs.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use squidmesh_core::run::FailureKind;
use squidmesh_core::{COMPLETE, Field, Retry, RunStatus, Step, StepContext, StepResult, Trigger, Workflow, ms};

use super::{done, nothing, workflow};
use crate::world::{attempts, step};
use crate::{Backend, Gate, Journal, World};

pub async fn outputs_go_over_the_payload_and_over_earlier_outputs(backend: &Backend) {
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
    let world = backend.world([merging]);
    let run = world.start_run("merging", &json!({"x": 0, "y": 0, "z": 0})).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(journal.of("c")[0].input, json!({"x": 0, "y": "a", "z": "b", "new": [1]}));
    assert_eq!(Value::Object(details.context), json!({"y": "a", "z": "b", "new": [1]}));
    assert_eq!(Value::Object((*details.run.payload).clone()), json!({"x": 0, "y": 0, "z": 0}), "the payload stays");
}

pub async fn an_input_mapping_picks_and_renames(backend: &Backend) {
    let journal = Journal::new();
    let mapped = workflow("mapped")
        .step(journal.step("picks", |_| Ok(json!({"shelf": 3}))).input(["order"]).output("reservation"))
        .step(journal.step("renames", done).input_from([("city", "order.to.city"), ("place", "reservation.shelf")]))
        .then("picks", "renames")
        .then("renames", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([mapped]);
    let order = json!({"to": {"city": "Oslo"}});
    let run = world.start_run("mapped", &json!({ "order": order })).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(journal.of("picks")[0].input, json!({ "order": order }));
    let renames = &journal.of("renames")[0];
    assert_eq!(renames.input, json!({"city": "Oslo", "place": 3}));
    let state = json!({"order": order, "reservation": {"shelf": 3}});
    assert_eq!(Value::Object(renames.state.clone()), state, "the whole state is visible");
    assert_eq!(
        step(&details, "renames").run.as_ref().unwrap().input.copy().unwrap().len(),
        2,
        "the snapshot is what was mapped"
    );
}

pub async fn dependencies_are_merged_in_the_order_of_declaration(backend: &Backend) {
    for slow_is_first in [true, false] {
        let journal = Journal::new();
        let gate = Arc::new(Gate::default());
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
        let world = backend.world([merging]);
        let run = world.start_run(&name, &nothing()).await.unwrap();
        let details = world.settle(run.id).await;
        assert_eq!(journal.of("join")[0].input, json!({"by": "second"}), "slow is first: {slow_is_first}");
        assert_eq!(Value::Object(details.context), json!({"by": "second"}));
    }
}

pub async fn an_output_that_is_no_object_needs_a_key(backend: &Backend) {
    let journal = Journal::new();
    let keyed = workflow("keyed")
        .step(journal.step("only", |_| Ok(json!([1, 2]))).output("list"))
        .then("only", COMPLETE)
        .build()
        .unwrap();
    let bare =
        workflow("bare").step(journal.step("only", |_| Ok(json!([1, 2])))).then("only", COMPLETE).build().unwrap();
    let world = backend.world([keyed, bare]);
    let run = world.start_run("keyed", &nothing()).await.unwrap();
    assert_eq!(Value::Object(world.settle(run.id).await.context), json!({"list": [1, 2]}));
    let run = world.start_run("bare", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(details.run.status, RunStatus::Failed);
    assert_eq!(details.run.last_error.as_ref().unwrap().kind, FailureKind::INVALID_OUTPUT);
    assert_eq!(attempts(&details, "only"), ["failed"], "trying again would not help");
}

pub async fn an_output_beyond_the_limits_is_a_recorded_failure(backend: &Backend) {
    type Output = fn() -> Value;
    let outputs: [(&str, Output); 3] = [
        ("too_big", || json!({"text": "x".repeat(2 << 20)})),
        ("too_deep", || json!({"deep": (0..80).fold(json!(1), |inner, _| json!([inner]))})),
        ("with_nul", || json!({"text": "a\0b"})),
    ];
    let journal = Journal::new();
    let world = backend.world(outputs.map(|(name, output)| {
        workflow(name).step(journal.step("only", move |_| Ok(output()))).then("only", COMPLETE).build().unwrap()
    }));
    for (name, _) in outputs {
        let run = world.start_run(name, &nothing()).await.unwrap();
        let details = world.settle(run.id).await;
        assert_eq!(details.run.status, RunStatus::Failed, "{name}");
        assert_eq!(details.run.last_error.as_ref().unwrap().kind, FailureKind::INVALID_OUTPUT, "{name}");
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

pub async fn an_input_that_does_not_fit_the_handler_is_terminal(backend: &Backend) {
    let journal = Journal::new();
    let typed = workflow("typed")
        .step(journal.step("gives", |_| Ok(json!({"number": 300}))))
        .step(Step::new("takes", takes_a_number))
        .then("gives", "takes")
        .then("takes", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([typed]);
    let run = world.start_run("typed", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let error = details.run.last_error.as_ref().unwrap();
    assert_eq!((error.kind.clone(), error.step.as_ref().unwrap().as_str()), (FailureKind::INVALID_INPUT, "takes"));
    assert_eq!(attempts(&details, "takes"), ["failed"]);
}

pub async fn what_is_stored_reads_back_exactly(backend: &Backend) {
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
    let given = odd.clone();
    let keeping = workflow("keeping")
        .step(journal.step("gives", move |_| Ok(given.clone())).output("kept"))
        .step(journal.step("takes", done))
        .then("gives", "takes")
        .then("takes", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([keeping]);
    let run = world.start_run("keeping", &json!({ "order": odd })).await.unwrap();
    let details = world.settle(run.id).await;
    assert_eq!(journal.of("takes")[0].input, json!({"order": odd, "kept": odd}));
    assert_eq!(details.context.get("kept"), Some(&odd));
    assert_eq!(details.run.payload.get("order"), Some(&odd));
}

/// Returns a step that outputs this many bytes under its own key.
fn giving(journal: &Arc<Journal>, step: String, bytes: usize) -> Step {
    journal.step(&step.clone(), move |_| Ok(json!("x".repeat(bytes)))).output(step)
}

/// Creates a runtime whose runs may keep 10,000 bytes, and 4,000 in one output.
fn narrow(backend: &Backend, workflows: impl IntoIterator<Item = Workflow>) -> World {
    backend.world_with(workflows, |builder| {
        builder.configure(|config| (config.json.max_bytes, config.max_context_bytes) = (4_000, 10_000))
    })
}

fn long_chain(journal: &Arc<Journal>) -> Workflow {
    let declared = (0..6).fold(workflow("long"), |builder, at| builder.step(giving(journal, format!("s{at}"), 3_000)));
    let followed = (0..5).fold(declared, |builder, at| builder.then(format!("s{at}"), format!("s{}", at + 1)));
    followed.then("s5", COMPLETE).build().unwrap()
}

pub async fn an_output_that_the_context_has_no_room_for_fails_its_step(backend: &Backend) {
    let journal = Journal::new();
    let world = narrow(backend, [long_chain(&journal)]);
    let run = world.start_run("long", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let error = details.run.last_error.as_ref().unwrap();
    assert_eq!((details.run.status, error.kind.clone()), (RunStatus::Failed, FailureKind::CONTEXT_TOO_LARGE));
    assert_eq!(error.step.as_ref().unwrap().as_str(), "s3", "the one that exceeds it");
    assert!(error.message.contains("beyond its limit of 10000 bytes"), "{}", error.message);
    assert_eq!(attempts(&details, "s3"), ["failed"], "trying again would not help");
    assert_eq!(journal.steps(), ["s0", "s1", "s2", "s3"]);
    assert_eq!(details.context.len(), 3, "what had room is kept");

    // With more room, the run continues where it stopped.
    let roomy =
        backend.world_with([long_chain(&journal)], |builder| builder.configure(|config| config.json.max_bytes = 4_000));
    let resumed = roomy.resume_run(run.id).await.unwrap();
    let details = roomy.settle(resumed.id).await;
    assert_eq!((details.run.status, details.context.len()), (RunStatus::Completed, 6));
}

pub async fn siblings_that_exceed_the_context_together_fail_one(backend: &Backend) {
    let journal = Journal::new();
    let names: Vec<String> = (0..8).map(|at| format!("s{at}")).collect();
    let siblings =
        names.iter().fold(workflow("wide"), |builder, name| builder.step(giving(&journal, name.clone(), 3_000)));
    let world = narrow(backend, [siblings.step(journal.step("join", done).after(names)).build().unwrap()]);
    let run = world.start_run("wide", &nothing()).await.unwrap();
    let details = world.settle(run.id).await;
    let error = details.run.last_error.as_ref().unwrap();
    assert_eq!((details.run.status, error.kind.clone()), (RunStatus::Failed, FailureKind::CONTEXT_TOO_LARGE));
    assert!(step(&details, "join").run.is_none(), "the join never starts");
    assert_eq!(details.context.len(), 3);
    let failures = details.steps.iter().flat_map(|step| &step.attempts).filter_map(|attempt| attempt.error.as_ref());
    let kinds: std::collections::BTreeSet<&str> = failures.map(|failure| failure.kind.as_str()).collect();
    let expected = FailureKind::CONTEXT_TOO_LARGE;
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [expected.as_str()], "no other step is blamed");
}

pub async fn an_output_that_replaces_another_takes_its_room(backend: &Backend) {
    let journal = Journal::new();
    let replacing = |at: usize| journal.step(&format!("s{at}"), |_| Ok(json!("x".repeat(3_000)))).output("cart");
    let declared = (0..6).fold(workflow("replacing"), |builder, at| builder.step(replacing(at)));
    let followed = (0..5).fold(declared, |builder, at| builder.then(format!("s{at}"), format!("s{}", at + 1)));
    let world = narrow(backend, [followed.then("s5", COMPLETE).build().unwrap()]);
    let run = world.start_run("replacing", &nothing()).await.unwrap();
    assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed);
}

#[derive(Debug)]
struct Unreachable(std::io::Error);

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the gateway cannot be reached")
    }
}

impl std::error::Error for Unreachable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

async fn own_error(_: (), _: StepContext) -> Result<(), Unreachable> {
    Err(Unreachable(std::io::Error::other("no route")))
}

async fn boxed_error(_: (), context: StepContext) -> StepResult<()> {
    let boxed: Result<(), Box<dyn std::error::Error + Send + Sync>> = own_error((), context).await.map_err(Into::into);
    Ok(boxed?)
}

pub async fn an_error_of_the_hosts_is_recorded_with_its_causes(backend: &Backend) {
    let failing = |name: &str, step: Step| {
        workflow(name).step(step.retry(Retry::fixed(2, ms(1)))).then("pay", COMPLETE).build().unwrap()
    };
    let world =
        backend.world([failing("own", Step::new("pay", own_error)), failing("boxed", Step::new("pay", boxed_error))]);
    for name in ["own", "boxed"] {
        let run = world.start_run(name, &json!({"order": {"id": 1}})).await.unwrap();
        let details = world.settle(run.id).await;
        let error = details.run.last_error.as_ref().unwrap();
        assert_eq!((error.kind.as_str(), error.message.as_str()), ("error", "the gateway cannot be reached"), "{name}");
        assert_eq!(error.chain, ["no route"]);
        assert_eq!(attempts(&details, "pay"), ["failed", "failed"], "another attempt was made");
    }
}
