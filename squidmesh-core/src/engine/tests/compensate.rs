//! Compensation of a failed run.

use serde_json::{Value, json};

use super::harness::{Harness, completed, failed, failed_for_now, name, object, step, workflow};
use crate::definition::{Retry, secs};
use crate::dispatch::{IntentKey, Lease};
use crate::engine::{BeginCompensation, CompensationTask, Outcome, RecordedCompensation, begin_compensation, record};
use crate::event::IgnoreReason;
use crate::handler::{Compensation, StepContext, StepResult};
use crate::port::IntentWrite;
use crate::run::{CompensationStatus, FailureKind, InvalidTransition, RunStatus};
use crate::workflow::{COMPLETE, Step, Workflow};

async fn undo(_: Compensation, _: StepContext) -> StepResult<()> {
    Ok(())
}

fn undone(name: &str) -> Step {
    step(name).compensate(undo)
}

/// a, b (both with a compensation), plain → fatal
fn chain() -> Workflow {
    workflow()
        .step(undone("a"))
        .step(undone("b"))
        .step(step("plain"))
        .step(step("fatal"))
        .then("a", "b")
        .then("b", "plain")
        .then("plain", "fatal")
        .then("fatal", COMPLETE)
        .build()
        .unwrap()
}

fn failed_chain() -> Harness {
    let mut harness = Harness::start_with(&chain(), object(json!({"order": 7})));
    harness.complete("a", json!({"a": 1}));
    harness.complete("b", json!({"b": 2}));
    harness.complete("plain", json!({}));
    harness.fail("fatal");
    harness
}

fn callback(begun: &BeginCompensation) -> CompensationTask {
    match begun {
        BeginCompensation::Execute(task) => (**task).clone(),
        other => panic!("no callback: {other:?}"),
    }
}

#[test]
fn the_compensation_is_dispatched_with_the_failure() {
    let mut harness = Harness::start(&chain());
    harness.complete("a", json!({}));
    let task = harness.begin("b").task();
    let decided = harness.record(&task, failed());
    assert_eq!(decided.events(), ["step.failed", "run.transition", "run.dispatched"]);
    assert_eq!(decided.dispatched(), ["compensation"]);
    assert_eq!(harness.outstanding(), ["compensation"]);
}

#[test]
fn nothing_to_compensate_dispatches_no_compensation() {
    let mut harness = Harness::start(&chain());
    harness.fail("a");
    assert!(harness.intents.is_empty(), "a failed step is not compensated");
}

#[test]
fn callbacks_run_in_the_reverse_of_completion_each_with_what_its_step_had() {
    let mut harness = failed_chain();
    let b = callback(&harness.begin_compensation().value);
    assert_eq!((b.step.clone(), &b.output), (name("b"), harness.step("b").output.as_ref().unwrap()));
    assert_eq!(*b.input, object(json!({"order": 7, "a": 1})));
    assert_eq!(*b.context, object(json!({"a": 1, "b": 2})));
    assert_eq!(b.failure.as_ref().unwrap().kind, "declined");
    assert_eq!(harness.record_compensation(&b, completed(Value::Null)).value, RecordedCompensation::Ended);
    let a = callback(&harness.begin_compensation().value);
    assert_eq!(a.step, name("a"));
    harness.record_compensation(&a, completed(json!({"released": true})));
    assert_eq!(harness.begin_compensation().value, BeginCompensation::Done);
    assert!(harness.intents.is_empty());
    let kept = harness.step("a").compensation.as_ref().unwrap();
    assert_eq!((kept.status, kept.output.clone()), (CompensationStatus::Completed, Some(json!({"released": true}))));
    assert_eq!(harness.status(), RunStatus::Failed);
}

#[test]
fn a_failing_callback_does_not_stop_the_rest_and_is_listed() {
    let mut harness = failed_chain();
    let b = callback(&harness.begin_compensation().value);
    harness.record_compensation(&b, failed());
    let a = callback(&harness.begin_compensation().value);
    harness.record_compensation(&a, completed(Value::Null));
    assert_eq!(harness.begin_compensation().value, BeginCompensation::Done);
    let error = harness.state.run.last_error.as_ref().unwrap();
    assert_eq!(error.kind, "declined", "why the run failed is still what it says");
    let listed = &error.details.as_ref().unwrap()["compensation_failures"];
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["kind"]), (1, &json!("declined")));
}

