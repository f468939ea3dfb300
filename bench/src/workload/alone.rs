//! One run alone: no other run is active, so that a hop takes only its own time.

use std::time::{Duration, Instant};

use serde_json::json;
use squidmesh_core::Squidmesh;
use squidmesh_executor_tokio::TokioExecutor;

use super::drive::CONCURRENCY;
use crate::database::{Database, Recorded};
use crate::failure::Failure;
use crate::figure::Round;
use crate::recorder::Recorder;
use crate::workflows;

/// The steps of a run: enough that most hops are not first ones.
const STEPS: usize = 20;

/// Starts run after run, each when the one before has completed.
pub(crate) async fn round(database: &Database, runs: usize) -> Result<Round, Failure> {
    let recorder = Recorder::new();
    let before = database.read().await?;
    let begun = {
        let mesh = Squidmesh::builder(database.store().await?)
            .executor(TokioExecutor::new().concurrency(CONCURRENCY))
            .workflow(workflows::chain(&recorder, STEPS)?)
            .event_sink(recorder.clone())
            .build()?;
        let mut outcome: Result<(), Failure> = Ok(());
        let begun = Instant::now();
        mesh.run_workers(async {
            outcome = async {
                for number in 1..=runs {
                    let at = Instant::now();
                    let run = mesh.start_run("chain", &json!({})).await?;
                    recorder.started(run.id, at);
                    recorder.completed(number, Duration::from_secs(60)).await?;
                }
                Ok(())
            }
            .await;
        })
        .await?;
        outcome?;
        begun.elapsed().as_secs_f64()
    };
    let after = database.read().await?;
    database.check(&Recorded::default(), runs, runs * STEPS, 1).await?;
    let ((p50, p99), (pickup, pickup_p99)) = (recorder.hops(), recorder.pickups());
    let steps = runs * STEPS;
    Ok(after
        .since(&before, steps)
        .with("steps/s", steps as f64 / begun)
        .with("hop p50 ms", p50)
        .with("hop p99 ms", p99)
        .with("pickup p50 ms", pickup)
        .with("pickup p99 ms", pickup_p99))
}
