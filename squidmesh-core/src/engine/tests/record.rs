//! Recording the outcome of an attempt.

use serde_json::{Value, json};

use super::harness::{
    Decided, Executor, Harness, chain, completed, failed, failed_for_now, name, object, step, workflow,
};
use crate::definition::{Field, RecoveryRoute, Retry, ms, secs};
use crate::engine::{Outcome, RecordOutcome};
use crate::event::EventKind;
use crate::json::JsonLimits;
use crate::port::IntentWrite;
use crate::run::{AttemptStatus, AuditKind, Failure, FailureKind, RunStatus, StepStatus};
use crate::workflow::{COMPLETE, FAIL, Step, Trigger, Workflow, wait};

fn two() -> Workflow {
    chain(["first", "second"]).build().unwrap()
}

fn retried(retry: Retry) -> Workflow {
    workflow().step(step("first").retry(retry)).then("first", COMPLETE).build().unwrap()
}

fn last_error(harness: &Harness) -> &Failure {
    harness.state.run.last_error.as_ref().expect("the run failed with an error")
}

fn delay(decided: &Decided<RecordOutcome>) -> std::time::Duration {
    let delays: Vec<_> = decided
        .decision
        .commit
        .intents
        .iter()
        .filter_map(|write| match write {
            IntentWrite::Replace(intent) => Some(intent.delay),
            _ => None,
        })
        .collect();
    assert_eq!(delays.len(), 1, "the intent is put off, once");
    delays[0]
}

#[test]
fn an_outcome_and_the_successors_dispatch_are_one_commit() {
    let mut harness = Harness::start(&two());
    let task = harness.begin("first").task();
    harness.pass(ms(40));
    let decided = harness.record(&task, completed(json!({"shelf": 3})));
    assert_eq!(decided.events(), ["step.completed", "run.dispatched"]);
    assert_eq!(decided.decision.commit.steps.len(), 2);
    assert!(decided.decision.commit.attempts.is_empty(), "the step run holds the attempt that completed it");
    assert_eq!(decided.decision.commit.fences, std::slice::from_ref(&task.lease));
    assert!(
        matches!(&decided.decision.events[0].kind, EventKind::StepCompleted { duration, attempt: 1, .. } if *duration == ms(40))
    );
    assert_eq!(harness.outstanding(), ["second"]);
    assert_eq!(harness.input("second").get("shelf"), Some(&json!(3)));
}

#[test]
fn the_last_step_completes_the_run() {
    let mut harness = Harness::start(&chain(["only"]).build().unwrap());
    let decided = harness.complete("only", json!({}));
    assert_eq!(decided.events(), ["step.completed", "run.transition"]);
    assert_eq!(harness.status(), RunStatus::Completed);
    assert_eq!((harness.state.run.current_step.clone(), harness.state.run.finished_at), (None, Some(harness.now)));
    assert!(harness.intents.is_empty());
}

#[test]
fn an_outcome_under_another_claim_is_superseded() {
    let mut harness = Harness::start(&two());
    let lost = harness.begin("first").task();
    let held = harness.begin("first").task();
    let decided = harness.record(&lost, completed(json!({})));
    assert_eq!(decided.value, RecordOutcome::Superseded);
    assert_eq!(harness.step_status("first"), Some(StepStatus::Running));
    harness.record(&held, completed(json!({})));
    assert_eq!(
        harness.record(&held, completed(json!({}))).value,
        RecordOutcome::Superseded,
        "an outcome is recorded once"
    );
}

