//! Every store and every executor passes the whole conformance suite of its port.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use squidmesh_core::definition::QueueName;
use squidmesh_core::port::{Clock, Executor, Store};
use squidmesh_core::testing::executor_suite::ExecutorFixture;
use squidmesh_core::testing::store_suite::StoreFixture;
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, spawn_thread};
use squidmesh_core::{minutes, ms};
use squidmesh_executor_redis::RedisExecutor;
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;
use squidmesh_tests::{TestDatabase, TestRedis, block_on};

/// Runs work on its own task, which may run at the same time as the case.
fn on_a_task(work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
    let task = tokio::spawn(work);
    Box::pin(async move { task.await.expect("the part of the case did not panic") })
}

/// A database for each store that a case requests, removed when the case is over.
struct Databases {
    fresh: fn() -> BoxFuture<'static, TestDatabase>,
    used: Mutex<Vec<TestDatabase>>,
}

impl Databases {
    fn sqlite() -> Self {
        Databases { fresh: || Box::pin(async { TestDatabase::sqlite() }), used: Mutex::default() }
    }

    fn postgres() -> Self {
        Databases { fresh: || Box::pin(TestDatabase::postgres()), used: Mutex::default() }
    }

    async fn open(&self, clock: Option<Arc<dyn Clock>>) -> Arc<dyn Store> {
        let database = (self.fresh)().await;
        let builder = SeaOrmStore::builder(database.url());
        let builder = match clock {
            Some(clock) => builder.clock(clock),
            None => builder,
        };
        let store = builder.connect().await.expect("the store opens");
        self.used.lock().unwrap().push(database);
        Arc::new(store)
    }
}

#[async_trait]
impl StoreFixture for Databases {
    async fn fresh(&self) -> (Arc<dyn Store>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (self.open(Some(clock.clone())).await, clock)
    }

    fn spawn(&self, work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        on_a_task(work)
    }
}

struct Memory;

#[async_trait]
impl StoreFixture for Memory {
    async fn fresh(&self) -> (Arc<dyn Store>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (Arc::new(MemoryStore::new(clock.clone())), clock)
    }

    fn spawn(&self, work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        on_a_task(work)
    }
}

mod stores {
    use super::*;

    squidmesh_core::store_conformance! { mod memory, runtime: block_on, fixture: Memory }
    squidmesh_core::store_conformance! { mod sqlite, runtime: block_on, fixture: Databases::sqlite() }
    squidmesh_core::store_conformance! { mod postgres, runtime: block_on, fixture: Databases::postgres() }
}

/// Executors in memory, on a clock that the cases move.
#[derive(Default)]
struct InMemory {
    clock: Arc<ManualClock>,
}

#[async_trait]
impl ExecutorFixture for InMemory {
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

/// Workers on tokio over a database, in real time.
struct OnTokio(Databases);

fn workers() -> TokioExecutor {
    TokioExecutor::new().poll_interval(ms(20)).drain_timeout(ms(300))
}

#[async_trait]
impl ExecutorFixture for OnTokio {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(workers())
    }

    fn refusing(&self, queue: &QueueName) -> Option<Arc<dyn Executor>> {
        // It cannot be configured with what to refuse, only with what to accept: the other queues that the cases use.
        assert_ne!(*queue, QueueName::default(), "the suite refuses a queue of its own");
        Some(Arc::new(workers().accept_only([QueueName::default().as_str()]).expect("a valid queue name")))
    }

    async fn store(&self) -> Arc<dyn Store> {
        self.0.open(None).await
    }

    fn moment(&self) -> Duration {
        ms(250)
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn spawn(&self, work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        on_a_task(work)
    }
}

/// Workers that are woken through Redis, over a database, in real time.
struct OnRedis(Databases, TestRedis);

impl OnRedis {
    fn over(databases: Databases) -> Self {
        OnRedis(databases, TestRedis::fresh())
    }

    fn workers(&self) -> RedisExecutor {
        self.1.executor().sweep_interval(ms(20)).drain_timeout(ms(300))
    }
}

#[async_trait]
impl ExecutorFixture for OnRedis {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(self.workers())
    }

    fn refusing(&self, queue: &QueueName) -> Option<Arc<dyn Executor>> {
        assert_ne!(*queue, QueueName::default(), "the suite refuses a queue of its own");
        let accepting = self.workers().accept_only([QueueName::default().as_str()]);
        Some(Arc::new(accepting.expect("a valid queue name")))
    }

    async fn store(&self) -> Arc<dyn Store> {
        self.0.open(None).await
    }

    fn moment(&self) -> Duration {
        ms(250)
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn spawn(&self, work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        on_a_task(work)
    }
}

mod executors {
    use super::*;

    squidmesh_core::executor_conformance! { mod memory, runtime: block_on, fixture: InMemory::default() }
    squidmesh_core::executor_conformance! { mod sqlite, runtime: block_on, fixture: OnTokio(Databases::sqlite()) }
    squidmesh_core::executor_conformance! { mod postgres, runtime: block_on, fixture: OnTokio(Databases::postgres()) }

    mod redis {
        use super::*;

        squidmesh_core::executor_conformance! { mod sqlite, runtime: block_on, fixture: OnRedis::over(Databases::sqlite()) }
        squidmesh_core::executor_conformance! { mod postgres, runtime: block_on, fixture: OnRedis::over(Databases::postgres()) }
    }
}
