//! What people decide.

use serde_json::json;

use super::rig::{Executor, Rig, Told, name, object, step, workflow};
use crate::engine::{Begin, Decided, Limits, ManualError, Verdict, decide, unblock};
use crate::{
    AttemptStatus, AuditKind, COMPLETE, Failure, RunStatus, SkipReason, Step, StepStatus, Target, Workflow, approval,
    hours, pause,
};

/// ask (approval) → yes, on error → no
fn approved_or_not() -> Workflow {
    workflow()
        .step(Step::new("ask", approval()).output("answer"))
        .step(step("yes"))
        .step(step("no"))
        .then("ask", "yes")
        .on_error("ask", "no")
        .then("yes", COMPLETE)
        .then("no", COMPLETE)
        .build()
        .unwrap()
}

fn asked() -> Rig {
    let mut rig = Rig::start(&approved_or_not());
    rig.begin("ask");
    rig
}

fn ada() -> Decided {
    Decided { actor: Some("ada".to_owned()), comment: Some("looks right".to_owned()), ..Decided::default() }
}

fn decided(rig: &mut Rig, verdict: Verdict) -> Result<Told<()>, ManualError> {
    rig.decide(|work, jobs| decide(work, verdict, ada(), jobs))
}

#[test]
fn an_approval_stops_the_run_and_holds_no_worker() {
    let mut rig = Rig::start(&approved_or_not());
    let told = rig.begin("ask");
    assert_eq!(told.value, Begin::Advanced);
    assert_eq!(told.events(), ["run.transition", "step.started", "run.transition", "run.paused"]);
    assert_eq!((rig.status(), rig.step_status("ask")), (RunStatus::Paused, Some(StepStatus::Paused)));
    assert!(rig.intents.is_empty());
}

#[test]
fn each_verdict_takes_its_transition_and_is_the_steps_output() {
    for (verdict, follows, word, kind) in [
        (Verdict::Approve, "yes", "approved", AuditKind::Approved),
        (Verdict::Reject, "no", "rejected", AuditKind::Rejected),
    ] {
        let mut rig = asked();
        let told = decided(&mut rig, verdict).unwrap();
        assert_eq!(told.dispatched(), [follows]);
        assert_eq!((rig.status(), rig.state.run.current_step.clone()), (RunStatus::Running, Some(name(follows))));
        let answer = &rig.step("ask").output.as_ref().unwrap()["answer"];
        assert_eq!((&answer["decision"], &answer["actor"]), (&json!(word), &json!("ada")));
        assert_eq!(rig.step(follows).input["answer"]["comment"], json!("looks right"));
        assert_eq!(rig.audit.last().unwrap().kind, kind);
        assert_eq!(rig.tries("ask"), [(1, AttemptStatus::Completed)]);
    }
}

#[test]
fn a_second_decision_is_an_invalid_transition() {
    let mut rig = asked();
    decided(&mut rig, Verdict::Approve).unwrap();
    let before = rig.state.clone();
    let second = decided(&mut rig, Verdict::Reject);
    assert!(matches!(second, Err(ManualError::InvalidTransition(found)) if found.from == RunStatus::Running));
    assert_eq!(rig.state, before);
}

#[test]
fn a_pause_goes_on_when_it_is_unblocked_and_an_approval_does_not() {
    let paused = workflow()
        .step(Step::new("hold", pause()))
        .step(step("next"))
        .then("hold", "next")
        .then("next", COMPLETE)
        .build()
        .unwrap();
    let mut rig = Rig::start(&paused);
    rig.begin("hold");
    assert!(matches!(decided(&mut rig, Verdict::Approve), Err(ManualError::OtherDecision { .. })));
    let told = rig.decide(|work, jobs| unblock(work, ada(), jobs)).unwrap();
    assert_eq!(told.dispatched(), ["next"]);
    assert_eq!(rig.audit.last().unwrap().kind, AuditKind::Resumed);
    assert_eq!(rig.step("hold").output.as_deref(), Some(&object(json!({}))));

    let mut rig = asked();
    let refused = rig.decide(|work, jobs| unblock(work, ada(), jobs));
    assert!(matches!(refused, Err(ManualError::OtherDecision { .. })));
}

