//! The ports are used as trait objects: their implementations need `async_trait`.

use std::sync::Arc;

use squidmesh_core::Runner;
use squidmesh_core::dispatch::{Intent, Job, JobMetadata, Refusal};
use squidmesh_core::port::{Clock, Executor, ExecutorError};
use squidmesh_core::workflow::Cancellation;

struct Mine(Arc<dyn Clock>);

impl Executor for Mine {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        Ok(jobs.iter().map(Job::metadata).collect())
    }

    fn publish(&self, _: &[Intent]) {}

    async fn run(&self, _: Runner, _: Cancellation) -> Result<(), ExecutorError> {
        Ok(())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.0.clone()
    }
}

fn main() {}
