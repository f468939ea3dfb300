//! The way on from a step: conditions, routes, error kinds, and what is stored about the choice.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::harness::{Decided, Harness, chain, completed, failed, name, object, step, workflow};
use crate::definition::{Guard, Target, Transition, TransitionOutcome, hours, not, when};
use crate::engine::{ApprovalDecision, Attribution, Outcome, RecordOutcome, decide, unblock};
use crate::run::{AuditKind, Failure, FailureKind, RunStatus, StepStatus};
use crate::workflow::{COMPLETE, FAIL, Step, Trigger, Workflow, WorkflowBuilder, approval, pause};

/// Runs take any payload: conditions may ask for anything.
fn open() -> WorkflowBuilder {
    Workflow::builder("tested").trigger(Trigger::manual("manual").payload::<BTreeMap<String, Value>>())
}

/// `a` leads to `b`, `c` or `d`, each of which completes the run.
fn fork(ways: impl FnOnce(WorkflowBuilder) -> WorkflowBuilder) -> Workflow {
    let steps = ["a", "b", "c", "d"].into_iter().fold(open(), |builder, name| builder.step(step(name)));
    let steps = ["b", "c", "d"].into_iter().fold(steps, |builder, name| builder.then(name, COMPLETE));
    ways(steps).build().unwrap()
}

fn routed(value: Value, route: &str) -> Outcome {
    Outcome::Completed { value, schedule_in: None, route: Some(route.to_owned()) }
}

fn of_kind(kind: &str) -> Outcome {
    Outcome::Failed { failure: Failure::new(kind, "no"), retryable: false, retry_after: None }
}

fn end(harness: &mut Harness, step: &str, outcome: Outcome) -> Decided<RecordOutcome> {
    let task = harness.begin(step).task();
    harness.record(&task, outcome)
}

fn taken(harness: &Harness, step: &str) -> Option<(TransitionOutcome, Option<String>, String)> {
    let taken = harness.step(step).taken.clone()?;
    Some((taken.on, taken.guard.map(|guard| guard.to_string()), taken.to.to_string()))
}

#[test]
fn the_first_condition_that_holds_wins() {
    let declared = fork(|builder| {
        builder
            .then_if("a", when("risk").is("high"), "b")
            .then_if("a", when("risk").one_of(["high", "low"]).and(when("amount").greater_than(9)), "c")
            .then("a", "d")
    });
    for (output, next, guard) in [
        (json!({ "risk": "high", "amount": 10 }), "b", Some("if risk is \"high\"")),
        (json!({ "risk": "low", "amount": 9.5 }), "c", Some("if risk is one of \"high\", \"low\" and amount > 9")),
        (json!({ "risk": "low", "amount": 9 }), "d", None),
        (json!({ "risk": 7, "amount": "10" }), "d", None),
        (json!({}), "d", None),
    ] {
        let mut harness = Harness::start(&declared);
        let decided = harness.complete("a", output.clone());
        assert_eq!(decided.events(), ["step.completed", "step.routed", "run.dispatched"], "{output}");
        assert_eq!(harness.outstanding(), [next], "{output}");
        let expected = (TransitionOutcome::Ok, guard.map(str::to_owned), next.to_owned());
        assert_eq!(taken(&harness, "a"), Some(expected), "{output}");
        harness.complete(next, json!({}));
        assert_eq!((harness.status(), taken(&harness, next)), (RunStatus::Completed, None), "there was no choice");
    }
}

#[test]
fn a_condition_sees_the_payload_with_all_outputs_over_it() {
    let declared = open()
        .step(step("first"))
        .step(step("a"))
        .step(step("b"))
        .chain(["first", "a"])
        .then_if("a", when("from.payload").is(1).and(when("first").is(2)).and(when("both").is("later")), "b")
        .then("b", COMPLETE)
        .build()
        .unwrap();
    let mut harness = Harness::start_with(&declared, object(json!({ "from": { "payload": 1 }, "both": "payload" })));
    harness.complete("first", json!({ "first": 2, "both": "earlier" }));
    harness.complete("a", json!({ "both": "later" }));
    assert_eq!(harness.outstanding(), ["b"]);
}

