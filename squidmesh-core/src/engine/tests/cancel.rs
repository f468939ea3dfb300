//! Cancelling a run.

use serde_json::json;

use super::rig::{Rig, chain, completed, failed_for_now, object, step, workflow};
use crate::engine::{Begin, Decided, cancel};
use crate::{
    AttemptStatus, AuditKind, COMPLETE, Failure, InvalidTransition, RunStatus, SkipReason, Step, StepStatus, approval,
};

fn two() -> Rig {
    Rig::start(&chain(["first", "second"]).build().unwrap())
}

#[test]
fn a_pending_run_is_cancelled_at_once() {
    let mut rig = two();
    let told = rig.cancel().unwrap();
    assert_eq!(told.events(), ["run.transition", "run.cancelled"]);
    assert_eq!((rig.status(), rig.step_status("first")), (RunStatus::Cancelled, Some(StepStatus::Cancelled)));
    assert!(rig.intents.is_empty() && rig.attempts.is_empty());
    assert!(matches!(rig.begin("first").value, Begin::Skip(SkipReason::RunEnded)), "a late delivery starts nothing");
}

#[test]
fn a_running_run_is_cancelling_until_its_step_ends() {
    let mut rig = two();
    let task = rig.begin("first").task();
    rig.cancel().unwrap();
    assert_eq!((rig.status(), rig.outstanding()), (RunStatus::Cancelling, vec!["first".to_owned()]));
    rig.record(&task, completed(json!({})));
    assert_eq!(rig.status(), RunStatus::Cancelled);
}

#[test]
fn a_cancelling_run_ends_with_the_lease_of_a_dead_worker() {
    let mut rig = two();
    rig.begin("first");
    rig.cancel().unwrap();
    let told = rig.begin("first");
    assert!(matches!(told.value, Begin::Skip(SkipReason::RunCancelled)));
    assert_eq!((rig.status(), rig.step_status("first")), (RunStatus::Cancelled, Some(StepStatus::Cancelled)));
    assert_eq!(rig.tries("first"), [(1, AttemptStatus::Failed)]);
    assert!(rig.intents.is_empty());
}

#[test]
fn a_run_that_waits_to_retry_is_cancelled_at_once() {
    let mut rig = two();
    let task = rig.begin("first").task();
    rig.record(&task, failed_for_now());
    assert_eq!(rig.status(), RunStatus::Retrying);
    let told = rig.cancel().unwrap();
    assert_eq!(told.events(), ["run.transition", "run.transition", "run.cancelled"], "by way of cancelling");
    assert_eq!(rig.status(), RunStatus::Cancelled);
    assert!(rig.intents.is_empty());
}

#[test]
fn a_cancelled_approval_closes_its_attempt_as_failed() {
    let asked = workflow().step(Step::new("ask", approval())).then("ask", COMPLETE).on_error("ask", COMPLETE);
    let mut rig = Rig::start(&asked.build().unwrap());
    rig.begin("ask");
    assert_eq!(rig.status(), RunStatus::Paused);
    rig.cancel().unwrap();
    assert_eq!((rig.status(), rig.step_status("ask")), (RunStatus::Cancelled, Some(StepStatus::Cancelled)));
    let attempt = rig.attempts.values().next().unwrap();
    assert_eq!(attempt.status, AttemptStatus::Failed);
    assert_eq!(attempt.error.as_ref().unwrap().kind, Failure::CANCELLED);
}

#[test]
fn with_siblings_running_the_last_of_them_ends_the_run() {
    let three = workflow().step(step("a")).step(step("b")).step(step("c")).build().unwrap();
    let mut rig = Rig::start(&three);
    let (a, b) = (rig.begin("a").task(), rig.begin("b").task());
    rig.cancel().unwrap();
    assert_eq!(rig.step_status("c"), Some(StepStatus::Cancelled), "what has not begun never will");
    rig.record(&a, completed(json!({})));
    assert_eq!(rig.status(), RunStatus::Cancelling);
    rig.record(&b, failed_for_now());
    assert_eq!(rig.status(), RunStatus::Cancelled);
    assert!(rig.intents.is_empty());
}

#[test]
fn a_run_that_has_ended_or_is_being_cancelled_cannot_be_cancelled() {
    for from in [RunStatus::Cancelling, RunStatus::Cancelled, RunStatus::Completed, RunStatus::Failed] {
        let mut rig = two();
        rig.state.run.status = from;
        let before = rig.state.clone();
        let refused = rig.cancel();
        assert!(matches!(refused, Err(InvalidTransition { from: found, .. }) if found == from), "{from}");
        assert_eq!(rig.state, before, "{from}");
    }
}

#[test]
fn a_cancellation_says_who_and_why_in_the_audit_trail() {
    let mut rig = two();
    let decided = Decided {
        actor: Some("ada".to_owned()),
        comment: Some("a duplicate".to_owned()),
        metadata: Some(object(json!({"ticket": 7}))),
        step: None,
    };
    rig.decide(|work, _| cancel(work, decided)).unwrap();
    let entry = &rig.audit[0];
    assert_eq!((entry.kind, entry.actor.as_deref()), (AuditKind::Cancelled, Some("ada")));
    assert_eq!((entry.comment.as_deref(), entry.metadata.as_ref().unwrap().len()), (Some("a duplicate"), 1));
}
