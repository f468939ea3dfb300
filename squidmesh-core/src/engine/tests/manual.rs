//! The decisions of people about paused runs.

use serde_json::json;

use super::harness::{Decided, Executor, Harness, name, object, step, workflow};
use crate::definition::{Target, hours};
use crate::engine::{ApprovalDecision, Attribution, Begin, CommandRefused, Limits, decide, unblock};
use crate::event::IgnoreReason;
use crate::run::{AttemptStatus, AuditKind, FailureKind, RunStatus, StepStatus};
use crate::workflow::{COMPLETE, Step, Workflow, approval, pause};

/// ask (approval) → yes, on error → no
fn approved_or_not() -> Workflow {
    workflow()
        .step(Step::new("ask", approval()).output("answer"))
        .step(step("yes"))
        .step(step("no"))
        .then("ask", "yes")
        .on_error("ask", "no")
        .then("yes", COMPLETE)
        .then("no", COMPLETE)
        .build()
        .unwrap()
}

fn asked() -> Harness {
    let mut harness = Harness::start(&approved_or_not());
    harness.begin("ask");
    harness
}

fn ada() -> Attribution {
    Attribution { actor: Some("ada".to_owned()), comment: Some("looks right".to_owned()), ..Attribution::default() }
}

fn decide_approval(harness: &mut Harness, decision: ApprovalDecision) -> Result<Decided<()>, CommandRefused> {
    harness.decide(|work, jobs| decide(work, decision, ada(), jobs))
}

#[test]
fn an_approval_stops_the_run_and_holds_no_worker() {
    let mut harness = Harness::start(&approved_or_not());
    let decided = harness.begin("ask");
    assert_eq!(decided.value, Begin::Advanced);
    assert_eq!(decided.events(), ["run.transition", "step.started", "run.transition", "run.paused"]);
    assert_eq!((harness.status(), harness.step_status("ask")), (RunStatus::Paused, Some(StepStatus::Paused)));
    assert!(harness.intents.is_empty());
}

#[test]
fn each_verdict_takes_its_transition_and_is_the_steps_output() {
    for (decision, follows, word, kind) in [
        (ApprovalDecision::Approve, "yes", "approved", AuditKind::Approved),
        (ApprovalDecision::Reject, "no", "rejected", AuditKind::Rejected),
    ] {
        let mut harness = asked();
        let decided = decide_approval(&mut harness, decision).unwrap();
        assert_eq!(decided.dispatched(), [follows]);
        assert_eq!(
            (harness.status(), harness.state.run.current_step.clone()),
            (RunStatus::Running, Some(name(follows)))
        );
        let answer = &harness.step("ask").output.as_ref().unwrap()["answer"];
        assert_eq!((&answer["decision"], &answer["actor"]), (&json!(word), &json!("ada")));
        assert_eq!(harness.input(follows)["answer"]["comment"], json!("looks right"));
        assert_eq!(harness.audit.last().unwrap().kind, kind);
        assert_eq!(harness.tries("ask"), [(1, AttemptStatus::Completed)]);
    }
}

#[test]
fn a_second_decision_is_an_invalid_transition() {
    let mut harness = asked();
    decide_approval(&mut harness, ApprovalDecision::Approve).unwrap();
    let before = harness.state.clone();
    let second = decide_approval(&mut harness, ApprovalDecision::Reject);
    assert!(matches!(second, Err(CommandRefused::InvalidTransition(found)) if found.from == RunStatus::Running));
    assert_eq!(harness.state, before);
}

#[test]
fn a_pause_continues_when_it_is_unblocked_and_an_approval_does_not() {
    let paused = workflow()
        .step(Step::new("hold", pause()))
        .step(step("next"))
        .then("hold", "next")
        .then("next", COMPLETE)
        .build()
        .unwrap();
    let mut harness = Harness::start(&paused);
    harness.begin("hold");
    assert!(matches!(
        decide_approval(&mut harness, ApprovalDecision::Approve),
        Err(CommandRefused::OtherDecision { .. })
    ));
    let decided = harness.decide(|work, jobs| unblock(work, ada(), jobs)).unwrap();
    assert_eq!(decided.dispatched(), ["next"]);
    assert_eq!(harness.audit.last().unwrap().kind, AuditKind::Unblocked);
    assert_eq!(harness.step("hold").output.as_deref(), Some(&object(json!({}))));

    let mut harness = asked();
    let refused = harness.decide(|work, jobs| unblock(work, ada(), jobs));
    assert!(matches!(refused, Err(CommandRefused::OtherDecision { .. })));
}

