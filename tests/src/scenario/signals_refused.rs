//! Signals that a run does not accept: nothing of them is stored (SPEC 17).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use squidmesh_core::command::{InvalidActor, SignalError, SignalLimit, SignalReceipt, SignalRefused};
use squidmesh_core::testing::sample;
use squidmesh_core::{COMPLETE, Config, RunId, RunStatus, Signal, Step, StepError, wait_for};

use super::signals::{PAID, awaiting, instalments, paid, payment, received, send, waiting, waits_at};
use super::{nothing, workflow};
use crate::{Backend, Gate, Journal, World};

/// Expects that a run is as it was, and that nothing was emitted.
async fn unchanged(world: &World, run: RunId, send: impl AsyncFnOnce() -> SignalError) -> SignalError {
    let before = world.look(run).await;
    world.sink.take();
    let error = send().await;
    assert_eq!(world.look(run).await, before, "{error}");
    assert!(world.sink.take().is_empty(), "{error}");
    error
}

pub async fn a_signal_that_is_not_declared_is_refused_with_its_meaning(backend: &Backend) {
    let world = backend.world([awaiting(&Journal::new())]);
    let run = waiting(&world, "checkout", "await_payment").await;
    let long = "x".repeat(5_000);
    for (name, meant) in [("payment_recieved", Some(PAID)), ("goods_arrived", None), ("", None), (long.as_str(), None)]
    {
        let error = unchanged(&world, run, async || world.signal_run(run, name, &paid(1)).await.unwrap_err()).await;
        let SignalError::Refused(SignalRefused::UnknownSignal { signal, declared, similar }) = &error else {
            panic!("{error:?}")
        };
        assert_eq!((declared, similar.as_deref()), (&vec![sample::signal_name(PAID)], meant));
        assert!(name.starts_with(signal.as_str()) && signal.len() <= 100, "{signal}");
        assert!(error.to_string().contains(PAID), "what there is instead: {error}");
    }
}

pub async fn a_payload_that_breaks_the_contract_of_its_signal_is_refused(backend: &Backend) {
    let world = backend.world([awaiting(&Journal::new())]);
    let run = waiting(&world, "checkout", "await_payment").await;
    for payload in [json!({}), json!({ "amount": "much" }), json!({ "amount": 1, "more": 2 }), json!([1]), json!(1)] {
        for key in [None, Some("evt_9")] {
            let signal = || world.signal_run(run, PAID, &payload);
            let sent = async || match key {
                Some(key) => signal().dedup_key(key).await.unwrap_err(),
                None => signal().await.unwrap_err(),
            };
            let error = unchanged(&world, run, sent).await;
            let SignalError::Refused(SignalRefused::InvalidPayload { signal, errors }) = &error else {
                panic!("{error:?}")
            };
            assert_eq!((signal.as_str(), errors.len()), (PAID, 1), "{error}");
        }
    }
    let valid = world.signal_run(run, PAID, &paid(1)).dedup_key("evt_9").await.unwrap();
    assert_eq!(valid.receipt, received("await_payment"), "a refused signal does not use up its key");
}

