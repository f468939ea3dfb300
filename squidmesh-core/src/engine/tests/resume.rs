//! Resuming a failed run.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::harness::{Executor, Harness, completed, failed, inputs, name, new_run, object, step, workflow};
use crate::definition::Field;
use crate::engine::{Decision, Difference, Limits, NewRun, Resumption, Unresumable, resume, resumption, resumption_in};
use crate::handler::{Compensation, StepContext, StepResult};
use crate::id::RunId;
use crate::run::{AuditKind, FailureKind, RunSnapshot, RunStatus, StepStatus};
use crate::workflow::{COMPLETE, FAIL, Trigger, Workflow};

async fn undo(_: Compensation, _: StepContext) -> StepResult<()> {
    Ok(())
}

fn plan(harness: &Harness) -> Result<Resumption, Unresumable> {
    resumption(&harness.state, &harness.definition)
}

fn resumed(harness: &Harness, resumption: &Resumption) -> Decision {
    let new = NewRun { id: RunId::from_uuid(Uuid::from_u128(8)), ..new_run((*harness.state.run.payload).clone()) };
    let actor = Some("ada".to_owned());
    let definition = harness.definition.clone();
    resume(definition, resumption, new, actor, inputs(harness.now, 99), Limits::default(), &Executor::Accepts)
        .unwrap()
        .close()
}

/// a → b → c
fn chain() -> Workflow {
    super::harness::chain(["a", "b", "c"]).build().unwrap()
}

fn steps(state: &RunSnapshot) -> Vec<(&str, StepStatus, u32)> {
    state.steps.values().map(|run| (run.step.as_str(), run.status, run.attempt)).collect()
}

#[test]
fn a_run_continues_from_the_failed_step_with_what_was_completed() {
    let mut harness = Harness::start_with(&chain(), object(json!({"order": 7})));
    harness.complete("a", json!({"a": 1}));
    harness.fail("b");
    let plan = plan(&harness).unwrap();
    assert_eq!((plan.next.clone(), plan.irreversible.is_empty()), (vec![name("b")], true));
    let decision = resumed(&harness, &plan);
    let run = &decision.state.run;
    assert_eq!((run.status, run.resumed_from), (RunStatus::Pending, Some(harness.state.run.id)));
    assert_eq!((run.current_step.clone(), &run.payload), (Some(name("b")), &harness.state.run.payload));
    assert_eq!(steps(&decision.state), [("a", StepStatus::Completed, 0), ("b", StepStatus::Pending, 0)]);
    let b = &decision.state.steps[&name("b")];
    assert_eq!(decision.state.input_of(b, &harness.definition), harness.input("b"), "it is given the same again");
    let decided: Vec<_> = decision.events.iter().map(|event| event.kind.name()).collect();
    assert_eq!(decided, ["run.resumed", "audit.resumed", "run.dispatched"]);
    let entry = &decision.commit.audit[0];
    assert_eq!((entry.kind, entry.actor.as_deref()), (AuditKind::Resumed, Some("ada")));
}

#[test]
fn the_order_of_completion_continues_where_it_was() {
    let mut harness = Harness::start(&chain());
    harness.complete("a", json!({"x": "a", "a": 1}));
    harness.complete("b", json!({"x": "b"}));
    harness.fail("c");
    let decision = resumed(&harness, &plan(&harness).unwrap());
    let mut harness = Harness::on(harness.definition.clone(), &decision);
    harness.complete("c", json!({"x": "c"}));
    assert_eq!(harness.status(), RunStatus::Completed);
    assert_eq!(harness.state.context(&harness.definition), object(json!({"x": "c", "a": 1})));
}

#[test]
fn an_error_route_that_was_taken_is_kept() {
    let routed = workflow()
        .step(step("a"))
        .step(step("repair"))
        .then("a", COMPLETE)
        .on_error("a", "repair")
        .then("repair", COMPLETE)
        .build()
        .unwrap();
    let mut harness = Harness::start(&routed);
    harness.fail("a");
    harness.fail("repair");
    let decision = resumed(&harness, &plan(&harness).unwrap());
    assert_eq!(steps(&decision.state), [("a", StepStatus::Failed, 0), ("repair", StepStatus::Pending, 0)]);
}

#[test]
fn what_failed_was_cancelled_or_never_began_continues_in_a_dependency_workflow() {
    let fan = workflow()
        .step(step("done"))
        .step(step("fails").after(["done"]))
        .step(step("waits").after(["done"]))
        .step(step("join").after(["fails", "waits"]))
        .build()
        .unwrap();
    let mut harness = Harness::start(&fan);
    harness.complete("done", json!({}));
    harness.fail("fails");
    let plan = plan(&harness).unwrap();
    assert_eq!(plan.next, [name("fails"), name("waits")]);
    let decision = resumed(&harness, &plan);
    let mut harness = Harness::on(harness.definition.clone(), &decision);
    harness.complete("fails", json!({}));
    harness.complete("waits", json!({}));
    harness.complete("join", json!({}));
    assert_eq!(harness.status(), RunStatus::Completed);
}

#[test]
fn a_refused_successor_is_where_the_run_continues() {
    let mut harness = Harness::start(&chain());
    let task = harness.begin("a").task();
    harness.executor = Executor::RefusesForGood;
    harness.record(&task, completed(Value::Null));
    assert_eq!(harness.state.run.last_error.as_ref().unwrap().kind, FailureKind::SUCCESSOR_REFUSED);
    assert_eq!(plan(&harness).unwrap().next, [name("b")]);
}

