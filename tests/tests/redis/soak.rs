//! Full speed for a while: what grows without bound would show.
//!
//! Two minutes of it; `SQUIDMESH_SOAK_SECONDS=3600 cargo xtask test -p squidmesh-tests --profile long soak` is the hour.

use std::time::{Duration, Instant};

use squidmesh_core::secs;
use squidmesh_tests::block_on;
use squidmesh_tests::over_redis::Held;

use crate::crew::{Crew, a_second, chosen};

/// How many runs are under way at most.
const UNDER_WAY: usize = 200;
/// How many steps each process may have in hand, with what it has read ahead.
const IN_HAND: usize = 2 * 16 + 64;

mod postgres {
    use super::*;

    #[test]
    fn cluster_over_redis_at_full_speed_keeps_its_memory_and_its_streams_bounded() {
        block_on(soak());
    }
}

async fn soak() {
    let duration = secs(chosen("SQUIDMESH_SOAK_SECONDS", 120));
    let crew = Crew::of(2, Duration::ZERO).await;
    let begun = Instant::now();
    let starting = tokio::spawn({
        let mesh = crew.mesh.clone();
        async move {
            let mut ids = Vec::new();
            while begun.elapsed() < duration {
                ids.extend(Crew::start(&mesh, UNDER_WAY / 4).await);
                while under_way(&mesh).await > UNDER_WAY * 3 / 4 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            ids
        }
    });
    let (mut memory, mut most) = (Vec::new(), Held::default());
    while !starting.is_finished() {
        a_second().await;
        let held = crew.look.held().await.unwrap();
        most.entries = most.entries.max(held.entries);
        most.pending = most.pending.max(held.pending);
        most.known = most.known.max(held.known);
        memory.push(crew.workers.iter().map(|worker| resident_kib(worker.pid())).sum::<u64>());
    }
    let ids = starting.await.unwrap();
    let rate = ids.len() as f64 * 5.0 / begun.elapsed().as_secs_f64();
    assert_eq!(crew.all_is_well(&ids).await, 0, "nobody died");
    let third = memory.len() / 3;
    let [start, middle, end] = [&memory[..third], &memory[third..2 * third], &memory[2 * third..]].map(median);
    eprintln!(
        "{} runs, {rate:.0} steps/s; at most {most:?}; resident KiB of both processes in each third of the time: \
         {start}, {middle}, {end}",
        ids.len()
    );
    // Five steps of a run are never announced at once: three of a fan are.
    assert!(most.entries <= 3 * UNDER_WAY, "{most:?}");
    assert!(most.pending <= crew.workers.len() * IN_HAND, "{most:?}");
    assert!(end <= middle + middle / 10 + 4_096, "resident memory grew from {middle} to {end} KiB: {memory:?}");
    crew.stop().await;
}

/// How many runs have not ended, up to a bound.
async fn under_way(mesh: &squidmesh_core::Squidmesh) -> usize {
    use squidmesh_core::{RunFilter, RunStatus};
    let open = RunStatus::ALL.into_iter().filter(|status| !status.is_terminal());
    let open = open.fold(RunFilter::new().limit(UNDER_WAY), RunFilter::status);
    mesh.list_runs(&open).await.unwrap().runs.len()
}

/// What a process has in memory, as the kernel counts it.
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
