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
        _ => Err(without_driver(url)),
    }
}

/// Returns the error about a URL for which this build has no driver.
fn without_driver(url: &str) -> ConnectError {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let remedy = match scheme {
        "sqlite" => "enable the feature `sqlite` of squidmesh-store",
        "postgres" | "postgresql" => "enable the feature `postgres` of squidmesh-store",
        "mysql" | "mariadb" => NEITHER,
        _ => return ConnectError::InvalidUrl { url: redact_url(url) },
    };
    ConnectError::UnsupportedDatabase { url: redact_url(url), remedy }
}

/// What to do about a database that is neither.
const NEITHER: &str = "squidmesh-store works on Postgres and SQLite";

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
        #[cfg(not(feature = "sqlite"))]
        sea_orm::DbBackend::Sqlite => return Err(without_driver("sqlite:")),
        #[cfg(not(feature = "postgres"))]
        sea_orm::DbBackend::Postgres => return Err(without_driver("postgres:")),
        _ => {
            let url = "a connection of the host".to_owned();
            return Err(ConnectError::UnsupportedDatabase { url, remedy: NEITHER });
        }
    };
    Ok(Pools { writer: calls.clone(), reader: calls, host: connection })
}

/// Returns the connect timeout that the URL of a Postgres database states.
#[cfg(feature = "postgres")]
pub(crate) fn connect_timeout(url: &str) -> Result<Option<Duration>, ConnectError> {
    let is_postgres = url.starts_with("postgres:") || url.starts_with("postgresql:");
    if is_postgres { Ok(super::address::read(url)?.connect) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_driver_says_which_feature_has_it() {
        let text = |url: &str| without_driver(url).to_string();
        let driver = |url: &str, remedy: &str| format!("{url:?} has no driver in this build: {remedy}");
        for (url, remedy) in [
            ("sqlite://shop.db", "enable the feature `sqlite` of squidmesh-store"),
            ("postgres://h/shop", "enable the feature `postgres` of squidmesh-store"),
            ("postgresql://h/shop", "enable the feature `postgres` of squidmesh-store"),
            ("mysql://h/shop", "squidmesh-store works on Postgres and SQLite"),
        ] {
            assert_eq!(text(url), driver(url, remedy));
        }
        for wrong in ["shop.db", "http://h/shop", ""] {
            let expected = format!("{wrong:?} is not the URL of a database: expected such as \"sqlite://shop.db\", ");
            assert!(text(wrong).starts_with(&expected), "{}", text(wrong));
        }
    }
}
