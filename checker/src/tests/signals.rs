//! What the rules find about signals.

use squidmesh_core::command::SignalReceipt;
use squidmesh_core::run::{FailureKind, ReceivedSignal};
use squidmesh_core::testing::MemoryStore;
use squidmesh_core::{Field, Signal as Declared, hours, wait_for};

use super::transitions::judged;
use super::*;

/// Returns a history in which one run takes a signal, waits for another in vain, takes it in the next step and ends
/// with a third one; one waits for its first signal; and one has waited in vain, and waits on.
fn signalled() -> (Evidence, [RunId; 3]) {
    let deliveries = Workflow::builder("deliveries")
        .trigger(Trigger::manual("go"))
        .signal(Declared::new("proceed").field(Field::integer("number")))
        .signal(Declared::new("paid").field(Field::integer("number")))
        .step(Step::new("packed", wait_for("proceed")).output("packed"))
        .step(Step::new("paid", wait_for("paid").deadline(hours(1)).then_to("remind")))
        .step(Step::new("remind", wait_for("paid")))
        .then("packed", "paid")
        .then("paid", COMPLETE)
        .then("remind", COMPLETE)
        .build()
        .unwrap();
    let clock = Arc::new(ManualClock::default());
    let (store, executor, sink) = (MemoryStore::new(clock.clone()), MemoryExecutor::new(clock), RecordingSink::new());
    let builder = Squidmesh::builder(store.clone()).executor(executor.clone()).event_sink(sink.clone());
    let mesh = builder.workflow(deliveries).build().unwrap();
    let mut calls = Vec::new();
    let start = |key: &str| block_on(mesh.start_run("deliveries", &json!({})).idempotency_key(key)).unwrap().id;
    let runs = ["first", "second", "third"].map(start);
    let workflow = WorkflowName::new("deliveries").unwrap();
    for (key, run) in ["first", "second", "third"].into_iter().zip(runs) {
        let act = Act::Start { workflow: workflow.clone(), key: Some(key.to_owned()) };
        calls.push(Call { act, answer: Answer::Ok(run) });
    }
    let mut send = |run: RunId, name: &str, key: Option<&str>| {
        let number = calls.len() as u64;
        let call = mesh.signal_run(run, name, &json!({ "number": number }));
        let answer = match key {
            Some(key) => block_on(call.dedup_key(key)),
            None => block_on(call),
        };
        let answer = answer.unwrap();
        let sent = Signal { to: Addressee::Run(run), name: name.into(), dedup_key: key.map(str::to_owned), number };
        calls.push(Call { act: Act::Signal(sent), answer: Answer::Signalled(answer.run, answer.receipt) });
    };
    send(runs[0], "proceed", Some("one"));
    send(runs[0], "proceed", Some("one"));
    send(runs[0], "proceed", None);
    send(runs[2], "proceed", None);
    block_on(executor.run_to_rest(&mesh)).unwrap();
    send(runs[0], "paid", None);
    block_on(executor.run_to_rest(&mesh)).unwrap();

    let mut evidence = block_on(Evidence::read(&store)).unwrap();
    evidence.events = sink.events();
    (evidence.calls, evidence.calls_complete) = (calls, true);
    (evidence, runs)
}

#[test]
fn a_sound_history_of_signals_breaks_no_rule() {
    let (evidence, runs) = signalled();
    assert_eq!(check_at_rest(&evidence), []);
    let statuses = runs.map(|id| evidence.runs[&id].state.run.status);
    assert_eq!(statuses, [RunStatus::Completed, RunStatus::Running, RunStatus::Running]);
    let third = &evidence.runs[&runs[2]].state.steps;
    assert_eq!(third[&name("paid")].last_error.as_ref().unwrap().kind, FailureKind::EXPIRED);
    assert_eq!(third[&name("remind")].status, StepStatus::Paused);
    let answers = evidence.calls.iter().filter_map(|call| match &call.answer {
        Answer::Signalled(_, receipt) => Some(receipt.clone()),
        _ => None,
    });
    let step = name("remind");
    assert_eq!(
        answers.collect::<Vec<_>>(),
        [
            SignalReceipt::Buffered,
            SignalReceipt::Duplicate,
            SignalReceipt::Buffered,
            SignalReceipt::Buffered,
            SignalReceipt::Received { step }
        ]
    );
}

