//! An executor that misbehaves on demand, around any other.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use squidmesh_core::Runner;
use squidmesh_core::definition::QueueName;
use squidmesh_core::dispatch::{Intent, IntentKey, Job, JobMetadata, Refusal};
use squidmesh_core::port::{Clock, DatabaseIdentity, Executor, ExecutorError, InvalidSetting};
use squidmesh_core::workflow::Cancellation;

/// How an executor behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behavior {
    /// It behaves correctly.
    #[default]
    Fine,
    /// It refuses one queue permanently.
    Refuses(QueueName),
    /// Its queue is down.
    Unavailable,
    /// It panics when it describes jobs.
    Panics,
    /// It describes fewer jobs than it was given.
    AnswersForTooFew,
    /// It panics when intents are published to it.
    PanicsInPublish,
    /// It drops what is published to it.
    Forgets,
}

/// An executor that behaves as a scenario chooses.
pub struct FlakyExecutor {
    inner: Arc<dyn Executor>,
    behavior: Mutex<Behavior>,
    /// Every job that it accepted, in order.
    described: Mutex<Vec<Job>>,
    /// Every intent that was published to it, in order.
    published: Mutex<Vec<IntentKey>>,
}

impl FlakyExecutor {
    pub fn around(inner: impl Executor) -> Self {
        FlakyExecutor {
            inner: Arc::new(inner),
            behavior: Mutex::default(),
            described: Mutex::default(),
            published: Mutex::default(),
        }
    }

    pub fn behave(&self, behavior: Behavior) {
        *self.behavior.lock().unwrap_or_else(PoisonError::into_inner) = behavior;
    }

    /// Returns every job that it accepted so far, as `step` or `compensation`.
    pub fn accepted(&self) -> Vec<String> {
        let described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        described
            .iter()
            .map(|job| job.key.target.step().map_or("compensation".to_owned(), ToString::to_string))
            .collect()
    }

    /// Returns what was published, as `step` or `compensation`, and forgets it.
    pub fn published(&self) -> Vec<String> {
        let published = std::mem::take(&mut *self.published.lock().unwrap_or_else(PoisonError::into_inner));
        published.iter().map(|key| key.target.step().map_or("compensation".to_owned(), ToString::to_string)).collect()
    }

    fn behavior(&self) -> Behavior {
        self.behavior.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Executor for FlakyExecutor {
    fn check(&self) -> Result<(), InvalidSetting> {
        self.inner.check()
    }

    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        match self.behavior() {
            Behavior::Refuses(queue) => {
                if let Some(job) = jobs.iter().find(|job| job.queue == queue) {
                    let reason = format!("there is no queue {queue}");
                    return Err(Refusal::Unroutable { job_id: job.key.to_string(), reason });
                }
            }
            Behavior::Unavailable => return Err(Refusal::Unavailable { reason: "the queue is down".to_owned() }),
            Behavior::Panics => panic!("the executor panics as chosen"),
            Behavior::AnswersForTooFew => return Ok(Vec::new()),
            Behavior::Fine | Behavior::PanicsInPublish | Behavior::Forgets => {}
        }
        self.described.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(jobs);
        self.inner.describe(jobs)
    }

    fn attach(&self, database: DatabaseIdentity) {
        self.inner.attach(database);
    }

    fn publish(&self, intents: &[Intent]) {
        let keys = intents.iter().map(|intent| intent.key.clone());
        self.published.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
        match self.behavior() {
            Behavior::Forgets => {}
            Behavior::PanicsInPublish => panic!("the executor panics as chosen"),
            _ => self.inner.publish(intents),
        }
    }

    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError> {
        self.inner.run(runner, shutdown).await
    }

    async fn run_heartbeats(&self, runner: Runner) {
        self.inner.run_heartbeats(runner).await;
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }
}
