//! An executor with moods, around any other.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use squidmesh_core::{
    Cancellation, Clock, Executor, ExecutorError, Intent, Job, JobMetadata, QueueName, Refusal, Runner,
};

/// How an executor behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    #[default]
    Fine,
    /// It refuses one queue for good.
    Refuses(QueueName),
    /// Its queue is down.
    Unavailable,
    /// It panics when it is asked about jobs.
    Panics,
    /// It describes fewer jobs than it was asked about.
    AnswersForTooFew,
    /// It panics when it is told of intents.
    PanicsInPublish,
    /// It forgets what it is told.
    Forgets,
}

/// An executor that behaves as a scenario tells it to.
pub struct Moody {
    inner: Arc<dyn Executor>,
    mood: Mutex<Mood>,
    /// Every job that it accepted, in order.
    described: Mutex<Vec<Job>>,
}

impl Moody {
    pub fn around(inner: impl Executor) -> Self {
        Moody { inner: Arc::new(inner), mood: Mutex::default(), described: Mutex::default() }
    }

    pub fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// Every job that it accepted so far, as `step` or `compensation`.
    pub fn accepted(&self) -> Vec<String> {
        let described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        described
            .iter()
            .map(|job| job.key.target.step().map_or("compensation".to_owned(), ToString::to_string))
            .collect()
    }

    fn mood(&self) -> Mood {
        self.mood.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Executor for Moody {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        match self.mood() {
            Mood::Refuses(queue) => {
                if let Some(job) = jobs.iter().find(|job| job.queue == queue) {
                    let reason = format!("there is no queue {queue}");
                    return Err(Refusal::Unroutable { job_id: job.key.to_string(), reason });
                }
            }
            Mood::Unavailable => return Err(Refusal::Unavailable { reason: "the queue is down".to_owned() }),
            Mood::Panics => panic!("the executor is in a panicking mood"),
            Mood::AnswersForTooFew => return Ok(Vec::new()),
            Mood::Fine | Mood::PanicsInPublish | Mood::Forgets => {}
        }
        self.described.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(jobs);
        self.inner.describe(jobs)
    }

    fn publish(&self, intents: &[Intent]) {
        match self.mood() {
            Mood::Forgets => {}
            Mood::PanicsInPublish => panic!("the executor is in a panicking mood"),
            _ => self.inner.publish(intents),
        }
    }

    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError> {
        self.inner.run(runner, shutdown).await
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }
}
