//! What another version must have to adopt a run, and how the run changes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::harness::{Executor, Harness, chain, completed, name, object, step, workflow};
use crate::definition::{Field, Priority, secs};
use crate::dispatch::DispatchOptions;
use crate::engine::{AdoptError, Attribution, Difference, adopt, differences, unblock};
use crate::handler::{StepContext, StepResult};
use crate::run::{AttemptStatus, AuditKind, RunStatus, StepStatus};
use crate::workflow::{COMPLETE, Step, Trigger, Workflow, approval, log, pause};

async fn give_back(_: Value, _: StepContext) -> StepResult<()> {
    Ok(())
}

fn chained<const N: usize>(steps: [&str; N]) -> Workflow {
    chain(steps).build().unwrap()
}

fn to(harness: &Harness, other: &Workflow) -> Vec<Difference> {
    differences(&harness.state, &harness.definition, other.definition())
}

/// Adopts the run, and continues with the other version.
fn adopted(harness: &mut Harness, other: &Workflow) -> Vec<String> {
    let decided = harness.decide(|work, jobs| adopt(work, other.definition(), jobs)).expect("the run is adopted");
    assert_eq!(decided.decision.commit.definition.as_ref(), Some(other.definition()), "it is stored with the run");
    harness.definition = other.definition().clone();
    decided.dispatched()
}

#[test]
fn an_adopted_run_continues_in_the_new_graph() {
    let (old, new) = (chained(["one", "two", "old"]), chained(["zero", "one", "two", "new"]));
    let mut harness = Harness::start(&old);
    harness.complete("one", json!({"a": 1}));
    let before = harness.state.clone();
    assert_eq!(to(&harness, &new), []);
    adopted(&mut harness, &new);
    assert_eq!(harness.state.run.fingerprint, *new.definition().fingerprint());
    assert_eq!(harness.intent("two").unwrap().fingerprint, *new.definition().fingerprint());
    assert_eq!(
        (harness.state.steps.clone(), harness.status()),
        (before.steps, before.run.status),
        "nothing else has changed"
    );
    harness.complete("two", json!({}));
    harness.complete("new", json!({}));
    assert_eq!(harness.status(), RunStatus::Completed);
    assert_eq!(harness.tries("one"), [(1, AttemptStatus::Completed)]);
    let entry = harness.audit.iter().find(|entry| entry.kind == AuditKind::Adopted).expect("it is on record");
    let metadata = entry.metadata.clone().unwrap();
    assert_eq!(metadata["from"], json!(old.definition().fingerprint()));
    assert_eq!(metadata["to"], json!(new.definition().fingerprint()));
}

/// Returns a chain whose last step asks for some keys; `None` for everything.
fn picking(keys: Option<&[&str]>) -> Workflow {
    let last = keys.iter().fold(step("two"), |step, keys| step.input(keys.iter().copied()));
    let declared = workflow().trigger(Trigger::manual("with").field(Field::integer("a")).field(Field::integer("b")));
    declared.step(step("one").output("c")).step(last).chain(["one", "two"]).build().unwrap()
}

#[test]
fn a_step_keeps_its_input_in_a_version_that_maps_another_one() {
    let mut harness = Harness::start_with(&picking(Some(&["a", "c"])), object(json!({"a": 1, "b": 2})));
    harness.complete("one", json!(3));
    let input = Arc::new(object(json!({"a": 1, "c": 3})));
    assert_eq!((harness.step("two").input.copy(), harness.input("two")), (None, input.clone()));

    adopted(&mut harness, &picking(Some(&["b"])));
    assert_eq!(harness.step("two").input.copy(), Some(&input));
    assert_eq!(harness.step("one").input.copy(), None, "both versions map the same for it");
    assert_eq!(harness.begin("two").task().input, input);

    adopted(&mut harness, &picking(None));
    assert_eq!(harness.input("two"), input, "a copy stays the copy that it is");
}

#[test]
fn an_input_that_another_version_maps_to_the_same_is_not_copied() {
    let mut harness = Harness::start_with(&picking(None), object(json!({"a": 1, "b": 2})));
    harness.complete("one", json!(3));
    adopted(&mut harness, &picking(Some(&["a", "b", "c"])));
    assert_eq!(harness.step("two").input.copy(), None);
}

#[test]
fn outputs_that_another_version_merges_in_another_order_are_copied() {
    let joined = |roots: [&str; 2]| {
        let declared = roots.iter().fold(workflow(), |builder, root| builder.step(step(root)));
        declared.step(step("join").after(["a", "b"])).build().unwrap()
    };
    let mut harness = Harness::start(&joined(["a", "b"]));
    harness.complete("a", json!({"by": "a"}));
    harness.complete("b", json!({"by": "b"}));
    let by_b = Arc::new(object(json!({"by": "b"})));
    assert_eq!(harness.input("join"), by_b);
    adopted(&mut harness, &joined(["b", "a"]));
    assert_eq!(harness.step("join").input.copy(), Some(&by_b));
    assert_eq!(harness.step("a").input.copy(), None);
}

