//! Adapters that lose every notification: a store that never announces committed work, and an executor that drops
//! what it is asked to publish.

use std::sync::Arc;

use async_trait::async_trait;

use crate::cancellation::Cancellation;
use crate::dispatch::{Intent, Job, JobMetadata, Refusal};
use crate::port::{Clock, Executor, ExecutorError, InvalidSetting, Store};
use crate::runner::Runner;
use crate::testing::StoreInterceptor;

/// Has a store never announce committed work.
pub(super) struct Silent;

#[async_trait]
impl StoreInterceptor for Silent {
    async fn work_notified(&self, _: &dyn Store) {
        std::future::pending().await
    }

    fn notify_work(&self, _: &dyn Store) {}

    fn is_listening(&self, _: &dyn Store) -> bool {
        false
    }
}

/// An executor that drops everything it is asked to publish.
pub(super) struct DeafExecutor(pub(super) Arc<dyn Executor>);

#[async_trait]
impl Executor for DeafExecutor {
    fn check(&self) -> Result<(), InvalidSetting> {
        self.0.check()
    }

    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        self.0.describe(jobs)
    }

    fn publish(&self, _: &[Intent]) {}

    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError> {
        self.0.run(runner, shutdown).await
    }

    async fn run_heartbeats(&self, runner: Runner) {
        self.0.run_heartbeats(runner).await;
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.0.clock()
    }
}
