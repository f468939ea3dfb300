//! An empty store, and what belongs to it.

use std::sync::Arc;
use std::time::Duration;

use squidmesh_core::command::SquidmeshBuilder;
use squidmesh_core::port::Store;
use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore};
use squidmesh_core::{Squidmesh, Workflow};
use squidmesh_executor_tokio::TokioExecutor;
use squidmesh_store::SeaOrmStore;

use crate::{FlakyExecutor, TestDatabase, TestRedis, World};

/// What a scenario runs on: a fresh store, and the executor that goes with it.
pub struct Backend {
    stored: Stored,
    /// The Redis that announces work, if there is one.
    redis: Option<TestRedis>,
}

enum Stored {
    Memory { store: MemoryStore, clock: Arc<ManualClock> },
    Database { store: SeaOrmStore, database: TestDatabase },
}

impl Backend {
    /// In memory, with time that moves when every task waits for it.
    pub async fn memory() -> Self {
        let clock = Arc::new(ManualClock::default());
        Backend { stored: Stored::Memory { store: MemoryStore::new(clock.clone()), clock }, redis: None }
    }

    /// SQLite in a file, with workers on tokio.
    pub async fn sqlite() -> Self {
        Backend::on(TestDatabase::sqlite()).await
    }

    /// A fresh Postgres database, with workers on tokio.
    pub async fn postgres() -> Self {
        Backend::on(TestDatabase::postgres().await).await
    }

    /// SQLite in a file, with workers that are woken through Redis.
    pub async fn redis_sqlite() -> Self {
        Backend { redis: Some(TestRedis::fresh()), ..Backend::sqlite().await }
    }

    /// A fresh Postgres database, with workers that are woken through Redis.
    pub async fn redis_postgres() -> Self {
        Backend { redis: Some(TestRedis::fresh()), ..Backend::postgres().await }
    }

    async fn on(database: TestDatabase) -> Self {
        let store = SeaOrmStore::connect(database.url()).await.expect("the store opens");
        Backend { stored: Stored::Database { store, database }, redis: None }
    }

    pub fn store(&self) -> Arc<dyn Store> {
        match &self.stored {
            Stored::Memory { store, .. } => Arc::new(store.clone()),
            Stored::Database { store, .. } => Arc::new(store.clone()),
        }
    }

    /// Returns the store in memory, for scenarios that plant faults in it.
    pub fn memory_store(&self) -> Option<&MemoryStore> {
        match &self.stored {
            Stored::Memory { store, .. } => Some(store),
            Stored::Database { .. } => None,
        }
    }

    /// Returns the store in a database, for scenarios with tables of a host.
    pub fn database_store(&self) -> Option<&SeaOrmStore> {
        match &self.stored {
            Stored::Memory { .. } => None,
            Stored::Database { store, .. } => Some(store),
        }
    }

    pub fn database(&self) -> Option<&TestDatabase> {
        match &self.stored {
            Stored::Memory { .. } => None,
            Stored::Database { database, .. } => Some(database),
        }
    }

    /// Returns the manual clock, which moves when every task waits for it; `None` where time is real.
    pub fn clock(&self) -> Option<&Arc<ManualClock>> {
        match &self.stored {
            Stored::Memory { clock, .. } => Some(clock),
            Stored::Database { .. } => None,
        }
    }

    /// Lets time pass: at once where the clock is manual.
    pub async fn pass(&self, duration: Duration) {
        match self.clock() {
            Some(clock) => clock.advance(duration),
            None => tokio::time::sleep(duration).await,
        }
    }

    /// Creates a runtime with these workflows.
    pub fn world(&self, workflows: impl IntoIterator<Item = Workflow>) -> World {
        self.world_with(workflows, |builder| builder)
    }

    /// Creates a runtime with these workflows and its own settings.
    pub fn world_with(
        &self,
        workflows: impl IntoIterator<Item = Workflow>,
        settings: impl FnOnce(SquidmeshBuilder) -> SquidmeshBuilder,
    ) -> World {
        const EVERY: Duration = Duration::from_millis(50);
        let executor = Arc::new(match (self.clock(), &self.redis) {
            (Some(clock), _) => FlakyExecutor::around(MemoryExecutor::new(clock.clone())),
            (None, Some(redis)) => FlakyExecutor::around(redis.executor().concurrency(8).sweep_interval(EVERY)),
            (None, None) => FlakyExecutor::around(TokioExecutor::new().concurrency(8).poll_interval(EVERY)),
        });
        let builder = workflows
            .into_iter()
            .fold(Squidmesh::builder(self.store()).executor(executor.clone()), SquidmeshBuilder::workflow);
        World::new(settings(builder), executor, self.clock().cloned())
    }
}