#[test]
fn retryable_failures_double_the_delay_until_the_attempts_are_used_up() {
    let mut harness = Harness::start(&retried(Retry::exponential(4, ms(200)..ms(500))));
    for expected in [ms(200), ms(400), ms(500)] {
        let task = harness.begin("first").task();
        let decided = harness.record(&task, failed_for_now());
        assert_eq!(decided.events()[..2], ["step.failed", "step.retry_scheduled"]);
        assert_eq!(delay(&decided), expected);
        assert_eq!((harness.status(), harness.step_status("first")), (RunStatus::Retrying, Some(StepStatus::Pending)));
    }
    let task = harness.begin("first").task();
    assert_eq!(harness.status(), RunStatus::Running, "a retry that begins makes the run running again");
    let decided = harness.record(&task, failed_for_now());
    assert_eq!(decided.events(), ["step.failed", "run.transition"]);
    assert_eq!(harness.status(), RunStatus::Failed);
    assert_eq!(last_error(&harness).kind, "busy");
    assert_eq!(last_error(&harness).step, Some(name("first")));
    assert_eq!(harness.tries("first").len(), 4);
    assert!(harness.intents.is_empty());
}

#[test]
fn the_errors_own_delay_goes_before_the_backoff() {
    let mut harness = Harness::start(&retried(Retry::fixed(3, ms(100))));
    let task = harness.begin("first").task();
    let failure = Failure::new("busy", "later");
    let decided = harness.record(&task, Outcome::Failed { failure, retryable: true, retry_after: Some(secs(7)) });
    assert_eq!(delay(&decided), secs(7));
}

#[test]
fn jitter_takes_the_random_number_it_is_given() {
    let mut harness = Harness::start(&retried(Retry::fixed(3, secs(4)).jitter(true)));
    let task = harness.begin("first").task();
    assert_eq!(
        delay(&harness.record(&task, failed_for_now())),
        secs(3),
        "0.5 is half-way between the half and the whole"
    );
}

#[test]
fn a_terminal_failure_is_not_tried_again() {
    let mut harness = Harness::start(&retried(Retry::fixed(9, ms(1))));
    harness.fail("first");
    assert_eq!(harness.status(), RunStatus::Failed);
    assert_eq!(harness.tries("first"), [(1, AttemptStatus::Failed)]);
}

#[test]
fn every_attempt_is_given_the_same_input() {
    let mut harness = Harness::start_with(&retried(Retry::fixed(3, ms(1))), object(json!({"order": 7})));
    let first = harness.begin("first").task();
    harness.record(&first, failed_for_now());
    let second = harness.begin("first").task();
    assert_eq!((second.attempt, &second.input), (2, &first.input));
}

#[test]
fn an_error_transition_is_followed_and_its_marker_recorded() {
    for (route, kind, event) in [
        (RecoveryRoute::Compensation, AuditKind::CompensationRouted, "run.compensation_routed"),
        (RecoveryRoute::Undo, AuditKind::UndoRouted, "run.undo_routed"),
    ] {
        let routed = workflow()
            .step(step("first"))
            .step(step("rescue"))
            .then("first", COMPLETE)
            .on_error("first", "rescue")
            .recovery(route)
            .then("rescue", COMPLETE)
            .build()
            .unwrap();
        let mut harness = Harness::start(&routed);
        let decided = harness.fail("first");
        assert_eq!(decided.events(), ["step.failed", event, "run.dispatched"]);
        assert_eq!(harness.step("first").routes, [route]);
        assert!(matches!(&harness.audit[..], [entry] if entry.kind == kind && entry.step == Some(name("first"))));
        assert_eq!((harness.status(), harness.outstanding()), (RunStatus::Running, vec!["rescue".to_owned()]));
        harness.complete("rescue", json!({}));
        assert_eq!(harness.status(), RunStatus::Completed);
    }
}

#[test]
fn an_error_transition_without_a_marker_leaves_no_audit() {
    let routed = workflow().step(step("first")).then("first", COMPLETE).on_error("first", COMPLETE).build().unwrap();
    let mut harness = Harness::start(&routed);
    harness.fail("first");
    assert_eq!(harness.status(), RunStatus::Completed);
    assert!(harness.audit.is_empty() && harness.step("first").routes.is_empty());
    assert_eq!(harness.step_status("first"), Some(StepStatus::Failed));
}

