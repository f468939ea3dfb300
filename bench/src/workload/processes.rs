//! The chain, worked off by one, two or four processes on one database.
//!
//! One process is measured the same way, as a child of its own, so that the comparison is of like with like.

use std::time::{Duration, Instant};

use futures_util::future::select_all;

use super::drive::{CONCURRENCY, Load, start};
use crate::child::Worker;
use crate::figure::Round;
use crate::place::{Place, Recorded};
use crate::recorder::Recorder;
use crate::{Failure, processes, workflows};

pub(crate) async fn round(place: &Place, runs: usize, count: usize) -> Result<Round, Failure> {
    let chain = |recorder: &Recorder| workflows::chain(recorder, 5);
    start(place, &Load::new(&chain, runs, 5)).await?;
    let before = place.read().await?;
    let mut workers = Vec::new();
    for _ in 0..count {
        workers.push(Worker::start(&place.url(), CONCURRENCY).await?);
    }
    let begun = Instant::now();
    for worker in &mut workers {
        worker.go().await?;
    }
    while workers.iter().map(|worker| worker.completed).sum::<usize>() < runs {
        let news = select_all(workers.iter_mut().map(|worker| Box::pin(worker.progress())));
        tokio::time::timeout(Duration::from_secs(300), news).await?.0?;
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
    let after = place.read().await?;
    place.check(&Recorded::default(), runs, runs * 5, 1).await?;
    if handled != runs * 5 {
        return Err(format!("{handled} handlers were called for {} steps, though nobody died", runs * 5).into());
    }
    let steps = runs * 5;
    Ok(after
        .since(&before, steps)
        .with("steps/s", steps as f64 / elapsed)
        .with("program CPU µs/step", cpu * 1e6 / steps as f64))
}
