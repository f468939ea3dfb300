//! The mistakes of a first day that the compiler does not find: each message says what is wrong, where, and what to do.
//!
//! The compiler's half is in `mistakes/`, the database's in the store's `first_minutes.rs`.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "everything in this crate is a test")]

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, block_on};
use squidmesh_core::workflow::WorkflowBuilder;
use squidmesh_core::{COMPLETE, FAIL, RunId, Squidmesh, Step, StepResult, Trigger, Workflow, approval};

#[derive(Serialize, Deserialize, schemars::JsonSchema)]
struct Order {
    order_id: String,
    cents: u64,
}

async fn done(_: Value) -> StepResult<()> {
    Ok(())
}

async fn score(_: Value) -> StepResult<u64> {
    Ok(1)
}

fn orders() -> WorkflowBuilder {
    Workflow::builder("checkout").trigger(Trigger::manual("place_order").payload::<Order>())
}

#[track_caller]
fn refused(builder: WorkflowBuilder, message: &str) {
    let error = builder.build().unwrap_err().to_string();
    assert_eq!(error, format!("the workflow \"checkout\" has 1 error:\n  - {message}"));
}

#[test]
fn a_definition_says_what_to_change() {
    let two = || orders().step(Step::new("pay", done)).step(Step::new("ship", done));
    refused(
        two().then("pay", "shipp").then("ship", COMPLETE),
        "the transition of the step \"pay\" on ok leads to \"shipp\", which is not a step of this workflow; did you mean \"ship\"?",
    );
    refused(
        two().then("pay", "ship"),
        "the step \"ship\" leads nowhere when it completes: add `.then(\"ship\", COMPLETE)`, or name the step that follows, or \
         end in failure with `FAIL`",
    );
    refused(
        Workflow::builder("checkout").step(Step::new("pay", done)),
        "there is no trigger: add one, such as `.trigger(Trigger::manual(\"start\"))`",
    );
    refused(
        two().step(Step::new("mail", done).after(["pay"])).then("pay", "ship"),
        "the step \"mail\" uses `after` and the step \"pay\" has a transition: a workflow is made of either dependencies or \
         transitions",
    );
    refused(
        orders().step(Step::new("ask", approval())).then("ask", COMPLETE),
        "the approval \"ask\" has no transition for the outcome error: it needs one for ok (approved) and one for error \
         (rejected)",
    );
    refused(
        two().then("pay", "ship").then("ship", "pay"),
        "transition cycle: pay → ship → pay; a step runs once in a run: use its `retry` to repeat a failed one",
    );
    refused(
        orders().step(Step::new("score", score)),
        "the output of the step \"score\" is u64, which is not an object: declare a key for it with `.output(\"..\")`",
    );
    refused(
        two(),
        "nothing says in which order the steps run: connect them with `.then(..)`, or with `.after([..])` on a step; if they \
         are to start all at once, call `.parallel()`",
    );
}

/// A runtime over the in-memory adapters, and its executor.
fn mesh(workflows: impl IntoIterator<Item = WorkflowBuilder>) -> (Squidmesh, MemoryExecutor) {
    let clock = Arc::new(ManualClock::default());
    let executor = MemoryExecutor::new(clock.clone());
    let builder = Squidmesh::builder(MemoryStore::new(clock)).executor(executor.clone());
    let builder = workflows.into_iter().fold(builder, |builder, workflow| builder.workflow(workflow.build().unwrap()));
    (builder.build().unwrap(), executor)
}

fn order() -> Value {
    json!({ "order_id": "A-17", "cents": 5 })
}

#[test]
fn a_runtime_without_an_executor_says_so_also_in_main() {
    let error = Squidmesh::builder(MemoryStore::new(Arc::new(ManualClock::default()))).build().err().unwrap();
    assert_eq!(error.to_string(), "no executor was given: call `.executor(…)` on the builder");
    assert_eq!(format!("{error:?}"), error.to_string(), "`main` prints the `Debug` form");
}

#[test]
fn a_start_says_what_is_registered_and_what_does_not_fit() {
    let (mesh, _) = mesh([orders().step(Step::new("pay", done))]);
    let start = |workflow: &str, payload: &Value| block_on(mesh.start_run(workflow, payload)).unwrap_err().to_string();
    assert_eq!(start("chekout", &order()), "no workflow \"chekout\" is registered; registered are: checkout");
    let misfit = start("checkout", &json!({ "order_id": 17, "amount": 5 }));
    assert!(misfit.starts_with("trigger place_order of workflow checkout: the payload does not fit: "), "{misfit}");
    for path in ["order_id", "amount", "cents"] {
        assert!(misfit.contains(path), "every mismatch is named by its path: {misfit}");
    }
}

#[derive(Deserialize)]
struct Reserved {
    #[serde(rename = "reservation")]
    _reservation: Value,
}

async fn capture(_: Reserved) -> StepResult<()> {
    Ok(())
}

#[test]
fn an_input_that_lacks_a_field_names_the_type_and_the_field() {
    let (mesh, executor) = mesh([orders().step(Step::new("capture", capture))]);
    let run = block_on(mesh.start_run("checkout", &order())).unwrap();
    block_on(executor.run_to_rest(&mesh)).unwrap();
    let error = block_on(mesh.get_run(run.id)).unwrap().last_error.unwrap();
    assert_eq!(error.kind, "invalid_input");
    assert!(error.message.contains("Reserved") && error.message.contains("reservation"), "{}", error.message);
}

#[test]
fn a_decision_says_why_it_is_refused() {
    let asked = orders()
        .step(Step::new("check", done))
        .step(Step::new("review", approval()))
        .then("check", "review")
        .then("review", COMPLETE)
        .on_error("review", FAIL);
    let (mesh, executor) = mesh([asked]);
    let run = block_on(mesh.start_run("checkout", &order())).unwrap();
    let approve = |id: RunId| block_on(mesh.approve_run(id).actor("ann"));
    let early = approve(run.id).unwrap_err().to_string();
    assert_eq!(early, "a pending run cannot become running: no step of it waits for a person yet, if one ever does");
    block_on(executor.run_to_rest(&mesh)).unwrap();
    let unsigned = block_on(mesh.approve_run(run.id)).unwrap_err().to_string();
    assert_eq!(unsigned, "the actor is missing or empty: name who acts");
    approve(run.id).unwrap();
    let twice = approve(run.id).unwrap_err().to_string();
    assert!(twice.contains("approved") && twice.contains("ann"), "the first decision is named: {twice}");
    let unknown = RunId::from_uuid(uuid::Uuid::nil());
    assert_eq!(approve(unknown).unwrap_err().to_string(), format!("there is no run {unknown}"));
}

#[test]
fn two_workflows_of_one_name_are_both_served_and_starts_take_the_last() {
    let other = Workflow::builder("checkout").trigger(Trigger::manual("go")).step(Step::new("refund", done));
    let (mesh, executor) = mesh([orders().step(Step::new("pay", done)), other]);
    let run = block_on(mesh.start_run("checkout", &json!({}))).unwrap();
    block_on(executor.run_to_rest(&mesh)).unwrap();
    let details = block_on(mesh.inspect_run(run.id)).unwrap();
    let steps: Vec<_> = details.steps.iter().map(|step| step.name.to_string()).collect();
    assert_eq!(steps, ["refund"]);
    let shown = serde_json::to_value(&details).unwrap();
    assert_eq!(shown["steps"][0]["state"], "completed", "what inspection returns serializes");
}
