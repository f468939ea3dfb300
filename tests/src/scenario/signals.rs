//! Signals: facts from outside, and the steps that wait for them (SPEC 17).

use std::sync::Arc;

use serde_json::{Map, Value, json};
use squidmesh_core::command::{CommandError, CommandRefused, SignalAnswer, SignalError, SignalReceipt, SignalRefused};
use squidmesh_core::inspect::{NextAction, Reason, RunDetails, StepState};
use squidmesh_core::run::{AuditKind, FailureKind};
use squidmesh_core::testing::sample;
use squidmesh_core::{COMPLETE, FAIL, Field, RunId, RunStatus, Signal, Step, Workflow, wait_for, when};

use super::{done, nothing, workflow};
use crate::world::{World, attempts, states, step};
use crate::{Backend, Gate, Journal};

/// A signal about a payment.
pub(super) const PAID: &str = "payment_received";

/// Declares the signal about a payment.
pub(super) fn payment() -> Signal {
    Signal::new(PAID).field(Field::integer("amount")).field(Field::string("currency").default("EUR"))
}

/// Returns the payload of a payment.
pub(super) fn paid(amount: u32) -> Value {
    json!({ "amount": amount })
}

/// await_payment → ship
pub(super) fn awaiting(journal: &Arc<Journal>) -> Workflow {
    workflow("checkout")
        .signal(payment())
        .step(Step::new("await_payment", wait_for(PAID)).output("payment"))
        .step(journal.step("ship", done))
        .then("await_payment", "ship")
        .then("ship", COMPLETE)
        .build()
        .unwrap()
}

/// Waits for payments one after another: first → second → third.
pub(super) fn instalments() -> Workflow {
    workflow("instalments")
        .signal(payment())
        .step(Step::new("first", wait_for(PAID)).output("first"))
        .step(Step::new("second", wait_for(PAID)).output("second"))
        .step(Step::new("third", wait_for(PAID)).output("third"))
        .then("first", "second")
        .then("second", "third")
        .then("third", COMPLETE)
        .build()
        .unwrap()
}

pub(super) fn received(step: &str) -> SignalReceipt {
    SignalReceipt::Received { step: sample::step_name(step) }
}

/// Starts a run of the workflow and lets it come to its wait.
pub(super) async fn waiting(world: &World, name: &str, at: &str) -> RunId {
    let run = world.start_run(name, &nothing()).await.unwrap().id;
    waits_at(world, run, at).await;
    run
}

/// Delivers what is due by hand until a step of the run waits: no time passes, and so no deadline.
pub(super) async fn waits_at(world: &World, run: RunId, name: &str) -> RunDetails {
    for _ in 0..10_000 {
        let details = world.look(run).await;
        if step(&details, name).state == StepState::Paused {
            return details;
        }
        for claim in world.runner().claim(10).await.unwrap().claims {
            world.runner().deliver(claim).await;
        }
    }
    panic!("step {name} never waits: {:#?}", world.look(run).await);
}

/// Sends a payment to a run, and expects that the run accepts it.
pub(super) async fn send(world: &World, run: RunId, amount: u32) -> SignalReceipt {
    let SignalAnswer { run: by, receipt, .. } = world.signal_run(run, PAID, &paid(amount)).await.unwrap();
    assert_eq!(by, run);
    receipt
}

/// Returns a name as text, if there is one.
pub(super) fn named<N: AsRef<str>>(name: &Option<N>) -> Option<&str> {
    name.as_ref().map(AsRef::as_ref)
}

/// Returns the kinds of the entries in the audit trail.
pub(super) fn audited(details: &RunDetails) -> Vec<AuditKind> {
    details.audit.iter().map(|entry| entry.kind).collect()
}

/// Returns the amounts of the signals that no step has taken, in the order of arrival.
pub(super) fn buffered(details: &RunDetails) -> Vec<Value> {
    let buffered = details.signals.iter().map(|signal| &signal.received).filter(|signal| signal.is_buffered());
    buffered.map(|signal| signal.payload.as_ref().expect("it is kept")["amount"].clone()).collect()
}

