//! Workers die every second, and Redis loses everything again and again.
//!
//! `SQUIDMESH_STORM_RUNS=10000 SQUIDMESH_STORM_SECONDS=10 cargo xtask test -p squidmesh-tests --profile long storm`
//! is the long form.

use std::time::{Duration, Instant};

use squidmesh_core::testing::SeededEntropy;
use squidmesh_core::{ms, secs};
use squidmesh_tests::block_on;
use squidmesh_tests::over_redis::STEPS;

use crate::workers::{SLACK, SWEEP, Workers, a_second, chosen};

mod postgres {
    use super::*;

    #[test]
    fn cluster_over_redis_loses_nothing_to_deaths() {
        block_on(storm());
    }
}

async fn storm() {
    let runs = usize::try_from(chosen("SQUIDMESH_STORM_RUNS", 700)).unwrap();
    let between_wipes = chosen("SQUIDMESH_STORM_SECONDS", 4);
    let seed = uuid::Uuid::new_v4().as_u64_pair().0;
    eprintln!("seed {seed}");
    let rng = SeededEntropy::new(seed);
    let mut workers = Workers::of(4, ms(20)).await;
    let begun = Instant::now();
    let starting = tokio::spawn({
        let mesh = workers.mesh.clone();
        async move { Workers::start(&mesh, runs).await }
    });
    let (mut kills, mut restarts, mut wipes) = (0, 0, 0);
    let mut measures = Vec::new();
    let patience = secs(120) + ms(100) * u32::try_from(runs).unwrap();
    while !starting.is_finished() || workers.open().await > 0 {
        assert!(
            begun.elapsed() < patience,
            "{} runs are open, and Redis holds {:?}",
            workers.open().await,
            workers.look.held().await
        );
        a_second().await;
        workers.replace(usize::try_from(rng.below(4)).unwrap()).await;
        kills += 1;
        // Both occur within the time, one after the other.
        match kills % between_wipes {
            0 => {
                workers.redis.kill();
                workers.redis.restart().await;
                restarts += 1;
                measures.push(measure(&workers));
            }
            half if half == between_wipes / 2 => {
                workers.redis.flush().await;
                wipes += 1;
                measures.push(measure(&workers));
            }
            _ => {}
        }
    }
    let ids = starting.await.unwrap();
    let took = begun.elapsed();
    assert!(
        kills > 2 && restarts > 0 && wipes > 0,
        "nothing was tried: {kills} kills, {restarts} restarts, {wipes} wipes"
    );
    let died = workers.all_is_well(&ids).await;
    eprintln!(
        "{runs} runs of {} steps took {took:?}: {kills} workers killed, {died} attempts died with them; Redis was killed {restarts} \
         times and flushed {wipes} times",
        STEPS.len()
    );
    let mut longest = Duration::ZERO;
    for measure in measures {
        let (due, time) = measure.await.unwrap();
        eprintln!("after a loss, {due} due intents were announced again or taken within {time:?}");
        longest = longest.max(time);
    }
    // One sweep, and as much again if the process that made it died. Thousands of due intents also take time
    // themselves.
    let bound = 2 * SWEEP + SLACK + ms(1) * u32::try_from(runs).unwrap();
    assert!(longest <= bound, "{longest:?}");
    workers.stop().await;
}

/// Measures how long it takes from now on until all due work is announced.
fn measure(workers: &Workers) -> tokio::task::JoinHandle<(usize, Duration)> {
    let (look, mesh) = (workers.look, workers.mesh.clone());
    tokio::spawn(async move { look.until_all_is_announced(&mesh, secs(60)).await })
}
