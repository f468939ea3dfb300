//! Compensation of a failed run.

use serde_json::{Value, json};

use super::rig::{Rig, completed, failed, failed_for_now, name, object, step, workflow};
use crate::engine::{BeginCompensation, CompensationTask, Outcome, RecordedCompensation, begin_compensation};
use crate::{
    COMPLETE, Compensation, CompensationStatus, Failure, Retry, RunStatus, SkipReason, Step, StepContext, StepResult,
    Workflow, secs,
};

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

fn failed_chain() -> Rig {
    let mut rig = Rig::start_with(&chain(), object(json!({"order": 7})));
    rig.complete("a", json!({"a": 1}));
    rig.complete("b", json!({"b": 2}));
    rig.complete("plain", json!({}));
    rig.fail("fatal");
    rig
}

fn callback(begun: &BeginCompensation) -> CompensationTask {
    match begun {
        BeginCompensation::Execute(task) => (**task).clone(),
        other => panic!("no callback: {other:?}"),
    }
}

#[test]
fn the_compensation_is_dispatched_with_the_failure() {
    let mut rig = Rig::start(&chain());
    rig.complete("a", json!({}));
    let task = rig.begin("b").task();
    let told = rig.record(&task, failed());
    assert_eq!(told.events(), ["step.failed", "run.transition", "run.dispatched"]);
    assert_eq!(told.dispatched(), ["compensation"]);
    assert_eq!(rig.outstanding(), ["compensation"]);
}

#[test]
fn nothing_to_compensate_dispatches_no_compensation() {
    let mut rig = Rig::start(&chain());
    rig.fail("a");
    assert!(rig.intents.is_empty(), "a failed step is not compensated");
}

#[test]
fn callbacks_run_in_the_reverse_of_completion_each_with_what_its_step_had() {
    let mut rig = failed_chain();
    let b = callback(&rig.begin_compensation().value);
    assert_eq!((b.step.clone(), &b.output), (name("b"), rig.step("b").output.as_ref().unwrap()));
    assert_eq!(*b.input, object(json!({"order": 7, "a": 1})));
    assert_eq!(*b.context, object(json!({"a": 1, "b": 2})));
    assert_eq!(b.failure.as_ref().unwrap().kind, "declined");
    assert_eq!(rig.record_compensation(&b, completed(Value::Null)).value, RecordedCompensation::Ended);
    let a = callback(&rig.begin_compensation().value);
    assert_eq!(a.step, name("a"));
    rig.record_compensation(&a, completed(json!({"released": true})));
    assert_eq!(rig.begin_compensation().value, BeginCompensation::Done);
    assert!(rig.intents.is_empty());
    let kept = rig.step("a").compensation.as_ref().unwrap();
    assert_eq!((kept.status, kept.output.clone()), (CompensationStatus::Completed, Some(json!({"released": true}))));
    assert_eq!(rig.status(), RunStatus::Failed);
}

#[test]
fn a_failing_callback_does_not_stop_the_rest_and_is_listed() {
    let mut rig = failed_chain();
    let b = callback(&rig.begin_compensation().value);
    rig.record_compensation(&b, failed());
    let a = callback(&rig.begin_compensation().value);
    rig.record_compensation(&a, completed(Value::Null));
    assert_eq!(rig.begin_compensation().value, BeginCompensation::Done);
    let error = rig.state.run.last_error.as_ref().unwrap();
    assert_eq!(error.kind, "declined", "why the run failed is still what it says");
    let listed = &error.details.as_ref().unwrap()["compensation_failures"];
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["kind"]), (1, &json!("declined")));
}

#[test]
fn a_second_delivery_takes_over_and_the_first_can_record_nothing() {
    let mut rig = failed_chain();
    let lost = callback(&rig.begin_compensation().value);
    let held = callback(&rig.begin_compensation().value);
    assert_eq!((held.step.clone(), held.attempt), (name("b"), 2));
    assert_eq!(rig.record_compensation(&lost, completed(Value::Null)).value, RecordedCompensation::Superseded);
    assert_eq!(rig.record_compensation(&held, completed(Value::Null)).value, RecordedCompensation::Ended);
    let again = rig.record_compensation(&held, completed(Value::Null)).value;
    assert_eq!(again, RecordedCompensation::Superseded, "a result is recorded once");
}

#[test]
fn a_callback_that_takes_its_worker_down_three_times_is_given_up() {
    let mut rig = failed_chain();
    for _ in 0..3 {
        assert_eq!(callback(&rig.begin_compensation().value).step, name("b"));
    }
    assert_eq!(callback(&rig.begin_compensation().value).step, name("a"), "the rest goes on");
    let kept = rig.step("b").compensation.as_ref().unwrap();
    assert_eq!(
        (kept.status, kept.error.as_ref().unwrap().kind.as_str()),
        (CompensationStatus::Failed, Failure::POISON_STEP)
    );
}

#[test]
fn redelivery_after_the_end_repeats_nothing() {
    let mut rig = failed_chain();
    for _ in 0..2 {
        let task = callback(&rig.begin_compensation().value);
        rig.record_compensation(&task, completed(Value::Null));
    }
    rig.begin_compensation();
    let before = rig.state.steps.clone();
    assert_eq!(rig.begin_compensation().value, BeginCompensation::Done);
    assert_eq!(rig.state.steps, before);
}

