//! Signals: what a run does with one that comes early, in time, late, twice, or never.

use serde_json::{Value, json};

use super::harness::{Decided, Executor, Harness, inputs, name, new_run, object, step, workflow};
use crate::definition::{Field, hours, when};
use crate::engine::{
    ApprovalDecision, Attribution, CommandRefused, Difference, Limits, SentSignal, SignalLimit, SignalReceipt,
    SignalRefused, adopt, decide, differences, resume, resumption, signal, unblock,
};
use crate::event::EventKind;
use crate::run::{AttemptStatus, AuditKind, FailureKind, RunStatus, StepStatus};
use crate::workflow::{BuiltIn, COMPLETE, FAIL, Signal, Step, Workflow, WorkflowBuilder, approval, wait_for};

/// `a` waits for the signal `paid`, and `b` follows.
fn declared(wait: impl Into<BuiltIn>) -> WorkflowBuilder {
    let paid = Signal::new("paid").field(Field::integer("amount")).field(Field::string("by").default("card"));
    let wait: BuiltIn = wait.into();
    workflow().signal(paid).signal(Signal::new("seen")).step(Step::new("a", wait)).step(step("b")).chain(["a", "b"])
}

fn built() -> Workflow {
    declared(wait_for("paid")).build().unwrap()
}

fn sent(name: &str, payload: Value) -> SentSignal {
    SentSignal { name: name.to_owned(), payload, dedup_key: None, attribution: Attribution::default() }
}

fn paid(amount: u64) -> SentSignal {
    sent("paid", json!({ "amount": amount }))
}

fn send(harness: &mut Harness, sent: &SentSignal) -> Result<Decided<SignalReceipt>, SignalRefused> {
    harness.decide(|work, jobs| signal(work, sent, jobs))
}

fn receipt(harness: &mut Harness, sent: &SentSignal) -> SignalReceipt {
    send(harness, sent).unwrap().value
}

fn received(step: &str) -> SignalReceipt {
    SignalReceipt::Received { step: name(step) }
}

/// Returns the audit entries about signals: kind, step and metadata.
fn trail(harness: &Harness) -> Vec<(AuditKind, Option<String>, Value)> {
    let about = [AuditKind::SignalReceived, AuditKind::SignalLate, AuditKind::SignalsUnconsumed];
    let entries = harness.audit.iter().filter(|entry| about.contains(&entry.kind));
    let of = |entry: &crate::run::AuditEvent| entry.step.as_ref().map(ToString::to_string);
    entries.map(|entry| (entry.kind, of(entry), json!(entry.metadata))).collect()
}

#[test]
fn a_signal_completes_the_step_that_waits_for_it() {
    for (key, output) in [
        (None, json!({ "amount": 7, "by": "card" })),
        (Some("payment"), json!({ "payment": { "amount": 7, "by": "card" } })),
    ] {
        let wait = Step::new("a", wait_for("paid"));
        let wait = match key {
            Some(key) => wait.output(key),
            None => wait,
        };
        let paid_signal =
            Signal::new("paid").field(Field::integer("amount")).field(Field::string("by").default("card"));
        let declared = workflow().signal(paid_signal).step(wait).step(step("b")).chain(["a", "b"]).build().unwrap();
        let mut harness = Harness::start(&declared);
        let begun = harness.begin("a");
        assert_eq!(begun.events(), ["run.transition", "step.started"]);
        assert_eq!((harness.status(), harness.step_status("a")), (RunStatus::Running, Some(StepStatus::Paused)));
        assert!(harness.outstanding().is_empty(), "nothing is held for a step that waits");
        let decided = send(&mut harness, &paid(7)).unwrap();
        assert_eq!(decided.value, received("a"));
        assert_eq!(decided.events(), ["signal.received", "step.completed", "run.dispatched"]);
        assert_eq!(json!(harness.step("a").output), output);
        assert_eq!((harness.status(), harness.outstanding()), (RunStatus::Running, vec!["b".to_owned()]));
        assert_eq!(harness.tries("a"), [(1, AttemptStatus::Completed)]);
        assert_eq!(trail(&harness), [(AuditKind::SignalReceived, Some("a".to_owned()), json!({ "signal": "paid" }))]);
        let kept = &harness.state.signals[0];
        assert_eq!((kept.taken_by.clone(), kept.payload.clone()), (Some(name("a")), None), "it is stored once");
        harness.complete("b", json!({}));
        assert_eq!(harness.status(), RunStatus::Completed);
    }
}

