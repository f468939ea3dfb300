//! The executor: its settings, its implementation of the port, and the calls of operators.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use squidmesh_core::Runner;
use squidmesh_core::command::Route;
use squidmesh_core::definition::{InvalidName, Priority, QueueName};
use squidmesh_core::dispatch::{Intent, Job, JobMetadata, Refusal};
use squidmesh_core::port::{Clock, DatabaseIdentity, Executor, ExecutorError, InvalidSetting, Lanes};
use squidmesh_core::workflow::Cancellation;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::announce::{Announcement, Announcer, StreamWriter};
use crate::connection::Connection;
use crate::dead_letter;
use crate::heartbeat::run_heartbeats;
use crate::keys::Keys;
use crate::lane::Lane;
use crate::outage_log::OutageLog;
use crate::probe::probe;
use crate::reader::{MAX_ANSWER_TIME, Reader};
use crate::server::Server;
use crate::sweep::Sweeper;
use crate::sweep_triggers::SweepTriggers;
use crate::used::UsedStreams;
use crate::{DeadLetter, RedisExecutorError, SystemClock};

/// How long an answer may take, in addition to the time that a read blocks.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after the database did not answer, and the longest one.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// The shortest and the longest interval between two sweeps: a shorter one only adds load, a longer one does not
/// protect.
const SWEEP_INTERVALS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(24 * 3_600));
/// How long the last published work may take to be announced at shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs steps in this process and shares them with other processes, on any number of machines, through Redis
/// Streams.
///
/// Connects on first use, and reconnects by itself. An outage of Redis fails no run and no commit; work waits in
/// the store meanwhile. Requires a tokio runtime.
///
/// ```
/// use squidmesh_executor_redis::RedisExecutor;
/// use std::time::Duration;
///
/// let executor = RedisExecutor::new("redis://localhost:6379")?
///     .concurrency(16) // steps at once in this process, over all queues without a bound of their own
///     .queue("reports", 2)? // at most two of these, beside
///     .drain_timeout(Duration::from_secs(30));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RedisExecutor {
    lanes: Lanes,
    drain: Duration,
    sweep: Duration,
    shared: Arc<Shared>,
}

/// The state that the clones of an executor share.
struct Shared {
    server: Server,
    keys: Keys,
    triggers: Arc<SweepTriggers>,
    connection: Arc<Connection>,
    writer: StreamWriter,
    announcer: Announcer,
}

impl RedisExecutor {
    /// Creates an executor on one server, such as `redis://user:password@host:6379/0`. Does not connect yet.
    ///
    /// The defaults are 32 concurrent steps, a sweep every 10 seconds, 20 seconds to drain, and names that begin
    /// with `{squidmesh}`.
    ///
    /// # Errors
    /// Returns [`RedisExecutorError::InvalidAddress`], which does not show the address.
    pub fn new(address: impl AsRef<str>) -> Result<Self, RedisExecutorError> {
        RedisExecutor::on(Server::at(address.as_ref())?)
    }

    /// Creates an executor on the master of this name, as known to the sentinels at these addresses.
    ///
    /// The user, password, database and use of TLS are those of `address`, whose host and port are ignored.
    ///
    /// # Errors
    /// Returns [`RedisExecutorError::InvalidAddress`], which does not show the address.
    #[cfg(feature = "sentinel")]
    pub fn sentinels(sentinels: &[&str], master: &str, address: &str) -> Result<Self, RedisExecutorError> {
        RedisExecutor::on(Server::of_sentinels(sentinels, master, address)?)
    }

    /// Creates an executor on a cluster, given some of its nodes. It uses one slot.
    ///
    /// # Errors
    /// Returns [`RedisExecutorError::InvalidAddress`], which does not show the addresses.
    #[cfg(feature = "cluster")]
    pub fn cluster(nodes: &[&str]) -> Result<Self, RedisExecutorError> {
        RedisExecutor::on(Server::of_cluster(nodes)?)
    }

    fn on(server: Server) -> Result<Self, RedisExecutorError> {
        let shared = Arc::new(Shared::new(server, Keys::new("squidmesh")?));
        Ok(RedisExecutor {
            lanes: Lanes::default(),
            drain: Duration::from_secs(20),
            sweep: Duration::from_secs(10),
            shared,
        })
    }

    /// Sets the maximum number of concurrent steps in this process, over all queues without a limit of their own.
    /// The default is 32.
    ///
    /// Must be at least 1, which is checked when the runtime is built.
    #[must_use]
    pub fn concurrency(mut self, steps: usize) -> Self {
        self.lanes.concurrency = steps;
        self
    }