/// Breaks a sound history, and expects a violation of this rule.
fn broken(rule: &str, breaks: impl FnOnce(&mut Evidence, &[RunId; 3])) {
    let (mut evidence, runs) = signalled();
    breaks(&mut evidence, &runs);
    let found = check_at_rest(&evidence);
    assert!(found.iter().any(|violation| violation.rule == rule), "{rule}: {found:?}");
}

/// Returns the place of the call that sent the signal with this number.
fn call(evidence: &mut Evidence, number: u64) -> &mut Call {
    let is_it = |call: &&mut Call| matches!(&call.act, Act::Signal(sent) if sent.number == number);
    evidence.calls.iter_mut().find(is_it).unwrap()
}

#[test]
fn an_acknowledged_signal_that_is_lost_is_found() {
    for place in 0..3 {
        broken(rules::SENDERS, |evidence, runs| drop(run(evidence, &runs[0]).state.signals.remove(place)));
    }
}

#[test]
fn a_signal_that_was_not_sent_or_was_refused_is_found() {
    for number in [3, 5, 7] {
        broken(rules::SENDERS, |evidence, _| call(evidence, number).answer = Answer::Refused("no".into()));
    }
    broken(rules::SENDERS, |evidence, runs| {
        let signals = &mut run(evidence, &runs[1]).state.signals;
        signals.push(buffered("proceed", None, 90));
    });
}

#[test]
fn a_signal_that_was_received_twice_is_found() {
    broken(rules::SENDERS, |evidence, runs| {
        let signals = &mut run(evidence, &runs[0]).state.signals;
        signals.push(signals[1].clone());
    });
}

#[test]
fn a_signal_at_another_run_than_the_one_it_was_sent_to_is_found() {
    broken(rules::SENDERS, |evidence, runs| {
        let Act::Signal(sent) = &mut call(evidence, 5).act else { panic!("not a signal") };
        sent.to = Addressee::Run(runs[1]);
    });
    broken(rules::SENDERS, |evidence, _| {
        let Act::Signal(sent) = &mut call(evidence, 5).act else { panic!("not a signal") };
        let workflow = WorkflowName::new("deliveries").unwrap();
        sent.to = Addressee::Key { workflow, key: "second".into(), starts: false };
    });
}

#[test]
fn a_duplicate_of_nothing_is_found() {
    broken(rules::SENDERS, |evidence, runs| run(evidence, &runs[0]).state.signals[0].dedup_key = None);
}

#[test]
fn another_step_than_the_sender_was_answered_is_found() {
    broken(rules::SENDERS, |evidence, runs| {
        call(evidence, 7).answer = Answer::Signalled(runs[0], SignalReceipt::Received { step: name("packed") });
    });
}

#[test]
fn a_resumption_without_the_signals_of_the_run_that_failed_is_found() {
    broken(rules::SENDERS, |evidence, runs| run(evidence, &runs[1]).state.run.resumed_from = Some(runs[0]));
}

#[test]
fn a_deadline_that_passed_without_a_trace_is_found() {
    broken(rules::DECISIONS, |evidence, runs| {
        run(evidence, &runs[2]).history.audit.retain(|entry| entry.kind != AuditKind::Expired);
    });
}

#[test]
fn a_run_that_waits_for_nothing_is_found() {
    broken(rules::QUIESCENCE, |evidence, runs| {
        step_run(evidence, &runs[1], "packed").continuation.as_mut().unwrap().signal = None;
    });
}

