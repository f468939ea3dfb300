//! Dependency workflows: which steps become runnable when, and what a failure stops.

use serde_json::{Value, json};

use super::harness::{Executor, Harness, completed, failed, failed_for_now, name, object, step, workflow};
use crate::definition::{Retry, ms};
use crate::engine::{Begin, RecordOutcome};
use crate::event::IgnoreReason;
use crate::run::{FailureKind, RunStatus, StepStatus};
use crate::workflow::Workflow;

/// root → left, right → join
fn diamond() -> Workflow {
    workflow()
        .step(step("root"))
        .step(step("left").after(["root"]).retry(Retry::fixed(2, ms(1))))
        .step(step("right").after(["root"]))
        .step(step("join").after(["left", "right"]))
        .build()
        .unwrap()
}

fn forked() -> Harness {
    let mut harness = Harness::start(&diamond());
    harness.complete("root", json!({}));
    harness
}

#[test]
fn a_step_is_dispatched_when_the_last_of_its_dependencies_has_completed() {
    for order in [["left", "right"], ["right", "left"]] {
        let mut harness = forked();
        assert_eq!(harness.outstanding(), ["left", "right"]);
        assert!(harness.complete(order[0], json!({})).dispatched().is_empty());
        assert_eq!(harness.step_status("join"), None);
        assert_eq!(harness.complete(order[1], json!({})).dispatched(), ["join"]);
        harness.complete("join", json!({}));
        assert_eq!(harness.status(), RunStatus::Completed);
    }
}

#[test]
fn outputs_are_merged_in_the_order_of_declaration() {
    for order in [["left", "right"], ["right", "left"]] {
        let mut harness = Harness::start_with(&diamond(), object(json!({"by": "payload", "kept": true})));
        harness.complete("root", json!({"by": "root"}));
        for side in order {
            harness.complete(side, json!({ "by": side }));
        }
        assert_eq!(*harness.input("join"), object(json!({"by": "right", "kept": true})), "{order:?}");
        assert_eq!(harness.state.context(&harness.definition), object(json!({"by": "right"})));
    }
}

#[test]
fn a_step_sees_only_what_it_depends_on() {
    let workflow =
        workflow().step(step("mine")).step(step("other")).step(step("after_mine").after(["mine"])).build().unwrap();
    let mut harness = Harness::start(&workflow);
    harness.complete("other", json!({"other": 1}));
    harness.complete("mine", json!({"mine": 1}));
    assert_eq!(
        *harness.input("after_mine"),
        object(json!({"mine": 1})),
        "the same regardless of what else has finished"
    );
}

#[test]
fn a_retrying_sibling_does_not_stop_the_others() {
    let mut harness = forked();
    let left = harness.begin("left").task();
    harness.record(&left, failed_for_now());
    assert_eq!(harness.status(), RunStatus::Retrying);
    harness.complete("right", json!({}));
    assert_eq!(harness.outstanding(), ["left"]);
    harness.complete("left", json!({}));
    assert_eq!(harness.outstanding(), ["join"]);
    harness.complete("join", json!({}));
    assert_eq!(harness.status(), RunStatus::Completed);
}

#[test]
fn a_sibling_that_completes_while_another_waits_to_retry_leaves_the_run_able_to_complete() {
    let two = workflow().step(step("a").retry(Retry::fixed(3, ms(1)))).step(step("b")).parallel().build().unwrap();
    let mut harness = Harness::start(&two);
    let (a, b) = (harness.begin("a").task(), harness.begin("b").task());
    harness.record(&a, failed_for_now());
    harness.record(&b, completed(json!({})));
    assert_eq!(harness.status(), RunStatus::Retrying);
    harness.complete("a", json!({}));
    assert_eq!(harness.status(), RunStatus::Completed);
}

