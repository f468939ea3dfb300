//! Workers die every second, and Redis loses everything time and again.
//!
//! `SQUIDMESH_STORM_RUNS=10000 SQUIDMESH_STORM_SECONDS=10 cargo xtask test -p squidmesh-tests --profile long storm` is the long form.

use std::time::{Duration, Instant};

use squidmesh_core::testing::SeededEntropy;
use squidmesh_core::{ms, secs};
use squidmesh_tests::block_on;
use squidmesh_tests::over_redis::STEPS;

use crate::crew::{Crew, SLACK, SWEEP, a_second, chosen};

mod postgres {
    use super::*;

    #[test]
    fn cluster_over_redis_loses_nothing_when_workers_and_redis_die_all_the_time() {
        block_on(storm());
    }
}

async fn storm() {
    let runs = usize::try_from(chosen("SQUIDMESH_STORM_RUNS", 700)).unwrap();
    let between_wipes = chosen("SQUIDMESH_STORM_SECONDS", 4);
    let seed = uuid::Uuid::new_v4().as_u64_pair().0;
    eprintln!("seed {seed}");
    let dice = SeededEntropy::new(seed);
    let mut crew = Crew::of(4, ms(20)).await;
    let begun = Instant::now();
    let starting = tokio::spawn({
        let mesh = crew.mesh.clone();
        async move { Crew::start(&mesh, runs).await }
    });
    let (mut kills, mut restarts, mut wipes) = (0, 0, 0);
    let mut measures = Vec::new();
    let patience = secs(120) + ms(100) * u32::try_from(runs).unwrap();
    while !starting.is_finished() || crew.open().await > 0 {
        assert!(
            begun.elapsed() < patience,
            "{} runs are open, and Redis holds {:?}",
            crew.open().await,
            crew.look.held().await
        );
        a_second().await;
        crew.replace(usize::try_from(dice.below(4)).unwrap()).await;
        kills += 1;
        // Both within the time, one after the other.
        match kills % between_wipes {
            0 => {
                crew.redis.kill();
                crew.redis.restart().await;
                restarts += 1;
                measures.push(measure(&crew));
            }
            half if half == between_wipes / 2 => {
                crew.redis.flush().await;
                wipes += 1;
                measures.push(measure(&crew));
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
    let died = crew.all_is_well(&ids).await;
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
    // One sweep; and as much again where the process died that made it. Thousands of due intents take their time themselves.
    let bound = 2 * SWEEP + SLACK + ms(1) * u32::try_from(runs).unwrap();
    assert!(longest <= bound, "{longest:?}");
    crew.stop().await;
}

/// How long it takes from now on until all that is due is announced.
fn measure(crew: &Crew) -> tokio::task::JoinHandle<(usize, Duration)> {
    let (look, mesh) = (crew.look, crew.mesh.clone());
    tokio::spawn(async move { look.until_all_is_announced(&mesh, secs(60)).await })
}
