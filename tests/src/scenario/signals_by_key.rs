//! Signals by the key of a run, with a start where there is none, and in the host's own transaction (SPEC 17).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sea_orm::ConnectionTrait;
use serde_json::{Map, Value, json};
use squidmesh_core::command::{SignalError, SignalReceipt, SignalRefused, StartError, TransactionScope};
use squidmesh_core::testing::MemoryTransaction;
use squidmesh_core::{COMPLETE, Field, RunFilter, RunId, RunStatus, Step, StepError, Trigger, Workflow, wait_for};

use super::host::{self, Ends};
use super::signals::{
    PAID, audited, awaiting, buffered, instalments, named, paid, payment, received, waiting, waits_at,
};
use super::{done, nothing, workflow};
use crate::{Backend, Journal, World};

/// Starts a run under a key and lets it come to its wait.
async fn waiting_under(world: &World, name: &str, at: &str, key: &str) -> RunId {
    let run = world.start_run(name, &nothing()).idempotency_key(key).await.unwrap().id;
    waits_at(world, run, at).await;
    run
}

/// Returns the number of all runs.
async fn count(world: &World) -> usize {
    world.list_runs(&RunFilter::new()).await.unwrap().runs.len()
}

pub async fn a_signal_finds_its_run_by_the_key_that_started_it(backend: &Backend) {
    let world = backend.world([awaiting(&Journal::new()), instalments()]);
    let runs = [
        waiting_under(&world, "checkout", "await_payment", "A-17").await,
        waiting_under(&world, "checkout", "await_payment", "A-18").await,
        waiting_under(&world, "instalments", "first", "A-17").await,
    ];
    let send = async |name: &str, key: &str| world.signal_key(name, key, PAID, &paid(1)).dedup_key("evt_1").await;
    let answer = send("checkout", "A-18").await.unwrap();
    assert_eq!((answer.run, answer.receipt), (runs[1], received("await_payment")));
    let again = send("checkout", "A-18").await.unwrap();
    assert_eq!((again.run, again.receipt), (runs[1], SignalReceipt::Duplicate));
    let answer = send("instalments", "A-17").await.unwrap();
    assert_eq!((answer.run, answer.receipt), (runs[2], received("first")));
    assert!(world.look(runs[0]).await.signals.is_empty(), "the key of another workflow's run is another key");
    for (name, key) in [("checkout", "A-19"), ("checkout", ""), ("checkout", "\0"), ("elsewhere", "A-17"), ("", "A-17")]
    {
        let error = send(name, key).await.unwrap_err();
        let SignalError::NoRunWithKey { workflow, key: missing } = &error else { panic!("{error:?}") };
        assert_eq!((workflow.as_str(), missing.as_str()), (name, key));
    }
    assert_eq!(count(&world).await, 3, "none was started");
}

/// prepare, which fails in the first two runs of a chain → await_payment
fn fragile(journal: &Arc<Journal>) -> Workflow {
    let tries = AtomicU32::new(0);
    let prepare = journal.step("prepare", move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Err(StepError::terminal("broken")),
        _ => Ok(json!({})),
    });
    workflow("fragile")
        .signal(payment())
        .step(prepare)
        .step(Step::new("await_payment", wait_for(PAID)).output("payment"))
        .step(journal.step("ship", done))
        .then("prepare", "await_payment")
        .then("await_payment", "ship")
        .then("ship", COMPLETE)
        .build()
        .unwrap()
}

pub async fn by_key_a_signal_follows_the_resumptions_of_a_run_to_the_last(backend: &Backend) {
    let world = backend.world([fragile(&Journal::new())]);
    let send = async || world.signal_key("fragile", "A-17", PAID, &paid(9)).await;
    let first = world.start_run("fragile", &nothing()).idempotency_key("A-17").await.unwrap().id;
    assert_eq!(world.settle(first).await.run.status, RunStatus::Failed);
    let error = send().await.unwrap_err();
    assert!(matches!(error, SignalError::Ended { run, resumed_as: None, .. } if run == first), "{error:?}");
    let second = world.resume_run(first).await.unwrap().id;
    assert_eq!(world.settle(second).await.run.status, RunStatus::Failed);
    let error = send().await.unwrap_err();
    assert!(matches!(error, SignalError::Ended { run, resumed_as: None, .. } if run == second), "the last: {error:?}");
    let third = world.resume_run(second).await.unwrap().id;
    waits_at(&world, third, "await_payment").await;
    let answer = send().await.unwrap();
    assert_eq!((answer.run, answer.receipt), (third, received("await_payment")));
    assert_eq!(world.settle(third).await.run.status, RunStatus::Completed);
    // The id of a run means that run alone.
    let error = world.signal_run(first, PAID, &paid(9)).await.unwrap_err();
    assert!(matches!(error, SignalError::Ended { resumed_as, .. } if resumed_as == Some(second)), "{error:?}");
    // The end of the last run is the end of the chain, also for a start.
    let error = world.signal_key("fragile", "A-17", PAID, &paid(9)).or_start(&nothing()).await.unwrap_err();
    let SignalError::Ended { run, status, resumed_as } = error else { panic!("{error:?}") };
    assert_eq!((run, status, resumed_as), (third, RunStatus::Completed, None));
    assert_eq!(count(&world).await, 3);
}