#[test]
fn retries_come_before_the_error_transition() {
    let routed = workflow()
        .step(step("first").retry(Retry::fixed(2, ms(1))))
        .step(step("rescue"))
        .then("first", COMPLETE)
        .on_error("first", "rescue")
        .then("rescue", COMPLETE)
        .build()
        .unwrap();
    let mut harness = Harness::start(&routed);
    let task = harness.begin("first").task();
    harness.record(&task, failed_for_now());
    assert_eq!(harness.outstanding(), ["first"]);
    let task = harness.begin("first").task();
    harness.record(&task, failed_for_now());
    assert_eq!(harness.outstanding(), ["rescue"]);
}

#[test]
fn an_output_that_is_no_object_needs_a_key() {
    for value in [json!(7), json!("text"), json!([1]), json!(true)] {
        let mut harness = Harness::start(&two());
        harness.complete("first", value.clone());
        assert_eq!(harness.status(), RunStatus::Failed, "{value}");
        assert_eq!(last_error(&harness).kind, FailureKind::INVALID_OUTPUT);

        let keyed = workflow().step(step("first").output("kept")).then("first", COMPLETE).build().unwrap();
        let mut harness = Harness::start(&keyed);
        harness.complete("first", value.clone());
        assert_eq!(harness.status(), RunStatus::Completed, "{value}");
        assert_eq!(harness.step("first").output.as_deref(), Some(&object(json!({ "kept": value }))));
    }
}

#[test]
fn nothing_at_all_is_an_empty_output() {
    let mut harness = Harness::start(&two());
    harness.complete("first", Value::Null);
    assert_eq!(harness.step("first").output.as_deref(), Some(&object(json!({}))));
}

#[test]
fn an_output_beyond_the_limits_fails_the_step_terminally() {
    let mut harness = Harness::start(&retried(Retry::fixed(5, ms(1))));
    harness.limits.json = JsonLimits { max_bytes: 40, max_depth: 3 };
    harness.complete("first", json!({"text": "x".repeat(100)}));
    assert_eq!(harness.status(), RunStatus::Failed);
    assert_eq!(last_error(&harness).kind, FailureKind::INVALID_OUTPUT);
    assert_eq!(harness.tries("first"), [(1, AttemptStatus::Failed)]);

    let mut harness = Harness::start(&two());
    harness.complete("first", json!({"nul": "\0"}));
    assert_eq!(last_error(&harness).kind, FailureKind::INVALID_OUTPUT);
}

#[test]
fn a_failure_beyond_the_limits_is_cut_and_recorded_all_the_same() {
    let mut harness = Harness::start(&two());
    harness.limits.json = JsonLimits { max_bytes: 1_000, max_depth: 3 };
    let task = harness.begin("first").task();
    let mut failure = Failure::new("big\0kind", "m\0".repeat(5_000));
    failure.details = Some(json!({"a": {"b": {"c": {"d": 1}}}}));
    failure.chain = vec!["cause".repeat(1_000); 100];
    harness.record(&task, Outcome::Failed { failure, retryable: false, retry_after: None });
    let error = last_error(&harness);
    assert!(!error.kind.as_str().contains('\0') && !error.message.contains('\0'));
    assert!(error.message.len() <= 1_000 && error.chain.len() <= 32);
    assert!(error.chain.iter().all(|cause| cause.len() <= 1_000));
    assert!(matches!(&error.details, Some(Value::String(_))), "what cannot be kept is replaced by the reason");
    assert_eq!(harness.status(), RunStatus::Failed);
}

#[test]
fn a_step_may_put_its_successor_off() {
    let mut harness = Harness::start(&two());
    let task = harness.begin("first").task();
    let decided =
        harness.record(&task, Outcome::Completed { value: Value::Null, schedule_in: Some(secs(90)), route: None });
    assert_eq!(harness.intent("second").unwrap().delay, secs(90));
    assert!(matches!(&decided.decision.events[1].kind,
        EventKind::RunDispatched { metadata } if metadata.schedule_in == Some(secs(90))));
}

