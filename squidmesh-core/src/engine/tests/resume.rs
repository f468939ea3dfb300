//! Going on from where a run failed.

use serde_json::{Value, json};
use uuid::Uuid;

use super::rig::{Executor, Rig, completed, failed, moment, name, new_run, object, step, workflow};
use crate::engine::{Decision, Difference, Limits, NewRun, Resumption, Unresumable, resume, resumption, resumption_in};
use crate::{
    AuditKind, COMPLETE, Compensation, Failure, RunId, RunState, RunStatus, StepContext, StepResult, StepStatus,
    Workflow,
};

async fn undo(_: Compensation, _: StepContext) -> StepResult<()> {
    Ok(())
}

fn plan(rig: &Rig) -> Result<Resumption, Unresumable> {
    resumption(&rig.state, &rig.definition)
}

fn resumed(rig: &Rig, resumption: &Resumption) -> Decision {
    let new = NewRun { id: RunId::new(Uuid::from_u128(8)), ..new_run((*rig.state.run.payload).clone()) };
    let actor = Some("ada".to_owned());
    let definition = rig.definition.clone();
    resume(definition, resumption, new, actor, moment(rig.now, 99), Limits::default(), &Executor::Accepts)
        .unwrap()
        .close()
}

/// a → b → c
fn chain() -> Workflow {
    super::rig::chain(["a", "b", "c"]).build().unwrap()
}

fn steps(state: &RunState) -> Vec<(&str, StepStatus, u32)> {
    state.steps.values().map(|run| (run.step.as_str(), run.status, run.attempt)).collect()
}

#[test]
fn a_run_goes_on_from_the_failed_step_with_what_was_completed() {
    let mut rig = Rig::start_with(&chain(), object(json!({"order": 7})));
    rig.complete("a", json!({"a": 1}));
    rig.fail("b");
    let plan = plan(&rig).unwrap();
    assert_eq!((plan.next.clone(), plan.irreversible.is_empty()), (vec![name("b")], true));
    let decision = resumed(&rig, &plan);
    let run = &decision.state.run;
    assert_eq!((run.status, run.resumed_from), (RunStatus::Pending, Some(rig.state.run.id)));
    assert_eq!((run.current_step.clone(), &run.payload), (Some(name("b")), &rig.state.run.payload));
    assert_eq!(steps(&decision.state), [("a", StepStatus::Completed, 0), ("b", StepStatus::Pending, 0)]);
    assert_eq!(decision.state.steps[&name("b")].input, rig.step("b").input, "it is given the same again");
    let told: Vec<_> = decision.events.iter().map(|event| event.kind.name()).collect();
    assert_eq!(told, ["run.resumed", "audit.continued", "run.dispatched"]);
    let entry = &decision.commit.audit[0];
    assert_eq!((entry.kind, entry.actor.as_deref()), (AuditKind::Continued, Some("ada")));
}

#[test]
fn the_order_of_completion_goes_on_where_it_was() {
    let mut rig = Rig::start(&chain());
    rig.complete("a", json!({"x": "a", "a": 1}));
    rig.complete("b", json!({"x": "b"}));
    rig.fail("c");
    let decision = resumed(&rig, &plan(&rig).unwrap());
    let mut rig = Rig::on(rig.definition.clone(), &decision);
    rig.complete("c", json!({"x": "c"}));
    assert_eq!(rig.status(), RunStatus::Completed);
    assert_eq!(rig.state.context(&rig.definition), object(json!({"x": "c", "a": 1})));
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
    let mut rig = Rig::start(&routed);
    rig.fail("a");
    rig.fail("repair");
    let decision = resumed(&rig, &plan(&rig).unwrap());
    assert_eq!(steps(&decision.state), [("a", StepStatus::Failed, 0), ("repair", StepStatus::Pending, 0)]);
}

#[test]
fn what_failed_was_cancelled_or_never_began_goes_on_in_a_dependency_workflow() {
    let fan = workflow()
        .step(step("done"))
        .step(step("fails").after(["done"]))
        .step(step("waits").after(["done"]))
        .step(step("join").after(["fails", "waits"]))
        .build()
        .unwrap();
    let mut rig = Rig::start(&fan);
    rig.complete("done", json!({}));
    rig.fail("fails");
    let plan = plan(&rig).unwrap();
    assert_eq!(plan.next, [name("fails"), name("waits")]);
    let decision = resumed(&rig, &plan);
    let mut rig = Rig::on(rig.definition.clone(), &decision);
    rig.complete("fails", json!({}));
    rig.complete("waits", json!({}));
    rig.complete("join", json!({}));
    assert_eq!(rig.status(), RunStatus::Completed);
}

