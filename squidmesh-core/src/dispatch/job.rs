//! Jobs: what the executor is asked to describe, and its answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::IntentKey;
use crate::{Priority, QueueName};

/// A target about to be committed, shown to the executor first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Job {
    /// What will be delivered; its text is the job's id.
    pub key: IntentKey,
    /// The queue that the step declares.
    pub queue: QueueName,
    /// The class within the queue.
    pub priority: Priority,
    /// How long from now, in milliseconds precision; `None` is at once.
    pub schedule_in: Option<Duration>,
}

impl Job {
    /// A job for a target.
    pub fn new(key: IntentKey, queue: QueueName, priority: Priority, schedule_in: Option<Duration>) -> Self {
        Job { key, queue, priority, schedule_in }
    }

    /// The metadata that says no more than the job itself: what an executor with nothing to add answers.
    pub fn metadata(&self) -> JobMetadata {
        JobMetadata {
            job_id: self.key.to_string(),
            queue: self.queue.clone(),
            schedule_in: self.schedule_in,
            extra: Map::new(),
        }
    }
}

/// What is known of a dispatched job: told to the caller and in events, kept nowhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobMetadata {
    /// The job's id, the same each time the target is announced.
    pub job_id: String,
    /// The queue it goes to.
    pub queue: QueueName,
    /// How long from the commit it is delivered; `None` is at once.
    pub schedule_in: Option<Duration>,
    /// Whatever the executor adds.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// Why an executor did not describe jobs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The job could never be delivered: an unknown queue, an unroutable target.
    #[error("the executor refuses job {job_id}: {reason}")]
    Unroutable {
        /// The job.
        job_id: String,
        /// Why, for people.
        reason: String,
    },
    /// The executor cannot tell just now. Work that a run needs is committed all the same and delivered later.
    #[error("the executor cannot describe jobs now: {reason}")]
    Unavailable {
        /// Why, for people.
        reason: String,
    },
    /// The executor panicked, or answered for another number of jobs than it was asked about.
    #[error("the executor is defective: {reason}")]
    Defective {
        /// What it did.
        reason: String,
    },
}

/// How targets are dispatched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DispatchOptions {
    /// How long from the commit the targets fall due, in milliseconds precision. `None` and zero are at once.
    pub schedule_in: Option<Duration>,
    /// Create a pending step run for each target, and dispatch only those that were created by this call.
    pub schedule_pending: bool,
}

impl DispatchOptions {
    /// At once, for step runs that exist.
    pub fn new() -> Self {
        DispatchOptions::default()
    }

    /// The same, due after `delay`.
    #[must_use]
    pub fn schedule_in(mut self, delay: Duration) -> Self {
        self.schedule_in = Some(delay);
        self
    }

    /// The same, creating the pending step runs.
    #[must_use]
    pub fn schedule_pending(mut self) -> Self {
        self.schedule_pending = true;
        self
    }
}
