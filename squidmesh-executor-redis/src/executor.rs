//! The executor: its settings, its side of the port, and the calls of operators.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use squidmesh_core::{
    Cancellation, Clock, Executor, ExecutorError, Intent, InvalidName, Job, JobMetadata, Priority, QueueName, Refusal,
    Route, Runner,
};
use tokio::task::JoinSet;

use crate::announce::{Announcement, Announcer, Board};
use crate::dead_letter;
use crate::keys::Keys;
use crate::lane::Lane;
use crate::link::Link;
use crate::reader::{BLOCK, Reader};
use crate::server::Server;
use crate::signals::Signals;
use crate::sweep::Sweeper;
use crate::trouble::Trouble;
use crate::{DeadLetter, RedisExecutorError, SystemClock};

/// How long an answer may take, besides the time that a read waits.
const ANSWER: Duration = Duration::from_secs(5);
/// How long what was published last may take to be announced at the end.
const FLUSH: Duration = Duration::from_millis(500);

/// Runs steps in this process and shares them with others, on any number of machines, through Redis Streams.
///
/// Connects when it first has something to do, and again by itself: Redis being away fails no run and no commit; work waits in the
/// store meanwhile. Needs a tokio runtime.
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
    concurrency: usize,
    lanes: BTreeMap<QueueName, usize>,
    accepted: Option<BTreeSet<QueueName>>,
    drain: Duration,
    sweep: Duration,
    shared: Arc<Shared>,
}

/// What the clones of an executor have in common.
struct Shared {
    server: Server,
    keys: Keys,
    signals: Arc<Signals>,
    link: Arc<Link>,
    board: Board,
    announcer: Announcer,
}

impl RedisExecutor {
    /// An executor on one server, such as `redis://user:password@host:6379/0`, with the defaults: 32 steps at once, a sweep every
    /// 10 seconds, 20 seconds to drain, and names that begin with `{squidmesh}`. Connects to nothing yet.
    ///
    /// # Errors
    /// [`RedisExecutorError::InvalidAddress`], without the address.
    pub fn new(address: &str) -> Result<Self, RedisExecutorError> {
        RedisExecutor::on(Server::at(address)?)
    }

    /// An executor on the master of this name, as the sentinels at these addresses know it. User, password, database and
    /// whether to use TLS are those of `address`, whose host and port do not matter.
    ///
    /// # Errors
    /// [`RedisExecutorError::InvalidAddress`], without the address.
    #[cfg(feature = "sentinel")]
    pub fn sentinels(sentinels: &[&str], master: &str, address: &str) -> Result<Self, RedisExecutorError> {
        RedisExecutor::on(Server::of_sentinels(sentinels, master, address)?)
    }

    /// An executor on a cluster, of which these are some nodes. It uses one slot.
    ///
    /// # Errors
    /// [`RedisExecutorError::InvalidAddress`], without the addresses.
    #[cfg(feature = "cluster")]
    pub fn cluster(nodes: &[&str]) -> Result<Self, RedisExecutorError> {
        RedisExecutor::on(Server::of_cluster(nodes)?)
    }

    fn on(server: Server) -> Result<Self, RedisExecutorError> {
        let shared = Arc::new(Shared::new(server, Keys::new("squidmesh")?));
        Ok(RedisExecutor {
            concurrency: 32,
            lanes: BTreeMap::new(),
            accepted: None,
            drain: Duration::from_secs(20),
            sweep: Duration::from_secs(10),
            shared,
        })
    }

    /// How many steps run at once in this process, over all queues that have no bound of their own; at least 1. Default 32.
    #[must_use]
    pub fn concurrency(mut self, steps: usize) -> Self {
        self.concurrency = steps.max(1);
        self
    }

    /// Gives a queue workers of its own: so many of its steps at once, beside the others; at least 1.
    ///
    /// # Errors
    /// [`InvalidName`] if this cannot be the name of a queue.
    pub fn queue(mut self, name: &str, steps: usize) -> Result<Self, InvalidName> {
        self.lanes.insert(QueueName::new(name)?, steps.max(1));
        Ok(self)
    }