#[test]
fn a_refused_successor_is_where_the_run_goes_on() {
    let mut rig = Rig::start(&chain());
    let task = rig.begin("a").task();
    rig.executor = Executor::RefusesForGood;
    rig.record(&task, completed(Value::Null));
    assert_eq!(rig.state.run.last_error.as_ref().unwrap().kind, Failure::SUCCESSOR_REFUSED);
    assert_eq!(plan(&rig).unwrap().next, [name("b")]);
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
    let mut rig = Rig::start(&risky);
    rig.complete("a", json!({}));
    rig.fail("b");
    let plan = plan(&rig).unwrap();
    assert_eq!(plan.irreversible, [name("b")], "a is not tried again");
    // The knowledge that it was tried outlives a resumption in which it did not begin.
    let mut rig = Rig::on(rig.definition.clone(), &resumed(&rig, &plan));
    rig.fail_run("gone");
    assert_eq!(super::resume::plan(&rig).unwrap().irreversible, [name("b")]);
}

#[test]
fn what_is_compensated_cannot_be_built_on() {
    let undone = workflow().step(step("a").compensate(undo)).step(step("b")).then("a", "b").then("b", COMPLETE);
    let mut rig = Rig::start(&undone.build().unwrap());
    rig.complete("a", json!({}));
    rig.fail("b");
    let run = rig.state.run.id;
    assert_eq!(plan(&rig), Err(Unresumable::Compensated { run, steps: vec![name("a")] }));
}

#[test]
fn a_run_goes_on_only_when_it_has_failed_and_nothing_of_it_runs() {
    let fan = workflow().step(step("slow")).step(step("fatal")).build().unwrap();
    let mut rig = Rig::start(&fan);
    let run = rig.state.run.id;
    assert_eq!(plan(&rig), Err(Unresumable::NotFailed { run, status: RunStatus::Pending }));
    let slow = rig.begin("slow").task();
    rig.fail("fatal");
    assert_eq!(plan(&rig), Err(Unresumable::StillRunning { run, steps: vec![name("slow")] }));
    rig.record(&slow, failed());
    assert_eq!(plan(&rig).unwrap().next, [name("slow"), name("fatal")]);
}

#[test]
fn a_run_that_has_nowhere_to_go_has_nowhere_to_go_on() {
    let stuck = workflow().step(step("a")).step(step("b")).then("a", "b").build().unwrap();
    let mut rig = Rig::start(&stuck);
    rig.complete("a", json!({}));
    rig.complete("b", json!({}));
    assert_eq!(rig.state.run.last_error.as_ref().unwrap().kind, Failure::NO_SUCCESSOR);
    assert_eq!(plan(&rig), Err(Unresumable::NothingLeft { run: rig.state.run.id }));
}

#[test]
fn a_run_goes_on_in_another_version_that_has_what_it_needs() {
    let mut rig = Rig::start(&chain());
    rig.complete("a", json!({"a": 1}));
    rig.fail("b");
    let longer = super::rig::chain(["a", "b", "new", "c"]).build().unwrap();
    let plan = resumption_in(&rig.state, &rig.definition, longer.definition()).unwrap();
    assert_eq!((plan.next.clone(), plan.version), (vec![name("b")], *rig.definition.fingerprint()));
    rig.definition = longer.definition().clone();
    let decision = resumed(&rig, &plan);
    assert_eq!(decision.state.run.fingerprint, *longer.definition().fingerprint());
    let kinds: Vec<_> = decision.commit.audit.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [AuditKind::Continued, AuditKind::Adopted]);
}

#[test]
fn a_run_does_not_go_on_in_a_version_that_would_lead_it_astray() {
    let mut rig = Rig::start(&chain());
    rig.complete("a", json!({}));
    rig.fail("b");
    let refused = |steps: [&str; 2]| {
        let other = super::rig::chain(steps).build().unwrap();
        match resumption_in(&rig.state, &rig.definition, other.definition()) {
            Err(Unresumable::Differs { differences, .. }) => differences,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(["b", "c"]), [Difference::StepMissing { step: name("a") }]);
    assert_eq!(refused(["b", "a"]), [Difference::LeadsBack { step: name("a") }]);
    assert_eq!(plan(&rig).unwrap().next, [name("b")], "its own version would do");
}
