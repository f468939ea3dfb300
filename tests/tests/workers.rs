//! Workers on tokio: which work they take first, how they wait, and how they end.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::{Value, json};
use squidmesh_core::command::{ConfigError, SquidmeshBuilder};
use squidmesh_core::definition::Priority;
use squidmesh_core::port::{Entropy, Executor, RandomEntropy, Store};
use squidmesh_core::run::AttemptStatus;
use squidmesh_core::testing::{InterceptedStore, MemoryStore};
use squidmesh_core::workflow::WorkflowBuilder;
use squidmesh_core::{
    COMPLETE, RunId, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow, ms, secs,
};
use squidmesh_executor_tokio::{SystemClock, TokioExecutor};
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::{CallCounter, Gate, TestDatabase, block_on};

fn workflow(name: &str) -> WorkflowBuilder {
    Workflow::builder(name).trigger(Trigger::manual("manual"))
}

/// Runs workers while a future completes.
async fn working<T>(mesh: &Squidmesh, meanwhile: impl Future<Output = T>) -> T {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mesh = mesh.clone();
    let workers = tokio::spawn(async move { mesh.run_workers(async { drop(stopped.await) }).await });
    let done = meanwhile.await;
    drop(stop);
    workers.await.unwrap().unwrap();
    done
}

async fn ends(mesh: &Squidmesh, run: RunId) -> RunStatus {
    let begun = Instant::now();
    loop {
        let status = mesh.inspect_run(run).await.unwrap().run.status;
        if status.is_terminal() {
            return status;
        }
        assert!(begun.elapsed() < secs(30), "the run does not end: {status:?}");
        tokio::time::sleep(ms(5)).await;
    }
}

/// Returns a step that waits at a gate.
fn gated(name: &str, gate: &Arc<Gate>) -> Step {
    let gate = gate.clone();
    Step::new(name, move |_: Value, _: StepContext| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            StepResult::Ok(json!({}))
        }
    })
}

mod priority {
    use super::*;

    /// The number of steps of the long run, and the duration of each.
    const STEPS: usize = 60;
    const EACH: Duration = ms(20);

    /// The workflows of the executed steps, in order.
    type Order = Arc<Mutex<Vec<String>>>;

    fn noted(order: &Order, name: &str, priority: Priority) -> Step {
        let order = order.clone();
        let note = move |_: Value, context: StepContext| {
            let order = order.clone();
            async move {
                order.lock().unwrap().push(context.workflow.to_string());
                tokio::time::sleep(EACH).await;
                StepResult::Ok(json!({}))
            }
        };
        Step::new(name, note).priority(priority)
    }

    /// Creates a runtime with one worker, and a poll interval too long to explain its claims.
    fn mesh(store: impl Store, order: &Order, lease: Duration) -> Squidmesh {
        let mut long = workflow("long");
        for place in 0..STEPS {
            long = long.step(noted(order, &format!("s{place}"), Priority::Low));
        }
        for place in 1..STEPS {
            long = long.then(format!("s{}", place - 1), format!("s{place}").as_str());
        }
        let long = long.then(format!("s{}", STEPS - 1), COMPLETE).build().unwrap();
        let urgent = workflow("urgent").step(noted(order, "now", Priority::High)).then("now", COMPLETE);
        let equal = workflow("equal").step(noted(order, "now", Priority::Low)).then("now", COMPLETE);
        Squidmesh::builder(store)
            .executor(TokioExecutor::new().concurrency(1).poll_interval(ms(300)))
            .configure(|config| (config.lease, config.heartbeat) = (lease, lease / 4))
            .workflow(long)
            .workflow(urgent.build().unwrap())
            .workflow(equal.build().unwrap())
            .build()
            .unwrap()
    }

    /// Starts an urgent run while the worker executes a long one, and returns after how many steps it was executed.
    async fn steps_before(worker: &Squidmesh, starter: &Squidmesh, order: &Order) -> usize {
        worker.start_run("long", &json!({})).await.unwrap();
        working(worker, async {
            while order.lock().unwrap().len() < 3 {
                tokio::time::sleep(ms(1)).await;
            }
            let run = starter.start_run("urgent", &json!({})).await.unwrap();
            let before = order.lock().unwrap().len();
            assert_eq!(ends(starter, run.id).await, RunStatus::Completed);
            order.lock().unwrap().iter().position(|name| name == "urgent").unwrap() - before
        })
        .await
    }

    async fn an_urgent_step_is_next(store: impl Store) {
        let order = Order::default();
        let mesh = mesh(store, &order, secs(30));
        let before = steps_before(&mesh, &mesh, &order).await;
        assert!(before <= 2, "{before} steps went before it");
    }

