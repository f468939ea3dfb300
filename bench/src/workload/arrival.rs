//! A steady arrival of runs, at half of the rate that the same process reaches at its peak: what a hop takes under
//! load.
//!
//! The arrivals keep to their timetable regardless of the runtime (an open loop): a runtime that lags behind is given
//! no rest.

use std::time::{Duration, Instant};

use serde_json::json;
use squidmesh_core::Squidmesh;
use squidmesh_executor_tokio::TokioExecutor;

use super::drive::{CONCURRENCY, joined};
use crate::database::{Database, Recorded};
use crate::failure::Failure;
use crate::figure::Round;
use crate::processes::{forget_peak, peak_mib};
use crate::recorder::Recorder;
use crate::workflows;

const STEPS: usize = 5;

/// The time between arrivals; several runs arrive together at high rates.
const TICK: Duration = Duration::from_millis(5);

/// Starts runs of five steps so that `steps_per_second` are due, for `time`.
pub(crate) async fn round(database: &Database, steps_per_second: f64, time: Duration) -> Result<Round, Failure> {
    let recorder = Recorder::new();
    let before = database.read().await?;
    forget_peak();
    let ticks = (time.as_secs_f64() / TICK.as_secs_f64()) as usize;
    let rate = steps_per_second / STEPS as f64;
    let runs = (rate * time.as_secs_f64()) as usize;
    let elapsed = {
        let mesh = Squidmesh::builder(database.store().await?)
            .executor(TokioExecutor::new().concurrency(CONCURRENCY))
            .workflow(workflows::chain(&recorder, STEPS)?)
            .event_sink(recorder.clone())
            .build()?;
        let mut outcome: Result<f64, Failure> = Ok(f64::NAN);
        mesh.run_workers(async {
            outcome = async {
                let begun = Instant::now();
                let mut calls = Vec::with_capacity(runs);
                for tick in 1..=ticks {
                    tokio::time::sleep_until((begun + TICK * u32::try_from(tick)?).into()).await;
                    let due = (runs * tick) / ticks;
                    while calls.len() < due {
                        let (mesh, recorder) = (mesh.clone(), recorder.clone());
                        calls.push(tokio::spawn(async move {
                            let at = Instant::now();
                            let run = mesh.start_run("chain", &json!({})).await?;
                            recorder.started(run.id, at);
                            Ok(())
                        }));
                    }
                }
                joined(calls).await?;
                recorder.completed(runs, Duration::from_secs(120)).await?;
                Ok(begun.elapsed().as_secs_f64())
            }
            .await;
        })
        .await?;
        outcome?
    };
    let peak = peak_mib();
    let after = database.read().await?;
    database.check(&Recorded::default(), runs, runs * STEPS, 1).await?;
    let ((p50, p99), (pickup, pickup_p99)) = (recorder.hops(), recorder.pickups());
    let steps = runs * STEPS;
    Ok(after
        .since(&before, steps)
        .with("asked steps/s", steps_per_second)
        .with("steps/s", steps as f64 / elapsed)
        .with("hop p50 ms", p50)
        .with("hop p99 ms", p99)
        .with("pickup p50 ms", pickup)
        .with("pickup p99 ms", pickup_p99)
        .with("peak MiB", peak))
}
