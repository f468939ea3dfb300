//! The executor port: delivers dispatched targets back to the runtime.
//!
#![doc = include_str!("../../docs/custom-executor.md")]
//! ```
#![doc = include_str!("../../docs/custom_executor.rs")]
//! ```
//!
//! # Its suite
//!
//! ```ignore
#![doc = include_str!("../../docs/custom_executor_suite.rs")]
//! ```

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::cancellation::Cancellation;
use crate::chain::fmt_with_causes;
use crate::dispatch::{Intent, Job, JobMetadata, Refusal};
use crate::port::{Clock, DatabaseIdentity};
use crate::runner::Runner;

/// Delivers dispatched targets to the [`Runner`].
///
/// Delivery is at least once and in any order: the runtime makes duplicates and late arrivals harmless. The store
/// keeps every intent until its target is done, so an executor may lose everything it holds: [`Runner::claim`] finds
/// every intent that is due and not held under a lease.
#[cfg_attr(feature = "testing", mockall::automock)]
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Validates the executor's own settings when a runtime is [built](crate::command::SquidmeshBuilder::build) with it.
    ///
    /// # Errors
    /// [`InvalidSetting`] for a setting that it cannot work with: the runtime is not built.
    fn check(&self) -> Result<(), InvalidSetting> {
        Ok(())
    }

    /// Describes the jobs of one dispatch before they are committed, or refuses them all.
    ///
    /// Called inside the decision: it must not block or do IO. Returns one [`JobMetadata`] for each job, in order;
    /// [`Job::metadata`] suffices for an executor with nothing to add.
    ///
    /// # Errors
    /// [`Refusal::Unroutable`] if a job could never be delivered: the dispatch is rolled back or, for the successor
    /// of a finished step, the run fails. A queue that is only temporarily down is no reason to refuse.
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal>;

    /// Receives the identity of the runtime's database when the runtime is built. An executor whose queue is outside
    /// the database uses it to keep the work of different databases apart. May be called several times, for the same
    /// or another database.
    fn attach(&self, database: DatabaseIdentity) {
        drop(database);
    }

    /// Announces intents right after their commit, so that delivery need not wait for a poll. Intents that carry a
    /// lease are held already and not announced.
    ///
    /// Best effort: the store still has any intent that is lost here. Called on the execution path: return promptly.
    fn publish(&self, intents: &[Intent]);

    /// Runs workers until `shutdown` is cancelled, then drains: claims no more work, lets running steps finish within
    /// the executor's bound, and returns the rest through [`Runner::interrupt`] and [`Runner::release`].
    ///
    /// # Errors
    /// [`ExecutorError`] if it cannot work at all; never because of a single delivery.
    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError>;

    /// Extends the leases of what the runner executes, until the future is dropped. An executor with threads runs
    /// [`Runner::run_heartbeats_until`] on one that no handler can block, and [`Runner::keep_pulse`] among the
    /// handlers. The default extends them in the task of [`run_workers`](crate::Squidmesh::run_workers).
    async fn run_heartbeats(&self, runner: Runner) {
        runner.run_heartbeats().await;
    }

    /// Returns the clock of the async runtime that it works on.
    fn clock(&self) -> Arc<dyn Clock>;
}

#[async_trait]
impl<E: Executor + ?Sized> Executor for Arc<E> {
    fn check(&self) -> Result<(), InvalidSetting> {
        (**self).check()
    }

    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        (**self).describe(jobs)
    }

    fn attach(&self, database: DatabaseIdentity) {
        (**self).attach(database);
    }

    fn publish(&self, intents: &[Intent]) {
        (**self).publish(intents);
    }

    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError> {
        (**self).run(runner, shutdown).await
    }

    async fn run_heartbeats(&self, runner: Runner) {
        (**self).run_heartbeats(runner).await;
    }

    fn clock(&self) -> Arc<dyn Clock> {
        (**self).clock()
    }
}

/// A setting that an executor cannot work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the executor's setting `{setting}` is {given}: {rule}")]
#[non_exhaustive]
pub struct InvalidSetting {
    /// The setting's name, which is the name of the method that sets it.
    pub setting: &'static str,
    /// The value it was set to.
    pub given: String,
    /// The rule that the value breaks.
    pub rule: &'static str,
}

impl InvalidSetting {
    /// Creates an error for a value that breaks a rule, such as "it must be at least 1".
    pub fn new(setting: &'static str, given: impl Into<String>, rule: &'static str) -> Self {
        InvalidSetting { setting, given: given.into(), rule }
    }
}

/// An executor cannot continue. `Debug` shows the text with its causes, since `main` prints that.
#[derive(thiserror::Error)]
#[error("the executor stopped: {reason}")]
pub struct ExecutorError {
    /// The reason, for people.
    pub reason: String,
    /// The adapter's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl fmt::Debug for ExecutorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_with_causes(self, f)
    }
}