    async fn an_urgent_step_of_another_process_is_soon_next(store: impl Store, others: impl Store) {
        let order = Order::default();
        let (worker, starter) = (mesh(store, &order, secs(30)), mesh(others, &order, secs(30)));
        let before = steps_before(&worker, &starter, &order).await;
        assert!(before < STEPS / 2, "{before} steps went before it");
    }

    /// It has no higher class, but its worker is dead, and it has waited for a lease already.
    async fn the_step_of_a_dead_worker_goes_before_the_rest_of_a_long_run(store: impl Store) {
        let order = Order::default();
        let mesh = mesh(store, &order, ms(400));
        let run = mesh.start_run("equal", &json!({})).await.unwrap();
        let lost = mesh.runner().claim(1).await.unwrap();
        assert_eq!(lost.claims.len(), 1);
        // A process never takes over what it holds; what it has dropped counts as a dead worker's.
        drop(lost);
        mesh.start_run("long", &json!({})).await.unwrap();
        working(&mesh, async { assert_eq!(ends(&mesh, run.id).await, RunStatus::Completed) }).await;
        let before = order.lock().unwrap().iter().position(|name| name == "equal").unwrap();
        assert!((1..STEPS * 4 / 5).contains(&before), "{before} steps went before it");
    }

    macro_rules! on {
        ($store:ident, $open:expr) => {
            pub(super) mod $store {
                use super::*;

                #[test]
                fn an_urgent_step_is_next_after_a_step_of_a_long_run() {
                    block_on(async {
                        let open = $open;
                        an_urgent_step_is_next(open().await).await
                    });
                }

                #[test]
                fn an_urgent_step_of_another_process_is_soon_next() {
                    block_on(async {
                        let open = $open;
                        super::an_urgent_step_of_another_process_is_soon_next(open().await, open().await).await;
                    });
                }

                #[test]
                fn the_step_of_a_dead_worker_goes_before_the_rest_of_a_long_run() {
                    block_on(async {
                        let open = $open;
                        super::the_step_of_a_dead_worker_goes_before_the_rest_of_a_long_run(open().await).await
                    });
                }
            }
        };
    }

    on!(memory, {
        let store = MemoryStore::new(Arc::new(SystemClock));
        move || std::future::ready(store.clone())
    });
    on!(sqlite, {
        let database = TestDatabase::sqlite();
        move || {
            let url = database.url().to_owned();
            async move { SeaOrmStore::connect(&url).await.unwrap() }
        }
    });
    on!(postgres, {
        let database = TestDatabase::postgres().await;
        move || {
            let url = database.url().to_owned();
            async move { SeaOrmStore::connect(&url).await.unwrap() }
        }
    });
}

mod waiting {
    use super::*;

    /// A transaction of the host holds a due run: workers do not claim it dozens of times a second.
    #[test]
    fn postgres_work_held_by_a_transaction_is_polled_less_and_less() {
        block_on(async {
            let database = TestDatabase::postgres().await;
            let store = SeaOrmStore::connect(database.url()).await.unwrap();
            let counting = InterceptedStore::new(store.clone(), CallCounter::default());
            let step = Step::new("one", |_: Value, _: StepContext| async { StepResult::Ok(json!({})) });
            let mesh = Squidmesh::builder(counting.clone())
                .executor(TokioExecutor::new())
                .workflow(workflow("one").step(step).then("one", COMPLETE).build().unwrap())
                .build()
                .unwrap();
            let run = mesh.start_run("one", &json!({})).await.unwrap();
            let host = store.connection().begin().await.unwrap();
            host.execute_unprepared("SELECT * FROM squidmesh_intents FOR UPDATE").await.unwrap();
            working(&mesh, async {
                tokio::time::sleep(secs(1)).await;
                counting.interceptor().take();
                tokio::time::sleep(secs(3)).await;
                let calls = counting.interceptor().take();
                let looks = calls.get("claim").copied().unwrap_or(0) + calls.get("list_due").copied().unwrap_or(0);
                assert!(looks <= 12, "{calls:?}");
                host.rollback().await.unwrap();
                let released = Instant::now();
                assert_eq!(ends(&mesh, run.id).await, RunStatus::Completed);
                assert!(released.elapsed() < secs(3), "{:?}", released.elapsed());
            })
            .await;
        });
    }
}

mod ending {
    use super::*;

