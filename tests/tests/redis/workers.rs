//! Worker processes over one Postgres and one Redis, and the checks of their work afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde_json::json;
use squidmesh_core::run::AttemptStatus;
use squidmesh_core::{RunId, RunStatus, Squidmesh, secs};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::cluster::WorkerProcess;
use squidmesh_tests::over_redis::{CHAIN, FAN, Held, Look, STEPS, short_leases, workflows};
use squidmesh_tests::{RedisServer, TestDatabase};

const WORKER: &str = env!("CARGO_BIN_EXE_redis_worker");
/// The default prefix of executors.
pub(crate) const PREFIX: &str = "squidmesh";
pub(crate) const LEASE: Duration = Duration::from_secs(4);
pub(crate) const SWEEP: Duration = Duration::from_secs(2);
/// The slack that a busy machine may add to any time.
pub(crate) const SLACK: Duration = Duration::from_secs(3);

/// A host that starts runs, and processes that execute them.
pub(crate) struct Workers {
    pub(crate) redis: RedisServer,
    pub(crate) mesh: Squidmesh,
    pub(crate) look: Look,
    pub(crate) workers: Vec<WorkerProcess>,
    killed: BTreeSet<String>,
    hired: usize,
    step: Duration,
    journals: tempfile::TempDir,
    database: TestDatabase,
}

impl Workers {
    /// Starts `processes` processes, with steps that take `step`.
    pub(crate) async fn of(processes: usize, step: Duration) -> Self {
        let database = TestDatabase::postgres().await;
        let redis = RedisServer::start().await;
        let store = SeaOrmStore::connect(database.url()).await.unwrap();
        let executor = RedisExecutor::new(redis.url()).unwrap();
        let builder = workflows(step, &(Arc::new(|_: &_| {}) as _)).into_iter();
        let builder =
            builder.fold(Squidmesh::builder(store).executor(executor), |builder, workflow| builder.workflow(workflow));
        let mesh = builder.configure(|config| short_leases(config, LEASE)).build().unwrap();
        let look = Look::at(*redis, PREFIX);
        let journals = tempfile::tempdir().unwrap();
        let mut workers = Workers {
            redis,
            mesh,
            look,
            workers: Vec::new(),
            killed: BTreeSet::new(),
            hired: 0,
            step,
            journals,
            database,
        };
        for _ in 0..processes {
            workers.hire().await;
        }
        workers
    }

    /// Starts one more process.
    pub(crate) async fn hire(&mut self) {
        self.hired += 1;
        let name = format!("worker-{}", self.hired);
        let (redis, journals) = (self.redis.url(), self.journals.path().to_str().unwrap());
        let times = [self.step, LEASE, SWEEP].map(|time| time.as_millis().to_string());
        let arguments = [self.database.url(), &redis, journals, &name, &times[0], &times[1], &times[2]];
        self.workers.push(WorkerProcess::start_with(WORKER, &name, &arguments).await);
    }

    /// Kills the process at this place, and starts another.
    pub(crate) async fn replace(&mut self, place: usize) {
        let worker = self.workers.remove(place);
        self.killed.insert(worker.name.clone());
        worker.kill().await;
        self.hire().await;
    }

    /// Starts runs of both workflows, a bounded number at a time.
    pub(crate) async fn start(mesh: &Squidmesh, runs: usize) -> Vec<RunId> {
        let starts = (0..runs).map(|number| {
            let workflow = if number % 2 == 0 { CHAIN } else { FAN };
            mesh.start_run(workflow, &json!({})).into_future()
        });
        let started: Vec<_> = stream::iter(starts).buffer_unordered(16).collect().await;
        started.into_iter().map(|run| run.expect("Redis has no say in whether a run starts").id).collect()
    }

    /// Returns the number of runs that have not ended.
    pub(crate) async fn open(&self) -> i64 {
        self.count("SELECT count(*) AS n FROM squidmesh_runs WHERE finished_at IS NULL").await
    }

    async fn count(&self, sql: &str) -> i64 {
        use sea_orm::{ConnectionTrait, Database, Statement};
        let connection = Database::connect(self.database.url()).await.unwrap();
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let row = connection.query_one_raw(statement).await.unwrap().unwrap();
        connection.close().await.unwrap();
        row.try_get_by("n").unwrap()
    }

    /// Checks that every run completed, each step was recorded once, only steps whose process died were retried, no
    /// attempt was begun twice, and Redis holds nothing. Returns the number of attempts that died.
    pub(crate) async fn all_is_well(&self, runs: &[RunId]) -> usize {
        let carried_by = begun(self.journals.path());
        let mut died = 0;
        let inspected = runs.iter().map(|id| async move { (id, self.mesh.inspect_run(*id).await.unwrap()) });
        let mut inspected = stream::iter(inspected).buffer_unordered(16);
        while let Some((id, details)) = inspected.next().await {
            assert_eq!(details.run.status, RunStatus::Completed, "{:?}", details.run);
            assert_eq!(details.steps.len(), STEPS.len());
            for step in &details.steps {
                let (last, before) = step.attempts.split_last().expect("a completed step was tried");
                assert_eq!(last.status, AttemptStatus::Completed);
                for attempt in before {
                    let why = attempt.error.as_ref().expect("an attempt before the last one failed");
                    assert_eq!(why.kind, "stale_running_step", "{why:?}");
                    let key = (id.to_string(), step.name.to_string(), attempt.number);
                    // An attempt that died between the claim and the handler left no line.
                    if let Some(process) = carried_by.get(&key) {
                        assert!(self.killed.contains(process), "{key:?} failed, but {process} was never killed");
                    }
                    died += 1;
                }
            }
        }
        let held = self.look.until_at_rest(LEASE + SWEEP + SLACK).await;
        assert_eq!(held, Held::default(), "nothing was hostile, so nothing was parked");
        died
    }

    /// Stops the processes gracefully.
    pub(crate) async fn stop(mut self) {
        for worker in self.workers.drain(..) {
            worker.stop().await;
        }
    }
}

/// Returns which process began which attempt of which step. No attempt was begun twice, by two processes or by one.
fn begun(journals: &Path) -> BTreeMap<(String, String, u32), String> {
    let mut begun = BTreeMap::new();
    for entry in std::fs::read_dir(journals).unwrap() {
        let entry = entry.unwrap();
        let process = entry.file_name().into_string().unwrap();
        for line in std::fs::read_to_string(entry.path()).unwrap().lines() {
            let mut words = line.split(' ').map(str::to_owned);
            let (run, _, step) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            let attempt: u32 = words.next().unwrap().parse().unwrap();
            let other = begun.insert((run, step, attempt), process.clone());
            assert_eq!(other, None, "an attempt was begun twice: {line}");
        }
    }
    begun
}

/// Returns a number that the environment may set: the gate has little time, and a developer may have more.
pub(crate) fn chosen(variable: &str, otherwise: u64) -> u64 {
    let chosen = std::env::var(variable).ok().map(|text| text.parse().expect("a number"));
    let number = chosen.unwrap_or(otherwise);
    eprintln!("{variable}={number}{}", if chosen.is_some() { "" } else { " (not set: the gate's own measure)" });
    number
}

/// Waits for a second.
pub(crate) async fn a_second() {
    tokio::time::sleep(secs(1)).await;
}