/// Returns a run that waits, with a signal for another step.
fn waiting() -> RunSnapshot {
    let (evidence, runs) = signalled();
    let mut state = evidence.runs[&runs[1]].state.clone();
    state.signals = vec![buffered("paid", Some("a"), 1), buffered("paid", None, 2)];
    state
}

fn buffered(signal: &str, key: Option<&str>, number: u64) -> ReceivedSignal {
    ReceivedSignal {
        id: serde_json::from_value(json!(format!("{number:032x}"))).unwrap(),
        name: signal.parse().unwrap(),
        dedup_key: key.map(str::to_owned),
        payload: Some(Arc::new(Map::from_iter([("number".to_owned(), json!(number))]))),
        taken_by: None,
        at: Timestamp::EPOCH,
    }
}

fn entry(kind: AuditKind, metadata: Value) -> AuditEvent {
    let mut entry = AuditEvent::new(kind, 9, Timestamp::EPOCH);
    entry.metadata = metadata.as_object().cloned();
    entry
}

/// Has the step that waits for a signal take the one at this place, as it was before.
fn take(state: &mut RunSnapshot, place: usize) {
    let number = state.signals[place].payload.take().unwrap();
    state.signals[place].taken_by = Some(name("packed"));
    let step = state.steps.get_mut(&name("packed")).unwrap();
    (step.status, step.sequence) = (StepStatus::Completed, Some(99));
    step.output = Some(Arc::new(Map::from_iter([("packed".to_owned(), Value::Object((*number).clone()))])));
}

/// Returns the run with its step waiting for the signals that it has not taken, as if it began to wait only now.
fn about_to_take() -> RunSnapshot {
    let mut state = waiting();
    let step = state.steps.get_mut(&name("packed")).unwrap();
    step.continuation.as_mut().unwrap().signal = Some("paid".parse().unwrap());
    state
}

#[test]
fn a_signal_is_taken_by_the_step_that_waits_for_it_the_oldest_first() {
    let state = about_to_take();
    assert_eq!(judged(&state, &[], |after, _| take(after, 0)), [""; 0]);
    assert_eq!(judged(&state, &[], |after, _| take(after, 1)), [rules::SIGNALS]);
    // It waits for another one.
    assert_eq!(judged(&waiting(), &[], |after, _| take(after, 0)), [rules::SIGNALS]);
    let changed = |change: fn(&mut RunSnapshot)| {
        judged(&state, &[], |after, _| {
            take(after, 0);
            change(after);
        })
    };
    let step = |after: &mut RunSnapshot| after.steps.get_mut(&name("packed")).unwrap().output = Some(Arc::default());
    assert_eq!(changed(step), [rules::SIGNALS]);
    assert!(changed(|after| after.signals[0].payload = Some(Arc::default())).contains(&rules::SIGNALS));
    assert!(changed(|after| after.signals[0].taken_by = None).contains(&rules::SIGNALS));
    assert!(changed(|after| after.signals[1] = after.signals[0].clone()).contains(&rules::SIGNALS));
}

#[test]
fn a_signal_that_vanishes_or_changes_is_found() {
    let state = waiting();
    let found = |change: fn(&mut RunSnapshot)| judged(&state, &[], |after, _| change(after));
    assert_eq!(found(|_| ()), [""; 0]);
    assert!(found(|after| drop(after.signals.pop())).contains(&rules::SIGNALS));
    assert!(found(|after| after.signals.swap(0, 1)).contains(&rules::SIGNALS));
    assert!(found(|after| after.signals[0].dedup_key = None).contains(&rules::SIGNALS));
    assert!(found(|after| after.signals[0].payload = Some(Arc::default())).contains(&rules::SIGNALS));
}

/// Receives a signal, as the trail says.
fn receive(signal: ReceivedSignal, entry: AuditEvent) -> impl FnOnce(&mut RunSnapshot, &mut Commit) {
    move |after, commit| {
        after.signals.push(signal);
        commit.audit.push(entry);
    }
}

