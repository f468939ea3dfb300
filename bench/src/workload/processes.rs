//! The chain, completed by one, two or four processes on one database.
//!
//! One process is measured the same way, as a child process, so that like is compared with like.

use std::time::{Duration, Instant};

use futures_util::future::select_all;

use super::drive::{CONCURRENCY, Load, start};
use crate::child::Worker;
use crate::database::{Database, Recorded};
use crate::failure::Failure;
use crate::figure::Round;
use crate::recorder::Recorder;
use crate::{processes, workflows};

pub(crate) async fn round(database: &Database, runs: usize, count: usize) -> Result<Round, Failure> {
    let chain = |recorder: &Recorder| workflows::chain(recorder, 5);
    start(database, &Load::new(&chain, runs, 5)).await?;
    let before = database.read().await?;
    let mut workers = Vec::new();
    for _ in 0..count {
        workers.push(Worker::start(&database.url(), CONCURRENCY).await?);
    }
    let begun = Instant::now();
    for worker in &mut workers {
        worker.go().await?;
    }
    while workers.iter().map(|worker| worker.completed).sum::<usize>() < runs {
        let progress = select_all(workers.iter_mut().map(|worker| Box::pin(worker.progress())));
        tokio::time::timeout(Duration::from_secs(300), progress).await?.0?;
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let mut cpu = 0.0;
    for worker in &workers {
        cpu += processes::cpu_of(worker.pid()?);
    }
    let mut handled = 0;
    for worker in workers {
        handled += worker.stop().await?;
    }
    let after = database.read().await?;
    database.check(&Recorded::default(), runs, runs * 5, 1).await?;
    if handled != runs * 5 {
        return Err(format!("{handled} handlers were called for {} steps, though no worker died", runs * 5).into());
    }
    let steps = runs * 5;
    Ok(after
        .since(&before, steps)
        .with("steps/s", steps as f64 / elapsed)
        .with("program CPU µs/step", cpu * 1e6 / steps as f64))
}