pub async fn a_hosts_key_signals_no_run_that_the_runtime_itself_started(backend: &Backend) {
    let world = backend.world([fragile(&Journal::new())]);
    let first = world.start_run("fragile", &nothing()).await.unwrap().id;
    world.settle(first).await;
    let resumed = world.resume_run(first).await.unwrap().id;
    let before = world.look(resumed).await;
    let key = format!("resume:{first}");
    let sent = world.signal_key("fragile", &key, PAID, &paid(1)).await;
    assert!(matches!(sent, Err(SignalError::NoRunWithKey { .. })), "{sent:?}");
    let answer = world.signal_key("fragile", &key, PAID, &paid(1)).or_start(&nothing()).await.unwrap();
    assert_ne!(answer.run, resumed);
    assert_eq!(world.look(resumed).await, before);
    assert_eq!(world.signal_key("fragile", &key, PAID, &paid(2)).await.unwrap().run, answer.run);
}

pub async fn a_signal_and_the_start_of_its_run_are_one_commit(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([awaiting(&journal)]);
    let order = json!({ "order": { "id": "A-17" } });
    let send = async |key: &str| {
        let metadata = Map::from_iter([("provider".to_owned(), json!("bank"))]);
        let signal = world.signal_key("checkout", "A-17", PAID, &paid(9)).or_start(&order);
        signal.dedup_key(key).actor("webhook").metadata(metadata).await.unwrap()
    };
    let answer = send("evt_1").await;
    assert_eq!(answer.receipt, SignalReceipt::Buffered);
    let details = world.look(answer.run).await;
    assert_eq!((details.run.revision, details.run.idempotency_key.as_deref()), (1, Some("A-17")), "one commit");
    assert_eq!((buffered(&details), &details.run.payload["order"]), (vec![json!(9)], &order["order"]));
    assert_eq!((details.audit.len(), details.audit[0].actor.as_deref()), (1, Some("webhook")));
    let names = world.event_names(&details.run);
    assert_eq!(names.iter().filter(|name| **name == "run.created").count(), 1);
    assert!(names.contains(&"signal.received"), "{names:?}");
    let again = send("evt_1").await;
    assert_eq!((again.run, again.receipt), (answer.run, SignalReceipt::Duplicate));
    let second = send("evt_2").await;
    assert_eq!((second.run, second.receipt), (answer.run, SignalReceipt::Buffered), "the run is there");
    assert_eq!(count(&world).await, 1);
    let details = world.settle(answer.run).await;
    assert_eq!((details.run.status, journal.steps()), (RunStatus::Completed, vec!["ship".to_owned()]));
    assert_eq!((&details.context["payment"]["amount"], buffered(&details)), (&json!(9), vec![json!(9)]));
}

pub async fn a_run_that_its_signal_starts_is_worked_on_at_once(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([awaiting(&journal)]);
    world
        .working(async {
            for amount in 1..=3 {
                // From the second one on, an idle worker begins the wait in the commit of the start: it takes the signal.
                let signal = world.signal_key("checkout", amount.to_string(), PAID, &paid(amount));
                let answer = signal.or_start(&nothing()).await.unwrap();
                let details = world.rests(answer.run).await;
                assert!([SignalReceipt::Buffered, received("await_payment")].contains(&answer.receipt), "{answer:?}");
                assert_eq!((details.run.status, buffered(&details).len()), (RunStatus::Completed, 0));
                assert_eq!(details.context["payment"]["amount"], json!(amount));
            }
        })
        .await;
    assert_eq!(journal.steps(), ["ship"; 3]);
}