#[test]
fn a_second_delivery_takes_over_and_the_first_can_record_nothing() {
    let mut harness = failed_chain();
    let lost = callback(&harness.begin_compensation().value);
    let held = callback(&harness.begin_compensation().value);
    assert_eq!((held.step.clone(), held.attempt), (name("b"), 2));
    assert_eq!(harness.record_compensation(&lost, completed(Value::Null)).value, RecordedCompensation::Superseded);
    assert_eq!(harness.record_compensation(&held, completed(Value::Null)).value, RecordedCompensation::Ended);
    let again = harness.record_compensation(&held, completed(Value::Null)).value;
    assert_eq!(again, RecordedCompensation::Superseded, "a result is recorded once");
}

#[test]
fn a_callback_that_takes_its_worker_down_three_times_is_given_up() {
    let mut harness = failed_chain();
    for _ in 0..3 {
        assert_eq!(callback(&harness.begin_compensation().value).step, name("b"));
    }
    assert_eq!(callback(&harness.begin_compensation().value).step, name("a"), "the rest continues");
    let kept = harness.step("b").compensation.as_ref().unwrap();
    assert_eq!(
        (kept.status, kept.error.as_ref().unwrap().kind.clone()),
        (CompensationStatus::Failed, FailureKind::POISON_STEP)
    );
}

#[test]
fn redelivery_after_the_end_repeats_nothing() {
    let mut harness = failed_chain();
    for _ in 0..2 {
        let task = callback(&harness.begin_compensation().value);
        harness.record_compensation(&task, completed(Value::Null));
    }
    harness.begin_compensation();
    let before = harness.state.steps.clone();
    assert_eq!(harness.begin_compensation().value, BeginCompensation::Done);
    assert_eq!(harness.state.steps, before);
}

#[test]
fn a_run_that_has_not_failed_is_not_compensated() {
    let mut harness = Harness::start(&chain());
    harness.complete("a", json!({}));
    assert_eq!(harness.begin_compensation().value, BeginCompensation::Skip(IgnoreReason::RunEnded));
    assert_eq!(harness.status(), RunStatus::Running);
}

#[test]
fn siblings_that_still_run_are_awaited_and_compensated_in_their_place() {
    let fan = workflow().step(undone("early")).step(undone("late")).step(step("fatal")).parallel().build().unwrap();
    let mut harness = Harness::start(&fan);
    harness.complete("early", json!({}));
    let late = harness.begin("late").task();
    harness.fail("fatal");
    assert_eq!(harness.begin_compensation().value, BeginCompensation::Skip(IgnoreReason::SiblingsRunning));
    let decided = harness.record(&late, completed(json!({})));
    assert_eq!(decided.dispatched(), ["compensation"], "the last to end makes it due");
    assert_eq!(harness.intents.values().next().unwrap().delay, crate::definition::ms(0));
    assert_eq!(callback(&harness.begin_compensation().value).step, name("late"), "it completed last");
}

#[test]
fn the_end_of_the_last_sibling_makes_the_compensation_due() {
    for outcome in [failed(), Outcome::Interrupted] {
        let fan = workflow().step(undone("early")).step(step("late")).step(step("fatal")).parallel().build().unwrap();
        let mut harness = Harness::start(&fan);
        harness.complete("early", json!({}));
        let late = harness.begin("late").task();
        harness.fail("fatal");
        harness.begin_compensation(); // put off
        harness.record(&late, outcome.clone());
        let delay = harness.intents.values().next().unwrap().delay;
        assert_eq!(delay, crate::definition::ms(0), "{outcome:?}");
    }
}

