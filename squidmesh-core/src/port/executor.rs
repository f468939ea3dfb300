//! The executor port: delivers dispatched targets back to the runtime.
//!
#![doc = include_str!("../../docs/custom-executor.md")]

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Cancellation, Clock, Intent, Job, JobMetadata, Refusal, Runner};

/// Delivers dispatched targets to the [`Runner`].
///
/// Delivery is at least once, and in any order: the runtime makes duplicates and late arrivals harmless. The store keeps
/// every intent until its target is done, so an executor may lose all that it holds; whatever is due and not held under a
/// lease is found again by [`Runner::claim`].
#[cfg_attr(feature = "testing", mockall::automock)]
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Describes the jobs of one dispatch before they are committed, or refuses them all.
    ///
    /// Called inside the decision: it must not block or do IO. Returns one metadata for each job, in their order;
    /// [`Job::metadata`] is enough for an executor with nothing to add.
    ///
    /// # Errors
    /// [`Refusal::Unroutable`] if a job could never be delivered: the dispatch is rolled back, or, for the successor of a
    /// finished step, the run fails. A queue that is merely down is no reason to refuse.
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal>;

    /// Told of intents right after their commit, so that delivery need not wait for a poll. Intents that carry a lease are
    /// in hand already and not announced.
    ///
    /// Best effort: what is lost here is found again in the store. Must return promptly; called on the path of the work.
    fn publish(&self, intents: &[Intent]);

    /// Runs workers until `shutdown` is cancelled, then drains: takes no more, lets what runs finish within the executor's
    /// bound, and gives back the rest through [`Runner::interrupt`] and [`Runner::release`].
    ///
    /// # Errors
    /// [`ExecutorError`] if it cannot work at all; never for a single delivery.
    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError>;

    /// The clock of the runtime that it works on.
    fn clock(&self) -> Arc<dyn Clock>;
}

#[async_trait]
impl<E: Executor + ?Sized> Executor for Arc<E> {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        (**self).describe(jobs)
    }

    fn publish(&self, intents: &[Intent]) {
        (**self).publish(intents);
    }

    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError> {
        (**self).run(runner, shutdown).await
    }

    fn clock(&self) -> Arc<dyn Clock> {
        (**self).clock()
    }
}

/// An executor that cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("the executor stopped: {reason}")]
pub struct ExecutorError {
    /// Why, for people.
    pub reason: String,
    /// The adapter's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}
