//! Beginning a delivered step: every reason to do nothing, and the steps of dead workers.

use serde_json::json;

use super::rig::{Rig, chain, completed, failed_for_now, name, step, workflow};
use crate::engine::Begin;
use crate::{AttemptStatus, Failure, Retry, RunStatus, SkipReason, Step, StepStatus, Workflow, ms, secs, wait};

fn two() -> Workflow {
    chain(["first", "second"]).build().unwrap()
}

fn skipped(begin: &Begin) -> SkipReason {
    match begin {
        Begin::Skip(reason) => *reason,
        other => panic!("not skipped: {other:?}"),
    }
}

#[test]
fn the_first_step_makes_the_run_running_and_opens_an_attempt() {
    let mut rig = Rig::start(&two());
    let told = rig.begin("first");
    assert_eq!(told.events(), ["run.transition", "step.started"]);
    assert_eq!(rig.status(), RunStatus::Running);
    assert_eq!(rig.tries("first"), [(1, AttemptStatus::Running)]);
    assert!(rig.intent("first").is_some(), "the intent stays until the outcome is recorded");
    assert_eq!(told.decision.commit.fences, [told.task().lease]);
}

#[test]
fn a_delivery_to_an_ended_run_is_a_no_op() {
    for status in [RunStatus::Failed, RunStatus::Completed, RunStatus::Cancelled] {
        let mut rig = Rig::start(&two());
        rig.state.run.status = status;
        let told = rig.begin("first");
        assert_eq!(skipped(&told.value), SkipReason::RunEnded, "{status}");
        assert!(rig.attempts.is_empty() && rig.intents.is_empty(), "{status}");
        assert_eq!(rig.status(), status);
    }
}

#[test]
fn a_delivery_to_a_paused_run_is_a_no_op() {
    let mut rig = Rig::start(&two());
    rig.state.run.status = RunStatus::Paused;
    assert_eq!(skipped(&rig.begin("first").value), SkipReason::RunPaused);
    assert_eq!(rig.status(), RunStatus::Paused);
}

#[test]
fn a_delivery_to_a_cancelling_run_ends_it() {
    let mut rig = Rig::start(&two());
    rig.state.run.status = RunStatus::Cancelling;
    assert_eq!(skipped(&rig.begin("first").value), SkipReason::RunCancelled);
    assert_eq!(rig.status(), RunStatus::Cancelled);
    assert!(rig.attempts.is_empty(), "nothing was started");
}

#[test]
fn a_step_whose_turn_it_is_not_is_a_no_op() {
    let mut rig = Rig::start(&two());
    let told = rig.begin("second");
    assert_eq!(skipped(&told.value), SkipReason::NotCurrent);
    assert_eq!(rig.step_status("second"), None);
    assert_eq!(rig.outstanding(), ["first"]);
}

#[test]
fn an_unknown_step_is_left_for_another_version() {
    let mut rig = Rig::start(&two());
    let told = rig.begin("nowhere");
    assert_eq!(skipped(&told.value), SkipReason::UnknownStep);
    assert!(rig.intent("nowhere").unwrap().delay > ms(0), "it is delivered again, later");
}

#[test]
fn a_late_delivery_of_a_finished_step_is_a_no_op() {
    let mut rig = Rig::start(&two());
    rig.complete("first", json!({}));
    let before = rig.state.steps.clone();
    assert_eq!(skipped(&rig.begin("first").value), SkipReason::NotCurrent);
    assert_eq!(rig.state.steps, before);
    assert_eq!(rig.outstanding(), ["second"]);
}

#[test]
fn a_completed_current_step_found_again_drives_the_run_on_without_running_twice() {
    let mut rig = Rig::start(&two());
    let task = rig.begin("first").task();
    // Only half of what belongs together was kept, as another writer might leave it.
    let mut state = rig.state.clone();
    rig.record(&task, completed(json!({"kept": true})));
    state.steps.insert(name("first"), rig.step("first").clone());
    state.run.revision = rig.state.run.revision;
    rig.state = state;
    rig.intents.clear();
    let told = rig.begin("first");
    assert_eq!(skipped(&told.value), SkipReason::AlreadyCompleted);
    assert_eq!(told.dispatched(), ["second"]);
    assert_eq!(rig.state.run.current_step, Some(name("second")));
    assert_eq!(rig.tries("first").len(), 1, "it is not run twice");
    assert_eq!(rig.step("second").input.get("kept"), Some(&json!(true)), "its recorded output counts");
}

