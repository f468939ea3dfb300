//! The executor: its settings, and its side of the port.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use squidmesh_core::{
    Cancellation, Clock, Executor, ExecutorError, Intent, InvalidName, Job, JobMetadata, QueueName, Refusal, Runner,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::SystemClock;
use crate::lane::Lane;
use crate::lookout::Lookout;

/// Runs steps in this process, a bounded number at a time.
///
/// ```
/// use squidmesh_executor_tokio::TokioExecutor;
/// use std::time::Duration;
///
/// let executor = TokioExecutor::new()
///     .concurrency(16) // steps at once, over all queues without a bound of their own
///     .queue("reports", 2)? // at most two of these, beside
///     .drain_timeout(Duration::from_secs(30));
/// # Ok::<_, squidmesh_core::InvalidName>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokioExecutor {
    concurrency: usize,
    lanes: BTreeMap<QueueName, usize>,
    accepted: Option<BTreeSet<QueueName>>,
    poll: Duration,
    drain: Duration,
    published: watch::Sender<u64>,
}

impl Default for TokioExecutor {
    fn default() -> Self {
        TokioExecutor {
            concurrency: 32,
            lanes: BTreeMap::new(),
            accepted: None,
            poll: Duration::from_secs(1),
            drain: Duration::from_secs(20),
            published: watch::Sender::new(0),
        }
    }
}

impl TokioExecutor {
    /// An executor with the defaults: 32 steps at once, a look into the store every second (every five seconds while the store tells
    /// of work), 20 seconds to drain.
    pub fn new() -> Self {
        TokioExecutor::default()
    }

    /// How many steps run at once, over all queues that have no bound of their own; at least 1. Default 32.
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

    /// How long it waits at most before it looks into the store again, for work that other processes committed; five times as long
    /// while the store [tells of such work](squidmesh_core::Store::hears_of_work) at once. Work of this process, and work known to fall
    /// due, wakes it at once as well. Default 1 second.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll = interval.max(Duration::from_millis(1));
        self
    }

    /// How long running steps may take to finish after shutdown has begun; then they are cut off, and their attempts do not
    /// count. Default 20 seconds.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain = timeout;
        self
    }

    /// The lanes of workers: one for each queue with a bound of its own, one for all the rest.
    fn lanes(&self, runner: &Runner) -> Vec<Lane> {
        let lane = |queues: Vec<QueueName>, concurrency| Lane {
            runner: runner.serving(queues),
            concurrency,
            poll: self.poll,
            drain: self.drain,
            published: self.published.subscribe(),
        };
        let rest: Vec<_> = runner.queues().iter().filter(|queue| !self.lanes.contains_key(*queue)).cloned().collect();
        let own = self.lanes.iter().map(|(queue, steps)| lane(vec![queue.clone()], *steps));
        own.chain((!rest.is_empty()).then(|| lane(rest, self.concurrency))).collect()
    }
}

#[async_trait]
impl Executor for TokioExecutor {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        if let Some(accepted) = &self.accepted
            && let Some(job) = jobs.iter().find(|job| !accepted.contains(&job.queue))
        {
            let reason = format!("queue {} is not among those that this executor accepts", job.queue);
            return Err(Refusal::Unroutable { job_id: job.key.to_string(), reason });
        }
        Ok(jobs.iter().map(Job::metadata).collect())
    }

    fn publish(&self, _intents: &[Intent]) {
        self.published.send_modify(|count| *count = count.wrapping_add(1));
    }

    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError> {
        let mut parts = JoinSet::new();
        for lane in self.lanes(&runner) {
            parts.spawn(lane.run(shutdown.clone()));
        }
        parts.spawn(Lookout { runner, poll: self.poll, lanes: self.published.clone() }.run(shutdown));
        while let Some(ended) = parts.join_next().await {
            if let Err(panic) = ended {
                let reason = "a lane of workers panicked".to_owned();
                return Err(ExecutorError { reason, source: Some(Box::new(panic)) });
            }
        }
        Ok(())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}
