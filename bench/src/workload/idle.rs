//! A process with nothing to do: it has worked, and now some runs wait for their time. What it costs to have it there.

use std::time::{Duration, Instant};

use super::delayed::park;
use super::drive::{Load, start};
use crate::child::Worker;
use crate::figure::Round;
use crate::place::Place;
use crate::recorder::Recorder;
use crate::{Failure, processes, workflows};

/// The runs that the process has worked off before.
const WORKED: usize = 1_000;

/// Leaves a process of default settings alone for so long, with so many runs waiting.
pub(crate) async fn round(place: &Place, waiting: usize, time: Duration) -> Result<Round, Failure> {
    park(place, waiting).await?;
    let chain = |recorder: &Recorder| workflows::chain(recorder, 5);
    start(place, &Load::new(&chain, WORKED, 5)).await?;
    let mut worker = Worker::start(&place.url(), 0).await?;
    worker.go().await?;
    while worker.completed < WORKED {
        tokio::time::timeout(Duration::from_secs(60), worker.progress()).await??;
    }
    // What it still does after work is not idling.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pid = worker.pid()?;
    let (statements, cpu, begun) = (place.statements().await?, processes::cpu_of(pid), Instant::now());
    tokio::time::sleep(time).await;
    let (statements_after, cpu_after) = (place.statements().await?, processes::cpu_of(pid));
    let elapsed = begun.elapsed().as_secs_f64();
    let resident = processes::resident_mib(pid);
    worker.stop().await?;
    Ok(Round::new()
        .with("queries/s", (statements_after - statements) / elapsed)
        .with("CPU %", (cpu_after - cpu) / elapsed * 100.0)
        .with("resident MiB", resident))
}
