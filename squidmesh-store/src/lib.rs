//! The store of Squidmesh on SeaORM 2. Serves SQLite (bundled) and Postgres.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), squidmesh_store::ConnectError> {
//! let store = squidmesh_store::SeaOrmStore::connect("sqlite::memory:").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! **Commits** are encoded into rows in the caller's task and queue for a writer, which runs one transaction at a
//! time on SQLite and up to three on Postgres. The writer takes every commit that queued while its last
//! transaction ran and writes them in the next one, with a few statements of many rows each. The row of the run is
//! written first: this takes its lock and checks its revision, so commits that conflict drop out before any other
//! row of theirs is written. If the fence of a commit turns out to be stale, the transaction is started again
//! without that commit. A transaction that fails is split into one per commit, so that only the failing commit
//! fails. A commit that is blocked by a lock outside the store, such as that of a host's transaction, leaves its
//! batch and waits alone for up to five seconds.
//!
//! **Claims** walk one class after another, each by an index: expired leases, then each priority, longest due first.
//! An intent is due at `available_at`; a claim moves that time to the end of its lease, so the intent of a dead
//! worker becomes due again without further work. On Postgres, claimers skip rows that others have locked; on SQLite
//! they take turns.
//!
//! **Time** is read from the clock of the database, which decides whether an intent is due and whether a lease has
//! expired.
//!
//! **Notifications** of new work travel between processes through `LISTEN` and `NOTIFY` on Postgres, and through
//! the files of the database on SQLite. A process that runs workers holds one connection for them.
//!
//! **Connections** are of two kinds: some for the store alone (on SQLite a single one that writes, so that writers
//! take turns fairly), and a pool for the host. No transaction of the store runs in a future that a caller can
//! drop, and every connection that returns to the host's pool is cleared of any transaction left open on it.
//!
//! **Timeouts**: each call ends within [`call_timeout`](StoreBuilder::call_timeout). On Postgres, the server ends
//! it; if the server does not answer at all, the store closes the connection, together with those that were idle
//! meanwhile. On SQLite, the timeout bounds the wait for locks. Work resumes within ten seconds of the return of a
//! network.
//!
//! **Caches**: what a process remembers about a database, such as which definitions are stored, is checked by each
//! commit that relies on it, because the database may have been restored or emptied since.
//!
//! **Hosts** use [`SeaOrmStore::connection`] for tables of their own, and [join](SeaOrmStore::join) a run's start,
//! or any other command, to a transaction of their own. Conversely, a
//! [transactional](squidmesh_core::transactional) step receives the transaction in which its outcome is recorded,
//! as `&sea_orm::DatabaseTransaction`.
//!
//! On Postgres, the store uses the default isolation level, READ COMMITTED, directly or through a pooler in
//! session mode.

#![cfg_attr(docsrs, feature(doc_cfg))] // docs.rs shows the feature that an item needs

#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
compile_error!("squidmesh-store needs a database: enable the feature `sqlite` or `postgres`");

pub mod migration;

mod claim;
mod clock;
mod commit;
mod connect;
mod connect_error;
mod crash_point;
mod database;
mod epoch;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod host_transaction;
mod identity;
mod join;
mod notify;
mod pool;
mod prune;
mod query;
mod redact_url;
mod rows;
mod savepoint;
mod sql;
mod store;
#[cfg(all(test, feature = "sqlite", feature = "postgres"))]
mod tests;
mod transact;
mod triggers;

pub use connect::StoreBuilder;
pub use connect_error::ConnectError;
pub use join::JoinedStore;
pub use redact_url::redact_url;
pub use store::SeaOrmStore;