#[test]
fn a_compensation_that_begins_with_the_end_of_the_last_sibling_keeps_its_claim() {
    let fan = workflow().step(undone("early")).step(step("late")).step(step("fatal")).parallel().build().unwrap();
    let mut harness = Harness::start(&fan);
    harness.complete("early", json!({}));
    let late = harness.begin("late").task();
    harness.fail("fatal");
    let lease = Lease { key: IntentKey::compensation(harness.state.run.id), token: harness.token() };
    // Both are decided at the same time, and committed as one.
    let decided = harness.decide(|work, jobs| {
        record(work, &late, failed(), None, jobs)?;
        Ok::<_, InvalidTransition>(begin_compensation(work, &lease))
    });
    let decided = decided.unwrap();
    assert_eq!(callback(&decided.value).step, name("early"));
    let of_compensation = |write: &&IntentWrite| *write.key() == lease.key;
    assert_eq!(decided.decision.commit.intents.iter().find(of_compensation), None, "it is claimed, and stays so");
}

/// a, b, then a failure; b's compensation may be tried three times.
fn patient() -> Harness {
    let definition = workflow()
        .step(undone("a"))
        .step(undone("b").compensation_retry(Retry::exponential(3, secs(1)..secs(60))))
        .step(step("fatal"))
        .then("a", "b")
        .then("b", "fatal")
        .then("fatal", COMPLETE)
        .build()
        .unwrap();
    let mut harness = Harness::start(&definition);
    harness.complete("a", json!({}));
    harness.complete("b", json!({}));
    harness.fail("fatal");
    harness
}

#[test]
fn a_callback_that_may_be_repeated_puts_the_whole_compensation_off() {
    let mut harness = patient();
    for (attempt, delay) in [(1, secs(1)), (2, secs(2))] {
        let task = callback(&harness.begin_compensation().value);
        assert_eq!((task.step.clone(), task.attempt), (name("b"), attempt));
        let decided = harness.record_compensation(&task, failed_for_now());
        assert_eq!(decided.value, RecordedCompensation::Rescheduled);
        assert_eq!(decided.events(), ["compensation.retry_scheduled"]);
        let intent = harness.intents.values().next().unwrap();
        assert_eq!((intent.delay, intent.lease), (delay, None));
        assert!(harness.step("a").compensation.is_none(), "a does not overtake it");
    }
    let last = callback(&harness.begin_compensation().value);
    assert_eq!(harness.record_compensation(&last, completed(Value::Null)).value, RecordedCompensation::Ended);
    let kept = harness.step("b").compensation.as_ref().unwrap();
    assert_eq!((kept.status, kept.attempt, kept.failures), (CompensationStatus::Completed, 3, 2));
    assert_eq!(callback(&harness.begin_compensation().value).step, name("a"));
}

#[test]
fn a_callback_fails_terminally_when_its_attempts_are_used_up_or_no_other_helps() {
    let mut harness = patient();
    for _ in 0..3 {
        let task = callback(&harness.begin_compensation().value);
        harness.record_compensation(&task, failed_for_now());
    }
    let kept = harness.step("b").compensation.as_ref().unwrap();
    assert_eq!((kept.status, kept.error.as_ref().unwrap().kind.as_str()), (CompensationStatus::Failed, "busy"));
    assert_eq!(callback(&harness.begin_compensation().value).step, name("a"), "the rest continues");

    let mut harness = patient();
    let task = callback(&harness.begin_compensation().value);
    assert_eq!(harness.record_compensation(&task, failed()).value, RecordedCompensation::Ended);
}

#[test]
fn without_a_policy_one_failure_of_a_callback_is_final() {
    let mut harness = failed_chain();
    let task = callback(&harness.begin_compensation().value);
    assert_eq!(harness.record_compensation(&task, failed_for_now()).value, RecordedCompensation::Ended);
}

#[test]
fn a_worker_that_is_shut_down_gives_its_callback_back_and_that_does_not_count() {
    let mut harness = failed_chain();
    for _ in 0..10 {
        let task = callback(&harness.begin_compensation().value);
        assert_eq!(harness.record_compensation(&task, Outcome::Interrupted).value, RecordedCompensation::Rescheduled);
        assert_eq!(harness.outstanding(), ["compensation"]);
    }
    assert_eq!(callback(&harness.begin_compensation().value).step, name("b"));
}

#[test]
fn a_callback_whose_begin_was_not_answered_is_taken_up_under_the_same_claim() {
    let mut harness = failed_chain();
    let first = callback(&harness.begin_compensation().value);
    let again = harness.decide(|work, _| Ok::<_, ()>(begin_compensation(work, &first.lease))).unwrap();
    assert_eq!(callback(&again.value), first);
}