#[test]
fn a_completed_join_found_again_does_not_dispatch_its_successor_twice() {
    let diamond = workflow().step(step("a")).step(step("b")).step(step("join").after(["a", "b"])).build().unwrap();
    let mut rig = Rig::start(&diamond);
    rig.complete("a", json!({}));
    rig.complete("b", json!({}));
    let told = rig.begin("b");
    assert_eq!(skipped(&told.value), SkipReason::AlreadyCompleted);
    assert!(told.dispatched().is_empty());
}

#[test]
fn a_dead_workers_attempt_is_closed_and_counts() {
    let mut rig = Rig::start(&two());
    rig.begin("first");
    rig.pass(secs(30));
    let told = rig.begin("first");
    assert_eq!(told.events(), ["step.failed", "step.started"]);
    assert_eq!(told.task().attempt, 2);
    assert_eq!(rig.tries("first"), [(1, AttemptStatus::Failed), (2, AttemptStatus::Running)]);
    let first = &rig.attempts[&(name("first"), 1)];
    assert_eq!(first.error.as_ref().unwrap().kind, Failure::STALE_RUNNING_STEP);
    assert_eq!((rig.step("first").failures, rig.step("first").crashes), (1, 1));
}

#[test]
fn a_dead_worker_uses_up_the_only_attempt_of_a_step_that_is_never_retried() {
    let once = workflow().step(step("first").retry(Retry::never())).then("first", crate::COMPLETE).build().unwrap();
    let mut rig = Rig::start(&once);
    rig.begin("first");
    let told = rig.begin("first");
    assert_eq!(told.value, Begin::Advanced);
    assert_eq!(rig.status(), RunStatus::Failed);
    assert_eq!(rig.state.run.last_error.as_ref().unwrap().kind, Failure::STALE_RUNNING_STEP);
    assert!(rig.intents.is_empty());
}

#[test]
fn a_step_that_takes_its_worker_down_three_times_in_a_row_is_poison() {
    let patient = workflow().step(step("first").retry(Retry::fixed(100, ms(1)))).then("first", crate::COMPLETE);
    let mut rig = Rig::start(&patient.build().unwrap());
    for attempt in 1..=3 {
        assert_eq!(rig.begin("first").task().attempt, attempt);
    }
    assert_eq!(rig.begin("first").value, Begin::Advanced);
    assert_eq!(rig.status(), RunStatus::Failed);
    assert_eq!(rig.state.run.last_error.as_ref().unwrap().kind, Failure::POISON_STEP);
    assert_eq!(rig.tries("first").len(), 3);
}

#[test]
fn a_failure_between_two_crashes_breaks_the_row() {
    let patient = workflow().step(step("first").retry(Retry::fixed(100, ms(1)))).then("first", crate::COMPLETE);
    let mut rig = Rig::start(&patient.build().unwrap());
    rig.begin("first");
    rig.begin("first");
    let task = rig.begin("first").task();
    rig.record(&task, failed_for_now());
    assert_eq!(rig.step("first").crashes, 0);
    rig.begin("first");
    assert_eq!(rig.begin("first").task().attempt, 5, "one crash since: the step goes on");
}

#[test]
fn a_poison_step_follows_its_error_transition() {
    let routed = workflow()
        .step(step("first"))
        .step(step("rescue"))
        .then("first", crate::COMPLETE)
        .on_error("first", "rescue")
        .then("rescue", crate::COMPLETE)
        .build()
        .unwrap();
    let mut rig = Rig::start(&routed);
    for _ in 0..4 {
        rig.begin("first");
    }
    assert_eq!(rig.state.run.current_step, Some(name("rescue")));
    assert_eq!(rig.outstanding(), ["rescue"]);
}

#[test]
fn a_begin_whose_answer_was_lost_is_found_again_under_its_own_claim() {
    let mut rig = Rig::start(&two());
    let lease = rig.lease("first");
    let task = rig.begin_under(&lease).task();
    let again = rig.begin_under(&lease);
    assert_eq!(again.task(), task);
    assert_eq!(rig.tries("first"), [(1, AttemptStatus::Running)]);
}

#[test]
fn a_wait_that_is_over_completes_at_once() {
    let workflow = workflow()
        .step(Step::new("wait", wait(secs(5))))
        .step(step("after"))
        .then("wait", "after")
        .then("after", crate::COMPLETE)
        .build()
        .unwrap();
    let mut rig = Rig::start(&workflow);
    rig.pass(secs(5));
    let told = rig.begin("wait");
    assert_eq!(told.value, Begin::Advanced);
    assert_eq!(told.dispatched(), ["after"]);
    assert_eq!(rig.tries("wait"), [(1, AttemptStatus::Completed)]);
    assert_eq!(rig.step_status("wait"), Some(StepStatus::Completed));
    assert_eq!(rig.outstanding(), ["after"]);
}
