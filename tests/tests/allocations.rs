//! Counts the allocations of a step, which are a large part of its processor time. More than a tenth more than are
//! recorded here fail the test.
//!
//! Everything runs on the test's thread, whose allocations alone are counted: the drivers' own threads and the server
//! are not. How many of many runs' commits share a transaction varies, and with it their count: the highest is recorded.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use serde_json::{Value, json};
use squidmesh_core::event::{Event, EventKind};
use squidmesh_core::port::{EventSink, Store};
use squidmesh_core::testing::MemoryStore;
use squidmesh_core::{Field, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow};
use squidmesh_executor_tokio::{SystemClock, TokioExecutor};
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::{TestDatabase, block_on};
use tokio::sync::watch;
use tokio::time::timeout;

/// The steps of a run.
const STEPS: [&str; 5] = ["a", "b", "c", "d", "e"];
/// The runs before the count begins, so that everything that happens once has happened.
const WARM_UP: usize = 200;
/// The number of runs at once, where there are many.
const AT_ONCE: usize = 50;
/// The runs that are counted.
const RUNS: usize = 200;
/// By how much the count may grow.
const GROWTH: f64 = 1.1;
/// How long all of it may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Counts the runs that have completed.
struct Completed(watch::Sender<usize>);

impl EventSink for Completed {
    fn emit(&self, event: &Event) {
        if let EventKind::RunTransition { to: RunStatus::Completed, .. } = event.kind {
            self.0.send_modify(|count| *count += 1);
        }
    }
}

/// Starts runs, as many at once as given, until a number of them have completed.
async fn complete(mesh: &Squidmesh, completed: &mut watch::Receiver<usize>, runs: usize, at_once: usize) {
    let before = *completed.borrow();
    for first in (0..runs).step_by(at_once) {
        let some = at_once.min(runs - first);
        let starts = (0..some).map(|_| mesh.start_run("chain", &json!({ "order": "A-17" })));
        for started in mesh.start_runs(starts).await {
            started.unwrap();
        }
        let wanted = before + first + some;
        timeout(TIMEOUT, completed.wait_for(|count| *count >= wanted)).await.expect("the runs complete").unwrap();
    }
}

fn workflow() -> Workflow {
    let step = |name| Step::new(name, |_: Value, _: StepContext| async { StepResult::Ok(json!({ "done": true })) });
    let trigger = Trigger::manual("manual").field(Field::string("order"));
    let steps = STEPS
        .into_iter()
        .fold(Workflow::builder("chain").trigger(trigger), |builder, name| builder.step(step(name).output(name)));
    steps.chain(STEPS).build().unwrap()
}

/// Counts the allocations of a step, of runs that are started as many at once as given.
fn count<S: Store>(open: impl Future<Output = S>, at_once: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let counter = watch::Sender::new(0);
    let mut completed = counter.subscribe();
    let mesh = runtime.block_on(async {
        Squidmesh::builder(open.await)
            .executor(TokioExecutor::new().concurrency(AT_ONCE))
            .workflow(workflow())
            .event_sink(Completed(counter))
            .build()
            .unwrap()
    });
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let workers = mesh.clone();
    let workers = runtime.spawn(async move { workers.run_workers(async { drop(stopped.await) }).await });
    runtime.block_on(complete(&mesh, &mut completed, WARM_UP, at_once));
    let counted = measure(|| runtime.block_on(complete(&mesh, &mut completed, RUNS, at_once)));
    drop(stop);
    runtime.block_on(workers).unwrap().unwrap();
    counted.count_total as f64 / (RUNS * STEPS.len()) as f64
}

/// Fails if a count is more than a tenth above the one that is recorded for it.
fn check(what: &str, counted: f64, recorded: f64) {
    eprintln!("{what}: {counted:.1} allocations a step, {recorded} recorded");
    assert!(
        counted <= recorded * GROWTH,
        "{what}: {counted:.1} allocations a step instead of {recorded}: take back what allocates, or record the new count"
    );
}

mod memory {
    use super::*;

    #[test]
    fn a_step_allocates_no_more_than_before() {
        let store = || std::future::ready(MemoryStore::new(Arc::new(SystemClock)));
        check("one run alone, in memory", count(store(), 1), 86.0);
        check("many runs at once, in memory", count(store(), AT_ONCE), 85.0);
    }
}

mod sqlite {
    use super::*;

    #[test]
    fn a_step_allocates_no_more_than_before() {
        let database = TestDatabase::sqlite();
        let store = || async { SeaOrmStore::connect(database.url()).await.unwrap() };
        check("one run alone, on SQLite", count(store(), 1), 370.0);
        check("many runs at once, on SQLite", count(store(), AT_ONCE), 219.0);
    }
}

mod postgres {
    use super::*;

    #[test]
    fn a_step_allocates_no_more_than_before() {
        let database = block_on(TestDatabase::postgres());
        let store = || async { SeaOrmStore::connect(database.url()).await.unwrap() };
        check("one run alone, on Postgres", count(store(), 1), 392.0);
        check("many runs at once, on Postgres", count(store(), AT_ONCE), 161.0);
    }
}