#[test]
fn a_terminal_failure_fails_the_run_and_what_has_not_begun_never_will() {
    let mut harness = forked();
    let decided = harness.fail("right");
    assert_eq!(harness.status(), RunStatus::Failed);
    assert_eq!(harness.state.run.last_error.as_ref().unwrap().step, Some(name("right")));
    assert_eq!(harness.step_status("left"), Some(StepStatus::Cancelled));
    assert!(harness.intents.is_empty());
    assert_eq!(decided.events(), ["step.failed", "run.transition"]);
    assert!(matches!(harness.begin("left").value, Begin::Skip(IgnoreReason::RunEnded)));
}

#[test]
fn a_sibling_that_finishes_after_the_run_failed_keeps_its_output_and_starts_no_join() {
    for outcome in [completed(json!({"late": 1})), failed(), failed_for_now(), crate::engine::Outcome::Interrupted] {
        let mut harness = forked();
        let left = harness.begin("left").task();
        harness.fail("right");
        assert_eq!(harness.outstanding(), ["left"], "what runs is awaited");
        let decided = harness.record(&left, outcome.clone());
        assert_eq!(decided.value, RecordOutcome::Recorded { next: None });
        assert_eq!(harness.status(), RunStatus::Failed);
        assert_eq!(harness.step_status("join"), None);
        assert!(harness.intents.is_empty());
        let is_done = matches!(outcome, crate::engine::Outcome::Completed { .. });
        assert_eq!(harness.step("left").output.is_some(), is_done);
    }
}

#[test]
fn a_dead_sibling_of_a_failed_run_is_closed_and_not_tried_again() {
    let mut harness = forked();
    harness.begin("left");
    harness.fail("right");
    let decided = harness.begin("left");
    assert!(matches!(decided.value, Begin::Skip(IgnoreReason::RunEnded)));
    assert_eq!(harness.step_status("left"), Some(StepStatus::Failed));
    assert_eq!(harness.step("left").last_error.as_ref().unwrap().kind, FailureKind::STALE_RUNNING_STEP);
    assert!(harness.intents.is_empty());
}

#[test]
fn a_second_failure_does_not_replace_the_first() {
    let mut harness = forked();
    let left = harness.begin("left").task();
    harness.fail("right");
    harness.record(&left, failed());
    assert_eq!(harness.state.run.last_error.as_ref().unwrap().step, Some(name("right")));
}

#[test]
fn a_refused_join_fails_the_run_and_keeps_what_was_done() {
    let mut harness = forked();
    harness.complete("left", json!({}));
    let right = harness.begin("right").task();
    harness.executor = Executor::RefusesForGood;
    harness.record(&right, completed(json!({"kept": 1})));
    let error = harness.state.run.last_error.as_ref().unwrap();
    assert_eq!((error.kind.clone(), &error.step), (FailureKind::SUCCESSOR_REFUSED, &Some(name("join"))));
    assert_eq!(harness.step_status("right"), Some(StepStatus::Completed));
}

#[test]
fn an_invalid_output_fails_the_run_like_any_terminal_failure() {
    let mut harness = forked();
    harness.complete("left", Value::from(3));
    assert_eq!(harness.status(), RunStatus::Failed);
    assert_eq!(harness.step_status("right"), Some(StepStatus::Cancelled));
}

#[test]
fn a_fan_of_a_thousand_joins_once() {
    let names: Vec<String> = (0..1_000).map(|number| format!("leaf-{number}")).collect();
    let fan =
        names.iter().fold(workflow().step(step("root")), |builder, name| builder.step(step(name).after(["root"])));
    let mut harness = Harness::start(&fan.step(step("join").after(&names)).build().unwrap());
    assert_eq!(harness.complete("root", json!({})).dispatched(), names, "in the order of declaration");
    for (place, leaf) in names.iter().enumerate() {
        let dispatched = harness.complete(leaf, json!({})).dispatched();
        assert_eq!(!dispatched.is_empty(), place == 999, "{leaf}");
    }
    harness.complete("join", json!({}));
    assert_eq!(harness.status(), RunStatus::Completed);
}
