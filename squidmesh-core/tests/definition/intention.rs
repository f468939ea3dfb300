//! Declarations that cannot be meant: what is refused, what the message suggests, and what follows from one mistake.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use squidmesh_core::definition::{DefinitionError as E, TransitionOutcome};
use squidmesh_core::workflow::{WithDelay, WorkflowBuilder};
use squidmesh_core::{COMPLETE, FAIL, Field, Step, StepResult, Trigger, Workflow, approval, pause, secs, wait};

use crate::declared::{chain, errors, step, triggered};

async fn number(_: Value) -> StepResult<u64> {
    Ok(1)
}

async fn names(_: Value) -> StepResult<WithDelay<Vec<String>>> {
    Ok(WithDelay::by(secs(1), Vec::new()))
}

async fn nothing(_: Value) -> StepResult<()> {
    Ok(())
}

#[derive(Deserialize, schemars::JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Order {
    order_id: String,
    lines: Vec<String>,
}

#[derive(Serialize)]
struct Receipt {
    total: u64,
}

async fn receipt(_: Value) -> StepResult<Receipt> {
    Ok(Receipt { total: 1 })
}

fn messages(builder: WorkflowBuilder) -> Vec<String> {
    builder.build().unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_step_that_leads_nowhere_is_refused() {
    let forgotten = triggered().step(step("pay")).step(step("ship")).then("pay", "ship");
    let expected = "the step \"ship\" leads nowhere when it completes: add `.then(\"ship\", COMPLETE)`, or name the step that \
                    follows, or end in failure with `FAIL`";
    assert_eq!(messages(forgotten), [expected]);
    assert!(triggered().step(step("pay")).step(step("ship")).then("pay", "ship").then("ship", FAIL).build().is_ok());
    assert!(triggered().step(step("pay")).build().is_ok(), "a single step needs no edge");
}

#[test]
fn a_chain_ends_in_completion() {
    let steps = ["a", "b", "c"].into_iter().fold(triggered(), |builder, name| builder.step(step(name)));
    let chained = steps.chain(["a", "b", "c"]).build().unwrap();
    let by_hand = ["a", "b", "c"].into_iter().fold(triggered(), |builder, name| builder.step(step(name)));
    let by_hand = by_hand.then("a", "b").then("b", "c").then("c", COMPLETE).build().unwrap();
    assert_eq!(chained.definition(), by_hand.definition());
}

#[test]
fn several_steps_without_edges_say_that_they_are_parallel() {
    let two = || triggered().step(step("a")).step(step("b"));
    assert_eq!(errors(two()), [E::NoEdges]);
    assert!(two().parallel().build().is_ok());
    assert_eq!(errors(chain().parallel()), [E::ParallelWithEdges]);
    let parallel = two().parallel().build().unwrap();
    let stored = serde_json::to_value(parallel.definition().as_ref()).unwrap();
    let read: squidmesh_core::definition::Definition = serde_json::from_value(stored).unwrap();
    assert_eq!(read, **parallel.definition(), "stored data has no such word");
}

#[test]
fn an_output_that_is_no_object_needs_a_key() {
    let built = |step: Step| triggered().step(step);
    let found = messages(built(Step::new("score", number)));
    let expected =
        "the output of the step \"score\" is u64, which is not an object: declare a key for it with `.output(\"..\")`";
    assert_eq!(found, [expected]);
    assert!(matches!(&errors(built(Step::new("names", names)))[..], [E::OutputWithoutKey { .. }]));
    assert!(built(Step::new("score", number).output("score")).build().is_ok());
    assert!(built(Step::new("nothing", nothing)).build().is_ok());
    assert!(built(Step::new("any", receipt)).build().is_ok());
}

#[test]
fn an_input_that_nothing_provides_is_refused() {
    let reads = |key: &str| {
        Workflow::builder("loan")
            .trigger(Trigger::manual("apply").payload::<Order>())
            .step(Step::new("score", number).output("score"))
            .step(Step::new("offer", nothing).input([key]))
            .chain(["score", "offer"])
    };
    assert!(reads("score").build().is_ok() && reads("order_id").build().is_ok());
    let expected = "the step \"offer\" wants the input \"scores\", which no payload field and no step output provides; did you \
                    mean \"score\"?";
    assert_eq!(messages(reads("scores")), [expected]);
    let path = triggered().step(Step::new("a", nothing).input_from([("sku", "lines.0.sku")]));
    assert!(matches!(&errors(path)[..], [E::UnknownInput { key, .. }] if key == "lines"));
    let fields = Trigger::manual("other").field(Field::list("lines"));
    let path = triggered().trigger(fields).step(Step::new("a", nothing).input_from([("sku", "lines.0.sku")]));
    assert!(path.build().is_ok(), "one trigger provides it");
}

#[test]
fn an_input_is_accepted_where_an_output_may_have_any_keys() {
    let reads = |first: Step| triggered().step(first).step(Step::new("b", nothing).input(["total"])).chain(["a", "b"]);
    assert!(reads(Step::new("a", receipt)).build().is_ok());
    assert!(matches!(&errors(reads(Step::new("a", nothing)))[..], [E::UnknownInput { .. }]));
    assert!(matches!(&errors(reads(Step::new("a", receipt).output("receipt")))[..], [E::UnknownInput { .. }]));
    assert!(matches!(&errors(reads(Step::new("a", wait(secs(1)))))[..], [E::UnknownInput { .. }]));
    assert!(matches!(&errors(reads(Step::new("a", pause())))[..], [E::UnknownInput { .. }]));
    let decided = triggered()
        .step(Step::new("ask", approval()))
        .step(Step::new("b", nothing).input(["actor"]))
        .chain(["ask", "b"])
        .on_error("ask", COMPLETE);
    assert!(decided.build().is_ok());
}

#[test]
fn a_wrong_name_is_reported_once_with_the_name_that_was_meant() {
    let mistyped = triggered().step(step("reserve")).step(step("capture"));
    let mistyped = mistyped.then("reserve", "captrue").then("capture", COMPLETE);
    let (from, to, on) = ("reserve".to_owned(), "captrue".to_owned(), TransitionOutcome::Ok);
    assert_eq!(errors(mistyped), [E::UnknownTransitionTarget { from, on, to, similar: Some("capture".to_owned()) }]);
    let source = triggered().step(step("reserve")).then("Reserve", COMPLETE);
    assert!(messages(source)[0].ends_with("did you mean \"reserve\"?"));
    let after = triggered().step(step("reserve")).step(step("ship").after(["reserv"]));
    assert!(messages(after)[0].ends_with("did you mean \"reserve\"?"));
}

#[test]
fn independent_errors_are_found_beside_a_wrong_name() {
    let draft = triggered()
        .step(step("reserve"))
        .step(Step::new("review", approval()))
        .step(step("capture"))
        .then("reserve", "reviw")
        .then("review", "capture");
    let found = errors(draft);
    assert!(matches!(&found[0], E::UnknownTransitionTarget { .. }), "{found:?}");
    assert!(found.contains(&E::NoSuccessor { step: "capture".to_owned() }), "{found:?}");
    assert!(found.iter().any(|error| matches!(error, E::ApprovalTransitionMissing { .. })), "{found:?}");
    assert_eq!(found.len(), 3, "which steps are reached is not known: {found:?}");
}

#[test]
fn a_person_who_is_asked_without_any_edge_is_no_dependency_workflow() {
    let asked = triggered().step(step("check")).step(Step::new("review", approval()));
    assert_eq!(errors(asked), [E::NoEdges]);
    let alone = errors(triggered().step(Step::new("review", approval())));
    assert!(alone.iter().all(|error| matches!(error, E::ApprovalTransitionMissing { .. })) && alone.len() == 2);
    let hold = triggered().step(Step::new("hold", pause()));
    assert_eq!(errors(hold), [E::NoSuccessor { step: "hold".to_owned() }]);
}

#[test]
fn thousands_of_wrong_inputs_are_found_quickly() {
    let begun = std::time::Instant::now();
    let count = 3_000;
    let steps = (0..count).fold(triggered(), |builder, number| {
        let step = Step::new(format!("step_{number}"), nothing).output(format!("output_{number}"));
        builder.step(step.input([format!("outputs_{number}")]))
    });
    assert_eq!(errors(steps.parallel()).len(), count);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}