    /// Refuses to dispatch to any queue but these. By default every queue is accepted: another process may serve it.
    ///
    /// # Errors
    /// [`InvalidName`] if one of them cannot be the name of a queue.
    pub fn accept_only<'a>(mut self, queues: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidName> {
        self.accepted = Some(queues.into_iter().map(QueueName::new).collect::<Result<_, _>>()?);
        Ok(self)
    }

    /// How long running steps may take to finish after shutdown has begun; then they are cut off, and their attempts do not
    /// count. Default 20 seconds.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain = timeout;
        self
    }

    /// How long it takes at most until everything due is announced again after Redis has lost it, or after a process has died with
    /// what it had read. Processes that serve the same
    /// queues and versions share the sweeps. Default 10 seconds; at least 10 milliseconds.
    #[must_use]
    pub fn sweep_interval(mut self, interval: Duration) -> Self {
        self.sweep = interval.max(Duration::from_millis(10));
        self
    }

    /// What all names in Redis begin with, as their hash tag: deployments that share a server have one each. Default `squidmesh`.
    ///
    /// # Errors
    /// [`RedisExecutorError::InvalidPrefix`].
    pub fn prefix(mut self, prefix: &str) -> Result<Self, RedisExecutorError> {
        self.shared = Arc::new(Shared::new(self.shared.server.clone(), Keys::new(prefix)?));
        Ok(self)
    }

    /// Up to `limit` of the entries that were set aside because they cannot be carried out, oldest first; with `after`, those after the
    /// one with this id. Redis keeps about the 10,000 latest.
    ///
    /// # Errors
    /// [`RedisExecutorError::Unreachable`]; [`RedisExecutorError::UnknownDeadLetter`] for an id that can be none.
    pub async fn dead_letters(&self, after: Option<&str>, limit: usize) -> Result<Vec<DeadLetter>, RedisExecutorError> {
        dead_letter::dead_letters(&self.shared.link, &self.shared.keys, after, limit).await
    }

    /// Puts a dead letter back into its stream, to be tried once more.
    ///
    /// # Errors
    /// [`RedisExecutorError::UnknownDeadLetter`], [`RedisExecutorError::CutDeadLetter`], [`RedisExecutorError::Unreachable`].
    pub async fn return_dead_letter(&self, id: &str) -> Result<(), RedisExecutorError> {
        dead_letter::return_dead_letter(&self.shared.link, &self.shared.keys, id).await
    }

    /// Forgets a dead letter.
    ///
    /// # Errors
    /// [`RedisExecutorError::UnknownDeadLetter`], [`RedisExecutorError::Unreachable`].
    pub async fn drop_dead_letter(&self, id: &str) -> Result<(), RedisExecutorError> {
        dead_letter::drop_dead_letter(&self.shared.link, &self.shared.keys, id).await
    }

    /// The lanes of workers: one for each queue with a bound of its own, one for all the rest.
    fn lanes(&self, runner: &Runner) -> Vec<Lane> {
        let shared = &self.shared;
        let lane = |queues: Vec<QueueName>, concurrency| {
            let runner = runner.serving(queues);
            let routes = routes(&runner);
            (!routes.is_empty()).then(|| {
                let waiting = Link::new(shared.server.clone(), BLOCK + ANSWER, shared.signals.clone());
                let (link, signals) = (shared.link.clone(), shared.signals.clone());
                let reader = Reader::new(routes, &shared.keys, waiting, link, signals, self.sweep);
                let (board, refused) = (shared.board.clone(), Trouble::with("reading the streams"));
                Lane { runner, reader, board, refused, concurrency, drain: self.drain }
            })
        };
        let rest: Vec<_> = runner.queues().iter().filter(|queue| !self.lanes.contains_key(*queue)).cloned().collect();
        let own = self.lanes.iter().map(|(queue, steps)| lane(vec![queue.clone()], *steps));
        own.chain([lane(rest, self.concurrency)]).flatten().collect()
    }
}

impl Shared {
    fn new(server: Server, keys: Keys) -> Self {
        let signals = Arc::new(Signals::default());
        let link = Arc::new(Link::new(server.clone(), ANSWER, signals.clone()).telling());
        let board = Board::new(link.clone(), keys.clone());
        let announcer = Announcer::new(board.clone(), signals.clone());
        Shared { server, keys, signals, link, board, announcer }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("server", &self.server).field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// Every way that work comes to a runner, with the one of what dead workers held.
fn routes(runner: &Runner) -> Vec<Route> {
    let ways = runner.routes().into_iter().flat_map(|route| {
        let high = Route::new(route.queue.clone(), Priority::High, route.fingerprint);
        [route, high]
    });
    ways.collect::<BTreeSet<_>>().into_iter().collect()
}

#[async_trait]
impl Executor for RedisExecutor {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        if let Some(accepted) = &self.accepted
            && let Some(job) = jobs.iter().find(|job| !accepted.contains(&job.queue))
        {
            let reason = format!("queue {} is not among those that this executor accepts", job.queue);
            return Err(Refusal::Unroutable { job_id: job.key.to_string(), reason });
        }
        Ok(jobs.iter().map(Job::metadata).collect())
    }

    /// Notes what is due at once, to be announced; what is due later is looked for then.
    fn publish(&self, intents: &[Intent]) {
        for intent in intents.iter().filter(|intent| intent.lease.is_none()) {
            if intent.delay.is_zero() {
                let route = Route::new(intent.queue.clone(), intent.priority, intent.fingerprint);
                self.shared.announcer.announce(Announcement { key: intent.key.clone(), route });
            } else {
                self.shared.signals.something_falls_due_in(intent.delay);
            }
        }
        self.shared.announcer.start();
    }

    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError> {
        let shared = &self.shared;
        shared.announcer.start();
        let mut parts = JoinSet::new();
        let (board, link, signals) = (shared.board.clone(), shared.link.clone(), shared.signals.clone());
        let sweeper = Sweeper::new(runner.clone(), board, link, &shared.keys, signals, self.sweep);
        parts.spawn(sweeper.run(shutdown.clone()));
        for lane in self.lanes(&runner) {
            parts.spawn(lane.run(shutdown.clone()));
        }
        while let Some(ended) = parts.join_next().await {
            if let Err(panic) = ended {
                let reason = "a lane of workers panicked".to_owned();
                return Err(ExecutorError { reason, source: Some(Box::new(panic)) });
            }
        }
        shared.announcer.flush(FLUSH).await;
        Ok(())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}
