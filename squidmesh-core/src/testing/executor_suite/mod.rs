//! The conformance suite of the executor port: what every executor must do, however it delivers.
//!
//! One call of [`executor_conformance!`](crate::executor_conformance) creates a `#[test]` for every case. The cases
//! see an executor only through the runtime that it serves.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "these are tests: a case that cannot continue has failed, and its name is its documentation"
)]

pub mod cron;
pub mod delivery;
pub mod describe;
pub mod drain;
pub mod duplicate;
pub mod refusal;
pub mod takeover;
pub mod timing;

mod cases;
mod process;
mod silent;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::name::QueueName;
use crate::port::{Executor, Store};

/// Gives the suite access to an executor. This is all that an implementer writes; each case has its own fixture.
#[async_trait]
pub trait ExecutorFixture: Send + Sync {
    /// Returns a new executor, as each process has one. Those of one fixture serve one store and share one clock. An
    /// executor should interrupt steps that do not end soon after a shutdown: one case waits for that.
    fn executor(&self) -> Arc<dyn Executor>;

    /// Returns an executor that refuses jobs for this queue as unroutable; `None` if these executors take any queue,
    /// which leaves out the cases about refusal.
    fn refusing(&self, queue: &QueueName) -> Option<Arc<dyn Executor>>;

    /// Returns an empty store, on the same clock.
    async fn store(&self) -> Arc<dyn Store>;

    /// Returns a span of time that is long compared to how promptly these executors work. Delays in the suite are one
    /// moment, leases ten.
    fn moment(&self) -> Duration;

    /// Lets at least this much time pass: moves a clock, or sleeps.
    async fn pass(&self, time: Duration);

    /// Starts work at once, beside the case, and runs it until it ends; the returned future completes with it, and
    /// panics if it panicked.
    fn spawn(&self, work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()>;
}