pub async fn what_cannot_be_stored_of_a_signal_is_refused(backend: &Backend) {
    let world = backend.world([awaiting(&Journal::new())]);
    let run = waiting(&world, "checkout", "await_payment").await;
    let long = "x".repeat(2 << 20);
    let signal = || world.signal_run(run, PAID, &paid(1));
    for key in ["", "evt\0", &long[..256]] {
        let error = unchanged(&world, run, async || signal().dedup_key(key).await.unwrap_err()).await;
        assert!(matches!(error, SignalError::InvalidDedupKey), "{error:?}");
    }
    let error = unchanged(&world, run, async || signal().actor(" ").await.unwrap_err()).await;
    assert!(matches!(error, SignalError::Actor(InvalidActor::Missing)), "{error:?}");
    let metadata = Map::from_iter([("text".to_owned(), json!(long))]);
    let error = unchanged(&world, run, async || signal().metadata(metadata).await.unwrap_err()).await;
    assert!(matches!(error, SignalError::Unacceptable { what: "the metadata", .. }), "{error:?}");
    for text in ["a\0b", long.as_str()] {
        let payload = json!({ "amount": 1, "currency": text });
        let sent = async || world.signal_run(run, PAID, &payload).await.unwrap_err();
        let error = unchanged(&world, run, sent).await;
        let SignalError::Refused(SignalRefused::InvalidPayload { errors, .. }) = &error else { panic!("{error:?}") };
        assert!(errors.violation().is_some(), "{error}");
    }
    let no_json = BTreeMap::from([(vec!["a", "b"], 1)]);
    let error = unchanged(&world, run, async || world.signal_run(run, PAID, &no_json).await.unwrap_err()).await;
    assert!(matches!(error, SignalError::UnacceptablePayload(_)), "{error:?}");
    assert_eq!(signal().dedup_key(&long[..255]).await.unwrap().receipt, received("await_payment"));
}

pub async fn a_run_holds_a_bounded_number_of_signals_and_says_when_it_is_full(backend: &Backend) {
    let config = Config::default();
    assert_eq!((config.max_buffered_signals, config.max_buffered_signal_bytes), (100, 4 << 20));
    let world =
        backend.world_with([instalments()], |builder| builder.configure(|config| config.max_buffered_signals = 2));
    let run = world.start_run("instalments", &nothing()).await.unwrap().id;
    for amount in [1, 2] {
        assert_eq!(send(&world, run, amount).await, SignalReceipt::Buffered);
    }
    let keyed = async || world.signal_run(run, PAID, &paid(3)).dedup_key("evt_3").await;
    let error = unchanged(&world, run, async || keyed().await.unwrap_err()).await;
    let limit = SignalLimit::Count(2);
    assert!(matches!(&error, SignalError::Refused(SignalRefused::BufferFull { limit: found }) if *found == limit));
    assert_eq!(error.to_string(), "the run holds 2 signals that no step has taken, and may hold no more");
    // Waits make room: the steps take both, and what they wait for needs none.
    waits_at(&world, run, "third").await;
    assert_eq!(keyed().await.unwrap().receipt, received("third"), "sent again, it counts");
    assert_eq!(world.settle(run).await.run.status, RunStatus::Completed);
}

pub async fn a_run_holds_signals_of_a_bounded_size_together(backend: &Backend) {
    let world = backend.world_with([instalments()], |builder| {
        builder.configure(|config| (config.json.max_bytes, config.max_buffered_signal_bytes) = (200, 200))
    });
    let run = world.start_run("instalments", &nothing()).await.unwrap().id;
    let payload = |length| json!({ "amount": 1, "currency": "x".repeat(length) });
    let send = async |length| world.signal_run(run, PAID, &payload(length)).await;
    assert_eq!(send(100).await.unwrap().receipt, SignalReceipt::Buffered);
    let error = unchanged(&world, run, async || send(100).await.unwrap_err()).await;
    let limit = SignalLimit::Bytes(200);
    assert!(matches!(&error, SignalError::Refused(SignalRefused::BufferFull { limit: found }) if *found == limit));
    assert_eq!(send(10).await.unwrap().receipt, SignalReceipt::Buffered, "a smaller one has room");
    waits_at(&world, run, "third").await;
    assert_eq!(send(100).await.unwrap().receipt, received("third"));
}

