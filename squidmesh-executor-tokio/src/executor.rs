//! The executor: its settings, and its implementation of the port.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use squidmesh_core::Runner;
use squidmesh_core::definition::{InvalidName, QueueName};
use squidmesh_core::dispatch::{Intent, Job, JobMetadata, Refusal};
use squidmesh_core::port::cage::Panic;
use squidmesh_core::port::{Clock, Executor, ExecutorError, InvalidSetting, Lanes};
use squidmesh_core::workflow::{CancelReason, Cancellation};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::SystemClock;
use crate::heartbeat::run_heartbeats;
use crate::lane::Lane;
use crate::poller::Poller;

/// Runs steps in this process, a bounded number concurrently.
///
/// ```
/// use squidmesh_executor_tokio::TokioExecutor;
/// use std::time::Duration;
///
/// let executor = TokioExecutor::new()
///     .concurrency(16) // steps at once, over all queues without a bound of their own
///     .queue("reports", 2)? // at most two of these, beside
///     .drain_timeout(Duration::from_secs(30));
/// # Ok::<_, squidmesh_core::definition::InvalidName>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokioExecutor {
    lanes: Lanes,
    poll: Duration,
    drain: Duration,
    published: watch::Sender<u64>,
}

impl Default for TokioExecutor {
    fn default() -> Self {
        TokioExecutor {
            lanes: Lanes::default(),
            poll: Duration::from_secs(1),
            drain: Duration::from_secs(20),
            published: watch::Sender::new(0),
        }
    }
}

impl TokioExecutor {
    /// Creates an executor with the defaults: 32 concurrent steps, a poll interval of one second, and 20 seconds
    /// to drain.
    pub fn new() -> Self {
        TokioExecutor::default()
    }

    /// Sets the maximum number of concurrent steps, over all queues without a limit of their own. The default is
    /// 32.
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

    /// Sets how often the executor polls the store for work that other processes committed. The default is one
    /// second.
    ///
    /// While the store [notifies of such work](squidmesh_core::port::Store::is_listening), the executor polls at a fifth
    /// of this rate. Work that this process commits, and work that is known to become due, wakes it at once. The
    /// interval must not be zero, which is checked when the runtime is built.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll = interval;
        self
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

    /// Returns the lanes of workers: one per queue with a limit of its own, and one for all other queues.
    fn lanes(&self, runner: &Runner) -> Vec<Lane> {
        let lane = |(queues, concurrency): (Vec<QueueName>, usize)| {
            let runner = runner.for_queues(queues);
            Lane {
                offer: runner.offer_workers(),
                runner,
                concurrency,
                poll: self.poll,
                drain: self.drain,
                published: self.published.subscribe(),
                fruitless: 0,
                looked_at: None,
            }
        };
        self.lanes.of(runner.queues()).into_iter().map(lane).collect()
    }
}

#[async_trait]
impl Executor for TokioExecutor {
    fn check(&self) -> Result<(), InvalidSetting> {
        self.lanes.check()?;
        if self.poll.is_zero() {
            return Err(InvalidSetting::new("poll_interval", "0", "it must be longer than zero"));
        }
        Ok(())
    }

    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        self.lanes.describe(jobs)
    }

    fn publish(&self, _intents: &[Intent]) {
        self.published.send_modify(|count| *count = count.wrapping_add(1));
    }

    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError> {
        // A cancellation of their own, so that all stop in an orderly way if one of them fails.
        let stop = Cancellation::new();
        let mut parts = JoinSet::new();
        for lane in self.lanes(&runner) {
            parts.spawn(lane.run(stop.clone()));
        }
        parts.spawn(Poller { runner, interval: self.poll, lanes: self.published.clone() }.run(stop.clone()));
        let mut result = Ok(());
        loop {
            let ended = tokio::select! {
                ended = parts.join_next() => ended,
                reason = shutdown.cancelled(), if !stop.is_cancelled() => {
                    stop.cancel(reason);
                    continue;
                }
            };
            let Some(ended) = ended else { return result };
            if let Err(panic) = ended.unwrap_or_else(|error| Err(panic_of(error))) {
                tracing::error!(target: "squidmesh", "part of the executor panicked; the workers drain and stop");
                stop.cancel(CancelReason::ShuttingDown);
                let reason = "a lane of workers panicked".to_owned();
                result = result.and(Err(ExecutorError { reason, source: Some(Box::new(panic)) }));
            }
        }
    }

    async fn run_heartbeats(&self, runner: Runner) {
        run_heartbeats(runner).await;
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}

/// Returns why a task ended without a result. A task that is awaited is never cancelled.
fn panic_of(error: JoinError) -> Panic {
    Panic::caught(error.try_into_panic().unwrap_or_else(|_| Box::new("it was cancelled")))
}
