//! Drives runs from start to completion, the way most workloads share: all are started, all connections closed, and
//! then completed by fresh workers, so that the costs of starting and of a step are counted apart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde_json::json;
use squidmesh_core::port::Executor;
use squidmesh_core::{Squidmesh, Workflow};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_executor_tokio::TokioExecutor;
use tokio::sync::Semaphore;

use crate::database::Database;
use crate::failure::Failure;
use crate::figure::Round;
use crate::processes::{forget_peak, peak_mib};
use crate::recorder::Recorder;

/// The number of concurrent steps in a process, in every workload: no-op steps spend their time in the database, so
/// this is the number of commits that can be grouped.
pub(crate) const CONCURRENCY: usize = 512;

/// The number of concurrent calls of a host that start runs, as if serving that many requests.
pub(crate) const STARTERS: usize = 256;

/// A round that takes longer than this has failed.
const TIMEOUT: Duration = Duration::from_secs(600);

/// How work reaches the workers.
#[derive(Clone, Debug)]
pub(crate) enum Via {
    /// They poll the store.
    Store,
    /// They are notified through Redis, under names of this round's own.
    Redis { url: String, prefix: String },
}

impl Via {
    fn executor(&self) -> Result<Arc<dyn Executor>, Failure> {
        Ok(match self {
            Via::Store => Arc::new(TokioExecutor::new().concurrency(CONCURRENCY)),
            Via::Redis { url, prefix } => Arc::new(RedisExecutor::new(url)?.prefix(prefix)?.concurrency(CONCURRENCY)),
        })
    }
}

/// A number of runs of a workflow.
pub(crate) struct Load<'a> {
    pub(crate) workflow: &'a dyn Fn(&Recorder) -> Result<Workflow, Failure>,
    pub(crate) runs: usize,
    /// The steps of a run.
    pub(crate) steps: usize,
    /// The attempt in which each step completes.
    pub(crate) attempts: u32,
    pub(crate) via: Via,
}

impl<'a> Load<'a> {
    pub(crate) fn new(workflow: &'a dyn Fn(&Recorder) -> Result<Workflow, Failure>, runs: usize, steps: usize) -> Self {
        Load { workflow, runs, steps, attempts: 1, via: Via::Store }
    }

    pub(crate) fn via(mut self, via: Via) -> Self {
        self.via = via;
        self
    }

    pub(crate) fn in_attempt(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }
}

/// Runs one round: starts everything, completes it, and checks what was recorded.
pub(crate) async fn round(database: &Database, load: &Load<'_>) -> Result<Round, Failure> {
    let earlier = database.recorded().await?;
    let starting = start(database, load).await?;
    let worked = work_off(database, load).await?;
    database.check(&earlier, load.runs, load.runs * load.steps, load.attempts).await?;
    Ok(worked.with("starts/s", load.runs as f64 / starting.as_secs_f64()))
}

/// Starts all runs of a load, with [`STARTERS`] concurrent callers, and closes the store.
pub(crate) async fn start(database: &Database, load: &Load<'_>) -> Result<Duration, Failure> {
    let recorder = Recorder::new();
    let workflow = (load.workflow)(&recorder)?;
    let name = workflow.definition().name().to_string();
    let mesh = Squidmesh::builder(database.store().await?).executor(load.via.executor()?).workflow(workflow).build()?;
    let begun = Instant::now();
    start_singly(&mesh, &name, load.runs).await?;
    Ok(begun.elapsed())
}

/// Starts runs one by one, with several concurrent callers.
pub(crate) async fn start_singly(mesh: &Squidmesh, workflow: &str, runs: usize) -> Result<(), Failure> {
    let turns = Arc::new(Semaphore::new(STARTERS));
    let mut calls = Vec::with_capacity(runs);
    for _ in 0..runs {
        let turn = turns.clone().acquire_owned().await?;
        let (mesh, workflow) = (mesh.clone(), workflow.to_owned());
        calls.push(tokio::spawn(async move {
            let started = mesh.start_run(&workflow, &json!({})).await.map(drop);
            drop(turn);
            started
        }));
    }
    for call in calls {
        call.await??;
    }
    Ok(())
}

/// Completes the started runs in one process, and returns how fast and at what cost.
pub(crate) async fn work_off(database: &Database, load: &Load<'_>) -> Result<Round, Failure> {
    let steps = load.runs * load.steps;
    let recorder = Recorder::new();
    let workflow = (load.workflow)(&recorder)?;
    let before = database.read().await?;
    forget_peak();
    let begun = Instant::now();
    let elapsed = {
        let mesh = Squidmesh::builder(database.store().await?)
            .executor(load.via.executor()?)
            .workflow(workflow)
            .event_sink(recorder.clone())
            .build()?;
        let mut completed = Ok(());
        let mut elapsed = Duration::ZERO;
        mesh.run_workers(async {
            completed = recorder.completed(load.runs, TIMEOUT).await;
            elapsed = begun.elapsed();
        })
        .await?;
        completed?;
        elapsed.as_secs_f64()
    };
    let peak = peak_mib();
    let after = database.read().await?;
    let handled = recorder.handled();
    let expected = steps * load.attempts as usize;
    if handled > expected {
        return Err(format!("{handled} handlers were called for {expected} attempts, though no worker died").into());
    }
    let (p50, p99) = recorder.hops();
    Ok(after
        .since(&before, steps)
        .with("steps/s", steps as f64 / elapsed)
        .with("hop p50 ms", p50)
        .with("hop p99 ms", p99)
        .with("peak MiB", peak))
}

/// Starts and completes the runs of a load in one process at once, as a service under load does. Counts from the first
/// start to the last completion.
pub(crate) async fn at_once(database: &Database, load: &Load<'_>) -> Result<Round, Failure> {
    let steps = load.runs * load.steps;
    let recorder = Recorder::new();
    let workflow = (load.workflow)(&recorder)?;
    let name = workflow.definition().name().to_string();
    let (earlier, before) = (database.recorded().await?, database.read().await?);
    let (starting, elapsed) = {
        let mesh = Squidmesh::builder(database.store().await?)
            .executor(load.via.executor()?)
            .workflow(workflow)
            .event_sink(recorder.clone())
            .build()?;
        let mut times: Result<(Duration, Duration), Failure> = Err("nothing was measured".into());
        mesh.run_workers(async {
            times = async {
                let begun = Instant::now();
                start_singly(&mesh, &name, load.runs).await?;
                let starting = begun.elapsed();
                recorder.completed(load.runs, TIMEOUT).await?;
                Ok((starting, begun.elapsed()))
            }
            .await;
        })
        .await?;
        times?
    };
    let after = database.read().await?;
    database.check(&earlier, load.runs, steps, load.attempts).await?;
    Ok(after
        .since(&before, steps)
        .with("steps/s", steps as f64 / elapsed.as_secs_f64())
        .with("starts/s", load.runs as f64 / starting.as_secs_f64()))
}

/// Awaits spawned calls and returns their results.
pub(crate) async fn joined<T>(calls: Vec<tokio::task::JoinHandle<Result<T, Failure>>>) -> Result<Vec<T>, Failure> {
    try_join_all(calls.into_iter().map(|call| async { call.await? })).await
}