pub async fn a_start_with_a_signal_that_is_refused_leaves_no_run(backend: &Backend) {
    let world = backend.world_with([awaiting(&Journal::new())], |builder| {
        builder.configure(|config| (config.json.max_bytes, config.max_buffered_signal_bytes) = (1_000, 1_000))
    });
    let send = async |signal: &str, payment: Value, order: Value| {
        world.signal_key("checkout", "A-17", signal, &payment).or_start(&order).await.unwrap_err()
    };
    let error = send("goods", paid(1), json!({})).await;
    assert!(matches!(error, SignalError::Refused(SignalRefused::UnknownSignal { .. })), "{error:?}");
    let error = send(PAID, json!({}), json!({})).await;
    assert!(matches!(error, SignalError::Refused(SignalRefused::InvalidPayload { .. })), "{error:?}");
    let error = send(PAID, json!({ "amount": 1, "currency": "x".repeat(1_000) }), json!({})).await;
    assert!(matches!(error, SignalError::Refused(SignalRefused::InvalidPayload { .. })), "{error:?}");
    let error = send(PAID, paid(1), json!({ "order": 7 })).await;
    assert!(
        matches!(&error, SignalError::Start(why) if matches!(**why, StartError::InvalidPayload { .. })),
        "{error:?}"
    );
    let unsound = world.signal_key("checkout", "", PAID, &paid(1)).or_start(&json!({})).await.unwrap_err();
    assert!(matches!(&unsound, SignalError::Start(why) if matches!(**why, StartError::InvalidKey)), "{unsound:?}");
    let unknown = world.signal_key("elsewhere", "A-17", PAID, &paid(1)).or_start(&json!({})).await.unwrap_err();
    assert!(
        matches!(&unknown, SignalError::Start(why) if matches!(**why, StartError::UnknownWorkflow(_))),
        "{unknown:?}"
    );
    assert_eq!(count(&world).await, 0);
    assert!(world.sink.events().is_empty());
}

pub async fn a_signal_may_start_its_run_by_one_of_several_triggers(backend: &Backend) {
    let order = || Field::map("order").optional();
    let twofold = Workflow::builder("twofold")
        .trigger(Trigger::manual("web").field(order()))
        .trigger(Trigger::manual("shop").field(order()).field(Field::string("till")))
        .signal(payment())
        .step(Step::new("await_payment", wait_for(PAID)))
        .then("await_payment", COMPLETE)
        .build()
        .unwrap();
    let world = backend.world([twofold]);
    let signal = || world.signal_key("twofold", "A-17", PAID, &paid(1));
    let error = signal().or_start(&json!({})).await.unwrap_err();
    assert!(
        matches!(&error, SignalError::Start(why) if matches!(**why, StartError::TriggerNeeded { .. })),
        "{error:?}"
    );
    let answer = signal().or_start_by("shop", &json!({ "till": "3" })).await.unwrap();
    let run = world.settle(answer.run).await.run;
    assert_eq!((run.trigger.as_str(), run.status), ("shop", RunStatus::Completed));
}

pub async fn of_many_signals_that_may_start_their_run_one_starts_it(backend: &Backend) {
    let world = backend.world([instalments()]);
    let sent = (0..8).map(|amount: u32| {
        let mesh = world.mesh.clone();
        tokio::spawn(async move {
            mesh.signal_key("instalments", "A-17", PAID, &paid(amount)).or_start(&nothing()).await.unwrap()
        })
    });
    let mut answers = Vec::new();
    for sent in sent.collect::<Vec<_>>() {
        answers.push(sent.await.unwrap());
    }
    let run = answers[0].run;
    assert!(
        answers.iter().all(|answer| (answer.run, &answer.receipt) == (run, &SignalReceipt::Buffered)),
        "{answers:?}"
    );
    assert_eq!(count(&world).await, 1);
    let mut amounts: Vec<_> = buffered(&world.look(run).await).iter().map(|amount| amount.as_u64()).collect();
    amounts.sort_unstable();
    assert_eq!(amounts, (0..8).map(Some).collect::<Vec<_>>(), "none is lost");
    assert_eq!(world.settle(run).await.run.status, RunStatus::Completed);
}