pub async fn a_full_buffer_still_takes_what_a_step_waits_for_and_knows_a_duplicate(backend: &Backend) {
    let both = workflow("both")
        .signal(payment())
        .signal(Signal::new("goods_arrived"))
        .step(Step::new("await_payment", wait_for(PAID)))
        .step(Step::new("await_goods", wait_for("goods_arrived")))
        .then("await_payment", "await_goods")
        .then("await_goods", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world_with([both], |builder| builder.configure(|config| config.max_buffered_signals = 1));
    let run = waiting(&world, "both", "await_payment").await;
    let arrived = async |key: &str| world.signal_run(run, "goods_arrived", &()).dedup_key(key).await;
    assert_eq!(arrived("evt_1").await.unwrap().receipt, SignalReceipt::Buffered);
    assert!(matches!(arrived("evt_2").await, Err(SignalError::Refused(SignalRefused::BufferFull { .. }))));
    assert_eq!(arrived("evt_1").await.unwrap().receipt, SignalReceipt::Duplicate);
    assert_eq!(send(&world, run, 1).await, received("await_payment"));
    assert_eq!(world.settle(run).await.run.status, RunStatus::Completed);
}

pub async fn a_signal_to_an_unknown_run_is_not_found(backend: &Backend) {
    let world = backend.world([awaiting(&Journal::new())]);
    let unknown = sample::run_id(7);
    let error = world.signal_run(unknown, PAID, &paid(1)).await.unwrap_err();
    assert!(matches!(&error, SignalError::NotFound(found) if found.run == unknown), "{error:?}");
}

pub async fn a_run_that_has_ended_receives_no_signal_and_says_who_resumes_it(backend: &Backend) {
    let journal = Journal::new();
    let fragile = workflow("fragile")
        .signal(payment())
        .step(Step::new("await_payment", wait_for(PAID)))
        .step(journal.step("ship", |_| Err(StepError::terminal("no van"))))
        .then("await_payment", "ship")
        .then("ship", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([awaiting(&journal), fragile]);
    let mut ended = Vec::new();
    for (name, status) in [("checkout", RunStatus::Completed), ("fragile", RunStatus::Failed)] {
        let run = waiting(&world, name, "await_payment").await;
        send(&world, run, 1).await;
        assert_eq!(world.settle(run).await.run.status, status);
        ended.push((run, status, None));
    }
    let cancelled = waiting(&world, "checkout", "await_payment").await;
    world.cancel_run(cancelled).await.unwrap();
    ended.push((cancelled, RunStatus::Cancelled, None));
    let failed = ended[1].0;
    for resumed in [false, true] {
        if resumed {
            ended[1].2 = Some(world.resume_run(failed).await.unwrap().id);
        }
        for (run, status, resumed_as) in &ended {
            let sent = async || world.signal_run(*run, PAID, &paid(1)).await.unwrap_err();
            let error = unchanged(&world, *run, sent).await;
            let SignalError::Ended { run: of, status: is, resumed_as: by } = error else { panic!("{error:?}") };
            assert_eq!((of, is, by), (*run, *status, *resumed_as));
        }
    }
    let error = world.signal_run(failed, PAID, &paid(1)).await.unwrap_err().to_string();
    assert!(error.contains("failed") && error.contains(&ended[1].2.unwrap().to_string()), "where to send it: {error}");
}

pub async fn a_run_that_is_being_cancelled_receives_no_signal(backend: &Backend) {
    let (journal, gate) = (Journal::new(), Arc::new(Gate::default()));
    let waits = gate.clone();
    let slow = journal.slow_step("prepare", move |_, _| {
        let waits = waits.clone();
        async move {
            waits.pass().await;
            Ok(Value::Null)
        }
    });
    let preparing = workflow("preparing")
        .signal(payment())
        .step(slow.output("prepared"))
        .step(Step::new("await_payment", wait_for(PAID)))
        .then("prepare", "await_payment")
        .then("await_payment", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([preparing]);
    let run = world.start_run("preparing", &nothing()).await.unwrap().id;
    let details = world
        .working(async {
            gate.arrived(1).await;
            assert_eq!(world.cancel_run(run).await.unwrap().status, RunStatus::Cancelling);
            let error = world.signal_run(run, PAID, &paid(1)).await.unwrap_err();
            assert!(matches!(error, SignalError::Ended { status: RunStatus::Cancelling, .. }), "{error:?}");
            gate.open();
            world.rests(run).await
        })
        .await;
    assert_eq!((details.run.status, details.signals.len()), (RunStatus::Cancelled, 0));
}