    /// Gives a queue its own workers: up to `steps` of its steps run concurrently, in addition to those of the
    /// other queues.
    ///
    /// `steps` must be at least 1, which is checked when the runtime is built.
    ///
    /// # Errors
    /// Returns [`InvalidName`] if `name` is not a valid queue name.
    pub fn queue(mut self, name: impl AsRef<str>, steps: usize) -> Result<Self, InvalidName> {
        self.lanes.own.insert(QueueName::new(name)?, steps);
        Ok(self)
    }

    /// Rejects dispatches to any queue but these. By default, every queue is accepted, because another process may
    /// serve it.
    ///
    /// # Errors
    /// Returns [`InvalidName`] if a name is not a valid queue name.
    pub fn accept_only<'a>(mut self, queues: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidName> {
        self.lanes.accepted = Some(queues.into_iter().map(QueueName::new).collect::<Result<_, _>>()?);
        Ok(self)
    }

    /// Sets how long running steps may take to finish after a shutdown has begun. The default is 20 seconds.
    ///
    /// Their cancellation notifies them at once. After the timeout they are aborted, and their attempts do not
    /// count. Zero aborts them at once; [`Duration::MAX`] waits forever.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain = timeout;
        self
    }

    /// Sets the maximum time until due work is announced again after Redis has lost it, or after the process that
    /// had read it has died. The default is 10 seconds.
    ///
    /// Processes that serve the same queues and versions share the sweeps. The interval must be between 10
    /// milliseconds and a day, which is checked when the runtime is built.
    #[must_use]
    pub fn sweep_interval(mut self, interval: Duration) -> Self {
        self.sweep = interval;
        self
    }

    /// Sets the prefix of all names in Redis, which is also their hash tag. The default is `squidmesh`.
    ///
    /// Deployments that share a server may share a prefix, and with it the dead letters: the identity of their
    /// database follows in the names, so that their work does not mix. A physical copy of a database has the same
    /// identity as the original and must have a prefix of its own.
    ///
    /// # Errors
    /// Returns [`RedisExecutorError::InvalidPrefix`] if the prefix is invalid.
    pub fn prefix(mut self, prefix: impl AsRef<str>) -> Result<Self, RedisExecutorError> {
        self.shared = Arc::new(Shared::new(self.shared.server.clone(), Keys::new(prefix.as_ref())?));
        Ok(self)
    }

    /// Returns up to `limit` of the entries that were set aside because they cannot be executed, oldest first;
    /// with `after`, those after the one with this id. Redis keeps about the 10,000 latest.
    ///
    /// # Errors
    /// Returns [`RedisExecutorError::Unreachable`] if Redis cannot be reached, and
    /// [`RedisExecutorError::UnknownDeadLetter`] if `after` is not a valid id.
    pub async fn dead_letters(&self, after: Option<&str>, limit: usize) -> Result<Vec<DeadLetter>, RedisExecutorError> {
        dead_letter::dead_letters(&self.shared.connection, &self.shared.keys, after, limit).await
    }

    /// Returns a dead letter to its stream, to be delivered again.
    ///
    /// # Errors
    /// Returns [`RedisExecutorError::UnknownDeadLetter`], [`RedisExecutorError::CutDeadLetter`] or
    /// [`RedisExecutorError::Unreachable`].
    pub async fn return_dead_letter(&self, id: &str) -> Result<(), RedisExecutorError> {
        dead_letter::return_dead_letter(&self.shared.connection, &self.shared.keys, id).await
    }

    /// Deletes a dead letter.
    ///
    /// # Errors
    /// Returns [`RedisExecutorError::UnknownDeadLetter`] or [`RedisExecutorError::Unreachable`].
    pub async fn drop_dead_letter(&self, id: &str) -> Result<(), RedisExecutorError> {
        dead_letter::drop_dead_letter(&self.shared.connection, &self.shared.keys, id).await
    }

    /// Returns the names for the work of the runner's database, once its identity is known; `None` at shutdown.
    async fn keys(&self, runner: &Runner, shutdown: &Cancellation) -> Option<Keys> {
        let (database, mut pause) = (runner.database(), RETRY_DELAYS.0);
        while !shutdown.is_cancelled() {
            match database.get().await {
                Ok(identity) => return Some(self.shared.keys.of_database(identity.as_deref())),
                Err(error) => {
                    tracing::warn!(target: "squidmesh", %error, "cannot read the identity of the database; no work is read until it is known");
                }
            }
            tokio::select! {
                () = sleep(pause) => {}
                _ = shutdown.cancelled() => {}
            }
            pause = pause.saturating_mul(2).min(RETRY_DELAYS.1);
        }
        None
    }

    /// Returns the lanes of workers: one per queue with a limit of its own, and one for all other queues.
    fn lanes(&self, runner: &Runner, keys: &Keys) -> Vec<Lane> {
        let shared = &self.shared;
        let own = routes(runner).iter().map(|route| keys.stream(route)).collect();
        let used = Arc::new(UsedStreams::new(shared.connection.clone(), keys, own));
        let lane = |(queues, concurrency): (Vec<QueueName>, usize)| {
            let runner = runner.for_queues(queues);
            let routes = routes(&runner);
            (!routes.is_empty()).then(|| {
                let waiting = Connection::new(shared.server.clone(), MAX_ANSWER_TIME, shared.triggers.clone());
                let (connection, triggers) = (shared.connection.clone(), shared.triggers.clone());
                let reader = Reader::new(routes, keys, waiting, connection, triggers, used.clone(), self.sweep);
                let writer = shared.writer.with(keys);
                let refused = OutageLog::new("reading the streams");
                let reclaiming = OutageLog::new("reclaiming the entries of dead readers");
                let settling = OutageLog::new("settling entries");
                Lane { runner, reader, writer, refused, reclaiming, settling, concurrency, drain: self.drain }
            })
        };
        self.lanes.of(runner.queues()).into_iter().filter_map(lane).collect()
    }
}