/// Does something in a transaction of the host, in which the host has written its own row.
async fn in_transaction<T>(
    backend: &Backend,
    world: &World,
    ends: &Ends,
    work: impl AsyncFnOnce(&TransactionScope<'_>) -> T,
) -> T {
    let (done, after) = match (backend.memory_store(), backend.database_store()) {
        (Some(store), _) => {
            let transaction: MemoryTransaction = store.begin();
            let scope = world.within(&transaction);
            let done = work(&scope).await;
            let after = scope.into_after_commit();
            match ends {
                Ends::Commit => drop(transaction.commit().expect("the transaction commits")),
                Ends::Rollback => transaction.rollback(),
            }
            (done, after)
        }
        (_, Some(store)) => {
            store.connection().execute_unprepared(host::TABLE).await.expect("a table can be made");
            let transaction = store.begin().await.expect("a transaction begins");
            transaction.execute_unprepared(host::INSERT).await.expect("a row can be written");
            let session = store.join(&transaction);
            let scope = world.within(&session);
            let done = work(&scope).await;
            let after = scope.into_after_commit();
            drop(session);
            match ends {
                Ends::Commit => transaction.commit().await.expect("the transaction commits"),
                Ends::Rollback => transaction.rollback().await.expect("the transaction is rolled back"),
            }
            (done, after)
        }
        (None, None) => unreachable!("a backend has a store"),
    };
    match ends {
        Ends::Commit => after.committed(),
        Ends::Rollback => after.rolled_back(),
    }
    done
}

pub async fn the_hosts_row_a_signal_and_the_step_it_releases_commit_together(backend: &Backend) {
    let journal = Journal::new();
    let world = backend.world([awaiting(&journal)]);
    let run = waiting(&world, "checkout", "await_payment").await;
    let before = world.look(run).await;
    world.sink.take();
    for ends in [Ends::Rollback, Ends::Commit] {
        in_transaction(backend, &world, &ends, async |scope| {
            let refused = scope.signal_run(run, "goods", &paid(1)).await;
            assert!(matches!(refused, Err(SignalError::Refused(SignalRefused::UnknownSignal { .. }))), "{refused:?}");
            let send = async || scope.signal_run(run, PAID, &paid(1)).dedup_key("evt_1").await.unwrap().receipt;
            assert_eq!(send().await, received("await_payment"), "also after a refused one, and after a rollback");
            assert_eq!(send().await, SignalReceipt::Duplicate, "the transaction sees its own signal");
            assert_eq!(world.look(run).await, before, "no reader sees it before the commit");
            assert!(world.sink.events().is_empty(), "nothing is emitted before the commit");
        })
        .await;
        match ends {
            Ends::Rollback => {
                assert_eq!(world.look(run).await, before);
                assert!(world.sink.events().is_empty());
                assert!(matches!(host::rows(backend).await, None | Some(0)));
            }
            Ends::Commit => {
                let details = world.look(run).await;
                assert_eq!((details.signals.len(), details.intents.len()), (1, 1), "the next step is dispatched");
                assert!(world.event_names(&details.run).contains(&"signal.received"));
                assert!(matches!(host::rows(backend).await, None | Some(1)));
            }
        }
    }
    assert_eq!((world.settle(run).await.run.status, journal.steps().len()), (RunStatus::Completed, 1));
}

pub async fn a_signal_may_start_its_run_in_the_hosts_transaction(backend: &Backend) {
    let world = backend.world([awaiting(&Journal::new())]);
    for ends in [Ends::Rollback, Ends::Commit] {
        let started = in_transaction(backend, &world, &ends, async |scope| {
            let send = async |key: &str| {
                let signal = scope.signal_key("checkout", "A-17", PAID, &paid(1)).dedup_key(key);
                signal.or_start(&nothing()).await.unwrap()
            };
            let first = send("evt_1").await;
            let (again, second) = (send("evt_1").await, send("evt_2").await);
            assert_eq!([again.run, second.run], [first.run; 2], "the transaction sees its own run");
            let receipts = [first.receipt, again.receipt, second.receipt];
            assert_eq!(receipts, [SignalReceipt::Buffered, SignalReceipt::Duplicate, SignalReceipt::Buffered]);
            first.run
        })
        .await;
        let found = world.find_run("checkout", "A-17").await.unwrap();
        match ends {
            Ends::Rollback => {
                assert!(found.is_none() && world.sink.events().is_empty());
                assert!(matches!(host::rows(backend).await, None | Some(0)));
            }
            Ends::Commit => {
                assert_eq!(found.map(|run| run.id), Some(started));
                let details = world.settle(started).await;
                assert_eq!((details.run.status, details.signals.len()), (RunStatus::Completed, 2));
                assert_eq!(
                    (named(&details.signals[0].received.taken_by), audited(&details).len()),
                    (Some("await_payment"), 3)
                );
                assert!(matches!(host::rows(backend).await, None | Some(1)));
            }
        }
    }
}