#[test]
fn signals_that_come_early_are_kept_and_taken_one_by_one() {
    let declared = workflow()
        .signal(Signal::new("paid").field(Field::integer("amount")))
        .signal(Signal::new("seen"))
        .step(step("first"))
        .step(Step::new("a", wait_for("paid")).output("one"))
        .step(Step::new("b", wait_for("paid")).output("two"))
        .step(Step::new("c", wait_for("paid")).output("three"))
        .chain(["first", "a", "b", "c"])
        .build()
        .unwrap();
    let mut harness = Harness::start(&declared);
    let early = send(&mut harness, &sent("seen", Value::Null)).unwrap();
    assert_eq!((early.value.clone(), early.events()), (SignalReceipt::Buffered, vec!["signal.received"]));
    assert_eq!(harness.status(), RunStatus::Pending, "a signal begins nothing");
    assert_eq!(receipt(&mut harness, &paid(1)), SignalReceipt::Buffered);
    harness.complete("first", json!({}));
    assert_eq!(receipt(&mut harness, &paid(2)), SignalReceipt::Buffered);
    let begun = harness.begin("a");
    assert_eq!(begun.events(), ["step.started", "step.completed", "run.dispatched"]);
    harness.begin("b");
    harness.begin("c");
    assert_eq!(json!(harness.step("a").output), json!({ "one": { "amount": 1 } }), "the oldest first");
    assert_eq!(json!(harness.step("b").output), json!({ "two": { "amount": 2 } }));
    assert_eq!(harness.step_status("c"), Some(StepStatus::Paused), "one signal a wait");
    assert_eq!(receipt(&mut harness, &paid(3)), received("c"));
    assert_eq!(harness.status(), RunStatus::Completed);
    let last = trail(&harness).pop().unwrap();
    assert_eq!(last, (AuditKind::SignalsUnconsumed, None, json!({ "seen": 1 })), "nobody waited for it");
}

#[test]
fn a_second_signal_under_a_key_changes_nothing() {
    let keyed = |amount, key: &str| SentSignal { dedup_key: Some(key.to_owned()), ..paid(amount) };
    let mut harness = Harness::start(&built());
    assert_eq!(receipt(&mut harness, &keyed(1, "evt")), SignalReceipt::Buffered);
    assert_eq!(receipt(&mut harness, &keyed(2, "evt2")), SignalReceipt::Buffered);
    harness.begin("a");
    // Also once the first was taken, regardless of the payload, and once the run has ended.
    let again = keyed(3, "evt");
    let mut work = harness.open();
    assert_eq!(signal(&mut work, &again, &Executor::Accepts), Ok(SignalReceipt::Duplicate));
    assert!(!work.is_changed());
    let other = SentSignal { dedup_key: Some("evt".to_owned()), ..sent("seen", Value::Null) };
    assert_eq!(receipt(&mut harness, &other), SignalReceipt::Buffered, "a key counts within its name");
    harness.complete("b", json!({}));
    let mut work = harness.open();
    assert_eq!(signal(&mut work, &again, &Executor::Accepts), Ok(SignalReceipt::Duplicate));
    assert!(matches!(signal(&mut work, &paid(4), &Executor::Accepts), Err(SignalRefused::Ended { .. })));
}

#[test]
fn the_sender_is_on_record() {
    let mut harness = Harness::start(&built());
    let attribution = Attribution {
        actor: Some("gateway".to_owned()),
        metadata: Some(object(json!({ "ip": "::1" }))),
        ..Attribution::default()
    };
    let sent = SentSignal { dedup_key: Some("evt".to_owned()), attribution, ..paid(1) };
    send(&mut harness, &sent).unwrap();
    let entry = harness.audit.last().unwrap();
    assert_eq!((entry.actor.as_deref(), entry.step.clone()), (Some("gateway"), None));
    let metadata = json!({ "signal": "paid", "dedup_key": "evt", "metadata": { "ip": "::1" } });
    assert_eq!(json!(entry.metadata), metadata);
}

#[test]
fn what_a_run_cannot_receive_is_refused() {
    let mut harness = Harness::start(&built());
    let unknown = send(&mut harness, &sent("piad", json!({}))).unwrap_err();
    let SignalRefused::UnknownSignal { similar, declared, .. } = &unknown else { panic!("{unknown}") };
    assert_eq!((similar.as_deref(), declared.len()), (Some("paid"), 2));
    let invalid = send(&mut harness, &sent("paid", json!({ "amount": "7", "extra": 1 }))).unwrap_err();
    let SignalRefused::InvalidPayload { errors, .. } = &invalid else { panic!("{invalid}") };
    assert_eq!(errors.len(), 2, "every error at once");
    assert!(harness.state.signals.is_empty() && harness.audit.is_empty());
    harness.begin("a");
    harness.cancel().unwrap();
    let ended = send(&mut harness, &paid(1)).unwrap_err();
    assert_eq!(ended, SignalRefused::Ended { status: RunStatus::Cancelled });
}