#[test]
fn a_step_that_was_tried_and_cannot_be_undone_is_named() {
    let risky = workflow()
        .step(step("a").irreversible())
        .step(step("b").compensatable(false))
        .then("a", "b")
        .then("b", COMPLETE)
        .build()
        .unwrap();
    let mut harness = Harness::start(&risky);
    harness.complete("a", json!({}));
    harness.fail("b");
    let plan = plan(&harness).unwrap();
    assert_eq!(plan.irreversible, [name("b")], "a is not tried again");
    // A resumption in which the step did not begin keeps the fact that it was attempted.
    let mut harness = Harness::on(harness.definition.clone(), &resumed(&harness, &plan));
    harness.fail_run("gone");
    assert_eq!(super::resume::plan(&harness).unwrap().irreversible, [name("b")]);
}

#[test]
fn what_is_compensated_cannot_be_built_on() {
    let undone = workflow().step(step("a").compensate(undo)).step(step("b")).then("a", "b").then("b", COMPLETE);
    let mut harness = Harness::start(&undone.build().unwrap());
    harness.complete("a", json!({}));
    harness.fail("b");
    let run = harness.state.run.id;
    assert_eq!(plan(&harness), Err(Unresumable::Compensated { run, steps: vec![name("a")] }));
}

#[test]
fn a_run_continues_only_when_it_has_failed_and_nothing_of_it_runs() {
    let fan = workflow().step(step("slow")).step(step("fatal")).parallel().build().unwrap();
    let mut harness = Harness::start(&fan);
    let run = harness.state.run.id;
    assert_eq!(plan(&harness), Err(Unresumable::NotFailed { run, status: RunStatus::Pending }));
    let slow = harness.begin("slow").task();
    harness.fail("fatal");
    assert_eq!(plan(&harness), Err(Unresumable::StillRunning { run, steps: vec![name("slow")] }));
    harness.record(&slow, failed());
    assert_eq!(plan(&harness).unwrap().next, [name("slow"), name("fatal")]);
}

#[test]
fn a_run_that_failed_deliberately_has_nothing_to_resume() {
    let stuck = workflow().step(step("a")).step(step("b")).on_error("a", "b").then("a", FAIL).then("b", FAIL);
    let stuck = stuck.build().unwrap();
    let mut harness = Harness::start(&stuck);
    harness.complete("a", json!({}));
    assert_eq!(harness.state.run.last_error.as_ref().unwrap().kind, FailureKind::FAILED);
    assert_eq!(plan(&harness), Err(Unresumable::NothingLeft { run: harness.state.run.id }));
    // The step that failed has taken its error transition: it is not tried again.
    let mut harness = Harness::start(&stuck);
    harness.fail("a");
    harness.complete("b", json!({}));
    assert_eq!(harness.state.run.last_error.as_ref().unwrap().step, Some(name("a")));
    assert_eq!(plan(&harness), Err(Unresumable::NothingLeft { run: harness.state.run.id }));
}

#[test]
fn a_run_continues_in_another_version_that_has_what_it_needs() {
    let mut harness = Harness::start(&chain());
    harness.complete("a", json!({"a": 1}));
    harness.fail("b");
    let longer = super::harness::chain(["a", "b", "new", "c"]).build().unwrap();
    let plan = resumption_in(&harness.state, &harness.definition, longer.definition()).unwrap();
    assert_eq!((plan.next.clone(), plan.version), (vec![name("b")], *harness.definition.fingerprint()));
    harness.definition = longer.definition().clone();
    let decision = resumed(&harness, &plan);
    assert_eq!(decision.state.run.fingerprint, *longer.definition().fingerprint());
    let kinds: Vec<_> = decision.commit.audit.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [AuditKind::Resumed, AuditKind::Adopted]);
}

#[test]
fn a_step_that_is_carried_into_another_version_keeps_its_input() {
    let version = |key: &'static str| {
        let declared =
            workflow().trigger(Trigger::manual("with").field(Field::integer("x")).field(Field::integer("y")));
        let steps = declared.step(step("a").input([key])).step(step("b").input(["x"])).step(step("c"));
        steps.chain(["a", "b", "c"]).build().unwrap()
    };
    let mut harness = Harness::start_with(&version("x"), object(json!({"x": 1, "y": 2})));
    harness.complete("a", json!({"a": 1}));
    harness.complete("b", json!({"b": 1}));
    harness.fail("c");
    let other = version("y");
    let plan = resumption_in(&harness.state, &harness.definition, other.definition()).unwrap();
    harness.definition = other.definition().clone();
    let resumed = resumed(&harness, &plan).state;
    let carried = |step: &str| {
        (resumed.steps[&name(step)].input.copy(), resumed.input_of(&resumed.steps[&name(step)], other.definition()))
    };
    let x = Arc::new(object(json!({"x": 1})));
    assert_eq!(carried("a"), (Some(&x), x.clone()));
    assert_eq!(carried("b"), (None, x), "both versions map the same for it");
    assert_eq!(*carried("c").1, object(json!({"x": 1, "y": 2, "a": 1, "b": 1})));
}

#[test]
fn a_run_does_not_continue_in_a_version_that_would_lead_it_astray() {
    let mut harness = Harness::start(&chain());
    harness.complete("a", json!({}));
    harness.fail("b");
    let refused = |steps: [&str; 2]| {
        let other = super::harness::chain(steps).build().unwrap();
        match resumption_in(&harness.state, &harness.definition, other.definition()) {
            Err(Unresumable::Differs { differences, .. }) => differences,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(["b", "c"]), [Difference::StepMissing { step: name("a") }]);
    assert_eq!(refused(["b", "a"]), [Difference::LeadsBack { step: name("a") }]);
    assert_eq!(plan(&harness).unwrap().next, [name("b")], "its own version would do");
}
