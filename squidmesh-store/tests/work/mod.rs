//! Counts the work of a database for a store: on SQLite the steps of its statements, on Postgres the blocks that
//! they access.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses some of it, and a test without its database has failed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, SqlxSqliteConnector, Statement};
use squidmesh_core::port::Clock;
use squidmesh_store::SeaOrmStore;

use crate::databases::TestDatabase;

/// A store whose work is counted.
pub(crate) struct Work {
    store: SeaOrmStore,
    counter: Counter,
}

enum Counter {
    Steps(Arc<AtomicU64>),
    Blocks(DatabaseConnection),
}

/// The number of steps that count as one.
const STEPS: i32 = 10;

impl Work {
    /// Opens a store on a database.
    pub(crate) async fn on(database: &TestDatabase, clock: Arc<dyn Clock>) -> Work {
        if !database.url.starts_with("sqlite") {
            let store = database.store_at(clock).await;
            return Work { store, counter: Counter::Blocks(database.connection().await) };
        }
        let steps = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&steps);
        let options: SqliteConnectOptions = database.url.parse().unwrap();
        let options = options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        let pool = SqlitePoolOptions::new().max_connections(1).after_connect(move |connection, _| {
            let counter = Arc::clone(&counter);
            Box::pin(async move {
                connection.lock_handle().await?.set_progress_handler(STEPS, move || {
                    counter.fetch_add(1, Ordering::Relaxed);
                    true
                });
                Ok(())
            })
        });
        let pool = pool.connect_with(options).await.unwrap();
        let connection = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool);
        let store = SeaOrmStore::builder_on(connection).clock(clock).connect().await.unwrap();
        Work { store, counter: Counter::Steps(steps) }
    }

    pub(crate) fn store(&self) -> &SeaOrmStore {
        &self.store
    }

    /// Returns the count so far.
    pub(crate) async fn so_far(&self) -> u64 {
        self.counter.count().await
    }

    /// Returns the count so far, including all work on another connection.
    pub(crate) async fn after(&self, other: DatabaseConnection) -> u64 {
        if let Counter::Blocks(connection) = &self.counter {
            let pid = number(&other, "SELECT pg_backend_pid()::bigint AS number").await;
            other.close().await.unwrap();
            while number(connection, &format!("SELECT count(*) AS number FROM pg_stat_activity WHERE pid = {pid}"))
                .await
                > 0
            {
                tokio::task::yield_now().await;
            }
        }
        self.so_far().await
    }

    /// Returns the total count, including all work of the store.
    pub(crate) async fn end(self) -> u64 {
        drop(self.store);
        if let Counter::Blocks(connection) = &self.counter {
            // The statistics of a session are complete once it has ended.
            let sessions = "SELECT count(*) AS number FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
            while number(connection, sessions).await > 0 {
                tokio::task::yield_now().await;
            }
        }
        self.counter.count().await
    }
}

impl Counter {
    async fn count(&self) -> u64 {
        match self {
            Counter::Steps(steps) => steps.load(Ordering::Relaxed),
            Counter::Blocks(connection) => {
                let blocks = "SELECT (sum(heap_blks_hit + heap_blks_read + coalesce(idx_blks_hit, 0) \
                              + coalesce(idx_blks_read, 0) + coalesce(toast_blks_hit, 0) \
                              + coalesce(toast_blks_read, 0)))::bigint AS number FROM pg_statio_user_tables";
                u64::try_from(number(connection, blocks).await).unwrap()
            }
        }
    }
}

async fn number(connection: &DatabaseConnection, sql: &str) -> i64 {
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    connection.query_one_raw(statement).await.unwrap().unwrap().try_get_by("number").unwrap()
}