#[test]
fn a_condition_may_end_the_run() {
    let declared = open()
        .step(step("a"))
        .step(step("b"))
        .chain(["a", "b"])
        .then_if("a", when("done").is(true), COMPLETE)
        .then_if("a", when("bad").exists(), FAIL);
    let declared = declared.build().unwrap();
    let mut harness = Harness::start(&declared);
    harness.complete("a", json!({ "done": true, "bad": 1 }));
    assert_eq!(harness.status(), RunStatus::Completed);
    let mut harness = Harness::start(&declared);
    harness.complete("a", json!({ "bad": null }));
    let failure = harness.state.run.last_error.clone().unwrap();
    assert_eq!((harness.status(), failure.kind), (RunStatus::Failed, FailureKind::FAILED));
}

#[test]
fn a_route_comes_before_conditions() {
    let declared = fork(|builder| {
        builder.then_if("a", when("x").exists(), "b").then_named("a", "retry_later", "c").then("a", "d")
    });
    let mut harness = Harness::start(&declared);
    end(&mut harness, "a", routed(json!({ "x": 1 }), "retry_later"));
    assert_eq!(harness.outstanding(), ["c"]);
    let mut harness = Harness::start(&declared);
    end(&mut harness, "a", completed(json!({})));
    assert_eq!(harness.outstanding(), ["d"]);
}

#[test]
fn an_unknown_route_fails_the_run_and_keeps_the_output() {
    let declared = fork(|builder| builder.then_named("a", "known", "b").then("a", "c").then_named("a", "d", "d"));
    let mut harness = Harness::start(&declared);
    let decided = end(&mut harness, "a", routed(json!({ "x": 1 }), "other"));
    assert_eq!(decided.events(), ["step.completed", "step.route_unknown", "run.transition"]);
    let failure = harness.state.run.last_error.clone().unwrap();
    assert_eq!((failure.kind, failure.step), (FailureKind::UNKNOWN_ROUTE, Some(name("a"))));
    assert_eq!(harness.step_status("a"), Some(StepStatus::Completed));
    assert_eq!(harness.step("a").output.as_deref(), Some(&object(json!({ "x": 1 }))));
}

#[test]
fn an_unknown_route_is_cut_where_it_is_shown() {
    let declared = fork(|builder| builder.then_named("a", "b", "b").then("a", "c").on_error("a", "d"));
    let mut harness = Harness::start(&declared);
    let decided = end(&mut harness, "a", routed(json!({}), &"x".repeat(2 << 20)));
    let routes = decided.decision.events.iter().filter_map(|event| match &event.kind {
        crate::event::EventKind::RouteUnknown { route, .. } => Some(route.len()),
        _ => None,
    });
    assert!(routes.eq([100]), "one, and no longer than its limit");
    let message = harness.step("a").last_error.clone().expect("the failure that led on").message;
    assert!(message.len() <= harness.limits.json.max_bytes / 4, "{} bytes", message.len());
}

#[test]
fn a_step_that_chose_an_unknown_route_is_compensated() {
    async fn undo(_: crate::workflow::Compensation, _: crate::StepContext) -> crate::StepResult<()> {
        Ok(())
    }
    let declared = workflow().step(step("a").compensate(undo)).then("a", COMPLETE).build().unwrap();
    let mut harness = Harness::start(&declared);
    end(&mut harness, "a", routed(json!({}), "other"));
    assert_eq!((harness.status(), harness.outstanding()), (RunStatus::Failed, vec!["compensation".to_owned()]));
}