impl Shared {
    fn new(server: Server, keys: Keys) -> Self {
        let triggers = Arc::new(SweepTriggers::default());
        let connection = Arc::new(Connection::new(server.clone(), ANSWER_TIMEOUT, triggers.clone()).logging_outages());
        let writer = StreamWriter::new(connection.clone(), keys.clone());
        let announcer = Announcer::new(writer.clone(), triggers.clone());
        Shared { server, keys, triggers, connection, writer, announcer }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("server", &self.server).field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// Returns every route by which work reaches a runner, including those of work that dead workers held.
fn routes(runner: &Runner) -> Vec<Route> {
    let ways = runner.routes().into_iter().flat_map(|route| {
        let high = Route::new(route.queue.clone(), Priority::High, route.fingerprint);
        [route, high]
    });
    ways.collect::<BTreeSet<_>>().into_iter().collect()
}

#[async_trait]
impl Executor for RedisExecutor {
    fn check(&self) -> Result<(), InvalidSetting> {
        self.lanes.check()?;
        if self.sweep < SWEEP_INTERVALS.0 || self.sweep > SWEEP_INTERVALS.1 {
            let rule = "it must be between 10 milliseconds and a day";
            return Err(InvalidSetting::new("sweep_interval", format!("{:?}", self.sweep), rule));
        }
        Ok(())
    }

    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        self.lanes.describe(jobs)
    }

    /// Queues the intents that are due at once, to be announced, and notes the due times of later ones.
    fn publish(&self, intents: &[Intent]) {
        for intent in intents.iter().filter(|intent| intent.lease.is_none()) {
            if intent.delay.is_zero() {
                let route = Route::new(intent.queue.clone(), intent.priority, intent.fingerprint);
                self.shared.announcer.announce(Announcement { key: intent.key.clone(), route });
            } else {
                self.shared.triggers.work_becomes_due_in(intent.delay);
            }
        }
        self.shared.announcer.start();
    }

    fn attach(&self, database: DatabaseIdentity) {
        self.shared.announcer.attach(database);
    }

    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError> {
        let shared = &self.shared;
        shared.announcer.attach(runner.database());
        shared.announcer.start();
        let Some(keys) = self.keys(&runner, &shutdown).await else { return Ok(()) };
        let mut parts = JoinSet::new();
        parts.spawn(probe(shared.connection.clone(), keys.clone(), shutdown.clone()));
        let (writer, connection, triggers) =
            (shared.writer.with(&keys), shared.connection.clone(), shared.triggers.clone());
        let sweeper = Sweeper::new(runner.clone(), writer, connection, &keys, triggers, self.sweep);
        parts.spawn(sweeper.run(shutdown.clone()));
        for lane in self.lanes(&runner, &keys) {
            parts.spawn(lane.run(shutdown.clone()));
        }
        while let Some(ended) = parts.join_next().await {
            if let Err(panic) = ended {
                let reason = "a lane of workers panicked".to_owned();
                return Err(ExecutorError { reason, source: Some(Box::new(panic)) });
            }
        }
        shared.announcer.flush(FLUSH_TIMEOUT).await;
        Ok(())
    }

    async fn run_heartbeats(&self, runner: Runner) {
        run_heartbeats(runner).await;
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}
