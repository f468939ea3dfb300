//! Many runs that wait, and become due at one instant: how late the last one is, and how fast they are completed.
//!
//! They wait for an hour; once they all do, their due time is moved to one instant two seconds ahead, in the
//! database, so that the herd is as large as possible.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use squidmesh_core::Squidmesh;
use squidmesh_executor_tokio::TokioExecutor;

use super::drive::{CONCURRENCY, Load, start};
use crate::database::{Database, Recorded};
use crate::failure::Failure;
use crate::figure::Round;
use crate::processes::{forget_peak, peak_mib};
use crate::recorder::Recorder;
use crate::workflows;

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) async fn round(database: &Database, runs: usize) -> Result<Round, Failure> {
    park(database, runs).await?;
    let before = database.read().await?;
    let lead = Duration::from_secs(2);
    let due = SystemTime::now() + lead;
    let recorder = Recorder::measuring_from(Instant::now() + lead);
    let due = due.duration_since(UNIX_EPOCH)?.as_millis();
    database.execute(&format!("UPDATE squidmesh_intents SET available_at = {due}")).await?;
    forget_peak();
    let elapsed = {
        let mesh = Squidmesh::builder(database.store().await?)
            .executor(TokioExecutor::new().concurrency(CONCURRENCY))
            .workflow(workflows::delayed(&recorder, HOUR)?)
            .event_sink(recorder.clone())
            .build()?;
        let mut outcome = Ok(());
        let mut elapsed = f64::NAN;
        mesh.run_workers(async {
            outcome = recorder.completed(runs, Duration::from_secs(600)).await;
            elapsed = recorder.since_base();
        })
        .await?;
        outcome?;
        elapsed
    };
    let peak = peak_mib();
    let after = database.read().await?;
    database.check(&Recorded::default(), runs, 2 * runs, 1).await?;
    let (p50, p99) = recorder.pickups();
    // Two steps complete for each run: the wait, and the one after it.
    Ok(after
        .since(&before, 2 * runs)
        .with("steps/s", 2.0 * runs as f64 / elapsed)
        .with("late p50 ms", p50)
        .with("late p99 ms", p99)
        .with("peak MiB", peak))
}

/// Starts `runs` runs and makes them wait for an hour.
pub(crate) async fn park(database: &Database, runs: usize) -> Result<(), Failure> {
    let delayed = |recorder: &Recorder| workflows::delayed(recorder, HOUR);
    start(database, &Load::new(&delayed, runs, 2)).await?;
    let store = database.store().await?;
    let mesh = Squidmesh::builder(store.clone())
        .executor(TokioExecutor::new().concurrency(CONCURRENCY))
        .workflow(workflows::delayed(&Recorder::new(), HOUR)?)
        .build()?;
    let mut outcome: Result<(), Failure> = Ok(());
    mesh.run_workers(async {
        outcome = async {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(300) {
                let soon = (SystemTime::now() + HOUR / 2).duration_since(UNIX_EPOCH)?.as_millis();
                let waiting = format!("SELECT count(*) FROM squidmesh_intents WHERE available_at > {soon}");
                if usize::try_from(database.count(&store, &waiting).await?)? == runs {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err("the runs were not all waiting after five minutes".into())
        }
        .await;
    })
    .await?;
    outcome
}
