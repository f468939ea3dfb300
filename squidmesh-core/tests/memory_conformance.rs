//! The adapters in memory pass the conformance suites, as every adapter must.
#![cfg(feature = "testing")]

use std::sync::Arc;
use std::thread;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use squidmesh_core::Store;
use squidmesh_core::testing::store_suite::StoreFixture;
use squidmesh_core::testing::{ManualClock, MemoryStore, block_on};

struct Memory;

#[async_trait]
impl StoreFixture for Memory {
    async fn fresh(&self) -> (Arc<dyn Store>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (Arc::new(MemoryStore::new(clock.clone())), clock)
    }

    fn spawn(&self, work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        let thread = thread::spawn(move || block_on(work));
        Box::pin(async move { thread.join().expect("the part of the case did not panic") })
    }
}

/// The parts of a case take turns on one thread, as they do by default.
struct TakingTurns;

#[async_trait]
impl StoreFixture for TakingTurns {
    async fn fresh(&self) -> (Arc<dyn Store>, Arc<ManualClock>) {
        Memory.fresh().await
    }
}

squidmesh_core::store_conformance! { mod memory, runtime: block_on, fixture: Memory }
squidmesh_core::store_conformance! { mod memory_taking_turns, runtime: block_on, fixture: TakingTurns }
