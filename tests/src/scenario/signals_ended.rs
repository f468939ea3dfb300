//! What becomes of the signals of a run that ends, is resumed, is replayed, or moves to another version (SPEC 17).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use squidmesh_core::command::{SignalError, SignalReceipt, SignalRefused};
use squidmesh_core::deploy::Difference;
use squidmesh_core::inspect::{NextAction, Reason, RunDetails, StepState};
use squidmesh_core::run::AuditKind;
use squidmesh_core::testing::sample;
use squidmesh_core::workflow::WorkflowBuilder;
use squidmesh_core::{COMPLETE, RunId, RunStatus, Signal, Step, StepError, Workflow, ms, secs, wait_for};

use super::signals::{PAID, audited, awaiting, named, paid, payment, received, send, waiting, waits_at};
use super::{done, nothing, workflow};
use crate::world::{World, attempts, step};
use crate::{Backend, Journal};

/// await_payment → ship, which fails as long as it is broken → await_receipt
fn shipping(journal: &Arc<Journal>, broken: &Arc<AtomicBool>) -> Workflow {
    let broken = broken.clone();
    let ship = journal.step("ship", move |_| match broken.load(Ordering::SeqCst) {
        true => Err(StepError::terminal("no van")),
        false => Ok(json!({})),
    });
    workflow("shipping")
        .signal(payment())
        .signal(Signal::new("receipt"))
        .step(Step::new("await_payment", wait_for(PAID)).output("payment"))
        .step(ship)
        .step(Step::new("await_second", wait_for(PAID)).output("second"))
        .then("await_payment", "ship")
        .then("ship", "await_second")
        .then("await_second", COMPLETE)
        .build()
        .unwrap()
}

/// Returns the numbers of signals that the end of a run recorded, by name.
fn unconsumed(details: &RunDetails) -> Vec<Value> {
    let entries = details.audit.iter().filter(|entry| entry.kind == AuditKind::SignalsUnconsumed);
    entries.map(|entry| Value::from(entry.metadata.clone().unwrap())).collect()
}

async fn receipt(world: &World, run: RunId) -> SignalReceipt {
    world.signal_run(run, "receipt", &()).await.unwrap().receipt
}

pub async fn the_end_of_a_run_records_the_signals_that_no_step_took(backend: &Backend) {
    let (journal, broken) = (Journal::new(), Arc::new(AtomicBool::new(false)));
    let world = backend.world([shipping(&journal, &broken)]);
    for status in [RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled] {
        broken.store(status == RunStatus::Failed, Ordering::SeqCst);
        let run = waiting(&world, "shipping", "await_payment").await;
        for _ in 0..2 {
            assert_eq!(receipt(&world, run).await, SignalReceipt::Buffered);
        }
        send(&world, run, 1).await;
        send(&world, run, 2).await;
        let (left, details) = match status {
            RunStatus::Cancelled => {
                world.cancel_run(run).await.unwrap();
                (json!({ PAID: 1, "receipt": 2 }), world.look(run).await)
            }
            RunStatus::Failed => (json!({ PAID: 1, "receipt": 2 }), world.settle(run).await),
            _ => (json!({ "receipt": 2 }), world.settle(run).await),
        };
        assert_eq!((details.run.status, unconsumed(&details)), (status, vec![left]));
        let entry = details.audit.iter().find(|entry| entry.kind == AuditKind::SignalsUnconsumed).unwrap();
        assert_eq!(entry.revision, details.run.revision, "in the commit that ended the run");
        assert!(world.event_names(&details.run).contains(&"signal.unconsumed"));
        let kept = details.signals.iter().filter(|signal| signal.received.is_buffered()).count();
        assert_eq!(kept, if status == RunStatus::Completed { 2 } else { 3 }, "an operator can still see them");
    }
}

pub async fn the_end_of_a_run_that_took_all_its_signals_records_nothing(backend: &Backend) {
    let world = backend.world([awaiting(&Journal::new())]);
    let run = waiting(&world, "checkout", "await_payment").await;
    send(&world, run, 1).await;
    assert_eq!(audited(&world.settle(run).await), [AuditKind::SignalReceived]);
}