#[test]
fn a_signal_that_a_run_may_not_receive_is_found() {
    let state = waiting();
    let noted = |key: &str| entry(AuditKind::SignalReceived, json!({ "signal": "paid", "dedup_key": key }));
    let sent = |key: &'static str| receive(buffered("paid", Some(key), 3), noted(key));
    assert_eq!(judged(&state, &[], sent("b")), [""; 0]);
    // Under this key one has come.
    assert_eq!(judged(&state, &[], sent("a")), [rules::SIGNALS]);
    let mut over = state.clone();
    (over.run.status, over.run.finished_at) = (RunStatus::Cancelling, None);
    assert_eq!(judged(&over, &[], sent("b")), [rules::SIGNALS]);
    // A step waits for it, and did not take it.
    let mut noted = entry(AuditKind::SignalReceived, json!({ "signal": "proceed" }));
    noted.step = Some(name("packed"));
    assert_eq!(judged(&state, &[], receive(buffered("proceed", None, 3), noted)), [rules::SIGNALS]);
}

#[test]
fn a_signal_that_the_trail_does_not_have_is_found() {
    let state = waiting();
    let new = || buffered("paid", Some("b"), 3);
    let metadata = || json!({ "signal": "paid", "dedup_key": "b" });
    let nothing = |after: &mut RunSnapshot, _: &mut Commit| after.signals.push(new());
    assert_eq!(judged(&state, &[], nothing), [rules::SIGNAL_TRAIL]);
    let other = [
        entry(AuditKind::SignalReceived, json!({ "signal": "paid" })),
        entry(AuditKind::SignalReceived, json!({ "signal": "proceed", "dedup_key": "b" })),
        entry(AuditKind::SignalLate, metadata()),
        AuditEvent { step: Some(name("packed")), ..entry(AuditKind::SignalReceived, metadata()) },
    ];
    for entry in other {
        assert_eq!(judged(&state, &[], receive(new(), entry)), [rules::SIGNAL_TRAIL]);
    }
    let noted = entry(AuditKind::SignalReceived, metadata());
    assert_eq!(judged(&state, &[], |_, commit| commit.audit.push(noted)), [rules::SIGNAL_TRAIL]);
}

#[test]
fn a_late_signal_that_the_trail_does_not_call_late_is_found() {
    let (evidence, runs) = signalled();
    let mut state = evidence.runs[&runs[2]].state.clone();
    // Nothing waits for another one.
    state.steps.remove(&name("remind"));
    let sent = |kind| receive(buffered("paid", None, 3), entry(kind, json!({ "signal": "paid" })));
    assert_eq!(judged(&state, &[], sent(AuditKind::SignalLate)), [""; 0]);
    assert_eq!(judged(&state, &[], sent(AuditKind::SignalReceived)), [rules::SIGNAL_TRAIL]);
}

#[test]
fn what_a_run_leaves_and_does_not_record_is_found() {
    let state = waiting();
    let end = |metadata: Value| {
        move |after: &mut RunSnapshot, commit: &mut Commit| {
            after.run.status = RunStatus::Failed;
            if !metadata.is_null() {
                commit.audit.push(entry(AuditKind::SignalsUnconsumed, metadata));
            }
        }
    };
    assert_eq!(judged(&state, &[], end(json!({ "paid": 2 }))), [""; 0]);
    assert_eq!(judged(&state, &[], end(json!({ "paid": 1 }))), [rules::SIGNAL_TRAIL]);
    assert_eq!(judged(&state, &[], end(Value::Null)), [rules::SIGNAL_TRAIL]);
    let early = |_: &mut RunSnapshot, commit: &mut Commit| {
        commit.audit.push(entry(AuditKind::SignalsUnconsumed, json!({ "paid": 2 })));
    };
    assert_eq!(judged(&state, &[], early), [rules::SIGNAL_TRAIL]);
}
