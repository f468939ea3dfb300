//! The store and the executor shown in the documentation of the ports pass the conformance suites.
#![cfg(feature = "testing")]

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use squidmesh_core::port::Store;
use squidmesh_core::testing::store_suite::StoreFixture;
use squidmesh_core::testing::{ManualClock, block_on, spawn_thread};

#[allow(clippy::unwrap_used, unreachable_pub, reason = "code of the documentation, as short as it can be")]
#[path = "../docs/custom_executor.rs"]
mod custom_executor;
#[path = "../docs/custom_executor_suite.rs"]
mod custom_executor_suite;
#[allow(clippy::unwrap_used, unreachable_pub, reason = "code of the documentation, as short as it can be")]
#[path = "../docs/custom_store.rs"]
mod custom_store;

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
