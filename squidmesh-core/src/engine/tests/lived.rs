//! Workers that return after their step was taken over.

use serde_json::json;

use super::harness::{Harness, completed, name, step, workflow};
use crate::definition::{Retry, ms};
use crate::engine::{Begin, StepTask, lived};
use crate::run::{AuditKind, FailureKind, InvalidTransition, RunStatus, StepStatus};

fn patient() -> Harness {
    let definition =
        workflow().step(step("first").retry(Retry::fixed(100, ms(1)))).then("first", crate::workflow::COMPLETE);
    Harness::start(&definition.build().unwrap())
}

fn comes_back(harness: &mut Harness, task: &StepTask) {
    let decided = harness.decide(|work, _| {
        lived(work, &task.step, task.attempt, "completed");
        Ok::<_, InvalidTransition>(())
    });
    assert_eq!(decided.unwrap().events(), ["step.lived"]);
}

fn counts(harness: &Harness) -> (u32, u32) {
    (harness.step("first").failures, harness.step("first").crashes)
}

#[test]
fn a_worker_that_comes_back_was_no_crash_and_no_failure() {
    let mut harness = patient();
    let first = harness.begin("first").task();
    let second = harness.begin("first").task();
    assert_eq!(counts(&harness), (1, 0));
    comes_back(&mut harness, &first);
    assert_eq!(counts(&harness), (0, 0));
    assert_eq!(harness.step("first").last_error, None);
    let entry = harness.audit.last().unwrap();
    assert_eq!((entry.kind, entry.step.as_ref()), (AuditKind::Lived, Some(&name("first"))));
    assert_eq!(entry.metadata, json!({ "attempt": 1, "outcome": "completed" }).as_object().cloned());
    // The next attempt is not affected.
    harness.record(&second, completed(json!({})));
    assert_eq!(harness.status(), RunStatus::Completed);
}

#[test]
fn a_suspicion_is_a_crash_once_the_step_is_taken_over_again() {
    let mut harness = patient();
    harness.begin("first");
    harness.begin("first");
    assert_eq!(counts(&harness), (1, 0));
    harness.begin("first");
    assert_eq!(counts(&harness), (2, 1));
}

#[test]
fn slow_workers_are_never_poison() {
    let mut harness = patient();
    for _ in 0..10 {
        let slow = harness.begin("first").task();
        harness.begin("first");
        comes_back(&mut harness, &slow);
        assert_eq!(counts(&harness).1, 0);
        let task = harness.begin("first").task();
        assert_eq!(harness.step("first").last_error.as_ref().unwrap().kind, FailureKind::STALE_RUNNING_STEP);
        comes_back(&mut harness, &StepTask { attempt: task.attempt - 1, ..task });
    }
    assert_eq!(harness.step_status("first"), Some(StepStatus::Running));
}

#[test]
fn one_that_comes_back_before_the_verdict_saves_the_step() {
    let mut harness = patient();
    let tasks: Vec<StepTask> = (0..3).map(|_| harness.begin("first").task()).collect();
    assert_eq!(harness.begin("first").value, Begin::Advanced);
    assert_eq!((counts(&harness), harness.status()), ((3, 2), RunStatus::Retrying));
    comes_back(&mut harness, &tasks[2]);
    assert_eq!(counts(&harness), (2, 0), "the row is broken");
    assert_eq!(harness.begin("first").task().attempt, 4);
}

#[test]
fn a_step_that_took_down_its_workers_takes_its_error_transition() {
    let builder =
        workflow().step(step("first").retry(Retry::fixed(100, ms(1)))).then("first", crate::workflow::COMPLETE);
    let mut harness = Harness::start(&builder.on_error("first", crate::workflow::COMPLETE).build().unwrap());
    for _ in 0..4 {
        harness.begin("first");
    }
    assert_eq!((harness.status(), harness.step_status("first")), (RunStatus::Retrying, Some(StepStatus::Pending)));
    assert_eq!(harness.begin("first").value, Begin::Advanced);
    assert_eq!((harness.status(), harness.step_status("first")), (RunStatus::Completed, Some(StepStatus::Failed)));
}

#[test]
fn an_older_one_that_comes_back_breaks_the_row_where_it_was() {
    let mut harness = patient();
    let tasks: Vec<StepTask> = (0..3).map(|_| harness.begin("first").task()).collect();
    assert_eq!(counts(&harness), (2, 1));
    comes_back(&mut harness, &tasks[0]);
    assert_eq!(counts(&harness), (1, 0), "only the second is suspected");
    assert_eq!(harness.step("first").last_error.as_ref().unwrap().kind, FailureKind::STALE_RUNNING_STEP);
}

#[test]
fn a_step_that_has_settled_stays_as_it_is() {
    let mut harness = patient();
    let first = harness.begin("first").task();
    let second = harness.begin("first").task();
    harness.record(&second, completed(json!({ "by": 2 })));
    let before = harness.step("first").clone();
    comes_back(&mut harness, &first);
    assert_eq!(*harness.step("first"), before);
    assert_eq!(harness.status(), RunStatus::Completed);
}
