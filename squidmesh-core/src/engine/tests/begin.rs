//! Beginning a delivered step: every reason to do nothing, and the steps of dead workers.

use serde_json::json;

use super::harness::{Harness, chain, completed, failed_for_now, name, step, workflow};
use crate::definition::{Retry, ms, secs};
use crate::engine::Begin;
use crate::event::IgnoreReason;
use crate::run::{AttemptStatus, FailureKind, RunStatus, StepStatus};
use crate::workflow::{Step, Workflow, wait};

fn two() -> Workflow {
    chain(["first", "second"]).build().unwrap()
}

fn skipped(begin: &Begin) -> IgnoreReason {
    match begin {
        Begin::Skip(reason) => *reason,
        other => panic!("not skipped: {other:?}"),
    }
}

#[test]
fn the_first_step_makes_the_run_running_and_opens_an_attempt() {
    let mut harness = Harness::start(&two());
    let decided = harness.begin("first");
    assert_eq!(decided.events(), ["run.transition", "step.started"]);
    assert_eq!(harness.status(), RunStatus::Running);
    assert_eq!(harness.tries("first"), [(1, AttemptStatus::Running)]);
    assert!(harness.intent("first").is_some(), "the intent stays until the outcome is recorded");
    assert_eq!(decided.decision.commit.fences, [decided.task().lease]);
}

#[test]
fn a_delivery_to_an_ended_run_is_a_no_op() {
    for status in [RunStatus::Failed, RunStatus::Completed, RunStatus::Cancelled] {
        let mut harness = Harness::start(&two());
        harness.state.run.status = status;
        let decided = harness.begin("first");
        assert_eq!(skipped(&decided.value), IgnoreReason::RunEnded, "{status}");
        assert!(harness.attempts.is_empty() && harness.intents.is_empty(), "{status}");
        assert_eq!(harness.status(), status);
    }
}

#[test]
fn a_delivery_to_a_paused_run_is_a_no_op() {
    let mut harness = Harness::start(&two());
    harness.state.run.status = RunStatus::Paused;
    assert_eq!(skipped(&harness.begin("first").value), IgnoreReason::RunPaused);
    assert_eq!(harness.status(), RunStatus::Paused);
}

#[test]
fn a_delivery_to_a_cancelling_run_ends_it() {
    let mut harness = Harness::start(&two());
    harness.state.run.status = RunStatus::Cancelling;
    assert_eq!(skipped(&harness.begin("first").value), IgnoreReason::RunCancelled);
    assert_eq!(harness.status(), RunStatus::Cancelled);
    assert!(harness.attempts.is_empty(), "nothing was started");
}

#[test]
fn a_step_whose_turn_it_is_not_is_a_no_op() {
    let mut harness = Harness::start(&two());
    let decided = harness.begin("second");
    assert_eq!(skipped(&decided.value), IgnoreReason::NotCurrent);
    assert_eq!(harness.step_status("second"), None);
    assert_eq!(harness.outstanding(), ["first"]);
}

#[test]
fn an_unknown_step_is_left_for_another_version() {
    let mut harness = Harness::start(&two());
    let decided = harness.begin("nowhere");
    assert_eq!(skipped(&decided.value), IgnoreReason::UnknownStep);
    assert!(harness.intent("nowhere").unwrap().delay > ms(0), "it is delivered again, later");
}

#[test]
fn a_late_delivery_of_a_finished_step_is_a_no_op() {
    let mut harness = Harness::start(&two());
    harness.complete("first", json!({}));
    let before = harness.state.steps.clone();
    assert_eq!(skipped(&harness.begin("first").value), IgnoreReason::NotCurrent);
    assert_eq!(harness.state.steps, before);
    assert_eq!(harness.outstanding(), ["second"]);
}

#[test]
fn a_completed_current_step_found_again_drives_the_run_on_without_running_twice() {
    let mut harness = Harness::start(&two());
    let task = harness.begin("first").task();
    // Only half of a change was stored, as another writer might leave it.
    let mut state = harness.state.clone();
    harness.record(&task, completed(json!({"kept": true})));
    state.steps.insert(name("first"), harness.step("first").clone());
    state.run.revision = harness.state.run.revision;
    harness.state = state;
    harness.intents.clear();
    let decided = harness.begin("first");
    assert_eq!(skipped(&decided.value), IgnoreReason::AlreadyCompleted);
    assert_eq!(decided.dispatched(), ["second"]);
    assert_eq!(harness.state.run.current_step, Some(name("second")));
    assert_eq!(harness.tries("first").len(), 1, "it is not run twice");
    assert_eq!(harness.input("second").get("kept"), Some(&json!(true)), "its recorded output counts");
}

#[test]
fn a_completed_join_found_again_does_not_dispatch_its_successor_twice() {
    let diamond = workflow().step(step("a")).step(step("b")).step(step("join").after(["a", "b"])).build().unwrap();
    let mut harness = Harness::start(&diamond);
    harness.complete("a", json!({}));
    harness.complete("b", json!({}));
    let decided = harness.begin("b");
    assert_eq!(skipped(&decided.value), IgnoreReason::AlreadyCompleted);
    assert!(decided.dispatched().is_empty());
}

