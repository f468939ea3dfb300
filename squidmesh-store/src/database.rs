//! The connections of a store, its clock, and what it knows to be there already.
//!
//! Knows which connection is for what. Knows no table.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use squidmesh_core::Fingerprint;

use crate::clock::StoreClock;
use crate::pool::Pools;

/// What every operation of a store works on.
#[derive(Debug)]
pub(crate) struct Database {
    pools: Pools,
    clock: StoreClock,
    /// The definitions that were committed through here. They are never taken away, so they need not be written again.
    known_definitions: Mutex<HashSet<Fingerprint>>,
}

impl Database {
    pub(crate) fn new(pools: Pools, clock: StoreClock) -> Self {
        Database { pools, clock, known_definitions: Mutex::default() }
    }

    pub(crate) fn writer(&self) -> &DatabaseConnection {
        &self.pools.writer
    }

    pub(crate) fn reader(&self) -> &DatabaseConnection {
        &self.pools.reader
    }

    pub(crate) fn host(&self) -> &DatabaseConnection {
        &self.pools.host
    }

    pub(crate) fn clock(&self) -> &StoreClock {
        &self.clock
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.pools.writer.get_database_backend() == DbBackend::Sqlite
    }

    /// Begins a transaction that writes. On SQLite it has the write lock from the start: one that reads first and writes
    /// later fails at once when another wrote in between, whatever the busy timeout says.
    ///
    /// Call this in a task that is not cancelled.
    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let immediate = self.is_sqlite().then_some(SqliteTransactionMode::Immediate);
        self.pools
            .writer
            .begin_with_options(TransactionOptions {
                sqlite_transaction_mode: immediate,
                ..TransactionOptions::default()
            })
            .await
    }

    /// Begins a transaction for the host: on SQLite in turn with the writer, elsewhere on a connection that is the host's.
    pub(crate) async fn begin_for_host(&self) -> Result<DatabaseTransaction, DbErr> {
        if self.is_sqlite() { self.begin().await } else { self.pools.host.begin().await }
    }

    pub(crate) fn known_definitions(&self) -> HashSet<Fingerprint> {
        self.known_definitions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn remember_definitions(&self, fingerprints: impl IntoIterator<Item = Fingerprint>) {
        self.known_definitions.lock().unwrap_or_else(PoisonError::into_inner).extend(fingerprints);
    }
}
