//! Cancelling a run.

use serde_json::json;

use super::harness::{Harness, chain, completed, failed_for_now, object, step, workflow};
use crate::engine::{Attribution, Begin, CommandRefused, cancel};
use crate::event::IgnoreReason;
use crate::run::{AttemptStatus, AuditKind, FailureKind, RunStatus, StepStatus};
use crate::workflow::{COMPLETE, Step, approval};

fn two() -> Harness {
    Harness::start(&chain(["first", "second"]).build().unwrap())
}

#[test]
fn a_pending_run_is_cancelled_at_once() {
    let mut harness = two();
    let decided = harness.cancel().unwrap();
    assert_eq!(decided.events(), ["run.transition", "run.cancelled"]);
    assert_eq!((harness.status(), harness.step_status("first")), (RunStatus::Cancelled, Some(StepStatus::Cancelled)));
    assert!(harness.intents.is_empty() && harness.attempts.is_empty());
    assert!(
        matches!(harness.begin("first").value, Begin::Skip(IgnoreReason::RunEnded)),
        "a late delivery starts nothing"
    );
}

#[test]
fn a_running_run_is_cancelling_until_its_step_ends() {
    let mut harness = two();
    let task = harness.begin("first").task();
    harness.cancel().unwrap();
    assert_eq!((harness.status(), harness.outstanding()), (RunStatus::Cancelling, vec!["first".to_owned()]));
    harness.record(&task, completed(json!({})));
    assert_eq!(harness.status(), RunStatus::Cancelled);
}

#[test]
fn a_cancelling_run_ends_with_the_lease_of_a_dead_worker() {
    let mut harness = two();
    harness.begin("first");
    harness.cancel().unwrap();
    let decided = harness.begin("first");
    assert!(matches!(decided.value, Begin::Skip(IgnoreReason::RunCancelled)));
    assert_eq!((harness.status(), harness.step_status("first")), (RunStatus::Cancelled, Some(StepStatus::Cancelled)));
    assert_eq!(harness.tries("first"), [(1, AttemptStatus::Failed)]);
    assert!(harness.intents.is_empty());
}

#[test]
fn a_run_that_waits_to_retry_is_cancelled_at_once() {
    let mut harness = two();
    let task = harness.begin("first").task();
    harness.record(&task, failed_for_now());
    assert_eq!(harness.status(), RunStatus::Retrying);
    let decided = harness.cancel().unwrap();
    assert_eq!(decided.events(), ["run.transition", "run.transition", "run.cancelled"], "by way of cancelling");
    assert_eq!(harness.status(), RunStatus::Cancelled);
    assert!(harness.intents.is_empty());
}

#[test]
fn a_cancelled_approval_closes_its_attempt_as_failed() {
    let asked = workflow().step(Step::new("ask", approval())).then("ask", COMPLETE).on_error("ask", COMPLETE);
    let mut harness = Harness::start(&asked.build().unwrap());
    harness.begin("ask");
    assert_eq!(harness.status(), RunStatus::Paused);
    harness.cancel().unwrap();
    assert_eq!((harness.status(), harness.step_status("ask")), (RunStatus::Cancelled, Some(StepStatus::Cancelled)));
    let attempt = harness.attempts.values().next().unwrap();
    assert_eq!(attempt.status, AttemptStatus::Failed);
    assert_eq!(attempt.error.as_ref().unwrap().kind, FailureKind::CANCELLED);
}

#[test]
fn with_siblings_running_the_last_of_them_ends_the_run() {
    let three = workflow().step(step("a")).step(step("b")).step(step("c")).parallel().build().unwrap();
    let mut harness = Harness::start(&three);
    let (a, b) = (harness.begin("a").task(), harness.begin("b").task());
    harness.cancel().unwrap();
    assert_eq!(harness.step_status("c"), Some(StepStatus::Cancelled), "what has not begun never will");
    harness.record(&a, completed(json!({})));
    assert_eq!(harness.status(), RunStatus::Cancelling);
    harness.record(&b, failed_for_now());
    assert_eq!(harness.status(), RunStatus::Cancelled);
    assert!(harness.intents.is_empty());
}

#[test]
fn a_run_that_has_ended_or_is_being_cancelled_cannot_be_cancelled() {
    for from in [RunStatus::Cancelling, RunStatus::Cancelled, RunStatus::Completed, RunStatus::Failed] {
        let mut harness = two();
        harness.state.run.status = from;
        let before = harness.state.clone();
        let refused = harness.cancel();
        assert!(matches!(refused, Err(CommandRefused::InvalidTransition(error)) if error.from == from), "{from}");
        assert_eq!(harness.state, before, "{from}");
    }
}

#[test]
fn a_cancellation_says_who_and_why_in_the_audit_trail() {
    let mut harness = two();
    let decided = Attribution {
        actor: Some("ada".to_owned()),
        comment: Some("a duplicate".to_owned()),
        metadata: Some(object(json!({"ticket": 7}))),
        step: None,
    };
    harness.decide(|work, _| cancel(work, decided)).unwrap();
    let entry = &harness.audit[0];
    assert_eq!((entry.kind, entry.actor.as_deref()), (AuditKind::Cancelled, Some("ada")));
    assert_eq!((entry.comment.as_deref(), entry.metadata.as_ref().unwrap().len()), (Some("a duplicate"), 1));
}
