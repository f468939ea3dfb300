//! The suite on the executor above, in manual time: its processes share a store and a clock.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use squidmesh_core::definition::QueueName;
use squidmesh_core::executor_conformance;
use squidmesh_core::minutes;
use squidmesh_core::port::{Executor, Store};
use squidmesh_core::testing::executor_suite::ExecutorFixture;
use squidmesh_core::testing::{ManualClock, MemoryStore, block_on, spawn_thread};

use super::custom_executor::QueueExecutor;

#[derive(Default)]
struct Queues {
    clock: Arc<ManualClock>,
}

#[async_trait]
impl ExecutorFixture for Queues {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(QueueExecutor::new(self.clock.clone(), Vec::new()))
    }

    fn refusing(&self, queue: &QueueName) -> Option<Arc<dyn Executor>> {
        Some(Arc::new(QueueExecutor::new(self.clock.clone(), vec![queue.clone()])))
    }

    async fn store(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new(self.clock.clone()))
    }

    fn moment(&self) -> Duration {
        minutes(1)
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn spawn(&self, work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        spawn_thread(work)
    }
}

executor_conformance! { mod queue_executor, runtime: block_on, fixture: Queues::default() }
