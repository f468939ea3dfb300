//! The store of Squidmesh on SeaORM 2: SQLite, bundled, and Postgres, by one code path.
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
//! **Commits** are encoded into rows where they come from and queue up for a writer: one transaction at a time on SQLite, up to three
//! on Postgres. The writer takes all that has queued up while its last transaction ran and writes it in the next one, in few
//! statements of many rows. The run's own row goes first: that takes its lock and checks its revision, so commits that conflict
//! drop out before anything else of them is written. A commit whose fence turns out to be stale has the transaction begun
//! again without it; a transaction that fails is split into one for each commit, so that only the bad one fails. A commit
//! that meets a lock of somebody else's, such as that of a host's transaction, leaves the others and waits by itself, for five seconds.
//!
//! **Claims** walk one index, on queue, priority and due time. An intent is due at `available_at`; a claim moves that to the
//! end of its lease, so that a dead worker's intent falls due by itself. On Postgres claimers skip what others have
//! locked; on SQLite they take turns.
//!
//! **Time** in the database is the database's: whether something is due or a lease has run out is decided by its clock.
//!
//! **News** of work goes from process to process by `LISTEN` and `NOTIFY` on Postgres, and by the files of the database on SQLite; a
//! process that runs workers holds one connection for it.
//!
//! **Connections**: some for the store alone (on SQLite a single one that writes, so that writers take turns fairly), and a
//! pool for the host. No transaction of the store runs in a future that a caller can drop, and every connection that returns
//! to a pool is cleared of any transaction that was left open on it.
//!
//! **Hosts** share [`SeaOrmStore::connection`] for tables of their own, and [join](SeaOrmStore::join) a run's start, or any
//! other command, to a transaction of their own. The other way round, a [transactional](squidmesh_core::transactional) step is
//! lent the transaction in which its outcome is recorded, as `&sea_orm::DatabaseTransaction`.
//!
//! On Postgres the store works on the default isolation level, READ COMMITTED, directly or through a pooler in session mode.

#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
compile_error!("squidmesh-store needs a database: enable the feature `sqlite` or `postgres`");

pub mod migration;

mod apply;
mod claim;
mod claim_keys;
mod clock;
mod columns;
mod committer;
mod connect;
mod crash_point;
mod database;
mod due;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod held_up;
mod history;
mod intents;
mod join;
mod keyed;
mod lease;
mod list;
mod load;
mod lookup;
mod masked;
mod member;
mod news;
mod pool;
mod prune;
mod rows;
mod sql;
mod store;
mod stranded;
mod transact;
mod triggers;
mod wave;
mod waves;

pub use connect::{ConnectError, StoreBuilder};
pub use join::JoinedStore;
pub use masked::masked;
pub use store::SeaOrmStore;