#[test]
fn a_delay_before_a_wait_adds_to_it() {
    let waiting = workflow()
        .step(step("first"))
        .step(Step::new("wait", wait(secs(60))))
        .then("first", "wait")
        .then("wait", COMPLETE)
        .build()
        .unwrap();
    let mut harness = Harness::start(&waiting);
    let task = harness.begin("first").task();
    harness.record(&task, Outcome::Completed { value: Value::Null, schedule_in: Some(secs(5)), route: None });
    assert_eq!(harness.intent("wait").unwrap().delay, secs(65));
}

#[test]
fn an_interrupted_attempt_does_not_count_and_is_due_at_once() {
    let mut harness = Harness::start(&retried(Retry::never()));
    for attempt in 1..=5 {
        let task = harness.begin("first").task();
        assert_eq!(task.attempt, attempt);
        let decided = harness.record(&task, Outcome::Interrupted);
        assert_eq!(delay(&decided), ms(0));
        assert_eq!((harness.status(), harness.step_status("first")), (RunStatus::Running, Some(StepStatus::Pending)));
    }
    assert_eq!((harness.step("first").failures, harness.step("first").crashes), (0, 0));
    harness.complete("first", json!({}));
    assert_eq!(harness.status(), RunStatus::Completed);
    assert_eq!(harness.tries("first").last(), Some(&(6, AttemptStatus::Completed)));
}

#[test]
fn a_refused_successor_fails_the_run_and_keeps_the_output() {
    let mut harness = Harness::start(&two());
    let task = harness.begin("first").task();
    harness.executor = Executor::RefusesForGood;
    let decided = harness.record(&task, completed(json!({"kept": 1})));
    assert_eq!(decided.events(), ["step.completed", "run.transition"]);
    assert_eq!(harness.step_status("first"), Some(StepStatus::Completed));
    assert_eq!(harness.step("first").output.as_deref(), Some(&object(json!({"kept": 1}))));
    assert_eq!(harness.status(), RunStatus::Failed);
    let error = last_error(&harness);
    assert_eq!((error.kind.clone(), &error.step), (FailureKind::SUCCESSOR_REFUSED, &Some(name("second"))));
    assert!(error.message.contains("no such queue"), "the cause is named: {}", error.message);
    assert!(harness.intents.is_empty() && harness.step_status("second").is_none());
}

#[test]
fn an_executor_that_is_down_never_fails_a_run() {
    for executor in [Executor::IsDown, Executor::AnswersForTooFew] {
        let mut harness = Harness::start(&two());
        let task = harness.begin("first").task();
        harness.executor = executor;
        let decided = harness.record(&task, completed(json!({})));
        assert_eq!(
            (harness.status(), harness.outstanding()),
            (RunStatus::Running, vec!["second".to_owned()]),
            "{executor:?}"
        );
        assert_eq!(decided.dispatched(), ["second"]);
    }
}

#[test]
fn a_step_that_leads_to_failure_stays_completed_and_the_run_fails() {
    let mut harness = Harness::start(&workflow().step(step("first")).then("first", FAIL).build().unwrap());
    let decided = harness.complete("first", json!({"kept": 1}));
    assert_eq!(harness.status(), RunStatus::Failed);
    let error = last_error(&harness);
    assert_eq!((error.kind.clone(), &error.step), (FailureKind::FAILED, &Some(name("first"))));
    assert_eq!(harness.step_status("first"), Some(StepStatus::Completed));
    assert!(harness.step("first").output.is_some());
    assert_eq!(decided.dispatched(), [""; 0]);
}