#[test]
fn steps_that_are_reached_must_exist_with_the_same_kind() {
    let mut harness = Harness::start(&chained(["one", "two", "three"]));
    harness.complete("one", json!({}));
    let without = chained(["two", "three"]);
    assert_eq!(to(&harness, &without), [Difference::StepMissing { step: name("one") }]);
    assert_eq!(to(&harness, &chained(["one", "two"])), [], "three is not reached");
    let other = workflow()
        .step(step("one"))
        .step(Step::new("two", log("hello", crate::definition::LogLevel::Info)))
        .then("one", "two")
        .then("two", COMPLETE)
        .build()
        .unwrap();
    let kind = Difference::OtherKind { step: name("two"), from: "handler".to_owned(), to: "log".to_owned() };
    assert_eq!(to(&harness, &other), [kind]);
}

#[test]
fn shapes_and_workflows_are_not_mixed() {
    let harness = Harness::start(&chained(["one", "two"]));
    let joined = workflow().step(step("one")).step(step("two").after(["one"])).build().unwrap();
    assert!(matches!(to(&harness, &joined)[..], [Difference::OtherShape { .. }]));
    let named = Workflow::builder("another").trigger(Trigger::manual("manual")).step(step("one"));
    assert!(matches!(to(&harness, &named.build().unwrap())[..], [Difference::OtherWorkflow { .. }]));
}

#[test]
fn the_way_on_must_not_lead_back() {
    let mut harness = Harness::start(&chained(["one", "two", "three"]));
    harness.complete("one", json!({}));
    assert_eq!(to(&harness, &chained(["two", "three", "one"])), [Difference::LeadsBack { step: name("one") }]);
}

#[test]
fn a_paused_run_continues_where_it_was_going_to() {
    let paused = |next: &str| {
        let built = workflow().step(Step::new("hold", pause())).step(step("next")).step(step("other"));
        let (first, second) = if next == "next" { ("next", "other") } else { ("other", "next") };
        built.then("hold", first).then(first, second).then(second, COMPLETE).build().unwrap()
    };
    let mut harness = Harness::start(&paused("next"));
    harness.begin("hold");
    let new = paused("other");
    assert_eq!(to(&harness, &new), []);
    adopted(&mut harness, &new);
    harness.decide(|work, jobs| unblock(work, Attribution::default(), jobs)).unwrap();
    assert_eq!(harness.outstanding(), ["next"], "as it was declared when the run paused");
    harness.complete("next", json!({}));
    assert_eq!(harness.status(), RunStatus::Completed, "and from there on as the new version says");
}

#[test]
fn the_targets_of_a_pause_must_exist_with_the_same_kind() {
    let asking = |yes: Step, no: &str| {
        let built = workflow().step(Step::new("ask", approval())).step(yes).step(step(no));
        built.then("ask", "yes").on_error("ask", no).then("yes", COMPLETE).then(no, COMPLETE).build().unwrap()
    };
    let mut harness = Harness::start(&asking(step("yes"), "no"));
    harness.begin("ask");
    let renamed = asking(step("yes"), "never");
    assert_eq!(to(&harness, &renamed), [Difference::TargetMissing { step: name("ask"), target: name("no") }]);
    let other = asking(Step::new("yes", crate::workflow::wait(secs(1))), "no");
    let kind = Difference::OtherKind { step: name("yes"), from: "handler".to_owned(), to: "wait".to_owned() };
    assert_eq!(to(&harness, &other), [kind]);
}

#[test]
fn a_step_that_is_reached_must_not_wait_for_one_that_is_not_completed() {
    let built = |late: bool| {
        let left = if late { step("left").after(["root", "right"]) } else { step("left").after(["root"]) };
        workflow().step(step("root")).step(step("right").after(["root"])).step(left).build().unwrap()
    };
    let mut harness = Harness::start(&built(false));
    harness.complete("root", json!({}));
    let open = Difference::DependencyOpen { step: name("left"), dependency: name("right") };
    assert_eq!(to(&harness, &built(true)), [open]);
    harness.complete("right", json!({}));
    assert_eq!(to(&harness, &built(true)), [], "it has completed now");
}

