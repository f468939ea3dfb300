//! Heartbeats on a connection of their own, opened in the async runtime that runs them.
//!
//! The connections of a store are driven by the runtime in which they were opened, and stall when its threads are
//! blocked. A database in memory exists only in its single connection, so its leases are extended through that.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sea_orm::DbErr;
use squidmesh_core::dispatch::Lease;
use squidmesh_core::port::{Heartbeats, LeaseState, StoreError};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::lease;
use crate::crash_point::at;
use crate::database::Database;
use crate::error::failed;
use crate::pool::calls::Calls;
use crate::pool::connections::Pools;

/// A connection that only extends leases.
struct OwnConnection {
    database: Arc<Database>,
}

/// Opens the connection, or returns `None` for a database that has only a single one.
pub(crate) async fn open(database: &Database) -> Result<Option<Box<dyn Heartbeats>>, StoreError> {
    let calls = open_calls(database).await.map_err(failed("opening the connection of the heartbeats"))?;
    let Some(calls) = calls else { return Ok(None) };
    let pools = Pools { writer: calls.clone(), reader: calls, host: database.host().clone() };
    let own = Database::new(pools, database.bounds.clone(), database.clock.clone());
    Ok(Some(Box::new(OwnConnection { database: Arc::new(own) })))
}

#[async_trait]
impl Heartbeats for OwnConnection {
    async fn extend_leases(&self, leases: &[Lease], lease: Duration) -> Result<Vec<LeaseState>, StoreError> {
        let (database, leases) = (Arc::clone(&self.database), leases.to_vec());
        // Runs to completion, even if the caller is dropped. The driver shows how it connects to a subscriber that
        // records everything.
        let extending = async move { lease::extend_leases(&database, &leases, lease).await };
        let extending = tokio::spawn(extending.with_subscriber(NoSubscriber::default()));
        let extended = async move {
            let failed = |error| StoreError::Unavailable { doing: "extending leases", source: Box::new(error) };
            extending.await.unwrap_or_else(|error| Err(failed(error)))
        };
        at("extend_leases", extended).await
    }
}

async fn open_calls(database: &Database) -> Result<Option<Calls>, DbErr> {
    match database.writer() {
        #[cfg(feature = "sqlite")]
        Calls::Sqlite(pool, bounds) => {
            let file = database.reader().file().await?;
            Ok(file.map(|_| Calls::Sqlite(crate::pool::sqlite::one_more(pool, bounds.call()), bounds.clone())))
        }
        #[cfg(not(feature = "sqlite"))]
        Calls::Sqlite(..) => Ok(None),
        #[cfg(feature = "postgres")]
        Calls::Postgres(own) => Ok(Some(Calls::Postgres(Arc::new(own.another(1))))),
    }
}
