//! What another version must have to adopt a run, and what becomes of the run.

use serde_json::{Value, json};

use super::rig::{Executor, Rig, chain, completed, name, object, step, workflow};
use crate::engine::{AdoptError, Decided, Difference, adopt, differences, unblock};
use crate::{
    AttemptStatus, AuditKind, COMPLETE, Priority, RunStatus, Step, StepContext, StepResult, StepStatus, Workflow,
    approval, log, pause, secs,
};

async fn give_back(_: Value, _: StepContext) -> StepResult<()> {
    Ok(())
}

fn chained<const N: usize>(steps: [&str; N]) -> Workflow {
    chain(steps).build().unwrap()
}

fn to(rig: &Rig, other: &Workflow) -> Vec<Difference> {
    differences(&rig.state, &rig.definition, other.definition())
}

/// Adopts, and goes on with the other version.
fn adopted(rig: &mut Rig, other: &Workflow) -> Vec<String> {
    let told = rig.decide(|work, jobs| adopt(work, other.definition(), jobs)).expect("the run is adopted");
    assert_eq!(told.decision.commit.definition.as_ref(), Some(other.definition()), "it is stored with the run");
    rig.definition = other.definition().clone();
    told.dispatched()
}

#[test]
fn an_adopted_run_goes_on_in_the_new_graph() {
    let (old, new) = (chained(["one", "two", "old"]), chained(["zero", "one", "two", "new"]));
    let mut rig = Rig::start(&old);
    rig.complete("one", json!({"a": 1}));
    let before = rig.state.clone();
    assert_eq!(to(&rig, &new), []);
    adopted(&mut rig, &new);
    assert_eq!(rig.state.run.fingerprint, *new.definition().fingerprint());
    assert_eq!(rig.intent("two").unwrap().fingerprint, *new.definition().fingerprint());
    assert_eq!((rig.state.steps.clone(), rig.status()), (before.steps, before.run.status), "nothing else has changed");
    rig.complete("two", json!({}));
    rig.complete("new", json!({}));
    assert_eq!(rig.status(), RunStatus::Completed);
    assert_eq!(rig.tries("one"), [(1, AttemptStatus::Completed)]);
    let entry = rig.audit.iter().find(|entry| entry.kind == AuditKind::Adopted).expect("it is on record");
    let metadata = entry.metadata.clone().unwrap();
    assert_eq!(metadata["from"], json!(old.definition().fingerprint()));
    assert_eq!(metadata["to"], json!(new.definition().fingerprint()));
}

#[test]
fn steps_that_are_reached_must_exist_with_the_same_kind() {
    let mut rig = Rig::start(&chained(["one", "two", "three"]));
    rig.complete("one", json!({}));
    let without = chained(["two", "three"]);
    assert_eq!(to(&rig, &without), [Difference::StepMissing { step: name("one") }]);
    assert_eq!(to(&rig, &chained(["one", "two"])), [], "three is not reached");
    let other = workflow()
        .step(step("one"))
        .step(Step::new("two", log("hello", crate::LogLevel::Info)))
        .then("one", "two")
        .then("two", COMPLETE)
        .build()
        .unwrap();
    let kind = Difference::OtherKind { step: name("two"), from: "handler".to_owned(), to: "log".to_owned() };
    assert_eq!(to(&rig, &other), [kind]);
}

#[test]
fn shapes_and_workflows_are_not_mixed() {
    let rig = Rig::start(&chained(["one", "two"]));
    let joined = workflow().step(step("one")).step(step("two").after(["one"])).build().unwrap();
    assert!(matches!(to(&rig, &joined)[..], [Difference::OtherShape { .. }]));
    let named = Workflow::builder("another").trigger(crate::Trigger::manual("manual")).step(step("one"));
    assert!(matches!(to(&rig, &named.build().unwrap())[..], [Difference::OtherWorkflow { .. }]));
}

#[test]
fn the_way_on_must_not_lead_back() {
    let mut rig = Rig::start(&chained(["one", "two", "three"]));
    rig.complete("one", json!({}));
    assert_eq!(to(&rig, &chained(["two", "three", "one"])), [Difference::LeadsBack { step: name("one") }]);
    let stuck = workflow().step(step("one")).step(step("two")).then("one", "two").build().unwrap();
    assert_eq!(to(&rig, &stuck), [Difference::NoWayOn { step: name("two") }]);
}

#[test]
fn a_paused_run_goes_on_where_it_was_going_to() {
    let paused = |next: &str| {
        let built = workflow().step(Step::new("hold", pause())).step(step("next")).step(step("other"));
        let (first, second) = if next == "next" { ("next", "other") } else { ("other", "next") };
        built.then("hold", first).then(first, second).then(second, COMPLETE).build().unwrap()
    };
    let mut rig = Rig::start(&paused("next"));
    rig.begin("hold");
    let new = paused("other");
    assert_eq!(to(&rig, &new), []);
    adopted(&mut rig, &new);
    rig.decide(|work, jobs| unblock(work, Decided::default(), jobs)).unwrap();
    assert_eq!(rig.outstanding(), ["next"], "as it was declared when the run paused");
    rig.complete("next", json!({}));
    assert_eq!(rig.status(), RunStatus::Completed, "and from there on as the new version says");
}