#[test]
fn an_unknown_route_takes_the_error_transition() {
    let declared = fork(|builder| {
        builder.then("a", "b").on_error_kind("a", "unknown_route", "c").on_error("a", "d").then_named("a", "known", "b")
    });
    let mut harness = Harness::start(&declared);
    let decided = end(&mut harness, "a", routed(json!({ "x": 1 }), "other"));
    assert_eq!(decided.events(), ["step.completed", "step.route_unknown", "step.routed", "run.dispatched"]);
    let expected = (TransitionOutcome::Error, Some("kind unknown_route".to_owned()), "c".to_owned());
    assert_eq!(taken(&harness, "a"), Some(expected));
    let task = harness.begin("c").task();
    let failure = task.failure.expect("the failure that led here");
    assert_eq!((&failure.kind, &failure.step), (&FailureKind::UNKNOWN_ROUTE, &Some(name("a"))));
    assert_eq!(*task.visible, object(json!({ "x": 1 })));
}

#[test]
fn a_route_in_a_dependency_workflow_is_unknown() {
    let declared = workflow().step(step("a")).step(step("b").after(["a"])).build().unwrap();
    let mut harness = Harness::start(&declared);
    end(&mut harness, "a", routed(json!({}), "b"));
    let failure = harness.state.run.last_error.clone().unwrap();
    assert_eq!((harness.status(), failure.kind), (RunStatus::Failed, FailureKind::UNKNOWN_ROUTE));
    let planned = crate::engine::resumption(&harness.state, &harness.definition);
    assert!(matches!(planned, Err(crate::engine::Unresumable::UnknownRoute { .. })), "{planned:?}");
}

#[test]
fn an_error_kind_comes_before_the_error_transition() {
    let declared = fork(|builder| {
        builder
            .then("a", COMPLETE)
            .on_error("a", "b")
            .on_error_kind("a", "declined", "c")
            .on_error_kind("a", "late", "d")
    });
    for (kind, next, guard) in [
        ("declined", "c", Some("kind declined".to_owned())),
        ("late", "d", Some("kind late".to_owned())),
        ("other", "b", None),
    ] {
        let mut harness = Harness::start(&declared);
        let decided = end(&mut harness, "a", of_kind(kind));
        assert_eq!(decided.events(), ["step.failed", "step.routed", "run.dispatched"]);
        assert_eq!(taken(&harness, "a"), Some((TransitionOutcome::Error, guard, next.to_owned())));
        assert_eq!(harness.begin(next).task().failure.expect("a failure").kind, kind);
    }
}

#[test]
fn a_failure_of_another_kind_fails_the_run() {
    let declared = chain(["a"]).step(step("b")).on_error_kind("a", "late", "b").then("b", COMPLETE).build().unwrap();
    let mut harness = Harness::start(&declared);
    let decided = end(&mut harness, "a", failed());
    assert_eq!(decided.events(), ["step.failed", "run.transition"]);
    assert!(
        decided
            .decision
            .events
            .iter()
            .any(|event| { matches!(&event.kind, crate::event::EventKind::StepFailed { is_final: true, .. }) })
    );
    assert_eq!((harness.status(), taken(&harness, "a")), (RunStatus::Failed, None));
}

#[test]
fn a_completed_step_that_is_delivered_again_follows_its_choice() {
    let declared = fork(|builder| builder.then_if("a", when("x").is(1), "b").then_named("a", "d", "d").then("a", "c"));
    let mut harness = Harness::start(&declared);
    let lease = harness.lease("a");
    harness.complete("a", json!({ "x": 1 }));
    // As if the successor had never been dispatched, and the condition no longer held.
    harness.state.steps.remove(&name("b"));
    harness.intents.clear();
    harness.state.run.current_step = Some(name("a"));
    let mut changed = harness.step("a").clone();
    changed.output = None;
    harness.state.steps.insert(name("a"), changed);
    let decided = harness.begin_under(&lease);
    assert_eq!(decided.dispatched(), ["b"]);
    assert!(!decided.events().contains(&"step.routed"), "nothing is chosen again");
}

/// A review that expires after an hour, and leads on by kind and by condition.
fn review() -> Workflow {
    fork(|builder| {
        builder
            .step(Step::new("review", approval().deadline(hours(1))).output("review"))
            .then("a", "review")
            .then_if("review", when("review.comment").is("careful"), "b")
            .then("review", COMPLETE)
            .on_error_kind("review", "expired", "c")
            .on_error("review", "d")
    })
}