#[test]
fn new_steps_that_nothing_keeps_waiting_are_dispatched() {
    let old = workflow().step(step("root")).step(step("end").after(["root"])).build().unwrap();
    let new = workflow()
        .step(step("root"))
        .step(step("beside").after(["root"]))
        .step(step("apart"))
        .step(step("end").after(["root"]))
        .step(step("last").after(["beside", "end"]))
        .build()
        .unwrap();
    let mut harness = Harness::start(&old);
    harness.complete("root", json!({}));
    assert_eq!(adopted(&mut harness, &new), ["beside", "apart"]);
    for step in ["end", "apart", "beside"] {
        harness.complete(step, json!({}));
    }
    harness.complete("last", json!({}));
    assert_eq!(harness.status(), RunStatus::Completed);

    let mut refused = Harness::start(&old);
    refused.complete("root", json!({}));
    refused.executor = Executor::RefusesForGood;
    let error = refused.decide(|work, jobs| adopt(work, new.definition(), jobs)).unwrap_err();
    assert!(matches!(error, AdoptError::Dispatch(_)), "{error:?}");
    assert_eq!(refused.state.run.fingerprint, *old.definition().fingerprint());
}

#[test]
fn a_completed_step_that_was_dispatched_again_moves_with_its_run() {
    let old = workflow().step(step("root")).step(step("end").after(["root"])).build().unwrap();
    let new = workflow()
        .step(step("root"))
        .step(step("end").after(["root"]))
        .step(step("last").after(["end"]))
        .build()
        .unwrap();
    let mut harness = Harness::start(&old);
    harness.complete("root", json!({}));
    harness.dispatch(&["root"], &DispatchOptions::new()).unwrap();
    adopted(&mut harness, &new);
    for step in ["root", "end"] {
        assert_eq!(harness.intent(step).unwrap().fingerprint, *new.definition().fingerprint(), "{step}");
    }
}

#[test]
fn what_may_have_to_be_compensated_still_can_be() {
    let built = |compensated: bool| {
        let pay = if compensated { step("pay").compensate(give_back) } else { step("pay") };
        workflow().step(pay).step(step("ship")).then("pay", "ship").then("ship", COMPLETE).build().unwrap()
    };
    let mut harness = Harness::start(&built(true));
    harness.complete("pay", json!({}));
    assert_eq!(to(&harness, &built(false)), [Difference::CompensationMissing { step: name("pay") }]);
    harness.fail("ship");
    assert_eq!(harness.outstanding(), ["compensation"]);
    assert_eq!(to(&harness, &built(false)), [Difference::CompensationMissing { step: name("pay") }]);
    let reworded = workflow()
        .step(step("pay").compensate(give_back).priority(Priority::High))
        .step(step("ship"))
        .then("pay", "ship")
        .then("ship", COMPLETE)
        .build()
        .unwrap();
    adopted(&mut harness, &reworded);
    let intent = harness.intents.values().next().unwrap();
    assert_eq!(intent.fingerprint, *reworded.definition().fingerprint());
}

#[test]
fn a_run_that_has_ended_is_not_adopted() {
    let mut harness = Harness::start(&chained(["one"]));
    harness.complete("one", json!({}));
    let other = chained(["one", "two"]);
    let error = harness.decide(|work, jobs| adopt(work, other.definition(), jobs)).unwrap_err();
    assert!(matches!(error, AdoptError::Ended(RunStatus::Completed)), "{error:?}");
}

#[test]
fn who_holds_a_step_records_its_outcome_in_the_new_graph() {
    let (old, new) = (chained(["one", "two"]), chained(["one", "added", "two"]));
    let mut harness = Harness::start(&old);
    let task = harness.begin("one").task();
    harness.intents.get_mut(&task.lease.key).unwrap().lease = Some(task.lease.token);
    adopted(&mut harness, &new);
    assert_eq!(harness.intent("one").unwrap().lease, Some(task.lease.token), "the claim holds");
    assert_eq!(harness.record(&task, completed(json!({"a": 1}))).dispatched(), ["added"]);
    assert_eq!(harness.step("one").output.as_deref(), Some(&object(json!({"a": 1}))));
}

#[test]
fn a_step_moves_to_the_queue_that_it_has_in_the_new_version() {
    let mut harness = Harness::start(&chained(["one", "two"]));
    let moved = workflow()
        .step(step("one").queue("payments").priority(Priority::High))
        .step(step("two"))
        .then("one", "two")
        .then("two", COMPLETE)
        .build()
        .unwrap();
    adopted(&mut harness, &moved);
    let intent = harness.intent("one").unwrap();
    assert_eq!((intent.queue.as_str(), intent.priority), ("payments", Priority::High));
    assert_eq!(harness.step_status("one"), Some(StepStatus::Pending));
}

#[test]
fn a_deadline_is_a_way_on_like_any_other() {
    let mut harness = Harness::start(&chained(["one", "two"]));
    harness.complete("one", json!({}));
    let back = workflow()
        .step(step("two"))
        .step(Step::new("ask", approval().deadline(secs(9)).then_to("one")))
        .step(step("one"))
        .then("two", "ask")
        .then("ask", COMPLETE)
        .on_error("ask", COMPLETE)
        .then("one", COMPLETE)
        .build()
        .unwrap();
    assert_eq!(to(&harness, &back), [Difference::LeadsBack { step: name("one") }]);
}