#[test]
fn a_run_that_has_not_failed_is_not_compensated() {
    let mut rig = Rig::start(&chain());
    rig.complete("a", json!({}));
    assert_eq!(rig.begin_compensation().value, BeginCompensation::Skip(SkipReason::RunEnded));
    assert_eq!(rig.status(), RunStatus::Running);
}

#[test]
fn siblings_that_still_run_are_awaited_and_compensated_in_their_place() {
    let fan = workflow().step(undone("early")).step(undone("late")).step(step("fatal")).build().unwrap();
    let mut rig = Rig::start(&fan);
    rig.complete("early", json!({}));
    let late = rig.begin("late").task();
    rig.fail("fatal");
    assert_eq!(rig.begin_compensation().value, BeginCompensation::Skip(SkipReason::SiblingsRunning));
    let told = rig.record(&late, completed(json!({})));
    assert_eq!(told.dispatched(), ["compensation"], "the last to end makes it due");
    assert_eq!(rig.intents.values().next().unwrap().delay, crate::ms(0));
    assert_eq!(callback(&rig.begin_compensation().value).step, name("late"), "it completed last");
}

#[test]
fn whatever_ends_the_last_sibling_makes_the_compensation_due() {
    for outcome in [failed(), Outcome::Interrupted] {
        let fan = workflow().step(undone("early")).step(step("late")).step(step("fatal")).build().unwrap();
        let mut rig = Rig::start(&fan);
        rig.complete("early", json!({}));
        let late = rig.begin("late").task();
        rig.fail("fatal");
        rig.begin_compensation(); // put off
        rig.record(&late, outcome.clone());
        let delay = rig.intents.values().next().unwrap().delay;
        assert_eq!(delay, crate::ms(0), "{outcome:?}");
    }
}

/// a, b, then a failure; b's compensation may be tried three times.
fn patient() -> Rig {
    let definition = workflow()
        .step(undone("a"))
        .step(undone("b").compensation_retry(Retry::exponential(3, secs(1)..secs(60))))
        .step(step("fatal"))
        .then("a", "b")
        .then("b", "fatal")
        .then("fatal", COMPLETE)
        .build()
        .unwrap();
    let mut rig = Rig::start(&definition);
    rig.complete("a", json!({}));
    rig.complete("b", json!({}));
    rig.fail("fatal");
    rig
}

#[test]
fn a_callback_that_may_be_repeated_puts_the_whole_compensation_off() {
    let mut rig = patient();
    for (attempt, delay) in [(1, secs(1)), (2, secs(2))] {
        let task = callback(&rig.begin_compensation().value);
        assert_eq!((task.step.clone(), task.attempt), (name("b"), attempt));
        let told = rig.record_compensation(&task, failed_for_now());
        assert_eq!(told.value, RecordedCompensation::PutOff);
        assert_eq!(told.events(), ["compensation.retry_scheduled"]);
        let intent = rig.intents.values().next().unwrap();
        assert_eq!((intent.delay, intent.lease), (delay, None));
        assert!(rig.step("a").compensation.is_none(), "a does not overtake it");
    }
    let last = callback(&rig.begin_compensation().value);
    assert_eq!(rig.record_compensation(&last, completed(Value::Null)).value, RecordedCompensation::Ended);
    let kept = rig.step("b").compensation.as_ref().unwrap();
    assert_eq!((kept.status, kept.attempt, kept.failures), (CompensationStatus::Completed, 3, 2));
    assert_eq!(callback(&rig.begin_compensation().value).step, name("a"));
}

#[test]
fn a_callback_fails_for_good_when_its_attempts_are_used_up_or_no_other_helps() {
    let mut rig = patient();
    for _ in 0..3 {
        let task = callback(&rig.begin_compensation().value);
        rig.record_compensation(&task, failed_for_now());
    }
    let kept = rig.step("b").compensation.as_ref().unwrap();
    assert_eq!((kept.status, kept.error.as_ref().unwrap().kind.as_str()), (CompensationStatus::Failed, "busy"));
    assert_eq!(callback(&rig.begin_compensation().value).step, name("a"), "the rest goes on");

    let mut rig = patient();
    let task = callback(&rig.begin_compensation().value);
    assert_eq!(rig.record_compensation(&task, failed()).value, RecordedCompensation::Ended);
}

#[test]
fn without_a_policy_one_failure_of_a_callback_is_final() {
    let mut rig = failed_chain();
    let task = callback(&rig.begin_compensation().value);
    assert_eq!(rig.record_compensation(&task, failed_for_now()).value, RecordedCompensation::Ended);
}

#[test]
fn a_worker_that_is_shut_down_gives_its_callback_back_and_that_does_not_count() {
    let mut rig = failed_chain();
    for _ in 0..10 {
        let task = callback(&rig.begin_compensation().value);
        assert_eq!(rig.record_compensation(&task, Outcome::Interrupted).value, RecordedCompensation::PutOff);
        assert_eq!(rig.outstanding(), ["compensation"]);
    }
    assert_eq!(callback(&rig.begin_compensation().value).step, name("b"));
}

#[test]
fn a_callback_whose_begin_was_not_answered_is_taken_up_under_the_same_claim() {
    let mut rig = failed_chain();
    let first = callback(&rig.begin_compensation().value);
    let again = rig.decide(|work, _| Ok::<_, ()>(begin_compensation(work, &first.lease))).unwrap();
    assert_eq!(callback(&again.value), first);
}