#[test]
fn a_run_keeps_a_limited_number_of_signals() {
    let mut harness = Harness::start(&built());
    harness.limits = Limits { signals: 2, signal_bytes: 60, ..Limits::default() };
    for amount in 0..2 {
        assert_eq!(receipt(&mut harness, &paid(amount)), SignalReceipt::Buffered);
    }
    let full = |limit| SignalRefused::BufferFull { limit };
    assert_eq!(send(&mut harness, &paid(2)).unwrap_err(), full(SignalLimit::Count(2)));
    harness.limits.signals = 100;
    assert_eq!(send(&mut harness, &paid(2)).unwrap_err(), full(SignalLimit::Bytes(60)));
    harness.begin("a");
    assert_eq!(receipt(&mut harness, &paid(2)), SignalReceipt::Buffered, "one that was taken makes room");
}

#[test]
fn a_deadline_that_passes_fails_the_wait() {
    let deadline = || wait_for("paid").deadline(hours(1));
    let base = || declared(deadline()).step(step("c")).then("c", COMPLETE);
    let own = declared(deadline().then_to("c")).step(step("c")).then("c", COMPLETE).on_error("a", FAIL);
    for (declared, failure_led_there) in [
        (base().on_error("a", "c"), true),
        (base().on_error("a", COMPLETE).on_error_kind("a", "expired", "c"), true),
        (own.on_error_kind("a", "context_too_large", COMPLETE), false),
    ] {
        let mut harness = Harness::start(&declared.build().unwrap());
        harness.begin("a");
        assert_eq!(harness.intent("a").unwrap().delay, hours(1));
        assert!(harness.intent("a").unwrap().lease.is_none(), "nobody holds it");
        harness.pass(hours(1));
        let decided = harness.begin("a");
        assert!(decided.events().starts_with(&["run.expired", "step.failed"]), "{:?}", decided.events());
        let EventKind::StepFailed { is_final, .. } = &decided.decision.events[1].kind else { unreachable!() };
        assert!(!is_final);
        assert_eq!((harness.status(), harness.outstanding()), (RunStatus::Running, vec!["c".to_owned()]));
        let failure = harness.step("a").last_error.clone().unwrap();
        assert_eq!((harness.step_status("a"), failure.kind), (Some(StepStatus::Failed), FailureKind::EXPIRED));
        let taken = harness.step("a").taken.is_some();
        let known = harness.begin("c").task().failure.is_some_and(|failure| failure.kind == FailureKind::EXPIRED);
        assert_eq!(known, failure_led_there, "the target of a deadline itself is no error transition");
        assert!(failure_led_there || !taken);
        // Too late: it is kept and on record, and nothing waits for it.
        assert_eq!(receipt(&mut harness, &paid(1)), SignalReceipt::Buffered);
        assert_eq!(trail(&harness).pop().unwrap().0, AuditKind::SignalLate);
    }
    let mut harness = Harness::start(&declared(deadline()).build().unwrap());
    harness.begin("a");
    harness.pass(hours(1));
    harness.begin("a");
    let failure = harness.state.run.last_error.clone().unwrap();
    assert_eq!(
        (harness.status(), failure.kind, failure.step),
        (RunStatus::Failed, FailureKind::EXPIRED, Some(name("a")))
    );
}

#[test]
fn a_signal_that_is_first_leaves_the_deadline_nothing() {
    let mut harness =
        Harness::start(&declared(wait_for("paid").deadline(hours(1))).on_error("a", COMPLETE).build().unwrap());
    harness.begin("a");
    harness.pass(hours(2));
    assert_eq!(receipt(&mut harness, &paid(1)), received("a"), "it counts as long as the expiry is not committed");
    assert!(harness.intent("a").is_none());
    let late = harness.begin("a");
    assert_eq!(late.events(), Vec::<&str>::new(), "a redelivered deadline does nothing");
    assert_eq!(harness.outstanding(), ["b"]);
}