#[test]
fn what_resuming_means_was_fixed_when_the_run_paused() {
    let mut rig = asked();
    // A later version of the workflow leads elsewhere.
    rig.definition = workflow()
        .step(Step::new("ask", approval()).output("other"))
        .step(step("yes"))
        .step(step("no"))
        .then("ask", "no")
        .on_error("ask", "yes")
        .then("yes", COMPLETE)
        .then("no", COMPLETE)
        .build()
        .unwrap()
        .definition()
        .clone();
    decided(&mut rig, Verdict::Approve).unwrap();
    assert_eq!(rig.state.run.current_step, Some(name("yes")));
    assert!(rig.step("ask").output.as_ref().unwrap().contains_key("answer"));
}

#[test]
fn a_paused_step_without_a_valid_way_on_is_a_typed_error() {
    let mut rig = asked();
    rig.state.steps.get_mut(&name("ask")).unwrap().resume = None;
    assert!(matches!(decided(&mut rig, Verdict::Approve), Err(ManualError::MissingResume { step: Some(_) })));

    let mut rig = asked();
    let resume = rig.state.steps.get_mut(&name("ask")).unwrap().resume.as_mut().unwrap();
    resume.ok = Target::Step(name("gone"));
    assert!(
        matches!(decided(&mut rig, Verdict::Approve), Err(ManualError::InvalidTarget { target }) if target == name("gone"))
    );
    assert_eq!(rig.status(), RunStatus::Paused);
}

#[test]
fn an_approval_that_leads_to_completion_completes_the_run() {
    let short = workflow().step(Step::new("ask", approval())).then("ask", COMPLETE).on_error("ask", COMPLETE);
    let mut rig = Rig::start(&short.build().unwrap());
    rig.begin("ask");
    decided(&mut rig, Verdict::Reject).unwrap();
    assert_eq!(rig.status(), RunStatus::Completed);
}

#[test]
fn a_refused_successor_of_a_decision_fails_the_run_and_keeps_the_decision() {
    let mut rig = asked();
    rig.executor = Executor::RefusesForGood;
    decided(&mut rig, Verdict::Approve).unwrap();
    assert_eq!(rig.status(), RunStatus::Failed);
    assert_eq!(rig.state.run.last_error.as_ref().unwrap().kind, Failure::SUCCESSOR_REFUSED);
    assert_eq!(rig.step_status("ask"), Some(StepStatus::Completed));
}

/// ask (approval, one hour) → yes, on error → no, without a decision → late
fn asked_for_an_hour(named: bool) -> Rig {
    let ask = approval().deadline(hours(1));
    let ask = if named { ask.then_to("late") } else { ask };
    let definition = workflow()
        .step(Step::new("ask", ask).output("answer"))
        .step(step("yes"))
        .step(step("no"))
        .step(step("late"))
        .then("ask", "yes")
        .on_error("ask", "no")
        .then("yes", COMPLETE)
        .then("no", "late")
        .then("late", COMPLETE)
        .build()
        .unwrap();
    let mut rig = Rig::start(&definition);
    rig.begin("ask");
    rig
}

#[test]
fn an_approval_with_a_deadline_waits_for_it_in_the_store_alone() {
    let rig = asked_for_an_hour(true);
    assert_eq!((rig.status(), rig.step_status("ask")), (RunStatus::Paused, Some(StepStatus::Paused)));
    let intent = rig.intent("ask").unwrap();
    assert_eq!((intent.delay, intent.lease), (hours(1), None), "no worker holds it");
    assert_eq!(rig.step("ask").resume.as_ref().unwrap().expired, Some(Target::Step(name("late"))));
}

