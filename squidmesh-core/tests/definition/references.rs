//! Typed references to workflows: what a declaration must agree with, and how a result is read.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use squidmesh_core::inspect::NoResult;
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, block_on};
use squidmesh_core::workflow::{WorkflowBuilder, WorkflowRef};
use squidmesh_core::{COMPLETE, Field, RunStatus, Squidmesh, Step, StepError, StepResult, Trigger};

use crate::declared::errors;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Order {
    cents: u64,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Parcel {
    grams: u64,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Sold {
    receipt: u32,
    #[serde(default)]
    gift: Option<String>,
}

const CHECKOUT: WorkflowRef<Order, Sold> = WorkflowRef::new("checkout");
const UNTYPED: WorkflowRef<()> = WorkflowRef::new("checkout");

async fn capture(order: Order) -> StepResult<u32> {
    match order.cents {
        0 => Err(StepError::terminal("nothing to pay")),
        cents => Ok(cents as u32 + 1),
    }
}

fn declared(trigger: Trigger, output: &str) -> WorkflowBuilder {
    CHECKOUT.builder().trigger(trigger).step(Step::new("capture", capture).output(output)).then("capture", COMPLETE)
}

fn placed() -> Trigger {
    Trigger::manual("place_order")
}

#[track_caller]
fn refused(builder: WorkflowBuilder, message: &str) {
    let found = errors(builder);
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [message]);
}

#[test]
fn a_declaration_that_agrees_is_the_same_as_without_a_reference() {
    let typed = declared(placed().payload::<Order>(), "receipt").build().unwrap();
    let plain = squidmesh_core::Workflow::builder("checkout").trigger(placed().payload::<Order>());
    let plain = plain.step(Step::new("capture", capture).output("receipt")).then("capture", COMPLETE).build().unwrap();
    assert_eq!(typed.definition().fingerprint(), plain.definition().fingerprint());
    assert_eq!(format!("{CHECKOUT:?} {}", CHECKOUT.name()), "WorkflowRef(\"checkout\") checkout");
}

#[test]
fn every_manual_trigger_takes_the_payload_of_the_reference() {
    let message = format!(
        "the trigger \"place_order\" must take what `WorkflowRef` names: `.payload::<{}>()`, or none for `()`",
        std::any::type_name::<Order>()
    );
    refused(declared(placed().payload::<Parcel>(), "receipt"), &message);
    refused(declared(placed(), "receipt"), &message);
    refused(declared(placed().field(Field::integer("cents")), "receipt"), &message);
    let nightly = Trigger::cron("nightly").expression("0 3 * * *").time_zone("UTC");
    let nightly = nightly.field(Field::integer("cents").default(5));
    assert!(
        declared(placed().payload::<Order>(), "receipt").trigger(nightly).build().is_ok(),
        "a schedule has no caller"
    );
}

#[test]
fn nothing_is_the_payload_of_a_trigger_without_one() {
    async fn done(_: ()) -> StepResult<()> {
        Ok(())
    }
    let with = |trigger| UNTYPED.builder().trigger(trigger).step(Step::new("work", done));
    assert!(with(placed()).build().is_ok());
    assert_eq!(errors(with(placed().payload::<Order>())).len(), 1);
}

#[test]
fn outputs_provide_what_the_result_requires() {
    refused(
        declared(placed().payload::<Order>(), "reciept"),
        "no output provides the field \"receipt\" of the result that `WorkflowRef` names; did you mean \"reciept\"?",
    );
}

#[test]
fn a_completed_run_has_a_result_and_no_other() {
    let clock = Arc::new(ManualClock::default());
    let executor = MemoryExecutor::new(clock.clone());
    let workflow = declared(placed().payload::<Order>(), "receipt").build().unwrap();
    let mesh =
        Squidmesh::builder(MemoryStore::new(clock)).executor(executor.clone()).workflow(workflow).build().unwrap();
    let result = |cents, reference: WorkflowRef<Order, Sold>| {
        let run = block_on(mesh.start(CHECKOUT, &Order { cents })).unwrap();
        let early = block_on(mesh.inspect_run(run.id)).unwrap().result(CHECKOUT);
        assert!(matches!(early, Err(NoResult::NotCompleted { status: RunStatus::Pending, .. })));
        block_on(executor.run_to_rest(&mesh)).unwrap();
        let details = block_on(mesh.inspect_run(run.id)).unwrap();
        let map: Result<Map<String, Value>, _> = details.result(WorkflowRef::<Order>::new("checkout"));
        assert_eq!(map.is_ok(), cents > 0);
        details.result(reference)
    };
    assert_eq!(result(4, CHECKOUT).unwrap(), Sold { receipt: 5, gift: None });
    assert!(matches!(result(0, CHECKOUT), Err(NoResult::NotCompleted { status: RunStatus::Failed, .. })));
    let other = result(4, WorkflowRef::new("refund"));
    assert!(matches!(other, Err(NoResult::OtherWorkflow { expected: "refund", .. })));

    let run = block_on(mesh.start(CHECKOUT, &Order { cents: 1 })).unwrap();
    block_on(executor.run_to_rest(&mesh)).unwrap();
    let details = block_on(mesh.inspect_run(run.id)).unwrap();
    let misfit = details.result(WorkflowRef::<Order, Parcel>::new("checkout")).unwrap_err().to_string();
    assert!(misfit.contains("Parcel") && misfit.contains("grams"), "the type and the field are named: {misfit}");
}
