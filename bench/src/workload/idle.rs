//! A process with nothing to do: it has worked, and now some runs wait for their time. Measures the cost of its
//! presence.

use std::time::{Duration, Instant};

use super::delayed::park;
use super::drive::{Load, start};
use crate::child::Worker;
use crate::database::Database;
use crate::failure::Failure;
use crate::figure::Round;
use crate::recorder::Recorder;
use crate::{processes, workflows};

/// The number of runs that the process has completed before.
const WORKED: usize = 1_000;

/// Leaves a process with default settings alone for `time`, with `waiting` waiting runs.
pub(crate) async fn round(database: &Database, waiting: usize, time: Duration) -> Result<Round, Failure> {
    park(database, waiting).await?;
    let chain = |recorder: &Recorder| workflows::chain(recorder, 5);
    start(database, &Load::new(&chain, WORKED, 5)).await?;
    let mut worker = Worker::start(&database.url(), 0).await?;
    worker.go().await?;
    while worker.completed < WORKED {
        tokio::time::timeout(Duration::from_secs(60), worker.progress()).await??;
    }
    // The process's remaining activity after its work is not idling.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pid = worker.pid()?;
    let (statements, cpu, begun) = (database.statements().await?, processes::cpu_of(pid), Instant::now());
    tokio::time::sleep(time).await;
    let (statements_after, cpu_after) = (database.statements().await?, processes::cpu_of(pid));
    let elapsed = begun.elapsed().as_secs_f64();
    let resident = processes::resident_mib(pid);
    worker.stop().await?;
    Ok(Round::new()
        .with("queries/s", (statements_after - statements) / elapsed)
        .with("CPU %", (cpu_after - cpu) / elapsed * 100.0)
        .with("resident MiB", resident))
}
