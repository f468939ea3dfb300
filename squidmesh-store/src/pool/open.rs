//! Opens the connections of a store, or takes those of the host.

#[cfg(feature = "postgres")]
use std::{sync::Arc, time::Duration};

use sea_orm::DatabaseConnection;

use super::bounds::Bounds;
use super::calls::Calls;
use super::connections::{Opening, Pools};
#[cfg(feature = "postgres")]
use super::own::Own;
#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(feature = "sqlite")]
use super::sqlite;
use crate::connect_error::ConnectError;
use crate::redact_url::redact_url;

/// Opens the database at a URL.
pub(crate) async fn open(url: &str, opening: &Opening) -> Result<Pools, ConnectError> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    match scheme {
        #[cfg(feature = "sqlite")]
        Some("sqlite") if opening.schema.is_some() => Err(ConnectError::NoSchemas { url: redact_url(url) }),
        #[cfg(feature = "sqlite")]
        Some("sqlite") => sqlite::open(url, opening).await,
        #[cfg(feature = "postgres")]
        Some("postgres" | "postgresql") => postgres::open(url, opening).await,
        _ if ["sqlite", "postgres", "postgresql", "mysql"].iter().any(|known| scheme == Some(known)) => {
            Err(ConnectError::UnsupportedDatabase { url: redact_url(url) })
        }
        _ => Err(ConnectError::InvalidUrl { url: redact_url(url) }),
    }
}

/// Uses a connection that the host brought.
pub(crate) fn take(connection: DatabaseConnection, bounds: Bounds) -> Result<Pools, ConnectError> {
    let calls = match connection.get_database_backend() {
        #[cfg(feature = "sqlite")]
        sea_orm::DbBackend::Sqlite => Calls::Sqlite(connection.clone(), bounds),
        #[cfg(feature = "postgres")]
        sea_orm::DbBackend::Postgres => {
            let pool = connection.get_postgres_connection_pool().clone();
            Calls::Postgres(Arc::new(Own::hosts(pool, bounds)))
        }
        _ => return Err(ConnectError::UnsupportedDatabase { url: "a connection of the host".to_owned() }),
    };
    Ok(Pools { writer: calls.clone(), reader: calls, host: connection })
}

/// Returns the connect timeout that the URL of a Postgres database states.
#[cfg(feature = "postgres")]
pub(crate) fn connect_timeout(url: &str) -> Result<Option<Duration>, ConnectError> {
    let is_postgres = url.starts_with("postgres:") || url.starts_with("postgresql:");
    if is_postgres { Ok(super::address::read(url)?.connect) } else { Ok(None) }
}
