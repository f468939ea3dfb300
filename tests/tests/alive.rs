//! Live work is never taken for dead while its process lives, even when the host's threads or the database are
//! blocked.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests: what cannot continue has failed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use squidmesh_core::inspect::RunDetails;
use squidmesh_core::port::Executor;
use squidmesh_core::{
    COMPLETE, RunId, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow, ms, secs,
};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::{Crossing, Gate, TestDatabase, TestRedis, block_on};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

const LEASE: Duration = ms(1_800);
const HEARTBEAT: Duration = ms(600);
/// Longer than an owner may miss heartbeats: all leases that were not extended would have expired.
const LONG: Duration = secs(5);

/// The calls of the one step.
#[derive(Default)]
struct Calls {
    count: AtomicUsize,
    gate: Gate,
}

/// Returns a workflow of a step that begins, and then executes `work`.
fn workflow<F>(calls: &Arc<Calls>, work: impl Fn(Arc<Calls>) -> F + Send + Sync + 'static) -> Workflow
where
    F: Future<Output = ()> + Send + 'static,
{
    let calls = Arc::clone(calls);
    let handler = move |_: Value, _: StepContext| {
        calls.count.fetch_add(1, Ordering::SeqCst);
        let work = work(Arc::clone(&calls));
        async move {
            work.await;
            StepResult::Ok(json!({}))
        }
    };
    let builder = Workflow::builder("slow").trigger(Trigger::manual("go")).step(Step::new("step", handler));
    builder.then("step", COMPLETE).build().unwrap()
}

async fn mesh(url: &str, executor: Arc<dyn Executor>, workflow: Workflow) -> (SeaOrmStore, Squidmesh) {
    let store = SeaOrmStore::connect(url).await.unwrap();
    let builder = Squidmesh::builder(store.clone()).executor(executor).workflow(workflow);
    let builder = builder.configure(|config| (config.lease, config.heartbeat) = (LEASE, HEARTBEAT));
    (store, builder.build().unwrap())
}

fn in_process() -> Arc<dyn Executor> {
    Arc::new(TokioExecutor::new().poll_interval(ms(50)))
}

/// Runs workers until the sender is dropped.
fn work(mesh: &Squidmesh) -> (oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    let mesh = mesh.clone();
    (stop, tokio::spawn(async move { mesh.run_workers(async { drop(stopped.await) }).await.unwrap() }))
}

async fn ended(mesh: &Squidmesh, run: RunId) -> RunDetails {
    let begun = Instant::now();
    loop {
        let details = mesh.inspect_run(run).await.unwrap();
        if details.run.status.is_terminal() {
            return details;
        }
        assert!(begun.elapsed() < secs(40), "the run does not end: {details:?}");
        sleep(ms(50)).await;
    }
}

fn carried_out_once(details: &RunDetails, calls: &Calls) {
    let attempts: Vec<&str> = details.steps[0].attempts.iter().map(|attempt| attempt.status.as_str()).collect();
    assert_eq!((details.run.status, attempts), (RunStatus::Completed, vec!["completed"]));
    assert_eq!(calls.count.load(Ordering::SeqCst), 1);
    assert!(details.audit.is_empty(), "{:?}", details.audit);
}

/// A process whose only thread is blocked by the handler, and another that has nothing to do.
async fn a_blocked_runtime_keeps_its_leases(database: TestDatabase, executors: [Arc<dyn Executor>; 2]) {
    let calls = Arc::new(Calls::default());
    let block = |_: Arc<Calls>| async { std::thread::sleep(LONG) };
    let [blocked, idle] = executors;
    let (stop, stopped) = oneshot::channel::<()>();
    let (url, slow) = (database.url().to_owned(), workflow(&calls, block));
    let arrived = Arc::clone(&calls);
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let (_, mesh) = mesh(&url, blocked, slow).await;
            mesh.run_workers(async { drop(stopped.await) }).await.unwrap();
        });
    });
    let (_, other) = mesh(database.url(), idle, workflow(&calls, block)).await;
    let run = other.start_run("slow", &json!({})).await.unwrap();
    while arrived.count.load(Ordering::SeqCst) == 0 {
        sleep(ms(10)).await;
    }
    let (done, workers) = work(&other);
    let details = ended(&other, run.id).await;
    carried_out_once(&details, &calls);
    drop((stop, done));
    workers.await.unwrap();
    process.join().unwrap();
}