fn asked(declared: &Workflow) -> Harness {
    let mut harness = Harness::start(declared);
    harness.complete("a", json!({}));
    harness.begin("review");
    assert_eq!(harness.status(), RunStatus::Paused);
    harness
}

#[test]
fn a_decision_chooses_among_the_transitions_that_were_stored() {
    let declared = review();
    for (decision, comment, next) in [
        (ApprovalDecision::Approve, "careful", Some("b")),
        (ApprovalDecision::Approve, "fine", None),
        (ApprovalDecision::Reject, "careful", Some("d")),
    ] {
        let mut harness = asked(&declared);
        let said = Attribution { comment: Some(comment.to_owned()), ..Attribution::default() };
        harness.decide(|work, jobs| decide(work, decision, said, jobs)).unwrap();
        assert_eq!(harness.outstanding(), next.into_iter().collect::<Vec<_>>());
        assert!(taken(&harness, "review").is_some());
    }
}

#[test]
fn an_approval_that_expires_takes_the_transition_of_that_kind() {
    let mut harness = asked(&review());
    harness.pass(hours(2));
    let lease = harness.lease("review");
    harness.begin_under(&lease);
    assert_eq!(harness.outstanding(), ["c"]);
    let expected = (TransitionOutcome::Error, Some("kind expired".to_owned()), "c".to_owned());
    assert_eq!(taken(&harness, "review"), Some(expected));
    assert_eq!(harness.begin("c").task().failure.expect("a failure").kind, FailureKind::EXPIRED);
    assert!(harness.audit.iter().any(|entry| entry.kind == AuditKind::Expired));
}

#[test]
fn a_deadline_with_its_own_target_comes_before_its_kind() {
    let declared = fork(|builder| {
        builder
            .step(Step::new("review", approval().deadline(hours(1)).then_to("b")))
            .then("a", "review")
            .then("review", COMPLETE)
            .on_error_kind("review", "rejected", "c")
            .on_error("review", "d")
    });
    let mut harness = asked(&declared);
    harness.pass(hours(2));
    let lease = harness.lease("review");
    harness.begin_under(&lease);
    assert_eq!((harness.outstanding(), taken(&harness, "review")), (vec!["b".to_owned()], None));
    assert_eq!(harness.begin("b").task().failure, None);
}

#[test]
fn a_pause_may_lead_on_by_condition() {
    let declared = fork(|builder| {
        builder
            .step(Step::new("hold", pause()))
            .then("a", "hold")
            .then_if("hold", not(when("urgent").is(true)), "b")
            .then("hold", "c")
            .then_if("c", when("never").exists(), "d")
    });
    let mut harness = Harness::start(&declared);
    harness.complete("a", json!({ "urgent": true }));
    harness.begin("hold");
    harness.decide(|work, jobs| unblock(work, Attribution::default(), jobs)).unwrap();
    assert_eq!(harness.outstanding(), ["c"]);
}

#[test]
fn the_choice_is_part_of_the_definition() {
    let declared = fork(|builder| builder.then_if("a", when("x").is(1), "b").then_named("a", "r", "c").then("a", "d"));
    let definition = declared.definition();
    let guards: Vec<&Transition> = definition.guarded_transitions("a").collect();
    assert!(matches!(&guards[0].guard, Some(Guard::If(_))) && matches!(&guards[1].guard, Some(Guard::Route(_))));
    assert_eq!(
        definition.transition("a", TransitionOutcome::Ok).map(|found| &found.to),
        Some(&Target::Step(name("d")))
    );
    let read: crate::definition::Definition =
        serde_json::from_value(serde_json::to_value(&**definition).unwrap()).unwrap();
    assert_eq!(read.fingerprint(), definition.fingerprint());
    let other = fork(|builder| builder.then_if("a", when("x").is(2), "b").then_named("a", "r", "c").then("a", "d"));
    assert_ne!(other.definition().fingerprint(), definition.fingerprint());
}
