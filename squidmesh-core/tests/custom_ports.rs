//! The store and the executor shown in the documentation of the ports pass the conformance suites.
#![cfg(feature = "testing")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use squidmesh_core::definition::QueueName;
use squidmesh_core::minutes;
use squidmesh_core::port::{Executor, Store};
use squidmesh_core::testing::executor_suite::ExecutorFixture;
use squidmesh_core::testing::store_suite::StoreFixture;
use squidmesh_core::testing::{ManualClock, MemoryStore, block_on, spawn_thread};

#[allow(clippy::unwrap_used, unreachable_pub, reason = "code of the documentation, as short as it can be")]
#[path = "../docs/custom_executor.rs"]
mod custom_executor;
#[allow(clippy::unwrap_used, unreachable_pub, reason = "code of the documentation, as short as it can be")]
#[path = "../docs/custom_store.rs"]
mod custom_store;

use custom_executor::QueueExecutor;
use custom_store::TinyStore;

struct Tiny;

#[async_trait]
impl StoreFixture for Tiny {
    async fn fresh(&self) -> (Arc<dyn Store>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (Arc::new(TinyStore::new(clock.clone())), clock)
    }

    fn spawn(&self, work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        spawn_thread(work)
    }
}

squidmesh_core::store_conformance! { mod tiny_store, runtime: block_on, fixture: Tiny }

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

squidmesh_core::executor_conformance! { mod queue_executor, runtime: block_on, fixture: Queues::default() }