pub async fn the_payload_of_a_signal_is_the_output_of_the_step_that_waits(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([awaiting(&journal)]);
    let run = waiting(&world, "checkout", "await_payment").await;
    let metadata = Map::from_iter([("provider".to_owned(), json!("bank"))]);
    let payment = json!({ "amount": 42, "currency": "pieces of eight" });
    let signal = world.signal_run(run, PAID, &payment).dedup_key("evt_9").actor("webhook").metadata(metadata.clone());
    let answer = signal.await.unwrap();
    assert_eq!((answer.run, answer.receipt), (run, received("await_payment")));
    let details = world.settle(run).await;
    assert_eq!((details.run.status, attempts(&details, "await_payment")), (RunStatus::Completed, vec!["completed"]));
    assert_eq!(details.context["payment"], payment);
    assert_eq!(journal.of("ship")[0].input["payment"], payment, "the next step sees it");
    let [view] = &details.signals[..] else { panic!("one signal: {:?}", details.signals) };
    let signal = &view.received;
    assert!(view.is_declared);
    assert_eq!((signal.name.as_str(), signal.dedup_key.as_deref()), (PAID, Some("evt_9")));
    assert_eq!((named(&signal.taken_by), signal.payload.as_ref()), (Some("await_payment"), None));
    let [entry] = &details.audit[..] else { panic!("one entry: {:?}", details.audit) };
    assert_eq!((entry.kind, entry.actor.as_deref()), (AuditKind::SignalReceived, Some("webhook")));
    assert_eq!(named(&entry.step), Some("await_payment"));
    let expected = json!({ "signal": PAID, "dedup_key": "evt_9", "metadata": metadata });
    assert_eq!(Value::from(entry.metadata.clone().unwrap()), expected);
    let events = world.sink.of_run(run);
    assert!(events.iter().any(|event| event.kind.name() == "signal.received"));
    assert!(!format!("{events:?}").contains("pieces of eight"), "no event carries a payload");
}

pub async fn a_run_that_waits_for_a_signal_stays_running_and_says_so(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([awaiting(&journal)]);
    let run = waiting(&world, "checkout", "await_payment").await;
    let details = world.look(run).await;
    assert_eq!(states(&details), [StepState::Paused, StepState::Waiting]);
    assert_eq!((details.run.status, details.intents), (RunStatus::Running, vec![]), "nothing is left to deliver");
    assert!(details.audit.is_empty(), "nobody has acted: {:?}", details.audit);
    assert!(world.runner().claim(10).await.unwrap().claims.is_empty(), "no worker is needed");
    assert_eq!(world.held_states(), 0, "and no memory");
    let why = world.explain_run(run).await.unwrap();
    assert_eq!((why.reason, why.at), (Reason::WaitingForSignal, None));
    assert_eq!((named(&why.step), named(&why.signal)), (Some("await_payment"), Some(PAID)));
    assert_eq!(why.actions, [NextAction::Signal, NextAction::Cancel]);
    let sentence = "running: waiting_for_signal at await_payment, signal payment_received, attempt 1; \
                    possible: signal, cancel";
    assert_eq!(why.to_string(), sentence);
    for refused in [
        world.unblock_run(run).await,
        world.approve_run(run).actor("ada").await,
        world.reject_run(run).actor("ada").await,
    ] {
        let Err(CommandError::Refused(CommandRefused::OtherDecision { step, expected })) = refused else {
            panic!("no person decides about it: {refused:?}")
        };
        assert_eq!((step.as_str(), expected), ("await_payment", "signalled"));
    }
    assert_eq!(send(&world, run, 1).await, received("await_payment"));
    assert_eq!(world.settle(run).await.run.status, RunStatus::Completed);
}

pub async fn a_signal_sets_idle_workers_to_work(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([awaiting(&journal)]);
    world
        .working(async {
            for amount in 1..=3 {
                // From the second one on, an idle worker begins the wait in the commit of the start.
                let run = world.start_run("checkout", &nothing()).await.unwrap().id;
                world.until(|event| event.run_id == run && event.kind.name() == "step.started").await;
                assert_eq!(send(&world, run, amount).await, received("await_payment"));
                let details = world.rests(run).await;
                assert_eq!(details.run.status, RunStatus::Completed);
                assert_eq!(details.context["payment"]["amount"], json!(amount));
            }
        })
        .await;
    assert_eq!(journal.steps(), ["ship"; 3]);
}