#[test]
fn conditions_see_the_payload_of_a_signal() {
    let declared = declared(wait_for("paid")).then_if("a", when("amount").at_least(100), COMPLETE).build().unwrap();
    for (amount, status) in [(99, RunStatus::Running), (100, RunStatus::Completed)] {
        let mut harness = Harness::start(&declared);
        harness.begin("a");
        let decided = send(&mut harness, &paid(amount)).unwrap();
        assert_eq!(harness.status(), status);
        assert!(decided.events().contains(&"step.routed"));
    }
}

#[test]
fn a_payload_too_large_for_the_context_is_refused_while_a_step_waits() {
    let mut harness = Harness::start(&built());
    harness.limits = Limits { context: 10, ..Limits::default() };
    harness.begin("a");
    let refused = send(&mut harness, &paid(1)).unwrap_err();
    assert!(matches!(refused, SignalRefused::ContextTooLarge { limit: 10, .. }), "{refused}");
    assert!(harness.state.signals.is_empty() && harness.step_status("a") == Some(StepStatus::Paused));
}

#[test]
fn an_early_payload_too_large_for_the_context_fails_the_wait_and_is_kept() {
    let declared = declared(wait_for("paid")).on_error("a", "c").step(step("c")).then("c", COMPLETE);
    let mut harness = Harness::start(&declared.build().unwrap());
    harness.limits = Limits { context: 10, ..Limits::default() };
    receipt(&mut harness, &paid(1));
    harness.begin("a");
    assert_eq!(harness.step("a").last_error.clone().unwrap().kind, FailureKind::CONTEXT_TOO_LARGE);
    assert_eq!((harness.outstanding(), harness.state.signals[0].is_buffered()), (vec!["c".to_owned()], true));
}

#[test]
fn a_payload_that_its_key_makes_too_large_or_too_deep_is_refused_at_once() {
    let wait = Step::new("a", wait_for("paid")).output("payment");
    let declared = workflow().signal(Signal::new("paid").field(Field::map("data"))).step(wait).step(step("b"));
    let mut harness = Harness::start(&declared.chain(["a", "b"]).build().unwrap());
    let deep = (0..62).fold(json!(1), |inner, _| json!([inner]));
    let refused = send(&mut harness, &sent("paid", json!({ "data": { "deep": deep } }))).unwrap_err();
    assert!(matches!(refused, SignalRefused::Unacceptable { .. }), "{refused}");
    assert!(harness.state.signals.is_empty());
}

#[test]
fn a_kept_signal_that_the_adopting_version_does_not_accept_fails_the_wait() {
    let with = |field: Field| {
        let wait = Step::new("w", wait_for("paid"));
        workflow()
            .signal(Signal::new("paid").field(field))
            .step(step("a"))
            .step(wait)
            .chain(["a", "w"])
            .build()
            .unwrap()
    };
    let (old, new) = (with(Field::integer("amount")), with(Field::string("amount")));
    let mut harness = Harness::start(&old);
    receipt(&mut harness, &paid(1));
    harness.decide(|work, jobs| adopt(work, new.definition(), jobs)).unwrap();
    harness.definition = new.definition().clone();
    harness.complete("a", json!({}));
    harness.begin("w");
    assert_eq!(harness.state.run.last_error.clone().unwrap().kind, FailureKind::INVALID_OUTPUT);
}

#[test]
fn no_person_decides_about_a_wait() {
    let mut harness = Harness::start(&built());
    harness.begin("a");
    let attribution = Attribution::default;
    let refused = harness.decide(|work, jobs| unblock(work, attribution(), jobs)).unwrap_err();
    let expected = CommandRefused::OtherDecision { step: name("a"), expected: "signalled" };
    assert_eq!(refused, expected);
    let approve = harness.decide(|work, jobs| decide(work, ApprovalDecision::Approve, attribution(), jobs));
    assert_eq!(approve.unwrap_err(), expected);
}

#[test]
fn a_second_decision_before_a_wait_is_answered_with_the_first() {
    let declared = workflow()
        .signal(Signal::new("paid"))
        .step(Step::new("review", approval()))
        .step(Step::new("a", wait_for("paid")))
        .chain(["review", "a"])
        .on_error("review", FAIL)
        .build()
        .unwrap();
    let mut harness = Harness::start(&declared);
    harness.begin("review");
    let approve = |harness: &mut Harness| {
        let attribution = Attribution { actor: Some("ann".to_owned()), ..Attribution::default() };
        harness.decide(|work, jobs| decide(work, ApprovalDecision::Approve, attribution, jobs))
    };
    approve(&mut harness).unwrap();
    harness.begin("a");
    let again = approve(&mut harness).unwrap_err();
    let CommandRefused::InvalidTransition(error) = &again else { panic!("{again}") };
    assert_eq!(error.decided.as_ref().unwrap().actor.as_deref(), Some("ann"));
}

