//! Every call of a host ends within its timeout, and answers with what is known by then: never that nothing was
//! changed when something may have been.

use std::error::Error;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;
use squidmesh_core::command::{
    BulkError, BulkOutcome, CallTimedOut, CommandError, DeliveryOutcome, DispatchError, ReplayError, ResumeError,
    StartError, TriggerError,
};
use squidmesh_core::dispatch::DispatchOptions;
use squidmesh_core::port::StoreError;
use squidmesh_core::{RunFilter, RunId, RunStatus, Squidmesh, ms, secs};
use squidmesh_tests::{Backend, block_on};

use super::faults::Harness;

/// The timeout of each call.
const TIME: Duration = ms(700);

type Answer = Result<(), StoreError>;

/// A call of a host: its name, its run and how it is made.
struct Act {
    name: &'static str,
    /// The workflow of the run that it is about, if any.
    about: Option<&'static str>,
    make: fn(Squidmesh, Option<RunId>) -> BoxFuture<'static, Answer>,
    /// Whether the call's change has been made.
    done: fn(Squidmesh, Option<RunId>) -> BoxFuture<'static, bool>,
}

fn started<T>(answer: Result<T, StartError>) -> Answer {
    match answer {
        Ok(_) => Ok(()),
        Err(StartError::Store(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

fn commanded<T>(answer: Result<T, CommandError>) -> Answer {
    match answer {
        Ok(_) => Ok(()),
        Err(CommandError::Store(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

fn replayed<T>(answer: Result<T, ReplayError>) -> Answer {
    match answer {
        Ok(_) => Ok(()),
        Err(ReplayError::Store(error) | ReplayError::Start(StartError::Store(error))) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

fn resumed<T>(answer: Result<T, ResumeError>) -> Answer {
    match answer {
        Ok(_) => Ok(()),
        Err(ResumeError::Store(error) | ResumeError::Start(StartError::Store(error))) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

/// Returns whether there are this many runs.
fn runs(mesh: Squidmesh, count: usize) -> BoxFuture<'static, bool> {
    async move { mesh.list_runs(&RunFilter::new()).await.unwrap().runs.len() == count }.boxed()
}

fn status(mesh: Squidmesh, id: Option<RunId>, wanted: RunStatus) -> BoxFuture<'static, bool> {
    async move { mesh.inspect_run(id.unwrap()).await.unwrap().run.status == wanted }.boxed()
}

fn acts() -> Vec<Act> {
    vec![
        Act {
            name: "start_run",
            about: None,
            make: |mesh, _| async move { started(mesh.start_run("asks", &json!({})).timeout(TIME).await) }.boxed(),
            done: |mesh, _| runs(mesh, 1),
        },
        Act {
            name: "start_run under a key",
            about: None,
            make: |mesh, _| {
                let start = mesh.timeout(TIME).start_run("asks", &json!({})).idempotency_key("key");
                async move { started(start.await) }.boxed()
            },
            done: |mesh, _| runs(mesh, 1),
        },
        Act {
            name: "start_runs",
            about: None,
            make: |mesh, _| {
                async move {
                    let start = mesh.start_run("asks", &json!({})).timeout(TIME);
                    mesh.start_runs([start]).await.into_iter().try_for_each(started)
                }
                .boxed()
            },
            done: |mesh, _| runs(mesh, 1),
        },
        Act {
            name: "cancel_run",
            about: Some("asks"),
            make: |mesh, id| async move { commanded(mesh.cancel_run(id.unwrap()).timeout(TIME).await) }.boxed(),
            done: |mesh, id| status(mesh, id, RunStatus::Cancelled),
        },
        Act {
            name: "unblock_run",
            about: Some("waits"),
            make: |mesh, id| async move { commanded(mesh.unblock_run(id.unwrap()).timeout(TIME).await) }.boxed(),
            done: |mesh, id| status(mesh, id, RunStatus::Running),
        },
        Act {
            name: "approve_run",
            about: Some("asks"),
            make: |mesh, id| {
                async move { commanded(mesh.approve_run(id.unwrap()).actor("ada").timeout(TIME).await) }.boxed()
            },
            done: |mesh, id| status(mesh, id, RunStatus::Running),
        },
        Act {
            name: "reject_run",
            about: Some("asks"),
            make: |mesh, id| {
                async move { commanded(mesh.reject_run(id.unwrap()).actor("ada").timeout(TIME).await) }.boxed()
            },
            done: |mesh, id| status(mesh, id, RunStatus::Running),
        },
        Act {
            name: "replay_run",
            about: Some("breaks"),
            make: |mesh, id| async move { replayed(mesh.replay_run(id.unwrap()).timeout(TIME).await) }.boxed(),
            done: |mesh, _| runs(mesh, 2),
        },
        Act {
            name: "resume_run",
            about: Some("breaks"),
            make: |mesh, id| async move { resumed(mesh.resume_run(id.unwrap()).timeout(TIME).await) }.boxed(),
            done: |mesh, _| runs(mesh, 2),
        },
        Act {
            name: "replay_runs",
            about: Some("breaks"),
            make: |mesh, _| {
                async move {
                    let bulk = match mesh.replay_runs(RunFilter::new()).batch_key("b").timeout(TIME).await {
                        Err(BulkError::Store(error)) => return Err(error),
                        answer => answer.unwrap(),
                    };
                    match bulk.runs.into_iter().next().unwrap().outcome {
                        BulkOutcome::Refused(error) => replayed(Err::<(), _>(error)),
                        _ => Ok(()),
                    }
                }
                .boxed()
            },
            done: |mesh, _| runs(mesh, 2),
        },
        Act {
            name: "resume_runs",
            about: Some("breaks"),
            make: |mesh, _| {
                async move {
                    let bulk = match mesh.resume_runs(RunFilter::new()).timeout(TIME).await {
                        Err(BulkError::Store(error)) => return Err(error),
                        answer => answer.unwrap(),
                    };
                    match bulk.runs.into_iter().next().unwrap().outcome {
                        BulkOutcome::Refused(error) => resumed(Err::<(), _>(error)),
                        _ => Ok(()),
                    }
                }
                .boxed()
            },
            done: |mesh, _| runs(mesh, 2),
        },
        Act {
            name: "pause_trigger",
            about: None,
            make: |mesh, _| {
                async move {
                    match mesh.timeout(TIME).pause_trigger("ticks", "tick").await {
                        Err(TriggerError::Store(error)) => Err(error),
                        answer => answer.map(drop).map_err(|error| panic!("{error}")),
                    }
                }
                .boxed()
            },
            done: |mesh, _| async move { mesh.triggers().await.unwrap()[0].paused_at.is_some() }.boxed(),
        },
    ]
}

impl Act {
    fn is_bulk(&self) -> bool {
        matches!(self.name, "replay_runs" | "resume_runs")
    }
}

/// Runs a test for each act, with a harness and the run that the act is about.
async fn each(backend: impl AsyncFn() -> Backend, test: impl AsyncFn(Harness, &Act, Option<RunId>)) {
    for act in acts() {
        let harness = Harness::on(backend().await);
        let id = match act.about {
            Some(workflow) => Some(harness.run(workflow).await),
            None => None,
        };
        harness.faults.changes.store(0, Ordering::SeqCst);
        test(harness, &act, id).await;
    }
}

fn timed_out(error: &StoreError) -> bool {
    error.source().is_some_and(|source| source.downcast_ref::<CallTimedOut>().is_some())
}

async fn a_lost_answer_that_cannot_be_looked_up_is_unknown(backend: impl AsyncFn() -> Backend) {
    each(backend, async |harness, act, id| {
        harness.faults.lose_an_answer(usize::MAX);
        let answer = harness.within(TIME, (act.make)(harness.mesh.clone(), id)).await;
        assert!(matches!(answer, Err(StoreError::OutcomeUnknown { .. })), "{}: {answer:?}", act.name);
        harness.faults.is_over();
        assert!((act.done)(harness.mesh.clone(), id).await, "{} was carried out", act.name);
        assert_eq!(harness.mesh.held_states(), 0);
    })
    .await;
}

async fn a_lost_answer_is_looked_up_until_the_store_is_back(backend: impl AsyncFn() -> Backend) {
    each(backend, async |harness, act, id| {
        harness.faults.lose_an_answer(2);
        let answer = harness.within(TIME, (act.make)(harness.mesh.clone(), id)).await;
        assert!(answer.is_ok(), "{}: {answer:?}", act.name);
        assert_eq!(harness.faults.changes.load(Ordering::SeqCst), 1, "{} was done once", act.name);
        assert!((act.done)(harness.mesh.clone(), id).await, "{} was carried out", act.name);
    })
    .await;
}

async fn a_commit_that_never_returns_is_unknown_in_time(backend: impl AsyncFn() -> Backend) {
    each(backend, async |harness, act, id| {
        harness.faults.silence(&["commit", "compare_and_set_trigger"]);
        let answer = harness.within(TIME, (act.make)(harness.mesh.clone(), id)).await;
        let Err(error @ StoreError::OutcomeUnknown { .. }) = answer else { panic!("{}: {answer:?}", act.name) };
        assert!(timed_out(&error), "{}: {error:?}", act.name);
        assert_eq!(harness.mesh.held_states(), 0);
    })
    .await;
}

async fn a_look_that_never_returns_changes_nothing_for_sure(backend: impl AsyncFn() -> Backend) {
    each(backend, async |harness, act, id| {
        if act.about.is_none() && act.name != "pause_trigger" {
            return; // it needs no look
        }
        harness.faults.silence(&["load", "history", "list", "find_by_idempotency_key", "definition", "triggers"]);
        let answer = harness.within(TIME, (act.make)(harness.mesh.clone(), id)).await;
        let Err(error @ StoreError::Unavailable { .. }) = answer else { panic!("{}: {answer:?}", act.name) };
        assert!(timed_out(&error), "{}: {error:?}", act.name);
        assert_eq!(harness.faults.changes.load(Ordering::SeqCst), 0, "{} sends nothing", act.name);
        harness.faults.is_over();
        assert!(!(act.done)(harness.mesh.clone(), id).await || act.is_bulk(), "{} was not carried out", act.name);
    })
    .await;
}

/// A worker that records an outcome of the run waits for a store that never answers: a command on the run waits for
/// the worker.
async fn a_command_waits_no_longer_for_a_worker_than_for_the_store(backend: impl AsyncFn() -> Backend) {
    let harness = Harness::on(backend().await);
    let id = harness.mesh.start_run("breaks", &json!({})).await.unwrap().id;
    let runner = harness.mesh.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    harness.faults.silence(&["commit"]);
    let mut delivery = runner.deliver(claim).boxed();
    let asked = harness.mesh.cancel_run(id).timeout(TIME).into_future();
    let answer = harness
        .within(TIME, async {
            tokio::select! {
                biased;
                _ = &mut delivery => panic!("the store does not answer the worker"),
                answer = asked => answer,
            }
        })
        .await;
    let Err(CommandError::Store(error @ StoreError::Unavailable { .. })) = answer else { panic!("{answer:?}") };
    assert!(timed_out(&error), "{error:?}");
    drop(delivery);
    harness.faults.is_over();
    assert_eq!(harness.status(id).await, RunStatus::Pending, "it was not cancelled");
    assert_eq!(harness.mesh.held_states(), 0);
}

/// A worker retries while the store is unavailable, and blocks no command on the run meanwhile.
async fn a_command_is_answered_while_a_worker_insists(backend: impl AsyncFn() -> Backend) {
    let harness = Harness::on(backend().await);
    let id = harness.mesh.start_run("breaks", &json!({})).await.unwrap().id;
    let runner = harness.mesh.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    harness.faults.go_away();
    let mut delivery = runner.deliver(claim).boxed();
    for _ in 0..5 {
        let answer = harness
            .within(TIME, async {
                tokio::select! {
                    biased;
                    _ = &mut delivery => panic!("the store is away"),
                    answer = harness.mesh.cancel_run(id).into_future() => answer,
                }
            })
            .await;
        assert!(matches!(answer, Err(CommandError::Store(StoreError::Unavailable { .. }))), "{answer:?}");
    }
    harness.faults.is_over();
    harness.within(Duration::from_secs(5), delivery).await;
    assert_eq!(harness.status(id).await, RunStatus::Failed, "its outcome was recorded");
    assert_eq!(harness.mesh.held_states(), 0);
}

/// A call whose turn it is to commit to a run is neither polled nor dropped by its host: the worker goes ahead after
/// a while.
async fn a_call_that_nobody_polls_keeps_no_worker_from_the_run(backend: impl AsyncFn() -> Backend) {
    let harness = Harness::on(backend().await);
    let id = harness.mesh.start_run("breaks", &json!({})).await.unwrap().id;
    let runner = harness.mesh.runner();
    let claim = runner.claim(1).await.unwrap().claims.remove(0);
    harness.faults.changes.store(0, Ordering::SeqCst);
    harness.faults.silence(&["commit"]);
    let mut kept = harness.mesh.cancel_run(id).into_future();
    while harness.faults.changes.load(Ordering::SeqCst) == 0 {
        assert!((&mut kept).now_or_never().is_none(), "the store does not answer");
        tokio::task::yield_now().await;
    }
    harness.faults.is_over();
    let delivery = harness.within(secs(10), runner.deliver(claim)).await;
    assert!(matches!(delivery, DeliveryOutcome::Done { .. }), "{delivery:?}");
    assert_eq!(harness.status(id).await, RunStatus::Failed, "its outcome was recorded");
    drop(kept);
    assert_eq!(harness.mesh.held_states(), 0);
}

async fn a_dispatch_ends_in_time(backend: impl AsyncFn() -> Backend) {
    let harness = Harness::on(backend().await);
    let id = harness.mesh.start_run("breaks", &json!({})).await.unwrap().id;
    let dispatcher = harness.mesh.timeout(TIME).dispatcher();
    harness.faults.silence(&["load"]);
    let answer = harness.within(TIME, dispatcher.dispatch_run(id, &DispatchOptions::new())).await;
    assert!(matches!(answer, Err(DispatchError::Store(StoreError::Unavailable { .. }))), "{answer:?}");
    harness.faults.is_over();
    harness.faults.silence(&["commit"]);
    let answer = harness.within(TIME, dispatcher.dispatch_run(id, &DispatchOptions::new())).await;
    assert!(matches!(answer, Err(DispatchError::Store(StoreError::OutcomeUnknown { .. }))), "{answer:?}");
    harness.faults.is_over();
    harness.faults.lose_an_answer(usize::MAX);
    let answer = harness.within(TIME, dispatcher.dispatch_run(id, &DispatchOptions::new())).await;
    assert!(matches!(answer, Err(DispatchError::Store(StoreError::OutcomeUnknown { .. }))), "{answer:?}");
}

async fn a_read_is_answered_in_time(backend: impl AsyncFn() -> Backend) {
    let harness = Harness::on(backend().await);
    let id = harness.run("asks").await;
    harness.faults.silence(&[
        "load",
        "history",
        "list",
        "find_by_idempotency_key",
        "definition",
        "triggers",
        "stranded",
        "prune",
    ]);
    let mesh = harness.mesh.timeout(TIME);
    let looks: Vec<(&str, BoxFuture<'_, Answer>)> = vec![
        ("inspect_run", async { commanded(mesh.inspect_run(id).await) }.boxed()),
        ("explain_run", async { commanded(mesh.explain_run(id).await) }.boxed()),
        ("graph", async { commanded(mesh.graph(id).await) }.boxed()),
        ("find_run", async { mesh.find_run("asks", "key").await.map(drop) }.boxed()),
        ("list_runs", async { mesh.list_runs(&RunFilter::new()).await.map(drop) }.boxed()),
        ("stranded_runs", async { mesh.stranded_runs(None).await.map(drop) }.boxed()),
        ("prune_runs", async { mesh.prune_runs(ms(0)).dry_run().timeout(TIME).await.map(drop) }.boxed()),
    ];
    for (name, look) in looks {
        let answer = harness.within(TIME, look).await;
        let Err(error @ StoreError::Unavailable { .. }) = answer else { panic!("{name}: {answer:?}") };
        assert!(timed_out(&error), "{name}: {error:?}");
    }
    let pruned = harness.within(TIME, harness.mesh.prune_runs(ms(0)).timeout(TIME).into_future()).await;
    assert!(matches!(pruned, Err(StoreError::OutcomeUnknown { .. })), "{pruned:?}");
}

/// None of the first 1,024 starts is answered: the others are not tried, so that the call ends in the time of one.
async fn many_starts_end_in_the_time_of_one(backend: impl AsyncFn() -> Backend) {
    let harness = Harness::on(backend().await);
    harness.faults.silence(&["commit"]);
    let starts = (0..3_000).map(|_| harness.mesh.start_run("asks", &json!({})).timeout(TIME));
    let answers = harness.within(TIME, harness.mesh.start_runs(starts)).await;
    let unknown = answers.iter().filter(|it| matches!(it, Err(StartError::Store(StoreError::OutcomeUnknown { .. }))));
    let untouched = answers.iter().filter(|it| matches!(it, Err(StartError::Store(StoreError::Unavailable { .. }))));
    assert_eq!((unknown.count(), untouched.count()), (1_024, 3_000 - 1_024));
    assert_eq!(harness.faults.changes.load(Ordering::SeqCst), 1_024);
}

macro_rules! on_every_store {
    ($($name:ident),+ $(,)?) => {
        on_every_store! { @on memory $($name),+ }
        on_every_store! { @on sqlite $($name),+ }
        on_every_store! { @on postgres $($name),+ }
    };
    (@on $backend:ident $($name:ident),+) => {
        mod $backend {
            use super::*;
            $(#[test]
            fn $name() {
                block_on(super::$name(Backend::$backend));
            })+
        }
    };
}

on_every_store! {
    a_lost_answer_that_cannot_be_looked_up_is_unknown,
    a_lost_answer_is_looked_up_until_the_store_is_back,
    a_commit_that_never_returns_is_unknown_in_time,
    a_look_that_never_returns_changes_nothing_for_sure,
    a_command_waits_no_longer_for_a_worker_than_for_the_store,
    a_command_is_answered_while_a_worker_insists,
    a_call_that_nobody_polls_keeps_no_worker_from_the_run,
    a_dispatch_ends_in_time,
    a_read_is_answered_in_time,
    many_starts_end_in_the_time_of_one,
}