/// A transaction of the host holds SQLite's write lock for longer than a lease.
async fn a_held_write_lock_takes_no_lease_away(database: TestDatabase) {
    let calls = Arc::new(Calls::default());
    let wait = |calls: Arc<Calls>| async move { calls.gate.pass().await };
    let (store, owner) = mesh(database.url(), in_process(), workflow(&calls, wait)).await;
    let (_, other) = mesh(database.url(), in_process(), workflow(&calls, wait)).await;
    let run = owner.start_run("slow", &json!({})).await.unwrap();
    let owners = work(&owner);
    calls.gate.arrived(1).await;
    let others = work(&other);
    // Both have had contact once: a process that has just started knows of no outage.
    sleep(HEARTBEAT * 2).await;
    for _ in 0..2 {
        let transaction = store.begin().await.unwrap();
        sleep(LONG).await;
        transaction.rollback().await.unwrap();
        sleep(LEASE).await;
    }
    calls.gate.open();
    let details = ended(&owner, run.id).await;
    carried_out_once(&details, &calls);
    for (stop, workers) in [owners, others] {
        drop(stop);
        workers.await.unwrap();
    }
}

/// The database is unavailable to all processes for longer than a lease lasts, while one of them executes several
/// steps.
async fn an_outage_takes_no_lease_away(database: TestDatabase) {
    let port = |url: &str| url.rsplit_once(':')?.1.split('/').next()?.parse::<u16>().ok();
    let there = port(database.url()).expect("a port");
    let road = Crossing::to(there).await;
    let url = database.url().replace(&format!(":{there}/"), &format!(":{}/", road.port()));
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).unwrap().port();

    let calls = Arc::new(Calls::default());
    let wait = |calls: Arc<Calls>| async move { calls.gate.pass().await };
    let (_, owner) = mesh(&url, in_process(), workflow(&calls, wait)).await;
    let (_, other) = mesh(&url, in_process(), workflow(&calls, wait)).await;
    let mut runs = Vec::new();
    for _ in 0..6 {
        runs.push(owner.start_run("slow", &json!({})).await.unwrap().id);
    }
    let owners = work(&owner);
    calls.gate.arrived(6).await;
    let others = work(&other);
    // Both have had contact once: a process that has just started knows of no outage.
    sleep(HEARTBEAT * 2).await;
    road.switch_to(nowhere);
    sleep(LONG).await;
    road.switch_to(there);
    sleep(LEASE * 2).await;
    calls.gate.open();
    for run in runs {
        let details = ended(&owner, run).await;
        let attempts: Vec<&str> = details.steps[0].attempts.iter().map(|attempt| attempt.status.as_str()).collect();
        assert_eq!((details.run.status, attempts), (RunStatus::Completed, vec!["completed"]));
    }
    assert_eq!(calls.count.load(Ordering::SeqCst), 6);
    for (stop, workers) in [owners, others] {
        drop(stop);
        workers.await.unwrap();
    }
}

mod sqlite {
    use super::*;

    #[test]
    fn a_blocked_runtime_keeps_its_leases() {
        block_on(super::a_blocked_runtime_keeps_its_leases(TestDatabase::sqlite(), [in_process(), in_process()]));
    }

    #[test]
    fn a_held_write_lock_takes_no_lease_away() {
        block_on(super::a_held_write_lock_takes_no_lease_away(TestDatabase::sqlite()));
    }
}

mod postgres {
    use super::*;

    #[test]
    fn a_blocked_runtime_keeps_its_leases() {
        block_on(async {
            let database = TestDatabase::postgres().await;
            super::a_blocked_runtime_keeps_its_leases(database, [in_process(), in_process()]).await;
        });
    }

    #[test]
    fn an_outage_takes_no_lease_away() {
        block_on(async { super::an_outage_takes_no_lease_away(TestDatabase::postgres().await).await });
    }

    #[test]
    fn a_blocked_runtime_over_redis_keeps_its_leases() {
        block_on(async {
            let redis = TestRedis::fresh();
            let executor = || Arc::new(redis.executor().sweep_interval(ms(100))) as Arc<dyn Executor>;
            let database = TestDatabase::postgres().await;
            super::a_blocked_runtime_keeps_its_leases(database, [executor(), executor()]).await;
        });
    }
}