    async fn a_drain_without_end_lets_everything_finish(store: impl Store) {
        let gate = Arc::new(Gate::default());
        let hold = gate.clone();
        let waits = move |_: Value, context: StepContext| {
            let gate = hold.clone();
            async move {
                gate.pass().await;
                context.cancellation.cancelled().await;
                StepResult::Ok(json!({}))
            }
        };
        let mesh = Squidmesh::builder(store)
            .executor(TokioExecutor::new().drain_timeout(Duration::MAX))
            .workflow(workflow("one").step(Step::new("one", waits)).then("one", COMPLETE).build().unwrap())
            .build()
            .unwrap();
        let run = mesh.start_run("one", &json!({})).await.unwrap();
        working(&mesh, async {
            gate.open();
            gate.arrived(1).await;
        })
        .await;
        let attempt = mesh.inspect_run(run.id).await.unwrap().steps.remove(0).attempts.remove(0);
        assert_eq!(attempt.status, AttemptStatus::Completed);
    }

    #[test]
    fn memory_a_drain_without_end_lets_everything_finish() {
        block_on(a_drain_without_end_lets_everything_finish(MemoryStore::new(Arc::new(SystemClock))));
    }

    #[test]
    fn sqlite_a_drain_without_end_lets_everything_finish() {
        block_on(async {
            let database = TestDatabase::sqlite();
            a_drain_without_end_lets_everything_finish(SeaOrmStore::connect(database.url()).await.unwrap()).await;
        });
    }

    /// Panics at the next claim after it is armed.
    #[derive(Clone, Default)]
    struct Faulty(Arc<AtomicBool>);

    impl Entropy for Faulty {
        fn bits(&self) -> u128 {
            assert!(!self.0.swap(false, Ordering::SeqCst), "a test has the lane panic");
            RandomEntropy.bits()
        }
    }

    #[test]
    fn memory_a_lane_that_panics_lets_what_runs_finish() {
        block_on(async {
            let (gate, entropy) = (Arc::new(Gate::default()), Faulty::default());
            let [own, other] = ["own", "other"].map(|name| gated(name, &gate).queue(name));
            let executor = Arc::new(TokioExecutor::new().queue("own", 1).unwrap().queue("other", 2).unwrap());
            let mesh = Squidmesh::builder(MemoryStore::new(Arc::new(SystemClock)))
                .executor(executor.clone())
                .entropy(entropy.clone())
                .workflow(workflow("own").step(own).then("own", COMPLETE).build().unwrap())
                .workflow(workflow("other").step(other).then("other", COMPLETE).build().unwrap())
                .build()
                .unwrap();
            let runs = [
                mesh.start_run("own", &json!({})).await.unwrap().id,
                mesh.start_run("other", &json!({})).await.unwrap().id,
            ];
            let ended = tokio::spawn({
                let mesh = mesh.clone();
                async move { mesh.run_workers(std::future::pending()).await }
            });
            gate.arrived(2).await;
            entropy.0.store(true, Ordering::SeqCst);
            executor.publish(&[]); // wakes the lanes
            while entropy.0.load(Ordering::SeqCst) {
                tokio::time::sleep(ms(5)).await;
            }
            gate.open();
            let error = ended.await.unwrap().expect_err("a lane panicked");
            assert!(error.reason.contains("panicked"), "{error}");
            for run in runs {
                let attempt = mesh.inspect_run(run).await.unwrap().steps.remove(0).attempts.remove(0);
                assert_eq!(attempt.status, AttemptStatus::Completed);
            }
        });
    }
}

/// A setting that cannot work is refused, by its name, when the runtime is built.
#[test]
fn settings_that_cannot_work_are_refused() {
    let built = |executor: TokioExecutor| {
        let builder: SquidmeshBuilder = Squidmesh::builder(MemoryStore::new(Arc::new(SystemClock)));
        builder.executor(Arc::new(executor)).build()
    };
    let none: [&str; 0] = [];
    for (setting, executor) in [
        ("concurrency", TokioExecutor::new().concurrency(0)),
        ("queue", TokioExecutor::new().queue("reports", 0).unwrap()),
        ("accept_only", TokioExecutor::new().accept_only(none).unwrap()),
        ("poll_interval", TokioExecutor::new().poll_interval(Duration::ZERO)),
    ] {
        let Err(ConfigError::Executor(error)) = built(executor) else { panic!("{setting} is not refused") };
        assert_eq!(error.setting, setting);
        assert!(error.to_string().contains(setting), "{error}");
    }
    let extreme = TokioExecutor::new().concurrency(usize::MAX).poll_interval(Duration::MAX);
    assert!(built(extreme.drain_timeout(Duration::ZERO)).is_ok());
}