#[test]
fn the_targets_of_a_pause_must_exist_with_the_same_kind() {
    let asking = |yes: Step, no: &str| {
        let built = workflow().step(Step::new("ask", approval())).step(yes).step(step(no));
        built.then("ask", "yes").on_error("ask", no).then("yes", COMPLETE).then(no, COMPLETE).build().unwrap()
    };
    let mut rig = Rig::start(&asking(step("yes"), "no"));
    rig.begin("ask");
    let renamed = asking(step("yes"), "never");
    assert_eq!(to(&rig, &renamed), [Difference::TargetMissing { step: name("ask"), target: name("no") }]);
    let other = asking(Step::new("yes", crate::wait(secs(1))), "no");
    let kind = Difference::OtherKind { step: name("yes"), from: "handler".to_owned(), to: "wait".to_owned() };
    assert_eq!(to(&rig, &other), [kind]);
}

#[test]
fn a_step_that_is_reached_must_not_wait_for_one_that_is_not_completed() {
    let built = |late: bool| {
        let left = if late { step("left").after(["root", "right"]) } else { step("left").after(["root"]) };
        workflow().step(step("root")).step(step("right").after(["root"])).step(left).build().unwrap()
    };
    let mut rig = Rig::start(&built(false));
    rig.complete("root", json!({}));
    let open = Difference::DependencyOpen { step: name("left"), dependency: name("right") };
    assert_eq!(to(&rig, &built(true)), [open]);
    rig.complete("right", json!({}));
    assert_eq!(to(&rig, &built(true)), [], "it has completed now");
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
    let mut rig = Rig::start(&old);
    rig.complete("root", json!({}));
    assert_eq!(adopted(&mut rig, &new), ["beside", "apart"]);
    for step in ["end", "apart", "beside"] {
        rig.complete(step, json!({}));
    }
    rig.complete("last", json!({}));
    assert_eq!(rig.status(), RunStatus::Completed);

    let mut refused = Rig::start(&old);
    refused.complete("root", json!({}));
    refused.executor = Executor::RefusesForGood;
    let error = refused.decide(|work, jobs| adopt(work, new.definition(), jobs)).unwrap_err();
    assert!(matches!(error, AdoptError::Dispatch(_)), "{error:?}");
    assert_eq!(refused.state.run.fingerprint, *old.definition().fingerprint());
}

#[test]
fn what_may_have_to_be_compensated_still_can_be() {
    let built = |compensated: bool| {
        let pay = if compensated { step("pay").compensate(give_back) } else { step("pay") };
        workflow().step(pay).step(step("ship")).then("pay", "ship").then("ship", COMPLETE).build().unwrap()
    };
    let mut rig = Rig::start(&built(true));
    rig.complete("pay", json!({}));
    assert_eq!(to(&rig, &built(false)), [Difference::CompensationMissing { step: name("pay") }]);
    rig.fail("ship");
    assert_eq!(rig.outstanding(), ["compensation"]);
    assert_eq!(to(&rig, &built(false)), [Difference::CompensationMissing { step: name("pay") }]);
    let reworded = workflow()
        .step(step("pay").compensate(give_back).priority(Priority::High))
        .step(step("ship"))
        .then("pay", "ship")
        .then("ship", COMPLETE)
        .build()
        .unwrap();
    adopted(&mut rig, &reworded);
    let intent = rig.intents.values().next().unwrap();
    assert_eq!(intent.fingerprint, *reworded.definition().fingerprint());
}

#[test]
fn a_run_that_has_ended_is_not_adopted() {
    let mut rig = Rig::start(&chained(["one"]));
    rig.complete("one", json!({}));
    let other = chained(["one", "two"]);
    let error = rig.decide(|work, jobs| adopt(work, other.definition(), jobs)).unwrap_err();
    assert!(matches!(error, AdoptError::Ended(RunStatus::Completed)), "{error:?}");
}

#[test]
fn who_holds_a_step_records_its_outcome_in_the_new_graph() {
    let (old, new) = (chained(["one", "two"]), chained(["one", "added", "two"]));
    let mut rig = Rig::start(&old);
    let task = rig.begin("one").task();
    rig.intents.get_mut(&task.lease.key).unwrap().lease = Some(task.lease.token);
    adopted(&mut rig, &new);
    assert_eq!(rig.intent("one").unwrap().lease, Some(task.lease.token), "the claim holds");
    assert_eq!(rig.record(&task, completed(json!({"a": 1}))).dispatched(), ["added"]);
    assert_eq!(rig.step("one").output.as_deref(), Some(&object(json!({"a": 1}))));
}

#[test]
fn a_step_moves_to_the_queue_that_it_has_in_the_new_version() {
    let mut rig = Rig::start(&chained(["one", "two"]));
    let moved = workflow()
        .step(step("one").queue("payments").priority(Priority::High))
        .step(step("two"))
        .then("one", "two")
        .then("two", COMPLETE)
        .build()
        .unwrap();
    adopted(&mut rig, &moved);
    let intent = rig.intent("one").unwrap();
    assert_eq!((intent.queue.as_str(), intent.priority), ("payments", Priority::High));
    assert_eq!(rig.step_status("one"), Some(StepStatus::Pending));
}

#[test]
fn a_deadline_is_a_way_on_like_any_other() {
    let mut rig = Rig::start(&chained(["one", "two"]));
    rig.complete("one", json!({}));
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
    assert_eq!(to(&rig, &back), [Difference::LeadsBack { step: name("one") }]);
}
