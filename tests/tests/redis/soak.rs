//! Full speed for a while, with pruning: unbounded growth shows.
//!
//! One minute of it; `SQUIDMESH_SOAK_SECONDS=3600 cargo xtask test -p squidmesh-tests --profile long soak` is the hour.

use std::time::{Duration, Instant};

use squidmesh_core::secs;
use squidmesh_tests::block_on;
use squidmesh_tests::over_redis::Held;

use crate::workers::{Workers, a_second, chosen};

/// The maximum number of concurrent runs.
const UNDER_WAY: usize = 200;
/// How long a run is kept after it has ended.
const KEPT: Duration = Duration::from_secs(30);
/// The number of most recent runs that are checked at the end. Those before them are pruned.
const CHECKED: usize = 500;
/// The time from which on a long soak must not grow, in seconds; and the time for which each of the two ends is
/// measured.
const SETTLED: usize = 480;
const MEASURED: usize = 120;
/// The maximum number of steps that each process may hold, including what it has read ahead.
const CLAIMED: usize = 2 * 16 + 64;

mod postgres {
    use super::*;

    #[test]
    fn cluster_over_redis_keeps_memory_and_streams_bounded() {
        block_on(soak());
    }
}

async fn soak() {
    let duration = secs(chosen("SQUIDMESH_SOAK_SECONDS", 60));
    let workers = Workers::of(2, Duration::ZERO).await;
    let begun = Instant::now();
    let starting = tokio::spawn({
        let mesh = workers.mesh.clone();
        async move {
            let (mut ids, mut runs, mut pruned) = (Vec::new(), 0, Instant::now());
            while begun.elapsed() < duration {
                ids.extend(Workers::start(&mesh, UNDER_WAY / 4).await);
                runs += UNDER_WAY / 4;
                ids.drain(..ids.len().saturating_sub(CHECKED));
                if pruned.elapsed() > KEPT / 3 {
                    mesh.prune_runs(KEPT).await.unwrap();
                    pruned = Instant::now();
                }
                while under_way(&mesh).await > UNDER_WAY * 3 / 4 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            (ids, runs)
        }
    });
    let (mut memory, mut most) = (Vec::new(), Held::default());
    while !starting.is_finished() {
        a_second().await;
        let held = workers.look.held().await.unwrap();
        most.entries = most.entries.max(held.entries);
        most.pending = most.pending.max(held.pending);
        most.known = most.known.max(held.known);
        memory.push(workers.workers.iter().map(|worker| resident_kib(worker.pid())).sum::<u64>());
    }
    let (ids, runs) = starting.await.unwrap();
    let rate = runs as f64 * 5.0 / begun.elapsed().as_secs_f64();
    assert_eq!(workers.all_is_well(&ids).await, 0, "no worker died");
    let third = memory.len() / 3;
    let [start, middle, end] = [&memory[..third], &memory[third..2 * third], &memory[2 * third..]].map(median);
    eprintln!(
        "{runs} runs, {rate:.0} steps/s; at most {most:?}; resident KiB of both processes in each third of the time: \
         {start}, {middle}, {end}"
    );
    if memory.len() >= SETTLED + 2 * MEASURED {
        let [settled, last] = [&memory[SETTLED..SETTLED + MEASURED], &memory[memory.len() - MEASURED..]].map(median);
        eprintln!("resident KiB after eight minutes and at the end: {settled}, {last}");
        assert!(last <= settled + settled / 20, "resident memory grew from {settled} to {last} KiB: {memory:?}");
    }
    // Five steps of a run are never announced at once: at most three of a fan are.
    assert!(most.entries <= 3 * UNDER_WAY, "{most:?}");
    assert!(most.pending <= workers.workers.len() * CLAIMED, "{most:?}");
    assert!(end <= middle + middle / 10 + 4_096, "resident memory grew from {middle} to {end} KiB: {memory:?}");
    workers.stop().await;
}

/// Returns the number of runs that have not ended, up to a bound.
async fn under_way(mesh: &squidmesh_core::Squidmesh) -> usize {
    use squidmesh_core::{RunFilter, RunStatus};
    let open = RunStatus::ALL.into_iter().filter(|status| !status.is_terminal());
    let open = open.fold(RunFilter::new().limit(UNDER_WAY), RunFilter::status);
    mesh.list_runs(&open).await.unwrap().runs.len()
}

/// Returns the resident memory of a process, as the kernel counts it.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says what is resident");
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

fn median(numbers: &[u64]) -> u64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
