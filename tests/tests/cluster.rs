//! Three processes on one Postgres, one of which may die.

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

use futures_util::stream::{self, StreamExt};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement};
use serde_json::json;
use squidmesh_core::{Squidmesh, ms, secs};
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::cluster::{self, STEPS, SWEEP, WORKFLOW, WorkerProcess};
use squidmesh_tests::{TestDatabase, block_on};

const WORKER: &str = env!("CARGO_BIN_EXE_worker");
const PROCESSES: [&str; 3] = ["ada", "bob", "cleo"];
/// The slack that a busy machine may add to any time.
const SLACK: Duration = Duration::from_secs(3);

struct Cluster {
    database: TestDatabase,
    store: SeaOrmStore,
    mesh: Squidmesh,
    workers: Vec<WorkerProcess>,
}

impl Cluster {
    async fn start(time: Duration, lease: Option<Duration>) -> Self {
        let database = TestDatabase::postgres().await;
        let store = SeaOrmStore::connect(database.url()).await.unwrap();
        let mesh = cluster::mesh(store.clone(), "nobody", time, lease, || {});
        let mut workers = Vec::new();
        for name in PROCESSES {
            workers.push(WorkerProcess::start(WORKER, database.url(), name, time, lease).await);
        }
        Cluster { database, store, mesh, workers }
    }

    async fn start_runs(&self, count: usize) {
        let starts = (0..count).map(|_| self.mesh.start_run(WORKFLOW, &json!({})).into_future());
        let started: Vec<_> = stream::iter(starts).buffer_unordered(64).collect().await;
        assert!(started.iter().all(Result::is_ok));
    }

    async fn query(&self, sql: &str) -> Vec<QueryResult> {
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        self.store.connection().query_all_raw(statement).await.expect("the database answers")
    }

    async fn number(&self, sql: &str) -> i64 {
        self.query(sql).await[0].try_get_by("n").unwrap()
    }

    async fn completed(&self) -> usize {
        let n = self.number("SELECT count(*) AS n FROM squidmesh_runs WHERE status = 'completed'").await;
        usize::try_from(n).unwrap()
    }

    /// Waits until `count` runs have completed.
    async fn until_completed(&self, count: usize, within: Duration) {
        let begun = Instant::now();
        loop {
            let completed = self.completed().await;
            if completed >= count {
                return;
            }
            assert!(
                begun.elapsed() < within,
                "after {:?}, {completed} of {count} runs have completed",
                begun.elapsed()
            );
            tokio::time::sleep(ms(50)).await;
        }
    }

    /// Returns the number of steps that each process completed.
    async fn shares(&self) -> Vec<(String, i64)> {
        let rows = self
            .query(
                "SELECT output::json->>'by' AS process, count(*) AS n FROM squidmesh_step_runs \
                 WHERE status = 'completed' GROUP BY 1 ORDER BY 1",
            )
            .await;
        rows.iter().map(|row| (row.try_get_by("process").unwrap(), row.try_get_by("n").unwrap())).collect()
    }

    /// Each step of each run was completed once, and every other attempt failed with its worker.
    async fn each_step_is_recorded_once(&self, runs: usize) {
        let steps = i64::try_from(runs * STEPS.len()).unwrap();
        let completed = "SELECT count(*) AS n FROM squidmesh_step_runs WHERE status = 'completed'";
        assert_eq!(self.number(completed).await, steps);
        assert_eq!(self.number("SELECT count(*) AS n FROM squidmesh_intents").await, 0);
    }

    async fn stop(self) {
        for worker in self.workers {
            worker.stop().await;
        }
        drop(self.database);
    }
}

mod postgres {
    use super::*;

