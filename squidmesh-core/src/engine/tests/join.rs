//! Dependency workflows: what becomes runnable when, and what a failure stops.

use serde_json::{Value, json};

use super::rig::{Executor, Rig, completed, failed, failed_for_now, name, object, step, workflow};
use crate::engine::{Begin, Recorded};
use crate::{Failure, Retry, RunStatus, SkipReason, StepStatus, Workflow, ms};

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

fn forked() -> Rig {
    let mut rig = Rig::start(&diamond());
    rig.complete("root", json!({}));
    rig
}

#[test]
fn a_step_is_dispatched_when_the_last_of_its_dependencies_has_completed() {
    for order in [["left", "right"], ["right", "left"]] {
        let mut rig = forked();
        assert_eq!(rig.outstanding(), ["left", "right"]);
        assert!(rig.complete(order[0], json!({})).dispatched().is_empty());
        assert_eq!(rig.step_status("join"), None);
        assert_eq!(rig.complete(order[1], json!({})).dispatched(), ["join"]);
        rig.complete("join", json!({}));
        assert_eq!(rig.status(), RunStatus::Completed);
    }
}

#[test]
fn outputs_are_merged_in_the_order_of_declaration_whatever_finishes_first() {
    for order in [["left", "right"], ["right", "left"]] {
        let mut rig = Rig::start_with(&diamond(), object(json!({"by": "payload", "kept": true})));
        rig.complete("root", json!({"by": "root"}));
        for side in order {
            rig.complete(side, json!({ "by": side }));
        }
        assert_eq!(*rig.step("join").input, object(json!({"by": "right", "kept": true})), "{order:?}");
        assert_eq!(rig.state.context(&rig.definition), object(json!({"by": "right"})));
    }
}

#[test]
fn a_step_sees_only_what_it_depends_on() {
    let workflow =
        workflow().step(step("mine")).step(step("other")).step(step("after_mine").after(["mine"])).build().unwrap();
    let mut rig = Rig::start(&workflow);
    rig.complete("other", json!({"other": 1}));
    rig.complete("mine", json!({"mine": 1}));
    assert_eq!(*rig.step("after_mine").input, object(json!({"mine": 1})), "the same whatever else has finished");
}

#[test]
fn a_retrying_sibling_does_not_stop_the_others() {
    let mut rig = forked();
    let left = rig.begin("left").task();
    rig.record(&left, failed_for_now());
    assert_eq!(rig.status(), RunStatus::Retrying);
    rig.complete("right", json!({}));
    assert_eq!(rig.outstanding(), ["left"]);
    rig.complete("left", json!({}));
    assert_eq!(rig.outstanding(), ["join"]);
    rig.complete("join", json!({}));
    assert_eq!(rig.status(), RunStatus::Completed);
}

#[test]
fn a_sibling_that_completes_while_another_waits_to_retry_leaves_the_run_able_to_complete() {
    let two = workflow().step(step("a").retry(Retry::fixed(3, ms(1)))).step(step("b")).build().unwrap();
    let mut rig = Rig::start(&two);
    let (a, b) = (rig.begin("a").task(), rig.begin("b").task());
    rig.record(&a, failed_for_now());
    rig.record(&b, completed(json!({})));
    assert_eq!(rig.status(), RunStatus::Retrying);
    rig.complete("a", json!({}));
    assert_eq!(rig.status(), RunStatus::Completed);
}

#[test]
fn a_terminal_failure_fails_the_run_and_what_has_not_begun_never_will() {
    let mut rig = forked();
    let told = rig.fail("right");
    assert_eq!(rig.status(), RunStatus::Failed);
    assert_eq!(rig.state.run.last_error.as_ref().unwrap().step, Some(name("right")));
    assert_eq!(rig.step_status("left"), Some(StepStatus::Cancelled));
    assert!(rig.intents.is_empty());
    assert_eq!(told.events(), ["step.failed", "run.transition"]);
    assert!(matches!(rig.begin("left").value, Begin::Skip(SkipReason::RunEnded)));
}

#[test]
fn a_sibling_that_finishes_after_the_run_failed_keeps_its_output_and_starts_no_join() {
    for outcome in [completed(json!({"late": 1})), failed(), failed_for_now(), crate::engine::Outcome::Interrupted] {
        let mut rig = forked();
        let left = rig.begin("left").task();
        rig.fail("right");
        assert_eq!(rig.outstanding(), ["left"], "what runs is awaited");
        let told = rig.record(&left, outcome.clone());
        assert_eq!(told.value, Recorded::Recorded { next: None });
        assert_eq!(rig.status(), RunStatus::Failed);
        assert_eq!(rig.step_status("join"), None);
        assert!(rig.intents.is_empty());
        let is_done = matches!(outcome, crate::engine::Outcome::Completed { .. });
        assert_eq!(rig.step("left").output.is_some(), is_done);
    }
}

#[test]
fn a_dead_sibling_of_a_failed_run_is_closed_and_not_tried_again() {
    let mut rig = forked();
    rig.begin("left");
    rig.fail("right");
    let told = rig.begin("left");
    assert!(matches!(told.value, Begin::Skip(SkipReason::RunEnded)));
    assert_eq!(rig.step_status("left"), Some(StepStatus::Failed));
    assert_eq!(rig.step("left").last_error.as_ref().unwrap().kind, Failure::STALE_RUNNING_STEP);
    assert!(rig.intents.is_empty());
}

#[test]
fn a_second_failure_does_not_replace_the_first() {
    let mut rig = forked();
    let left = rig.begin("left").task();
    rig.fail("right");
    rig.record(&left, failed());
    assert_eq!(rig.state.run.last_error.as_ref().unwrap().step, Some(name("right")));
}

#[test]
fn a_refused_join_fails_the_run_and_keeps_what_was_done() {
    let mut rig = forked();
    rig.complete("left", json!({}));
    let right = rig.begin("right").task();
    rig.executor = Executor::RefusesForGood;
    rig.record(&right, completed(json!({"kept": 1})));
    let error = rig.state.run.last_error.as_ref().unwrap();
    assert_eq!((error.kind.as_str(), &error.step), (Failure::SUCCESSOR_REFUSED, &Some(name("join"))));
    assert_eq!(rig.step_status("right"), Some(StepStatus::Completed));
}

#[test]
fn an_invalid_output_fails_the_run_like_any_terminal_failure() {
    let mut rig = forked();
    rig.complete("left", Value::from(3));
    assert_eq!(rig.status(), RunStatus::Failed);
    assert_eq!(rig.step_status("right"), Some(StepStatus::Cancelled));
}

#[test]
fn a_fan_of_a_thousand_joins_once() {
    let names: Vec<String> = (0..1_000).map(|number| format!("leaf-{number}")).collect();
    let fan =
        names.iter().fold(workflow().step(step("root")), |builder, name| builder.step(step(name).after(["root"])));
    let mut rig = Rig::start(&fan.step(step("join").after(&names)).build().unwrap());
    assert_eq!(rig.complete("root", json!({})).dispatched(), names, "in the order of declaration");
    for (place, leaf) in names.iter().enumerate() {
        let dispatched = rig.complete(leaf, json!({})).dispatched();
        assert_eq!(!dispatched.is_empty(), place == 999, "{leaf}");
    }
    rig.complete("join", json!({}));
    assert_eq!(rig.status(), RunStatus::Completed);
}
