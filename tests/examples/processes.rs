//! Measures the effect of adding worker processes: 1, 2 and 4 of them, over the database alone and over Redis, on one
//! Postgres in one run.
//!
//! Start `cargo xtask services`, set the two variables that it prints, and then `cargo run --release -p
//! squidmesh-tests --example processes -- [runs]`. Each line is measured on a fresh database:
//! - *steps/s*: runs of five steps that do nothing, all started beforehand, timed from the moment at which all
//!   workers, ready by then, begin;
//! - *hop*: from the end of a step's handler to the beginning of its successor's; the outcome is recorded and
//!   committed in between;
//! - *pick-up*: from the return of `start_run` to the beginning of the first step.
//!
//! Hops and pick-ups are measured apart, with [`RATE`] starts a second, and are times by the clock of one machine.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a program that prints what it measures")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::stream::{self, StreamExt};
use serde_json::{Map, Value, json};
use squidmesh_core::port::Executor;
use squidmesh_core::{
    COMPLETE, RunFilter, RunId, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow,
};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::TestDatabase;
use squidmesh_tests::cluster::WorkerProcess;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

const STEPS: [&str; 5] = ["one", "two", "three", "four", "five"];
/// The number of concurrent steps in each process.
const CONCURRENCY: usize = 64;
/// The starts per second while latencies are measured, and their number.
const RATE: u32 = 50;
const PACED: usize = 500;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Returns the microseconds since 1970, which processes of one machine can compare.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

async fn stamp(_: Map<String, Value>, _: StepContext) -> StepResult<Value> {
    Ok(json!(now_us()))
}

fn chain() -> Workflow {
    let mut builder = Workflow::builder("chain").trigger(Trigger::manual("start"));
    for step in STEPS {
        builder = builder.step(Step::new(step, stamp).output(step));
    }
    for (from, to) in STEPS.iter().zip(&STEPS[1..]) {
        builder = builder.then(*from, *to);
    }
    builder.then("five", COMPLETE).build().expect("the chain is a valid workflow")
}

fn executor(kind: &str, redis: &str, prefix: &str) -> Result<Arc<dyn Executor>, Failure> {
    Ok(match kind {
        "redis" => Arc::new(RedisExecutor::new(redis)?.prefix(prefix)?.concurrency(CONCURRENCY)),
        _ => Arc::new(TokioExecutor::new().concurrency(CONCURRENCY)),
    })
}

async fn mesh(kind: &str, store: &str, redis: &str, prefix: &str) -> Result<Squidmesh, Failure> {
    let store = SeaOrmStore::connect(store).await?;
    Ok(Squidmesh::builder(store).executor(executor(kind, redis, prefix)?).workflow(chain()).build()?)
}

/// Runs a worker process: begins on a line of input, and works until its standard input closes.
async fn work(arguments: &[String]) -> Result<(), Failure> {
    let [kind, store, redis, prefix] = arguments else { return Err("a worker is started by this program".into()) };
    let mesh = mesh(kind, store, redis, prefix).await?;
    let mut input = BufReader::new(tokio::io::stdin());
    println!("ready");
    input.read_line(&mut String::new()).await?;
    let closed = async {
        let _ = input.read_to_end(&mut Vec::new()).await;
    };
    mesh.run_workers(closed).await?;
    // Reading standard input blocks a thread that no shutdown ends.
    std::process::exit(0);
}

async fn start(mesh: &Squidmesh, runs: usize) -> Result<Vec<RunId>, Failure> {
    let starts = (0..runs).map(|_| mesh.start_run("chain", &json!({})).into_future());
    let started: Vec<_> = stream::iter(starts).buffer_unordered(64).collect().await;
    started.into_iter().map(|run| Ok(run?.id)).collect()
}

async fn until_all_are_done(mesh: &Squidmesh) -> Result<(), Failure> {
    let open = RunStatus::ALL.into_iter().filter(|status| !status.is_terminal());
    let open = open.fold(RunFilter::new().limit(1), RunFilter::status);
    while !mesh.list_runs(&open).await?.runs.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// The measurements of one line.
struct Measured {
    steps_per_s: f64,
    hops: Vec<u64>,
    pick_ups: Vec<u64>,
}

async fn measure(kind: &str, processes: usize, runs: usize, redis: &str) -> Result<Measured, Failure> {
    let database = TestDatabase::postgres().await;
    let prefix = format!("processes-{}", uuid::Uuid::new_v4().simple());
    let mesh = mesh(kind, database.url(), redis, &prefix).await?;
    let ids = start(&mesh, runs).await?;

    let program = std::env::current_exe()?;
    let program = program.to_str().ok_or("the path of this program is text")?;
    let mut workers = Vec::new();
    for number in 0..processes {
        let name = format!("{kind}-{number}");
        let arguments = ["worker", kind, database.url(), redis, &prefix];
        workers.push(WorkerProcess::start_with(program, &name, &arguments).await);
    }
    let working = Instant::now();
    for worker in &mut workers {
        worker.begin().await;
    }
    until_all_are_done(&mesh).await?;
    let steps_per_s = (runs * STEPS.len()) as f64 / working.elapsed().as_secs_f64();
    for id in ids {
        let details = mesh.inspect_run(id).await?;
        let once = details.steps.iter().all(|step| step.attempts.len() == 1);
        if details.run.status != RunStatus::Completed || !once {
            return Err(format!("run {id} is not what it should be: {:?}", details.run).into());
        }
    }

    let mut started = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
    for _ in 0..PACED {
        ticks.tick().await;
        let id = mesh.start_run("chain", &json!({})).await?.id;
        started.push((id, now_us()));
    }
    until_all_are_done(&mesh).await?;
    let (mut hops, mut pick_ups) = (Vec::new(), Vec::new());
    for (id, at) in started {
        let context = mesh.inspect_run(id).await?.context;
        let stamps: Vec<u64> = STEPS.iter().filter_map(|step| context.get(*step)?.as_u64()).collect();
        pick_ups.extend(stamps.first().map(|first| first.saturating_sub(at)));
        hops.extend(stamps.iter().zip(stamps.iter().skip(1)).map(|(from, to)| to.saturating_sub(*from)));
    }
    for worker in workers {
        worker.stop().await;
    }
    Ok(Measured { steps_per_s, hops, pick_ups })
}

/// Returns a percentile in milliseconds.
fn percentile(times: &mut [u64], percent: usize) -> f64 {
    times.sort_unstable();
    let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(place).copied().unwrap_or_default() as f64 / 1_000.0
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = arguments.split_first()
        && first == "worker"
    {
        return work(rest).await;
    }
    let runs: usize = arguments.first().map_or(Ok(2_000), |text| text.parse())?;
    let redis = std::env::var("SQUIDMESH_TEST_REDIS").map_err(|_| "set what `cargo xtask services` prints")?;
    println!(
        "{runs} runs of {} steps; {PACED} more at {RATE} a second; {CONCURRENCY} steps at once a process",
        STEPS.len()
    );
    println!("executor processes | steps/s | hop p50 ms  p99 ms | pick-up p50 ms  p99 ms");
    for processes in [1, 2, 4] {
        for kind in ["tokio", "redis"] {
            let Measured { steps_per_s, mut hops, mut pick_ups } = measure(kind, processes, runs, &redis).await?;
            println!(
                "{kind:8} {processes:9} | {steps_per_s:7.0} | {:10.1} {:7.1} | {:14.1} {:7.1}",
                percentile(&mut hops, 50),
                percentile(&mut hops, 99),
                percentile(&mut pick_ups, 50),
                percentile(&mut pick_ups, 99),
            );
        }
    }
    Ok(())
}