#[test]
fn a_path_that_ends_in_failure_fails_with_what_led_onto_it() {
    let definition = workflow()
        .step(step("charge"))
        .step(step("notify"))
        .then("charge", COMPLETE)
        .on_error("charge", "notify")
        .then("notify", FAIL)
        .build()
        .unwrap();
    let mut harness = Harness::start(&definition);
    let task = harness.begin("charge").task();
    harness.record(&task, failed());
    let failure = harness.step("charge").last_error.clone().unwrap();
    harness.complete("notify", json!({}));
    assert_eq!(harness.status(), RunStatus::Failed);
    let error = last_error(&harness);
    assert_eq!((&error.kind, &error.message), (&failure.kind, &failure.message));
    assert_eq!(error.step, Some(name("charge")));
}

#[test]
fn later_outputs_go_over_earlier_ones_and_both_over_the_payload() {
    let mut harness =
        Harness::start_with(&chain(["a", "b", "c"]).build().unwrap(), object(json!({"x": 0, "y": 0, "z": 0})));
    harness.complete("a", json!({"x": 1, "y": 1}));
    harness.complete("b", json!({"y": 2}));
    assert_eq!(*harness.input("c"), object(json!({"x": 1, "y": 2, "z": 0})));
}

#[test]
fn an_input_mapping_picks_keys_and_follows_paths() {
    let payload = Trigger::manual("order").field(Field::map("order")).field(Field::list("lines"));
    let mapped = workflow()
        .trigger(payload.field(Field::string("absent").optional()))
        .step(step("keys").input(["order", "absent"]))
        .step(step("paths").input_from([
            ("city", "order.to.city"),
            ("second", "lines.1.sku"),
            ("lost", "order.nowhere.x"),
        ]))
        .then("keys", "paths")
        .then("paths", COMPLETE)
        .build()
        .unwrap();
    let payload = json!({"order": {"to": {"city": "Oslo"}}, "lines": [{"sku": "a"}, {"sku": "b"}]});
    let mut harness = Harness::start_with(&mapped, object(payload.clone()));
    assert_eq!(*harness.input("keys"), object(json!({"order": payload["order"]})));
    harness.complete("keys", json!({}));
    let input = harness.input("paths");
    assert_eq!(input.get("city"), Some(&json!("Oslo")));
    assert_eq!(input.get("second"), Some(&json!("b")), "a number finds its place in a list");
    assert_eq!(input.get("lost"), None);
}

#[test]
fn the_handler_sees_everything_regardless_of_its_input() {
    let mapped = workflow().trigger(Trigger::manual("with").field(Field::integer("a")));
    let mapped = mapped.step(step("first").input(["a"])).then("first", COMPLETE).build().unwrap();
    let mut harness = Harness::start_with(&mapped, object(json!({"a": 1, "b": 2})));
    let task = harness.begin("first").task();
    assert_eq!(*task.input, object(json!({"a": 1})));
    assert_eq!(*task.visible, object(json!({"a": 1, "b": 2})));
}

#[test]
fn a_cancelling_run_keeps_the_output_and_dispatches_nothing() {
    let mut harness = Harness::start(&two());
    let task = harness.begin("first").task();
    harness.cancel().unwrap();
    let decided = harness.record(&task, completed(json!({"kept": 1})));
    assert_eq!(decided.events(), ["step.completed", "run.transition"]);
    assert_eq!(harness.status(), RunStatus::Cancelled);
    assert_eq!(harness.step("first").output.as_deref(), Some(&object(json!({"kept": 1}))));
    assert!(harness.intents.is_empty());
}

#[test]
fn a_failure_in_a_cancelling_run_is_not_tried_again() {
    for outcome in [failed_for_now(), failed(), Outcome::Interrupted] {
        let mut harness = Harness::start(&two());
        let task = harness.begin("first").task();
        harness.cancel().unwrap();
        harness.record(&task, outcome);
        assert_eq!(harness.status(), RunStatus::Cancelled);
        assert!(harness.intents.is_empty());
    }
}
