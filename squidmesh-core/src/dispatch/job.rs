//! Jobs: what the executor describes, and its answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Intent, IntentKey};
use crate::definition::Priority;
use crate::name::{QueueName, StepName};

/// A target about to be committed, which the executor describes first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Job {
    /// The target to deliver; its text is the job's id.
    pub key: IntentKey,
    /// The queue that the step declares.
    pub queue: QueueName,
    /// The priority within the queue.
    pub priority: Priority,
    /// The delay, with millisecond precision; `None` is at once.
    pub schedule_in: Option<Duration>,
}

impl Job {
    /// Creates a job for a target.
    pub fn new(key: IntentKey, queue: QueueName, priority: Priority, schedule_in: Option<Duration>) -> Self {
        Job { key, queue, priority, schedule_in }
    }

    /// Returns metadata with the data of the job alone: the answer of an executor with nothing to add.
    pub fn metadata(&self) -> JobMetadata {
        JobMetadata {
            job_id: self.key.to_string(),
            queue: self.queue.clone(),
            schedule_in: self.schedule_in,
            extra: Map::new(),
            intent: None,
        }
    }
}

/// The metadata of a dispatched job: returned to the caller and emitted in events, never stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobMetadata {
    /// The job's id, the same each time the target is announced.
    pub job_id: String,
    /// The queue of the job.
    pub queue: QueueName,
    /// The delay from the commit to the delivery; `None` is at once.
    pub schedule_in: Option<Duration>,
    /// Additional data of the executor.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// The committed intent, if the caller emits the events: the executor is notified of it then.
    #[serde(skip)]
    pub(crate) intent: Option<Box<Intent>>,
}

/// Compares the metadata without the intent.
impl PartialEq for JobMetadata {
    fn eq(&self, other: &Self) -> bool {
        (&self.job_id, &self.queue, self.schedule_in, &self.extra)
            == (&other.job_id, &other.queue, other.schedule_in, &other.extra)
    }
}

/// The reason why an executor did not describe jobs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The job could never be delivered: an unknown queue, an unroutable target.
    #[error("the executor refuses job {job_id}: {reason}")]
    Unroutable {
        /// The id of the job.
        job_id: String,
        /// The reason, for people.
        reason: String,
    },
    /// The executor is not available at the moment. Work that a run needs is still committed, and delivered later.
    #[error("the executor cannot describe jobs now: {reason}")]
    Unavailable {
        /// The reason, for people.
        reason: String,
    },
    /// The executor panicked, or answered for another number of jobs than it was given.
    #[error("the executor is defective: {reason}")]
    Defective {
        /// What the executor did wrong.
        reason: String,
    },
}

impl Refusal {
    /// Returns the step whose job was refused; `None` if the refusal is about no particular job, or about a
    /// compensation.
    pub fn step(&self) -> Option<StepName> {
        match self {
            Refusal::Unroutable { job_id, .. } => {
                let (_run, step) = job_id.split_once('/')?;
                StepName::new(step).ok()
            }
            Refusal::Unavailable { .. } | Refusal::Defective { .. } => None,
        }
    }
}

/// Options of a dispatch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DispatchOptions {
    /// How long after the commit the targets become due, with millisecond precision. `None` and zero are at once.
    pub schedule_in: Option<Duration>,
    /// Whether to create a pending step run for each target, and dispatch only those that this call created.
    pub schedule_pending: bool,
}

impl DispatchOptions {
    /// Creates the default options: due at once, for step runs that exist.
    pub fn new() -> Self {
        DispatchOptions::default()
    }

    /// Sets the delay after which the targets become due.
    #[must_use]
    pub fn schedule_in(mut self, delay: Duration) -> Self {
        self.schedule_in = Some(delay);
        self
    }

    /// Creates a pending step run for each target, and dispatches only those that the call created.
    #[must_use]
    pub fn schedule_pending(mut self) -> Self {
        self.schedule_pending = true;
        self
    }
}
