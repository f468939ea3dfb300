//! A store that fails at the worst moments: lost answers, and times when it is unavailable. In memory, where faults
//! can be planted one by one.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use squidmesh_core::command::{CommandError, StartError};
use squidmesh_core::port::StoreError;
use squidmesh_core::testing::{Fault, MemoryStore, MemoryTransaction};
use squidmesh_core::workflow::TransactionalHandler;
use squidmesh_core::{
    COMPLETE, Field, RunFilter, RunStatus, Step, StepContext, StepResult, Trigger, Workflow, transactional,
};
use squidmesh_tests::world::{attempts, kinds_of_attempts};
use squidmesh_tests::{Backend, Journal, block_on};

const LOST_ANSWERS: [Fault; 2] = [Fault::ErrorAfterApply, Fault::ErrorBefore];

/// Books a row, after planting a fault for the commit of its first transaction.
struct Booking {
    store: MemoryStore,
    fault: Fault,
    calls: Arc<AtomicU32>,
    rows: Arc<AtomicU32>,
}

impl TransactionalHandler for Booking {
    type Input = Value;
    type Transaction = MemoryTransaction;
    type Output = Value;

    async fn run(&self, _: Value, transaction: &MemoryTransaction, _: StepContext) -> StepResult<Value> {
        if self.calls.fetch_add(1, Ordering::SeqCst) == 0 {
            self.store.fail_next_commit(self.fault);
        }
        let rows = self.rows.clone();
        transaction.on_commit(move || {
            rows.fetch_add(1, Ordering::SeqCst);
        });
        Ok(json!({}))
    }
}

/// Returns three steps; `plant` is called in each of them, and so plants faults for the commit that records it.
fn chain(journal: &Arc<Journal>, plant: impl Fn(&str) + Send + Sync + 'static) -> Workflow {
    let plant = Arc::new(plant);
    let step = |name: &str| {
        let plant = plant.clone();
        journal.step(name, move |call| {
            plant(&call.step);
            Ok(json!({ call.step.as_str(): 1 }))
        })
    };
    Workflow::builder("chain")
        .trigger(Trigger::manual("manual").field(Field::map("order").optional()))
        .step(step("one"))
        .step(step("two"))
        .step(step("three"))
        .then("one", "two")
        .then("two", "three")
        .then("three", COMPLETE)
        .build()
        .unwrap()
}

mod memory {
    use super::*;