    #[test]
    fn cluster_of_three_processes_records_each_step_once() {
        block_on(async {
            const RUNS: usize = 2_000;
            let cluster = Cluster::start(ms(2), Some(secs(30))).await;
            let begun = Instant::now();
            cluster.start_runs(RUNS).await;
            cluster.until_completed(RUNS, secs(240)).await;
            eprintln!("{RUNS} runs of {} steps took {:?}", STEPS.len(), begun.elapsed());
            cluster.each_step_is_recorded_once(RUNS).await;
            let others = cluster.number("SELECT count(*) AS n FROM squidmesh_step_runs WHERE attempt > 1").await;
            assert_eq!(others, 0, "no process died, so every attempt is the first");
            let shares = cluster.shares().await;
            eprintln!("shares: {shares:?}");
            assert_eq!(shares.len(), 3, "{shares:?}");
            let tenth = i64::try_from(RUNS * STEPS.len() / 10).unwrap();
            assert!(shares.iter().all(|(_, steps)| *steps > tenth), "each does more than a tenth: {shares:?}");
            cluster.stop().await;
        });
    }

    /// Kills one process in the middle of a backlog, and returns the maximum time that its work had to wait. Steps
    /// take long enough for a process to be in the middle of some at any moment.
    async fn one_dies(runs: usize, time: Duration, lease: Option<Duration>, within: Duration) -> Duration {
        let mut cluster = Cluster::start(time, lease).await;
        cluster.workers.remove(1).stop().await;
        // The steps of the process that dies take longer, so that it dies in the middle of some.
        let mut dies = WorkerProcess::start(WORKER, cluster.database.url(), "dan", time + ms(200), lease).await;
        cluster.start_runs(runs).await;
        cluster.until_completed(runs / 10, within).await;
        dies.in_a_step().await;
        let now = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS n";
        let killed = cluster.number(now).await;
        dies.kill().await;
        let open = "SELECT count(*) AS n FROM squidmesh_runs WHERE finished_at IS NULL";
        eprintln!("{} runs were open when it died", cluster.number(open).await);
        cluster.until_completed(runs, within).await;
        cluster.each_step_is_recorded_once(runs).await;
        let lost = "SELECT count(*) AS n FROM squidmesh_attempts WHERE status = 'failed'";
        assert_ne!(cluster.number(lost).await, 0, "it died in the middle of a step");
        let unexplained = "SELECT count(*) AS n FROM squidmesh_attempts \
                           WHERE error NOT LIKE '%stale_running_step%'";
        assert_eq!(cluster.number(unexplained).await, 0);
        let retaken = "SELECT lost.started_at AS lost, again.started_at AS n FROM squidmesh_attempts AS lost \
                       JOIN (SELECT run_id, step, attempt, attempt_started_at AS started_at FROM squidmesh_step_runs) AS again \
                       ON again.run_id = lost.run_id AND again.step = lost.step AND again.attempt = lost.number + 1 \
                       WHERE lost.status = 'failed' ORDER BY 2";
        let times = cluster.query(retaken).await;
        let times: Vec<(i64, i64)> = times
            .iter()
            .map(|row| {
                let at = |column| row.try_get_by::<i64, _>(column).unwrap() - killed;
                (at("lost"), at("n"))
            })
            .collect();
        eprintln!("begun and taken over, in ms after the death: {times:?}");
        // What was begun later was begun by a process that lives. A machine that stands still for longer than a lease
        // may cost such a process a lease; what is measured here is the work of the dead.
        let of_the_dead = times.iter().filter(|(begun, _)| *begun <= 0).map(|(_, again)| *again);
        let waited = of_the_dead.max().expect("something was taken over");
        cluster.stop().await;
        Duration::from_millis(u64::try_from(waited).expect("what it held is taken over after its death"))
    }

    #[test]
    fn cluster_that_loses_a_process_recovers_within_lease_and_sweep() {
        block_on(async {
            let lease = secs(3);
            let waited = one_dies(2_000, ms(100), Some(lease), secs(240)).await;
            eprintln!("what the dead process held was taken over {waited:?} after its death");
            assert!(waited <= lease + SWEEP + SLACK, "{waited:?}");
        });
    }

    #[test]
    fn cluster_that_loses_a_process_recovers_within_45_seconds() {
        block_on(async {
            let waited = one_dies(200, ms(200), None, secs(240)).await;
            eprintln!("with the default lease, what the dead process held was taken over {waited:?} after its death");
            assert!(waited <= secs(45), "{waited:?}");
        });
    }
}
