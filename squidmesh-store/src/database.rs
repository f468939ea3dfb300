//! The connections of a store, its clock, and its cache of stored definitions.
//!
//! Knows which connection serves which purpose. Knows no table.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr};
#[cfg(feature = "postgres")]
use sea_orm::{RuntimeErr, TransactionTrait};
use squidmesh_core::definition::Fingerprint;

use crate::claim::contention::Contention;
use crate::claim::crowd::Crowd;
use crate::clock::StoreClock;
use crate::pool::bounds::Bounds;
#[cfg(feature = "postgres")]
use crate::pool::calls::within;
use crate::pool::calls::{Calls, Transaction, begin_immediate};
use crate::pool::connections::Pools;

/// Why a host gets no transaction although the server answers.
#[cfg(feature = "postgres")]
const ALL_IN_USE: &str =
    "all connections for the host are in use: end transactions sooner, or raise max_connections of the store";

/// The state that all operations of a store share.
#[derive(Debug)]
pub(crate) struct Database {
    pools: Pools,
    /// The limits on how long a call may take.
    pub(crate) bounds: Bounds,
    pub(crate) clock: StoreClock,
    /// The definitions that were committed through this store and need not be written again. Every commit that
    /// relies on this checks it in its own statement, because the database may be restored or emptied while the
    /// process runs.
    known_definitions: Mutex<HashSet<Fingerprint>>,
    pub(crate) crowd: Crowd,
    pub(crate) contention: Contention,
}

impl Database {
    pub(crate) fn new(pools: Pools, bounds: Bounds, clock: StoreClock) -> Self {
        let (crowd, contention) = (Crowd::default(), Contention::default());
        Database { pools, bounds, clock, known_definitions: Mutex::default(), crowd, contention }
    }

    pub(crate) fn writer(&self) -> &Calls {
        &self.pools.writer
    }

    pub(crate) fn reader(&self) -> &Calls {
        &self.pools.reader
    }

    pub(crate) fn host(&self) -> &DatabaseConnection {
        &self.pools.host
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.pools.writer.get_database_backend() == DbBackend::Sqlite
    }

    /// Begins a write transaction of the store's own.
    ///
    /// Must be called in a task that is not cancelled.
    pub(crate) async fn begin(&self) -> Result<Transaction, DbErr> {
        self.pools.writer.begin().await
    }

    /// Begins a transaction for the host: on SQLite in turn with the writer, elsewhere on a connection of the
    /// host. The host decides how long it lasts.
    pub(crate) async fn begin_for_host(&self) -> Result<DatabaseTransaction, DbErr> {
        let bound = self.bounds.call();
        match &self.pools.writer {
            Calls::Sqlite(pool, _) => begin_immediate(pool, bound).await,
            #[cfg(feature = "postgres")]
            Calls::Postgres(own) => match within(bound, self.pools.host.begin()).await {
                // The pool does not distinguish between no free connection and a failed attempt to open one.
                Err(DbErr::ConnectionAcquire(_)) => match own.simple("SELECT 1").await {
                    Ok(_) => Err(DbErr::Conn(RuntimeErr::Internal(ALL_IN_USE.to_owned()))),
                    Err(error) => Err(error),
                },
                answer => answer,
            },
        }
    }

    /// Fixes the schema that contains the tables.
    pub(crate) fn pin(&self, schema: Option<&str>) {
        match (&self.pools.writer, schema) {
            #[cfg(feature = "postgres")]
            (Calls::Postgres(own), Some(schema)) => own.pin(schema),
            _ => {}
        }
    }

    pub(crate) fn known_definitions(&self) -> HashSet<Fingerprint> {
        self.known_definitions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn forget_definitions(&self) {
        self.known_definitions.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn remember_definitions(&self, fingerprints: impl IntoIterator<Item = Fingerprint>) {
        self.known_definitions.lock().unwrap_or_else(PoisonError::into_inner).extend(fingerprints);
    }
}