#[test]
fn what_resuming_means_was_fixed_when_the_run_paused() {
    let mut harness = asked();
    // A later version of the workflow has other targets.
    harness.definition = workflow()
        .step(Step::new("ask", approval()).output("other"))
        .step(step("yes"))
        .step(step("no"))
        .then("ask", "no")
        .on_error("ask", "yes")
        .then("yes", COMPLETE)
        .then("no", COMPLETE)
        .build()
        .unwrap()
        .definition()
        .clone();
    decide_approval(&mut harness, ApprovalDecision::Approve).unwrap();
    assert_eq!(harness.state.run.current_step, Some(name("yes")));
    assert!(harness.step("ask").output.as_ref().unwrap().contains_key("answer"));
}

#[test]
fn a_paused_step_without_a_valid_way_on_is_a_typed_error() {
    let mut harness = asked();
    harness.state.steps.get_mut(&name("ask")).unwrap().continuation = None;
    assert!(matches!(
        decide_approval(&mut harness, ApprovalDecision::Approve),
        Err(CommandRefused::MissingContinuation { step: Some(_) })
    ));

    let mut harness = asked();
    let continuation = harness.state.steps.get_mut(&name("ask")).unwrap().continuation.as_mut().unwrap();
    continuation.ok = Target::Step(name("gone"));
    assert!(
        matches!(decide_approval(&mut harness, ApprovalDecision::Approve), Err(CommandRefused::InvalidTarget { target }) if target == name("gone"))
    );
    assert_eq!(harness.status(), RunStatus::Paused);
}

#[test]
fn an_approval_that_leads_to_completion_completes_the_run() {
    let short = workflow().step(Step::new("ask", approval())).then("ask", COMPLETE).on_error("ask", COMPLETE);
    let mut harness = Harness::start(&short.build().unwrap());
    harness.begin("ask");
    decide_approval(&mut harness, ApprovalDecision::Reject).unwrap();
    assert_eq!(harness.status(), RunStatus::Completed);
}

#[test]
fn a_decision_whose_successor_is_refused_is_no_decision() {
    let held = workflow().step(Step::new("ask", pause())).step(step("yes")).then("ask", "yes").then("yes", COMPLETE);
    let held = held.build().unwrap();
    for executor in [Executor::RefusesForGood, Executor::AnswersForTooFew] {
        for decision in [Some(ApprovalDecision::Approve), Some(ApprovalDecision::Reject), None] {
            let mut harness = match decision {
                Some(_) => asked(),
                None => Harness::start(&held),
            };
            if decision.is_none() {
                harness.begin("ask");
            }
            let mut work = harness.open();
            let before = work.state().clone();
            let refused = match decision {
                Some(decision) => decide(&mut work, decision, ada(), &executor),
                None => unblock(&mut work, ada(), &executor),
            };
            let follows = if decision == Some(ApprovalDecision::Reject) { "no" } else { "yes" };
            assert!(
                matches!(refused, Err(CommandRefused::ByExecutor { step, .. }) if step == name(follows)),
                "{executor:?}"
            );
            assert_eq!(*work.state(), before, "the unit of work is as it was");
            assert!(!work.is_changed());
        }
    }
}

#[test]
fn a_decision_counts_while_the_executor_is_down() {
    let mut harness = asked();
    harness.executor = Executor::IsDown;
    assert_eq!(decide_approval(&mut harness, ApprovalDecision::Approve).unwrap().dispatched(), ["yes"]);
    assert_eq!((harness.status(), harness.outstanding()), (RunStatus::Running, vec!["yes".to_owned()]));
}

#[test]
fn a_deadline_whose_successor_is_refused_fails_the_run_and_names_it() {
    let mut harness = asked_for_an_hour(true);
    harness.pass(hours(1));
    harness.executor = Executor::RefusesForGood;
    harness.begin("ask");
    assert_eq!(harness.status(), RunStatus::Failed);
    let error = harness.state.run.last_error.as_ref().unwrap();
    assert_eq!((error.kind.clone(), &error.step), (FailureKind::SUCCESSOR_REFUSED, &Some(name("late"))));
    assert_eq!(harness.step_status("ask"), Some(StepStatus::Completed));
}

/// ask (approval, one hour) → yes, on error → no, without a decision → late
fn asked_for_an_hour(named: bool) -> Harness {
    let ask = approval().deadline(hours(1));
    let ask = if named { ask.then_to("late") } else { ask };
    let definition = workflow()
        .step(Step::new("ask", ask).output("answer"))
        .step(step("yes"))
        .step(step("no"))
        .step(step("late"))
        .then("ask", "yes")
        .on_error("ask", "no")
        .then("yes", COMPLETE)
        .then("no", "late")
        .then("late", COMPLETE)
        .build()
        .unwrap();
    let mut harness = Harness::start(&definition);
    harness.begin("ask");
    harness
}