pub async fn a_resumed_run_carries_the_signals_and_their_keys(backend: &Backend) {
    let (journal, broken) = (Journal::new(), Arc::new(AtomicBool::new(true)));
    let world = backend.world([shipping(&journal, &broken)]);
    let old = waiting(&world, "shipping", "await_payment").await;
    let keyed = async |run, key: &str, amount| world.signal_run(run, PAID, &paid(amount)).dedup_key(key).await;
    assert_eq!(keyed(old, "evt_1", 1).await.unwrap().receipt, received("await_payment"));
    assert_eq!(keyed(old, "evt_2", 2).await.unwrap().receipt, SignalReceipt::Buffered);
    let failed = world.settle(old).await;
    assert_eq!((failed.run.status, unconsumed(&failed)), (RunStatus::Failed, vec![json!({ PAID: 1 })]));
    broken.store(false, Ordering::SeqCst);
    let run = world.resume_run(old).await.unwrap().id;
    assert_eq!(world.look(run).await.signals, failed.signals);
    for key in ["evt_1", "evt_2"] {
        assert_eq!(keyed(run, key, 99).await.unwrap().receipt, SignalReceipt::Duplicate, "{key}");
    }
    let details = world.settle(run).await;
    assert_eq!((details.run.status, &details.context["second"]["amount"]), (RunStatus::Completed, &json!(2)));
    assert_eq!((named(&details.signals[1].received.taken_by), unconsumed(&details).len()), (Some("await_second"), 0));
    assert_eq!(world.look(old).await, failed, "the failed run keeps what it has");
}