pub async fn a_wait_outlives_the_process_in_which_it_began(backend: &Backend) {
    let journal = Journal::new();
    let first = backend.world([awaiting(&journal)]);
    let run = waiting(&first, "checkout", "await_payment").await;
    drop(first);
    let second = backend.world([awaiting(&journal)]);
    assert_eq!(send(&second, run, 1).await, received("await_payment"));
    assert_eq!(second.settle(run).await.run.status, RunStatus::Completed);
    assert_eq!(journal.steps(), ["ship"]);
}

pub async fn a_signal_before_the_first_step_of_a_run_is_kept_for_its_wait(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([awaiting(&journal)]);
    let run = world.start_run("checkout", &nothing()).await.unwrap().id;
    assert_eq!(send(&world, run, 7).await, SignalReceipt::Buffered);
    let details = world.look(run).await;
    assert_eq!((details.run.status, states(&details)[0]), (RunStatus::Pending, StepState::Pending));
    assert_eq!((details.signals.len(), details.signals[0].received.taken_by.as_ref()), (1, None));
    assert_eq!((details.audit[0].kind, details.audit[0].step.as_ref()), (AuditKind::SignalReceived, None));
    let details = world.settle(run).await;
    assert_eq!((details.run.status, journal.steps()), (RunStatus::Completed, vec!["ship".to_owned()]));
    assert_eq!(details.context["payment"], json!({ "amount": 7, "currency": "EUR" }), "with its defaults");
    assert_eq!((buffered(&details).len(), named(&details.signals[0].received.taken_by)), (0, Some("await_payment")));
    assert_eq!(audited(&details), [AuditKind::SignalReceived]);
}

pub async fn a_signal_that_comes_while_a_step_runs_is_kept_beside_its_outcome(backend: &Backend) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let waits = gate.clone();
    let slow = journal.slow_step("prepare", move |_, _| {
        let waits = waits.clone();
        async move {
            waits.pass().await;
            Ok(json!({ "prepared": true }))
        }
    });
    let preparing = workflow("preparing")
        .signal(payment())
        .step(slow)
        .step(Step::new("await_payment", wait_for(PAID)).output("payment"))
        .then("prepare", "await_payment")
        .then("await_payment", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([preparing]);
    let run = world.start_run("preparing", &nothing()).await.unwrap().id;
    let details = world
        .working(async {
            gate.arrived(1).await;
            assert_eq!(send(&world, run, 5).await, SignalReceipt::Buffered);
            gate.open();
            world.rests(run).await
        })
        .await;
    assert_eq!((details.run.status, attempts(&details, "prepare")), (RunStatus::Completed, vec!["completed"]));
    assert_eq!((&details.context["prepared"], &details.context["payment"]["amount"]), (&json!(true), &json!(5)));
}

pub async fn early_signals_are_taken_oldest_first_and_one_by_each_wait(backend: &Backend) {
    let world = backend.world([instalments()]);
    let run = world.start_run("instalments", &nothing()).await.unwrap().id;
    for amount in [10, 20] {
        assert_eq!(send(&world, run, amount).await, SignalReceipt::Buffered);
    }
    let details = waits_at(&world, run, "third").await;
    assert_eq!((&details.context["first"]["amount"], &details.context["second"]["amount"]), (&json!(10), &json!(20)));
    assert_eq!(named(&world.explain_run(run).await.unwrap().step), Some("third"));
    assert_eq!(send(&world, run, 30).await, received("third"));
    let details = world.settle(run).await;
    assert_eq!((details.run.status, &details.context["third"]["amount"]), (RunStatus::Completed, &json!(30)));
    let takers: Vec<_> = details.signals.iter().map(|signal| named(&signal.received.taken_by)).collect();
    assert_eq!(takers, [Some("first"), Some("second"), Some("third")]);
}