#[test]
fn an_approval_with_a_deadline_waits_for_it_in_the_store_alone() {
    let harness = asked_for_an_hour(true);
    assert_eq!((harness.status(), harness.step_status("ask")), (RunStatus::Paused, Some(StepStatus::Paused)));
    let intent = harness.intent("ask").unwrap();
    assert_eq!((intent.delay, intent.lease), (hours(1), None), "no worker holds it");
    assert_eq!(harness.step("ask").continuation.as_ref().unwrap().expired, Some(Target::Step(name("late"))));
}

#[test]
fn a_deadline_that_passes_takes_the_error_route_or_the_named_step() {
    for (named, follows) in [(false, "no"), (true, "late")] {
        let mut harness = asked_for_an_hour(named);
        harness.pass(hours(1));
        let decided = harness.begin("ask");
        assert_eq!(decided.value, Begin::Advanced);
        assert_eq!(decided.dispatched(), [follows]);
        assert_eq!(decided.events(), ["run.expired", "step.completed", "run.transition", "run.dispatched"]);
        assert_eq!(harness.outstanding(), [follows]);
        let answer = &harness.step("ask").output.as_ref().unwrap()["answer"];
        assert_eq!(answer, &json!({"decision": "expired", "at": harness.now}));
        assert_eq!(
            (harness.audit.last().unwrap().kind, &harness.audit.last().unwrap().actor),
            (AuditKind::Expired, &None)
        );
        assert!(
            matches!(
                decide_approval(&mut harness, ApprovalDecision::Approve),
                Err(CommandRefused::InvalidTransition(_))
            ),
            "it is too late"
        );
    }
}

#[test]
fn a_decision_before_the_expiry_is_committed_counts_and_ends_the_deadline() {
    let mut harness = asked_for_an_hour(true);
    harness.pass(hours(2));
    decide_approval(&mut harness, ApprovalDecision::Approve).unwrap();
    assert_eq!(harness.outstanding(), ["yes"]);
    assert_eq!(harness.begin("ask").value, Begin::Skip(IgnoreReason::NotCurrent), "the deadline comes too late");
    assert_eq!(harness.step("ask").manual.as_ref().unwrap().decision, "approved");
}

#[test]
fn a_cancellation_ends_the_deadline() {
    let mut harness = asked_for_an_hour(false);
    harness.cancel().unwrap();
    assert!(harness.intents.is_empty());
}

#[test]
fn a_paused_run_without_a_deadline_does_not_expire() {
    let mut harness = asked();
    assert_eq!(harness.begin("ask").value, Begin::Skip(IgnoreReason::RunPaused));
    assert_eq!(harness.status(), RunStatus::Paused);
}

/// ask → ask_again → done; each on error to the end.
fn asked_twice() -> Harness {
    let twice = workflow()
        .step(Step::new("ask", approval()))
        .step(Step::new("ask_again", approval()))
        .then("ask", "ask_again")
        .then("ask_again", COMPLETE)
        .on_error("ask", COMPLETE)
        .on_error("ask_again", COMPLETE)
        .build()
        .unwrap();
    let mut harness = Harness::start(&twice);
    harness.begin("ask");
    harness
}

#[test]
fn a_decision_that_means_another_step_than_waits_is_refused() {
    let mut harness = asked_twice();
    let of_ask = || Attribution { step: Some("ask".to_owned()), ..ada() };
    harness.decide(|work, jobs| decide(work, ApprovalDecision::Approve, of_ask(), jobs)).unwrap();
    harness.begin("ask_again");
    let before = harness.state.clone();
    let second = harness.decide(|work, jobs| decide(work, ApprovalDecision::Approve, of_ask(), jobs));
    assert!(matches!(&second, Err(CommandRefused::OtherStep { waits, .. }) if *waits == name("ask_again")));
    let unblocked = harness.decide(|work, jobs| unblock(work, of_ask(), jobs));
    assert!(matches!(unblocked, Err(CommandRefused::OtherStep { .. })));
    assert_eq!(harness.state, before);
}

#[test]
fn a_decision_that_cannot_be_the_steps_output_is_refused() {
    let deepest = Limits::default().json.max_depth;
    let nested = (1..deepest).fold(json!({}), |inner, _| json!({ "deeper": inner }));
    assert!(Limits::default().json.check(&nested).is_ok(), "it is acceptable by itself");
    let deep = Attribution { metadata: Some(object(nested)), ..ada() };
    let mut harness = asked();
    let before = harness.state.clone();
    let refused = harness.decide(|work, jobs| decide(work, ApprovalDecision::Approve, deep, jobs));
    assert!(matches!(&refused, Err(CommandRefused::Unacceptable { step, .. }) if *step == name("ask")));
    assert_eq!(harness.state, before);
    decide_approval(&mut harness, ApprovalDecision::Approve).unwrap();
}
