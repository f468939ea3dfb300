//! Runs of one step, or of one on each of several queues, delivered over a separate Redis, by workers that run in
//! this process when a test starts them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use redis::{Value as Answer, cmd};
use serde_json::{Value, json};
use squidmesh_core::{
    RunFilter, RunId, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow, ms, secs,
};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::over_redis::{Held, Look};
use squidmesh_tests::{RedisAddress, RedisServer, TestDatabase};

use crate::workers::PREFIX;

/// The interval at which the executors look for work that is not announced.
pub(crate) const SWEEP: Duration = Duration::from_secs(1);
/// The maximum duration of anything.
const RUN_TIMEOUT: Duration = Duration::from_secs(60);
const ERRAND: &str = "errand";

/// How often each step of each run was begun.
type Begun = Arc<Mutex<HashMap<(RunId, String), usize>>>;

/// A store, a Redis and a runtime on both.
pub(crate) struct Errands {
    pub(crate) redis: RedisServer,
    pub(crate) look: Look,
    pub(crate) mesh: Squidmesh,
    pub(crate) executor: RedisExecutor,
    begun: Begun,
    queues: usize,
    _database: TestDatabase,
}

impl Errands {
    /// Creates them on a separate server.
    pub(crate) async fn new() -> Self {
        Errands::with(|executor| executor).await
    }

    /// Creates them with a modified executor.
    pub(crate) async fn with(executor: impl FnOnce(RedisExecutor) -> RedisExecutor) -> Self {
        Errands::on_queues(&["default"], executor).await
    }

    /// Creates them with a step on each of these queues.
    pub(crate) async fn on_queues(
        queues: &[impl AsRef<str>],
        executor: impl FnOnce(RedisExecutor) -> RedisExecutor,
    ) -> Self {
        let redis = RedisServer::start().await;
        let address = *redis;
        Errands::at(redis, address, queues, executor).await
    }

    /// Creates them with an executor that finds Redis at a given address.
    pub(crate) async fn at(
        redis: RedisServer,
        address: RedisAddress,
        queues: &[impl AsRef<str>],
        executor: impl FnOnce(RedisExecutor) -> RedisExecutor,
    ) -> Self {
        let database = TestDatabase::sqlite();
        let store = SeaOrmStore::connect(database.url()).await.unwrap();
        let begun = Begun::default();
        let steps = queues.iter().map(|queue| {
            let begun = begun.clone();
            let handler = move |_: Value, context: StepContext| {
                *begun.lock().unwrap().entry((context.run_id, context.step.to_string())).or_default() += 1;
                async { StepResult::Ok(json!({})) }
            };
            Step::new(queue.as_ref(), handler).queue(queue.as_ref())
        });
        let errand = Workflow::builder(ERRAND).trigger(Trigger::manual("manual"));
        let errand = steps.fold(errand, |errand, step| errand.step(step)).parallel().build().unwrap();
        let executor = executor(RedisExecutor::new(address.url()).unwrap().concurrency(16).sweep_interval(SWEEP));
        let mesh = Squidmesh::builder(store).executor(executor.clone()).workflow(errand).build().unwrap();
        let look = Look::at(address, PREFIX);
        Errands { look, redis, mesh, executor, begun, queues: queues.len(), _database: database }
    }

    /// Starts `runs` runs, without workers.
    pub(crate) async fn start(&self, runs: usize) {
        let starts = (0..runs).map(|_| self.mesh.start_run(ERRAND, &json!({})).into_future());
        let started: Vec<_> = stream::iter(starts).buffer_unordered(16).collect().await;
        assert!(started.iter().all(Result::is_ok));
    }

    /// Starts `runs` runs, and waits until each is announced.
    pub(crate) async fn announce(&self, runs: usize) {
        self.start(runs).await;
        self.until(|held| held.entries == runs).await;
    }

    /// Waits until what Redis holds is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Held) -> bool) -> Held {
        let begun = Instant::now();
        loop {
            let held = self.look.held().await.unwrap_or_default();
            if wanted(&held) {
                return held;
            }
            assert!(begun.elapsed() < RUN_TIMEOUT, "Redis holds {held:?}");
            tokio::time::sleep(ms(10)).await;
        }
    }

    /// Reads `count` announcements like a process that dies before it handles them.
    pub(crate) async fn read_and_die(&self, count: usize) {
        let mut connection = self.redis.connect().await.unwrap();
        let mut read = 0;
        for stream in self.look.streams().await.unwrap() {
            let group = self.group(&stream).await;
            let mut command = cmd("XREADGROUP");
            command.arg("GROUP").arg(&group).arg("the-dead").arg("COUNT").arg(count - read);
            let answer: Answer =
                command.arg("STREAMS").arg(&stream).arg(">").query_async(&mut connection).await.unwrap();
            let entries: Vec<(String, Vec<(String, Answer)>)> = redis::from_redis_value(answer).unwrap_or_default();
            read += entries.iter().map(|(_, entries)| entries.len()).sum::<usize>();
        }
        assert_eq!(read, count, "that many were announced");
    }

    /// Returns the group of the workers.
    pub(crate) async fn group(&self, stream: &str) -> String {
        let mut groups = self.look.groups(stream).await.unwrap();
        assert_eq!(groups.len(), 1, "one group reads {stream}");
        groups.remove(0)
    }

    /// Runs workers while a future completes.
    pub(crate) async fn working<T>(&self, meanwhile: impl Future<Output = T>) -> T {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let mesh = self.mesh.clone();
        let workers = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            mesh.run_workers(stopped).await
        });
        let done = meanwhile.await;
        drop(stop);
        workers.await.unwrap().unwrap();
        done
    }

    /// Waits until every run has completed.
    pub(crate) async fn until_all_are_done(&self) {
        let begun = Instant::now();
        let open = RunStatus::ALL.into_iter().filter(|status| !status.is_terminal());
        let open = open.fold(RunFilter::new().limit(1), RunFilter::status);
        while !self.mesh.list_runs(&open).await.unwrap().runs.is_empty() {
            assert!(begun.elapsed() < RUN_TIMEOUT, "a run is left open, and Redis holds {:?}", self.look.held().await);
            tokio::time::sleep(ms(20)).await;
        }
    }

    /// Runs workers until every run has completed and Redis holds nothing more of them. Returns how long that took.
    pub(crate) async fn finish(&self, runs: usize) -> Duration {
        let begun = Instant::now();
        let done = self.working(async {
            self.until_all_are_done().await;
            let done = begun.elapsed();
            self.look.until_at_rest(secs(30)).await;
            done
        });
        let done = done.await;
        self.each_was_begun_once(runs);
        done
    }

    /// No worker died in the middle of a step: each step of `runs` runs was begun once.
    pub(crate) fn each_was_begun_once(&self, runs: usize) {
        let begun = self.begun.lock().unwrap();
        assert_eq!(begun.len(), runs * self.queues, "each step was begun");
        assert!(begun.values().all(|times| *times == 1), "and once");
    }
}
