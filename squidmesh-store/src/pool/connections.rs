//! The connections of a store, by purpose, and the options of those that are pooled.

use std::time::Duration;

use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::bounds::Bounds;
use super::calls::Calls;

/// Statements vary by their number of rows, so the cache holds more of them than usual.
pub(super) const CACHED_STATEMENTS: usize = 512;

/// The connections of a store, by purpose.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    /// For writes. On SQLite a single connection: writers take turns in order of arrival.
    pub(crate) writer: Calls,
    /// For reads.
    pub(crate) reader: Calls,
    /// For the host.
    pub(crate) host: DatabaseConnection,
}

/// Options for opening a database.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    /// The maximum number of connections for the host.
    pub(crate) for_host: u32,
    /// The maximum number of connections for the store itself, on Postgres.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "SQLite has one that writes"))]
    pub(crate) own: u32,
    /// The requested schema.
    pub(crate) schema: Option<String>,
    pub(crate) bounds: Bounds,
}

/// Returns the options common to all pools. Statements are not logged: neither their text nor their values belong
/// in logs.
pub(super) fn options(url: &str, max_connections: u32, timeout: Duration) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(max_connections)
        .acquire_timeout(timeout)
        .connect_timeout(timeout)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    options
}

/// The driver's own spans show the URL to a subscriber that records everything.
pub(super) async fn connect(options: ConnectOptions) -> Result<DatabaseConnection, DbErr> {
    Database::connect(options).with_subscriber(NoSubscriber::default()).await
}
