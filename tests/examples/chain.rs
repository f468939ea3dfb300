//! Measures a chain of five steps that do nothing, in durable steps per second, on a store of your choice.
//!
//! `cargo run --release -p squidmesh-tests --example chain -- <store url> [runs]`; the database should be a fresh
//! one.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a program that prints what it measures")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use squidmesh_core::event::{Event, EventKind};
use squidmesh_core::port::EventSink;
use squidmesh_core::{COMPLETE, RunFilter, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use tokio::sync::Notify;

const STEPS: [&str; 5] = ["one", "two", "three", "four", "five"];

async fn nothing(_: Map<String, Value>, _: StepContext) -> StepResult<()> {
    Ok(())
}

fn chain() -> Workflow {
    let mut builder = Workflow::builder("chain").trigger(Trigger::manual("start"));
    for step in STEPS {
        builder = builder.step(Step::new(step, nothing));
    }
    for (from, to) in STEPS.iter().zip(&STEPS[1..]) {
        builder = builder.then(*from, *to);
    }
    builder.then("five", COMPLETE).build().expect("the chain is a valid workflow")
}

/// Counts the runs that ended.
struct Ended {
    count: Arc<AtomicUsize>,
    wanted: usize,
    all: Arc<Notify>,
}

impl EventSink for Ended {
    fn emit(&self, event: &Event) {
        if let EventKind::RunTransition { to: RunStatus::Completed, .. } = event.kind
            && self.count.fetch_add(1, Ordering::SeqCst) + 1 == self.wanted
        {
            self.all.notify_one();
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("name a store: sqlite://… or postgres://…")?;
    let runs: usize = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    let store = SeaOrmStore::connect(&url).await?;
    let (count, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let sink = Ended { count: count.clone(), wanted: runs, all: all.clone() };
    let concurrency = std::env::var("CONCURRENCY").ok().and_then(|text| text.parse().ok()).unwrap_or(128);
    let executor = TokioExecutor::new().concurrency(concurrency);
    let mesh = Squidmesh::builder(store).executor(executor).workflow(chain()).event_sink(sink).build()?;

    let started = Instant::now();
    for batch in 0..runs.div_ceil(100) {
        let starts = (batch * 100..runs.min(batch * 100 + 100)).map(|_| {
            let mesh = mesh.clone();
            tokio::spawn(async move { mesh.start_run("chain", &json!({})).await.map(|run| run.id) })
        });
        for start in starts.collect::<Vec<_>>() {
            start.await??;
        }
    }
    let starting = started.elapsed();
    println!("{runs} starts: {:.0}/s", runs as f64 / starting.as_secs_f64());

    let working = Instant::now();
    let done = async {
        let _ = tokio::time::timeout(Duration::from_secs(600), all.notified()).await;
    };
    mesh.run_workers(done).await?;
    let elapsed = working.elapsed();
    println!("{} steps: {:.0}/s", runs * STEPS.len(), (runs * STEPS.len()) as f64 / elapsed.as_secs_f64());

    let left = mesh.list_runs(&RunFilter::new().status(RunStatus::Pending).status(RunStatus::Running)).await?;
    if count.load(Ordering::SeqCst) != runs || !left.runs.is_empty() {
        return Err(format!("{} of {runs} runs ended", count.load(Ordering::SeqCst)).into());
    }
    Ok(())
}