pub async fn a_wait_takes_no_signal_of_another_name(backend: &Backend) {
    let journal = Journal::new();
    let both = workflow("both")
        .signal(payment())
        .signal(Signal::new("goods_arrived"))
        .step(Step::new("await_goods", wait_for("goods_arrived")))
        .step(Step::new("await_payment", wait_for(PAID)).output("payment"))
        .step(journal.step("ship", done))
        .then("await_goods", "await_payment")
        .then("await_payment", "ship")
        .then("ship", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([both]);
    let run = waiting(&world, "both", "await_goods").await;
    assert_eq!(send(&world, run, 3).await, SignalReceipt::Buffered);
    let details = world.look(run).await;
    assert_eq!((step(&details, "await_goods").state, buffered(&details)), (StepState::Paused, vec![json!(3)]));
    assert_eq!(world.signal_run(run, "goods_arrived", &()).await.unwrap().receipt, received("await_goods"));
    let details = world.settle(run).await;
    assert_eq!((details.run.status, &details.context["payment"]["amount"]), (RunStatus::Completed, &json!(3)));
}

pub async fn a_signal_to_one_run_wakes_no_other(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([awaiting(&journal)]);
    let (one, other) =
        (waiting(&world, "checkout", "await_payment").await, waiting(&world, "checkout", "await_payment").await);
    let before = world.look(other).await;
    assert_eq!(send(&world, one, 1).await, received("await_payment"));
    world.settle(one).await;
    assert_eq!(world.look(other).await, before);
    assert_eq!(journal.steps_of(other), [""; 0]);
}

pub async fn a_payload_chooses_the_way_after_its_wait(backend: &Backend) {
    let journal = Journal::new();
    let choosing = workflow("choosing")
        .signal(payment())
        .step(Step::new("await_payment", wait_for(PAID))) // without a key: its fields are part of the context
        .step(journal.step("ship", done))
        .then_if("await_payment", when("amount").less_than(100), FAIL)
        .then("await_payment", "ship")
        .then("ship", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([choosing]);
    for (amount, early, status) in [(100, false, RunStatus::Completed), (99, true, RunStatus::Failed)] {
        let run = world.start_run("choosing", &nothing()).await.unwrap().id;
        if !early {
            waits_at(&world, run, "await_payment").await;
        }
        send(&world, run, amount).await;
        let details = world.settle(run).await;
        assert_eq!((details.run.status, &details.context["amount"]), (status, &json!(amount)));
        assert!(step(&details, "await_payment").run.as_ref().unwrap().taken.is_some());
        assert!(world.event_names(&details.run).contains(&"step.routed"));
    }
}

pub async fn a_second_signal_under_a_key_changes_nothing(backend: &Backend) {
    let world = backend.world([instalments()]);
    let run = waiting(&world, "instalments", "first").await;
    let send = async |key: &str, amount| {
        world.signal_run(run, PAID, &paid(amount)).dedup_key(key).await.map(|answer| answer.receipt)
    };
    assert_eq!(send("evt_1", 1).await.unwrap(), received("first"));
    for _ in 0..2 {
        let before = world.look(run).await;
        world.sink.take();
        assert_eq!(send("evt_1", 99).await.unwrap(), SignalReceipt::Duplicate, "of one that was taken");
        assert_eq!(world.look(run).await, before);
        assert!(world.sink.take().is_empty());
        waits_at(&world, run, "second").await;
    }
    assert_eq!(send("evt_2", 2).await.unwrap(), received("second"));
    assert_eq!(send("evt_3", 3).await.unwrap(), SignalReceipt::Buffered, "the third wait has not begun");
    let before = world.look(run).await;
    assert_eq!(send("evt_3", 99).await.unwrap(), SignalReceipt::Duplicate, "of one that is kept");
    assert_eq!(world.look(run).await, before);
    let details = world.settle(run).await;
    assert_eq!((details.run.status, &details.context["third"]["amount"]), (RunStatus::Completed, &json!(3)));
    assert_eq!(send("evt_2", 99).await.unwrap(), SignalReceipt::Duplicate, "also after the end of the run");
    assert!(matches!(send("evt_4", 4).await, Err(SignalError::Ended { .. })));
}

pub async fn a_key_counts_for_the_signals_of_one_name(backend: &Backend) {
    let both = workflow("both")
        .signal(payment())
        .signal(Signal::new("goods_arrived"))
        .step(Step::new("await_payment", wait_for(PAID)))
        .step(Step::new("await_goods", wait_for("goods_arrived")))
        .then("await_payment", "await_goods")
        .then("await_goods", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([both]);
    let run = waiting(&world, "both", "await_payment").await;
    let arrived = async || world.signal_run(run, "goods_arrived", &()).dedup_key("A-17").await.unwrap().receipt;
    assert_eq!(arrived().await, SignalReceipt::Buffered);
    assert_eq!(arrived().await, SignalReceipt::Duplicate);
    let paid = world.signal_run(run, PAID, &paid(1)).dedup_key("A-17").await.unwrap();
    assert_eq!(paid.receipt, received("await_payment"));
    assert_eq!(world.settle(run).await.run.status, RunStatus::Completed);
}

pub async fn of_many_signals_at_once_none_is_lost_or_doubled(backend: &Backend) {
    let world = backend.world([instalments()]);
    let run = waiting(&world, "instalments", "first").await;
    let sent = (0..16).map(|number: u32| {
        let mesh = world.mesh.clone();
        // Each is sent twice, as a webhook may be.
        let (amount, key) = (number / 2, format!("evt_{}", number / 2));
        tokio::spawn(async move { mesh.signal_run(run, PAID, &paid(amount)).dedup_key(key).await.unwrap().receipt })
    });
    let mut receipts = Vec::new();
    for sent in sent.collect::<Vec<_>>() {
        receipts.push(sent.await.unwrap());
    }
    let count = |wanted: &SignalReceipt| receipts.iter().filter(|receipt| *receipt == wanted).count();
    let counts = [received("first"), SignalReceipt::Buffered, SignalReceipt::Duplicate].each_ref().map(count);
    assert_eq!(counts, [1, 7, 8], "{receipts:?}");
    let details = world.settle(run).await;
    let taken = ["first", "second", "third"].map(|step| details.context[step]["amount"].clone());
    let mut all: Vec<u64> = taken.iter().chain(&buffered(&details)).map(|amount| amount.as_u64().unwrap()).collect();
    all.sort_unstable();
    assert_eq!((details.run.status, all), (RunStatus::Completed, (0..8).collect()), "each is there once");
    assert_eq!(audited(&details).len(), 8 + 1, "the duplicates leave no trace");
    assert_eq!(details.audit[8].kind, AuditKind::SignalsUnconsumed);
}

/// gives, which nearly fills the context → await_report
fn full(journal: &Arc<Journal>) -> Workflow {
    workflow("full")
        .signal(Signal::new("report").field(Field::string("text")))
        .step(journal.step("gives", |_| Ok(json!("x".repeat(900)))).output("given"))
        .step(Step::new("await_report", wait_for("report")).output("report"))
        .then("gives", "await_report")
        .then("await_report", COMPLETE)
        .build()
        .unwrap()
}

pub async fn a_payload_without_room_in_the_context_is_refused_or_fails_its_wait(backend: &Backend) {
    let world = backend.world_with([full(&Journal::new())], |builder| {
        builder.configure(|config| (config.json.max_bytes, config.max_context_bytes) = (1_200, 1_500))
    });
    let report = |length| json!({ "text": "y".repeat(length) });
    let run = waiting(&world, "full", "await_report").await;
    let before = world.look(run).await;
    let error = world.signal_run(run, "report", &report(700)).await.unwrap_err();
    let SignalError::Refused(SignalRefused::ContextTooLarge { step, limit: 1_500, .. }) = &error else {
        panic!("{error:?}")
    };
    assert_eq!((step.as_str(), world.look(run).await), ("await_report", before), "the sender may send a shorter one");
    assert_eq!(world.signal_run(run, "report", &report(100)).await.unwrap().receipt, received("await_report"));
    assert_eq!(world.settle(run).await.run.status, RunStatus::Completed);
    // How full the context will be is not known when a signal comes early.
    let run = world.start_run("full", &nothing()).await.unwrap().id;
    let early = world.signal_run(run, "report", &report(700)).await.unwrap();
    assert_eq!(early.receipt, SignalReceipt::Buffered);
    let details = world.settle(run).await;
    let error = details.run.last_error.clone().unwrap();
    assert_eq!((details.run.status, error.kind), (RunStatus::Failed, FailureKind::CONTEXT_TOO_LARGE));
    assert_eq!((attempts(&details, "await_report"), details.signals.len()), (vec!["failed"], 1));
    let kept = &details.signals[0].received;
    assert!(kept.is_buffered() && kept.payload.is_some(), "a run that resumes this one receives it again");
    assert_eq!(audited(&details), [AuditKind::SignalReceived, AuditKind::SignalsUnconsumed]);
}