#[test]
fn a_dead_workers_attempt_is_closed_and_counts() {
    let mut harness = Harness::start(&two());
    harness.begin("first");
    harness.pass(secs(30));
    let decided = harness.begin("first");
    assert_eq!(decided.events(), ["step.failed", "step.started"]);
    assert_eq!(decided.task().attempt, 2);
    assert_eq!(harness.tries("first"), [(1, AttemptStatus::Failed), (2, AttemptStatus::Running)]);
    let first = &harness.attempts[&(name("first"), 1)];
    assert_eq!(first.error.as_ref().unwrap().kind, FailureKind::STALE_RUNNING_STEP);
    assert_eq!((harness.step("first").failures, harness.step("first").crashes), (1, 0), "suspected, and not proved");
}

#[test]
fn a_dead_worker_uses_up_the_only_attempt_of_a_step_that_is_never_retried() {
    let once =
        workflow().step(step("first").retry(Retry::never())).then("first", crate::workflow::COMPLETE).build().unwrap();
    let mut harness = Harness::start(&once);
    harness.begin("first");
    let decided = harness.begin("first");
    assert_eq!(decided.value, Begin::Advanced);
    assert_eq!(harness.status(), RunStatus::Failed);
    assert_eq!(harness.state.run.last_error.as_ref().unwrap().kind, FailureKind::STALE_RUNNING_STEP);
    assert!(harness.intents.is_empty());
}

#[test]
fn a_step_that_takes_its_worker_down_three_times_in_a_row_is_poison() {
    let patient =
        workflow().step(step("first").retry(Retry::fixed(100, ms(1)))).then("first", crate::workflow::COMPLETE);
    let mut harness = Harness::start(&patient.build().unwrap());
    for attempt in 1..=3 {
        assert_eq!(harness.begin("first").task().attempt, attempt);
    }
    let decided = harness.begin("first");
    assert_eq!((&decided.value, harness.status()), (&Begin::Advanced, RunStatus::Retrying), "it may yet come back");
    assert_eq!(decided.events(), ["step.failed", "step.retry_scheduled", "run.transition"]);
    assert_eq!(harness.intent("first").unwrap().delay, harness.limits.suspense);
    assert_eq!(harness.begin("first").value, Begin::Advanced);
    assert_eq!(harness.status(), RunStatus::Failed);
    assert_eq!(harness.state.run.last_error.as_ref().unwrap().kind, FailureKind::POISON_STEP);
    assert_eq!(harness.tries("first").len(), 3);
}

#[test]
fn a_failure_between_two_crashes_breaks_the_row() {
    let patient =
        workflow().step(step("first").retry(Retry::fixed(100, ms(1)))).then("first", crate::workflow::COMPLETE);
    let mut harness = Harness::start(&patient.build().unwrap());
    harness.begin("first");
    harness.begin("first");
    let task = harness.begin("first").task();
    harness.record(&task, failed_for_now());
    assert_eq!(harness.step("first").crashes, 0);
    harness.begin("first");
    assert_eq!(harness.begin("first").task().attempt, 5, "one crash since: the step continues");
}

#[test]
fn a_poison_step_follows_its_error_transition() {
    let routed = workflow()
        .step(step("first"))
        .step(step("rescue"))
        .then("first", crate::workflow::COMPLETE)
        .on_error("first", "rescue")
        .then("rescue", crate::workflow::COMPLETE)
        .build()
        .unwrap();
    let mut harness = Harness::start(&routed);
    for _ in 0..4 {
        harness.begin("first");
    }
    assert_eq!(harness.state.run.current_step, Some(name("rescue")));
    assert_eq!(harness.outstanding(), ["rescue"]);
}

#[test]
fn a_begin_whose_answer_was_lost_is_found_again_under_its_own_claim() {
    let mut harness = Harness::start(&two());
    let lease = harness.lease("first");
    let task = harness.begin_under(&lease).task();
    let again = harness.begin_under(&lease);
    assert_eq!(again.task(), task);
    assert_eq!(harness.tries("first"), [(1, AttemptStatus::Running)]);
}

#[test]
fn a_wait_that_is_over_completes_at_once() {
    let workflow = workflow()
        .step(Step::new("wait", wait(secs(5))))
        .step(step("after"))
        .then("wait", "after")
        .then("after", crate::workflow::COMPLETE)
        .build()
        .unwrap();
    let mut harness = Harness::start(&workflow);
    harness.pass(secs(5));
    let decided = harness.begin("wait");
    assert_eq!(decided.value, Begin::Advanced);
    assert_eq!(decided.dispatched(), ["after"]);
    assert_eq!(harness.tries("wait"), [(1, AttemptStatus::Completed)]);
    assert_eq!(harness.step_status("wait"), Some(StepStatus::Completed));
    assert_eq!(harness.outstanding(), ["after"]);
}
