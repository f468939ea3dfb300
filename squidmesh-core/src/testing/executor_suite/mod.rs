//! The conformance suite of the executor port: what every executor must do, whatever it delivers with.
//!
//! One call of [`executor_conformance!`](crate::executor_conformance) makes a `#[test]` of every case. The cases see an
//! executor only through the runtime that it serves.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "these are tests: a case that cannot go on has failed, and its name is its documentation"
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

use crate::{Executor, QueueName, Store};

/// How the suite gets at an executor. The implementer's whole part; each case has a fixture of its own.
#[async_trait]
pub trait ExecutorFixture: Send + Sync {
    /// A new executor, as each process has one. Those of one fixture serve one store, and live on one clock. Let it cut off
    /// steps that do not end soon after it is told to stop: one case waits for that.
    fn executor(&self) -> Arc<dyn Executor>;

    /// One that refuses jobs for this queue as unroutable; `None` if these executors take any queue, which leaves out the
    /// cases about refusal.
    fn refusing(&self, queue: &QueueName) -> Option<Arc<dyn Executor>>;

    /// A store with nothing in it, on the same clock.
    async fn store(&self) -> Arc<dyn Store>;

    /// A span of time that is long against how promptly these executors work. Delays in the suite are one moment, leases ten.
    fn moment(&self) -> Duration;

    /// Lets at least this much time pass: moves a clock, or sleeps.
    async fn pass(&self, time: Duration);

    /// Starts work at once, beside the case, and keeps at it until it ends; the future that is returned ends with it, and
    /// panics if it panicked.
    fn spawn(&self, work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()>;
}
