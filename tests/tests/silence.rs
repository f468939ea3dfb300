//! A network that swallows what is sent on open connections, and lets new ones through: a failover of an address, or
//! a firewall that lost its state. With default settings, a process with workers continues within ten seconds.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot continue has failed")]

#[path = "../../squidmesh-store/tests/silent/mod.rs"]
mod silent;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use silent::Network;
use squidmesh_core::{COMPLETE, RunId, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::TestDatabase;

/// The documented bound, and what a loaded machine may add.
const PROMISED: Duration = Duration::from_secs(10 + 3);

async fn nothing(_: Value, _: StepContext) -> StepResult<()> {
    Ok(())
}

fn workflow() -> Workflow {
    Workflow::builder("chain")
        .trigger(Trigger::manual("start"))
        .step(Step::new("first", nothing))
        .step(Step::new("second", nothing))
        .then("first", "second")
        .then("second", COMPLETE)
        .build()
        .unwrap()
}

async fn mesh(url: &str) -> Squidmesh {
    let store = SeaOrmStore::connect(url).await.unwrap();
    Squidmesh::builder(store).executor(TokioExecutor::new()).workflow(workflow()).build().unwrap()
}

async fn completes(mesh: &Squidmesh, run: RunId) {
    while mesh.inspect_run(run).await.unwrap().run.status != RunStatus::Completed {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn continues(busy: bool) {
    let database = TestDatabase::postgres().await;
    let network = Network::to(database.url()).await;
    let (through, direct) = (mesh(&network.url(database.url())).await, mesh(database.url()).await);
    let workers = through.clone();
    let workers = tokio::spawn(async move { workers.run_workers(std::future::pending()).await });
    completes(&direct, direct.start_run("chain", &json!({})).await.unwrap().id).await;
    let running = Arc::new(AtomicBool::new(busy));
    let starters = (0..16).map(|_| {
        let (mesh, running) = (through.clone(), running.clone());
        tokio::spawn(async move {
            while running.load(Ordering::Relaxed) {
                let _ = mesh.start_run("chain", &json!({})).await;
            }
        })
    });
    let starters: Vec<_> = starters.collect();
    tokio::time::sleep(Duration::from_secs(1)).await;

    network.fall_silent();
    running.store(false, Ordering::Relaxed);
    let begun = Instant::now();
    let run = direct.start_run("chain", &json!({})).await.unwrap().id;
    completes(&direct, run).await;
    assert!(begun.elapsed() < PROMISED, "it took {:?}", begun.elapsed());
    let begun = Instant::now();
    through.start_run("chain", &json!({})).await.unwrap();
    assert!(begun.elapsed() < PROMISED, "it took {:?}", begun.elapsed());
    for starter in starters {
        starter.await.unwrap();
    }
    assert!(begun.elapsed() < PROMISED, "every call ended");
    workers.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_process_recovers_from_a_silence_on_postgres() {
    continues(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_process_recovers_from_a_silence_on_postgres() {
    continues(true).await;
}
