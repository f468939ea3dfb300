//! The adapters in memory pass the conformance suites, as every adapter must.
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
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, block_on, spawn_thread};

struct Memory;

#[async_trait]
impl StoreFixture for Memory {
    async fn fresh(&self) -> (Arc<dyn Store>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (Arc::new(MemoryStore::new(clock.clone())), clock)
    }

    fn spawn(&self, work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        spawn_thread(work)
    }
}

/// The parts of a case take turns on one thread, as by default.
struct TakingTurns;

#[async_trait]
impl StoreFixture for TakingTurns {
    async fn fresh(&self) -> (Arc<dyn Store>, Arc<ManualClock>) {
        Memory.fresh().await
    }
}

squidmesh_core::store_conformance! { mod memory, runtime: block_on, fixture: Memory }
squidmesh_core::store_conformance! { mod memory_taking_turns, runtime: block_on, fixture: TakingTurns }

/// Executors in memory on one manual clock, each worker on its own thread.
#[derive(Default)]
struct MemoryWorkers {
    clock: Arc<ManualClock>,
}

#[async_trait]
impl ExecutorFixture for MemoryWorkers {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(MemoryExecutor::new(self.clock.clone()))
    }

    fn refusing(&self, queue: &QueueName) -> Option<Arc<dyn Executor>> {
        let executor = MemoryExecutor::new(self.clock.clone());
        executor.refuse(queue.clone());
        Some(Arc::new(executor))
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

squidmesh_core::executor_conformance! { mod memory_executor, runtime: block_on, fixture: MemoryWorkers::default() }