pub async fn a_resumed_run_waits_again_where_a_wait_has_expired(backend: &Backend) {
    let journal = Journal::new();
    let impatient = workflow("impatient")
        .signal(payment())
        .step(Step::new("await_payment", wait_for(PAID).deadline(ms(50))).output("payment"))
        .step(journal.step("ship", done))
        .then("await_payment", "ship")
        .then("ship", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([impatient]);
    let old = world.start_run("impatient", &nothing()).await.unwrap().id;
    assert_eq!(world.settle(old).await.run.status, RunStatus::Failed);
    assert!(world.explain_run(old).await.unwrap().actions.contains(&NextAction::Resume));
    let run = world.resume_run(old).await.unwrap().id;
    waits_at(&world, run, "await_payment").await;
    assert!(world.explain_run(run).await.unwrap().at.is_some(), "with a deadline of its own");
    assert_eq!(send(&world, run, 1).await, received("await_payment"));
    assert_eq!((world.settle(run).await.run.status, journal.steps_of(run).len()), (RunStatus::Completed, 1));
}

pub async fn a_replay_receives_no_signal_of_its_original(backend: &Backend) {
    let (journal, broken) = (Journal::new(), Arc::new(AtomicBool::new(true)));
    let world = backend.world([shipping(&journal, &broken)]);
    let old = waiting(&world, "shipping", "await_payment").await;
    let keyed = async |run| world.signal_run(run, PAID, &paid(1)).dedup_key("evt_1").await.unwrap().receipt;
    assert_eq!(keyed(old).await, received("await_payment"));
    assert_eq!(receipt(&world, old).await, SignalReceipt::Buffered);
    assert_eq!(world.settle(old).await.run.status, RunStatus::Failed);
    let replay = world.replay_run(old).await.unwrap().id;
    assert!(waits_at(&world, replay, "await_payment").await.signals.is_empty(), "it waits for its own");
    assert_eq!(keyed(replay).await, received("await_payment"), "and knows no key of the other");
}

/// Creates a process in which only this version is registered, and adopts runs.
fn adopting(backend: &Backend, version: Workflow) -> World {
    let name = version.definition().name().to_string();
    backend.world_with([version], |builder| builder.configure(|config| config.stranded_after = ms(20)).adopt(name))
}

/// await_payment → the given step
fn paying(journal: &Arc<Journal>, next: &str) -> WorkflowBuilder {
    workflow("paying")
        .signal(payment())
        .step(Step::new("await_payment", wait_for(PAID)).output("payment"))
        .step(journal.step(next, done))
        .then("await_payment", next)
}

pub async fn what_follows_a_wait_is_fixed_when_it_begins(backend: &Backend) {
    let journal = Journal::new();
    let old = paying(&journal, "pack").then("pack", COMPLETE).build().unwrap();
    let new = paying(&journal, "ship").step(journal.step("pack", done)).then("ship", "pack").then("pack", COMPLETE);
    let new = new.build().unwrap();
    let before = backend.world([old.clone()]);
    let runs = [waiting(&before, "paying", "await_payment").await, waiting(&before, "paying", "await_payment").await];
    drop(before);
    let both = backend.world([old, new.clone()]);
    assert_eq!(send(&both, runs[0], 1).await, received("await_payment"));
    let details = both.settle(runs[0]).await;
    assert_eq!((details.run.status, journal.steps_of(runs[0])), (RunStatus::Completed, vec!["pack".to_owned()]));
    drop(both);
    // A process without the run's own version decides about its wait all the same, and adopts what follows.
    let after = adopting(backend, new);
    let why = after.explain_run(runs[1]).await.unwrap();
    assert_eq!((why.reason, why.actions), (Reason::WaitingForSignal, vec![NextAction::Signal, NextAction::Cancel]));
    assert_eq!(send(&after, runs[1], 1).await, received("await_payment"));
    let details = after.settle(runs[1]).await;
    assert_eq!((details.run.status, journal.steps_of(runs[1])), (RunStatus::Completed, vec!["pack".to_owned()]));
}

pub async fn a_version_without_the_awaited_signal_adopts_no_run_that_waits_for_it(backend: &Backend) {
    let journal = Journal::new();
    let old = || {
        workflow("paying")
            .signal(payment())
            .step(Step::new("await_payment", wait_for(PAID).deadline(secs(1)).then_to("remind")).output("payment"))
            .step(journal.step("remind", done))
            .then("await_payment", COMPLETE)
            .then("remind", COMPLETE)
            .build()
            .unwrap()
    };
    let new = workflow("paying")
        .signal(Signal::new("money"))
        .step(Step::new("await_payment", wait_for("money")).output("payment"))
        .step(journal.step("remind", done))
        .then("await_payment", "remind")
        .then("remind", COMPLETE)
        .build()
        .unwrap();
    let before = backend.world([old()]);
    let run = waiting(&before, "paying", "await_payment").await;
    drop(before);
    let after = adopting(backend, new);
    let why = after.explain_run(run).await.unwrap();
    assert_eq!(why.reason, Reason::WaitingForSignal);
    let missing =
        Difference::SignalMissing { step: sample::step_name("await_payment"), signal: sample::signal_name(PAID) };
    assert_eq!(why.definition.unwrap().differences, [missing]);
    let stored = after.look(run).await;
    backend.pass(ms(1_100)).await; // the deadline is due, and stranded
    assert_eq!(after.explain_run(run).await.unwrap().reason, Reason::WaitingForDefinition);
    assert_eq!((after.runner().adopt_stranded().await.unwrap(), after.look(run).await), (0, stored));
    assert_eq!(send(&after, run, 1).await, received("await_payment"), "its own version accepts it");
    assert_eq!(after.status(run).await, RunStatus::Completed);
}

pub async fn an_adopted_run_keeps_its_signals_also_those_its_version_does_not_declare(backend: &Backend) {
    let journal = Journal::new();
    let retried = |journal: &Arc<Journal>| {
        journal.step("prepare", |call| match call.attempt {
            1 => Err(StepError::retryable("not yet").retry_after(ms(200))),
            _ => Ok(json!({})),
        })
    };
    let old = workflow("paying")
        .signal(payment())
        .signal(Signal::new("coupon"))
        .step(retried(&journal))
        .step(Step::new("await_payment", wait_for(PAID)).output("payment"))
        .then("prepare", "await_payment")
        .then("await_payment", COMPLETE)
        .build()
        .unwrap();
    let new = workflow("paying")
        .signal(payment())
        .step(retried(&journal))
        .step(Step::new("await_payment", wait_for(PAID)).output("payment"))
        .step(journal.step("ship", done))
        .then("prepare", "await_payment")
        .then("await_payment", "ship")
        .then("ship", COMPLETE)
        .build()
        .unwrap();
    let before = backend.world([old]);
    let run = before.start_run("paying", &nothing()).await.unwrap().id;
    let claim = before.runner().claim(1).await.unwrap().claims.remove(0);
    before.runner().deliver(claim).await;
    send(&before, run, 6).await;
    before.signal_run(run, "coupon", &()).dedup_key("c-1").await.unwrap();
    drop(before);
    let after = adopting(backend, new);
    backend.pass(ms(250)).await;
    assert_eq!(after.runner().adopt_stranded().await.unwrap(), 1);
    let details = after.look(run).await;
    let shown: Vec<_> = details.signals.iter().map(|view| (view.received.name.as_str(), view.is_declared)).collect();
    assert_eq!(shown, [(PAID, true), ("coupon", false)], "a name that is unknown by now is shown as such");
    let again = async || after.signal_run(run, "coupon", &()).dedup_key("c-1").await;
    assert_eq!(again().await.unwrap().receipt, SignalReceipt::Duplicate);
    let new_one = after.signal_run(run, "coupon", &()).dedup_key("c-2").await.unwrap_err();
    assert!(matches!(new_one, SignalError::Refused(SignalRefused::UnknownSignal { .. })), "{new_one:?}");
    let details = after.settle(run).await;
    assert_eq!((details.run.status, &details.context["payment"]["amount"]), (RunStatus::Completed, &json!(6)));
    assert_eq!((step(&details, "ship").state, attempts(&details, "prepare").len()), (StepState::Completed, 2));
    assert_eq!(unconsumed(&details), [json!({ "coupon": 1 })]);
}