#[test]
fn a_signal_for_a_second_wait_is_not_late() {
    let declared = workflow()
        .signal(Signal::new("paid"))
        .step(Step::new("a", wait_for("paid").deadline(hours(1)).then_to("b")))
        .step(Step::new("b", wait_for("paid")))
        .then("a", COMPLETE)
        .then("b", COMPLETE)
        .build()
        .unwrap();
    let mut harness = Harness::start(&declared);
    harness.begin("a");
    harness.pass(hours(1));
    harness.begin("a");
    harness.begin("b");
    assert_eq!(receipt(&mut harness, &sent("paid", Value::Null)), received("b"));
    assert_eq!(trail(&harness)[0].0, AuditKind::SignalReceived);
}

#[test]
fn cancelling_ends_the_wait() {
    let mut harness =
        Harness::start(&declared(wait_for("paid").deadline(hours(1))).on_error("a", COMPLETE).build().unwrap());
    harness.begin("a");
    harness.cancel().unwrap();
    assert_eq!((harness.status(), harness.step_status("a")), (RunStatus::Cancelled, Some(StepStatus::Cancelled)));
    assert!(harness.outstanding().is_empty());
    assert_eq!(harness.tries("a"), [(1, AttemptStatus::Failed)]);
}

#[test]
fn a_successor_that_is_refused_fails_the_run_as_after_any_step() {
    let mut harness = Harness::start(&built());
    harness.begin("a");
    harness.executor = Executor::RefusesForGood;
    assert_eq!(receipt(&mut harness, &paid(1)), received("a"), "the sender has done its part");
    assert_eq!(harness.state.run.last_error.clone().unwrap().kind, FailureKind::SUCCESSOR_REFUSED);
}

#[test]
fn a_resumed_run_has_the_signals_of_the_failed_one() {
    let keyed = |amount, key: &str| SentSignal { dedup_key: Some(key.to_owned()), ..paid(amount) };
    let mut harness = Harness::start(&built());
    harness.begin("a");
    receipt(&mut harness, &keyed(1, "one"));
    receipt(&mut harness, &keyed(2, "two"));
    harness.fail("b");
    assert_eq!(trail(&harness).pop().unwrap().2, json!({ "paid": 1 }));
    let plan = resumption(&harness.state, &harness.definition).unwrap();
    let new = new_run((*harness.state.run.payload).clone());
    let started = resume(
        harness.definition.clone(),
        &plan,
        new,
        None,
        inputs(harness.now, 99),
        Limits::default(),
        &Executor::Accepts,
    );
    let decision = started.unwrap().close();
    assert_eq!(decision.state.signals, harness.state.signals);
    assert_eq!(decision.commit.signals.as_ref(), Some(&harness.state.signals));
    let mut resumed = Harness::on(harness.definition.clone(), &decision);
    let mut work = resumed.open();
    assert_eq!(signal(&mut work, &keyed(9, "one"), &Executor::Accepts), Ok(SignalReceipt::Duplicate));
}

#[test]
fn a_wait_keeps_its_edges_and_its_signal_when_its_run_is_adopted() {
    let mut harness =
        Harness::start(&declared(wait_for("paid").deadline(hours(1))).on_error("a", COMPLETE).build().unwrap());
    harness.begin("a");
    let renamed = workflow()
        .signal(Signal::new("paid_in_full"))
        .step(Step::new("a", wait_for("paid_in_full")))
        .step(step("b"))
        .chain(["a", "b"])
        .build()
        .unwrap();
    let missing = Difference::SignalMissing { step: name("a"), signal: "paid".parse().unwrap() };
    assert_eq!(differences(&harness.state, &harness.definition, renamed.definition()), [missing]);
    let other = declared(wait_for("seen")).step(step("c")).then("c", COMPLETE).on_error("a", "c").build().unwrap();
    harness.decide(|work, jobs| adopt(work, other.definition(), jobs)).unwrap();
    harness.definition = other.definition().clone();
    assert_eq!(receipt(&mut harness, &sent("seen", Value::Null)), SignalReceipt::Buffered, "it waits for what it did");
    harness.pass(hours(1));
    harness.begin("a");
    assert_eq!(harness.status(), RunStatus::Completed, "the error transition is the one of its beginning");
}