#[test]
fn a_deadline_that_passes_takes_the_error_route_or_the_named_step() {
    for (named, follows) in [(false, "no"), (true, "late")] {
        let mut rig = asked_for_an_hour(named);
        rig.pass(hours(1));
        let told = rig.begin("ask");
        assert_eq!(told.value, Begin::Advanced);
        assert_eq!(told.dispatched(), [follows]);
        assert_eq!(told.events(), ["run.expired", "step.completed", "run.transition", "run.dispatched"]);
        assert_eq!(rig.outstanding(), [follows]);
        let answer = &rig.step("ask").output.as_ref().unwrap()["answer"];
        assert_eq!(answer, &json!({"decision": "expired", "at": rig.now}));
        assert_eq!((rig.audit.last().unwrap().kind, &rig.audit.last().unwrap().actor), (AuditKind::Expired, &None));
        assert!(
            matches!(decided(&mut rig, Verdict::Approve), Err(ManualError::InvalidTransition(_))),
            "it is too late"
        );
    }
}

#[test]
fn a_decision_before_the_expiry_is_committed_counts_and_ends_the_deadline() {
    let mut rig = asked_for_an_hour(true);
    rig.pass(hours(2));
    decided(&mut rig, Verdict::Approve).unwrap();
    assert_eq!(rig.outstanding(), ["yes"]);
    assert_eq!(rig.begin("ask").value, Begin::Skip(SkipReason::NotCurrent), "the deadline comes too late");
    assert_eq!(rig.step("ask").manual.as_ref().unwrap().decision, "approved");
}

#[test]
fn a_cancellation_ends_the_deadline() {
    let mut rig = asked_for_an_hour(false);
    rig.cancel().unwrap();
    assert!(rig.intents.is_empty());
}

#[test]
fn a_paused_run_without_a_deadline_does_not_expire() {
    let mut rig = asked();
    assert_eq!(rig.begin("ask").value, Begin::Skip(SkipReason::RunPaused));
    assert_eq!(rig.status(), RunStatus::Paused);
}

/// ask → ask_again → done; each on error to the end.
fn asked_twice() -> Rig {
    let twice = workflow()
        .step(Step::new("ask", approval()))
        .step(Step::new("ask_again", approval()))
        .then("ask", "ask_again")
        .then("ask_again", COMPLETE)
        .on_error("ask", COMPLETE)
        .on_error("ask_again", COMPLETE)
        .build()
        .unwrap();
    let mut rig = Rig::start(&twice);
    rig.begin("ask");
    rig
}

#[test]
fn a_decision_that_means_another_step_than_waits_is_refused() {
    let mut rig = asked_twice();
    let of_ask = || Decided { step: Some("ask".to_owned()), ..ada() };
    rig.decide(|work, jobs| decide(work, Verdict::Approve, of_ask(), jobs)).unwrap();
    rig.begin("ask_again");
    let before = rig.state.clone();
    let second = rig.decide(|work, jobs| decide(work, Verdict::Approve, of_ask(), jobs));
    assert!(matches!(&second, Err(ManualError::OtherStep { waits, .. }) if *waits == name("ask_again")));
    let unblocked = rig.decide(|work, jobs| unblock(work, of_ask(), jobs));
    assert!(matches!(unblocked, Err(ManualError::OtherStep { .. })));
    assert_eq!(rig.state, before);
}

#[test]
fn a_decision_that_cannot_be_the_steps_output_is_refused() {
    let deepest = Limits::default().json.max_depth;
    let nested = (1..deepest).fold(json!({}), |inner, _| json!({ "deeper": inner }));
    assert!(Limits::default().json.check(&nested).is_ok(), "it is acceptable by itself");
    let deep = Decided { metadata: Some(object(nested)), ..ada() };
    let mut rig = asked();
    let before = rig.state.clone();
    let refused = rig.decide(|work, jobs| decide(work, Verdict::Approve, deep, jobs));
    assert!(matches!(&refused, Err(ManualError::Unacceptable { step, .. }) if *step == name("ask")));
    assert_eq!(rig.state, before);
    decided(&mut rig, Verdict::Approve).unwrap();
}