    #[test]
    fn a_start_whose_answer_is_lost_starts_one_run() {
        block_on(async {
            for fault in LOST_ANSWERS {
                let backend = Backend::memory().await;
                let journal = Journal::new();
                let world = backend.world([chain(&journal, |_| {})]);
                backend.memory_store().unwrap().fail_next_commit(fault);
                let started = world.working(async { world.start_run("chain", &json!({})).await }).await;
                let runs = world.list_runs(&RunFilter::new()).await.unwrap().runs;
                match started {
                    Ok(run) => {
                        assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), [run.id], "{fault:?}");
                        assert_eq!(world.settle(run.id).await.run.status, RunStatus::Completed, "{fault:?}");
                    }
                    Err(error) => {
                        assert_eq!(fault, Fault::ErrorBefore, "{error}");
                        assert!(runs.is_empty(), "an error means that nothing was started");
                    }
                }
            }
        });
    }

    #[test]
    fn a_begin_whose_answer_is_lost_is_carried_out_once() {
        block_on(async {
            for fault in LOST_ANSWERS {
                let backend = Backend::memory().await;
                let journal = Journal::new();
                let world = backend.world([chain(&journal, |_| {})]);
                let run = world.start_run("chain", &json!({})).await.unwrap();
                backend.memory_store().unwrap().fail_next_commit(fault);
                let details = world.settle(run.id).await;
                assert_eq!(details.run.status, RunStatus::Completed, "{fault:?}");
                assert_eq!(journal.steps(), ["one", "two", "three"], "{fault:?}");
                assert_eq!(attempts(&details, "one"), ["completed"], "{fault:?}");
            }
        });
    }

    #[test]
    fn an_outcome_whose_answer_is_lost_is_recorded_once() {
        block_on(async {
            for fault in LOST_ANSWERS {
                for place in ["one", "two", "three"] {
                    let backend = Backend::memory().await;
                    let journal = Journal::new();
                    let store = backend.memory_store().unwrap().clone();
                    let plant = move |step: &str| {
                        if step == place {
                            store.fail_next_commit(fault);
                        }
                    };
                    let world = backend.world([chain(&journal, plant)]);
                    let run = world.start_run("chain", &json!({})).await.unwrap();
                    let details = world.settle(run.id).await;
                    assert_eq!(details.run.status, RunStatus::Completed, "{fault:?} at {place}");
                    assert_eq!(journal.steps(), ["one", "two", "three"], "{fault:?} at {place}");
                    assert_eq!(kinds_of_attempts(&details).into_iter().collect::<Vec<_>>(), ["completed"]);
                    let completed =
                        world.event_names(&run).into_iter().filter(|name| *name == "step.completed").count();
                    assert_eq!(completed, 3, "each completion is emitted once: {fault:?} at {place}");
                }
            }
        });
    }

    /// The handler of a transactional step is run again if and only if none of its writes was kept.
    #[test]
    fn a_transaction_whose_answer_is_lost_is_carried_out_once() {
        block_on(async {
            for (fault, calls) in [(Fault::ErrorAfterApply, 1), (Fault::ErrorBefore, 2), (Fault::Unavailable, 2)] {
                let backend = Backend::memory().await;
                let store = backend.memory_store().unwrap().clone();
                let booking = Booking { store, fault, calls: Arc::default(), rows: Arc::default() };
                let (called, rows) = (booking.calls.clone(), booking.rows.clone());
                let workflow = Workflow::builder("book")
                    .trigger(Trigger::manual("manual"))
                    .step(Step::new("one", transactional(booking)))
                    .then("one", COMPLETE);
                let world = backend.world([workflow.build().unwrap()]);
                let run = world.start_run("book", &json!({})).await.unwrap();
                let details = world.settle(run.id).await;
                assert_eq!((details.run.status, attempts(&details, "one")), (RunStatus::Completed, vec!["completed"]));
                assert_eq!(called.load(Ordering::SeqCst), calls, "{fault:?}");
                assert_eq!(rows.load(Ordering::SeqCst), 1, "{fault:?}");
                let completed = world.event_names(&run).into_iter().filter(|name| *name == "step.completed").count();
                assert_eq!(completed, 1, "its completion is emitted once: {fault:?}");
            }
        });
    }

    #[test]
    fn every_commit_of_a_run_may_lose_its_answer() {
        block_on(async {
            let backend = Backend::memory().await;
            let journal = Journal::new();
            let store = backend.memory_store().unwrap().clone();
            let planted = store.clone();
            let plant = move |_: &str| {
                planted.fail_next_commit(Fault::ErrorAfterApply);
                planted.fail_next_commit(Fault::ErrorBefore);
            };
            let world = backend.world([chain(&journal, plant)]);
            let run = world.start_run("chain", &json!({})).await.unwrap();
            let details = world.settle(run.id).await;
            assert_eq!(details.run.status, RunStatus::Completed);
            assert_eq!(journal.steps(), ["one", "two", "three"]);
        });
    }

    #[test]
    fn an_outcome_waits_for_a_store_that_is_away() {
        block_on(async {
            let backend = Backend::memory().await;
            let journal = Journal::new();
            let store = backend.memory_store().unwrap().clone();
            let plant = move |step: &str| {
                if step == "two" {
                    (0..10).for_each(|_| store.fail_next(Fault::Unavailable));
                }
            };
            let world = backend.world([chain(&journal, plant)]);
            let run = world.start_run("chain", &json!({})).await.unwrap();
            let details = world
                .working(async {
                    // Reading is a call of the store as well, and would take a fault away.
                    world.sink.wait_for(|event| event.status == RunStatus::Completed).await;
                    world.rests(run.id).await
                })
                .await;
            assert_eq!(journal.steps(), ["one", "two", "three"], "nothing is carried out twice");
            assert_eq!(kinds_of_attempts(&details).into_iter().collect::<Vec<_>>(), ["completed"]);
        });
    }

    #[test]
    fn a_caller_learns_at_once_that_the_store_is_away() {
        block_on(async {
            let backend = Backend::memory().await;
            let journal = Journal::new();
            let world = backend.world([chain(&journal, |_| {})]);
            let store = backend.memory_store().unwrap();
            store.fail_next(Fault::Unavailable);
            let started = world.start_run("chain", &json!({})).await;
            assert!(matches!(started, Err(StartError::Store(StoreError::Unavailable { .. }))), "{started:?}");
            let run = world.start_run("chain", &json!({})).await.unwrap();
            store.fail_next(Fault::Unavailable);
            let cancelled = world.cancel_run(run.id).await;
            assert!(matches!(cancelled, Err(CommandError::Store(StoreError::Unavailable { .. }))), "{cancelled:?}");
            assert_eq!(world.status(run.id).await, RunStatus::Pending);
        });
    }

    #[test]
    fn a_run_that_cannot_be_read_harms_no_other() {
        block_on(async {
            let backend = Backend::memory().await;
            let journal = Journal::new();
            let world = backend.world([chain(&journal, |_| {})]);
            let bad = world.start_run("chain", &json!({})).await.unwrap();
            let good = world.start_run("chain", &json!({})).await.unwrap();
            backend.memory_store().unwrap().corrupt(bad.id);
            assert_eq!(world.settle(good.id).await.run.status, RunStatus::Completed);
            let looked = world.inspect_run(bad.id).await;
            assert!(matches!(looked, Err(CommandError::Store(StoreError::Corrupt { .. }))), "{looked:?}");
            assert!(journal.calls().iter().all(|call| call.run_id == good.id));
        });
    }
}
