//! Five schedulers on one Postgres that compete for the same occurrences, while some of them die.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement};
use squidmesh_core::definition::{TriggerName, WorkflowName};
use squidmesh_core::port::Store;
use squidmesh_core::schedule::{Schedule, TriggerRecord};
use squidmesh_core::{Timestamp, ms, secs};
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::cluster::{EVERY_MINUTE, TICK, TICKING, WorkerProcess};
use squidmesh_tests::{TestDatabase, block_on};

const SCHEDULER: &str = env!("CARGO_BIN_EXE_scheduler");
/// The number of occurrences that they compete for.
const TICKS: i64 = 10_000;
/// The number of competing processes.
const PROCESSES: usize = 5;
/// The number of processes that die, one after the other, and are replaced.
const DEATHS: i64 = 15;
const MINUTE: i64 = 60_000;

async fn query(store: &SeaOrmStore, sql: &str) -> QueryResult {
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    store.connection().query_one_raw(statement).await.expect("the database answers").expect("one row")
}

async fn fired(store: &SeaOrmStore) -> i64 {
    query(store, "SELECT count(*) AS n FROM squidmesh_runs").await.try_get_by("n").unwrap()
}

async fn start(database: &TestDatabase) -> WorkerProcess {
    WorkerProcess::start_with(SCHEDULER, "scheduler", &[database.url()]).await
}

/// Records that the trigger was processed up to `minutes` minutes ago, as if no process had run since.
async fn down_for(store: &SeaOrmStore, minutes: i64) -> Timestamp {
    let workflow = WorkflowName::new(TICKING).unwrap();
    let now = store.triggers(std::slice::from_ref(&workflow)).await.unwrap().now;
    let since = Timestamp::from_millis(now.as_millis() - minutes * MINUTE);
    let mut record = TriggerRecord::new(workflow, TriggerName::new(TICK).unwrap());
    record.positions.insert(Schedule::new(EVERY_MINUTE, "UTC").unwrap().to_string(), since);
    record.revision = 1;
    assert!(store.compare_and_set_trigger(&record).await.unwrap());
    since
}

mod postgres {
    use super::*;

    #[test]
    fn cluster_of_killed_schedulers_fires_each_of_10000_ticks_once() {
        block_on(async {
            let database = TestDatabase::postgres().await;
            let store = SeaOrmStore::connect(database.url()).await.unwrap();
            let since = down_for(&store, TICKS).await;
            let begun = Instant::now();
            let mut schedulers = Vec::new();
            for _ in 0..PROCESSES {
                schedulers.push(start(&database).await);
            }
            let mut deaths = 0;
            loop {
                let fired = fired(&store).await;
                // The next to die is the process that has lived longest.
                while deaths < DEATHS && fired >= (deaths + 1) * TICKS / (DEATHS + 1) {
                    schedulers.remove(0).kill().await;
                    schedulers.push(start(&database).await);
                    deaths += 1;
                }
                if fired >= TICKS {
                    break;
                }
                assert!(
                    begun.elapsed() < secs(240),
                    "after {:?}, {fired} of {TICKS} ticks were fired",
                    begun.elapsed()
                );
                tokio::time::sleep(ms(5)).await;
            }
            for scheduler in schedulers {
                scheduler.stop().await;
            }
            eprintln!("{TICKS} ticks and {deaths} deaths took {:?}", begun.elapsed());
            assert_eq!(deaths, DEATHS);
            let row = query(
                &store,
                "SELECT count(*) AS fired, count(DISTINCT intended_at) AS distinct_times, \
                 min(intended_at) AS first, max(intended_at) AS last FROM squidmesh_runs",
            )
            .await;
            let number = |column: &str| row.try_get_by::<i64, _>(column).unwrap();
            let (fired, distinct, first, last) =
                (number("fired"), number("distinct_times"), number("first"), number("last"));
            assert_eq!(fired, distinct, "none twice");
            let expected = Schedule::new(EVERY_MINUTE, "UTC").unwrap().after(since).unwrap();
            assert_eq!(first, expected.as_millis(), "none missed at the beginning");
            assert_eq!(fired, (last - first) / MINUTE + 1, "none missed in between");
            assert!(fired >= TICKS && Duration::from_millis(u64::try_from(last - first).unwrap()) >= secs(60) * 9_999);
            let stored = "SELECT count(*) AS n FROM squidmesh_runs AS run WHERE 1 = \
                          (SELECT count(*) FROM squidmesh_intents AS intent WHERE intent.run_id = run.id)";
            assert_eq!(
                query(&store, stored).await.try_get_by::<i64, _>("n").unwrap(),
                fired,
                "each run is dispatched once"
            );
        });
    }
}
