//! Throw-away databases for the tests of this crate, each empty, and dropped after the test.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test binary uses some of it, and a test without its database has failed"
)]

use std::sync::Arc;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use squidmesh_store::{SeaOrmStore, redact_url};

/// A database of one test.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    _directory: Option<tempfile::TempDir>,
}

impl TestDatabase {
    /// Returns a SQLite database in a file.
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("test.db").display());
        TestDatabase { url, _directory: Some(directory) }
    }

    /// Creates a Postgres database on the test server.
    pub(crate) async fn postgres() -> Self {
        let server = std::env::var("SQUIDMESH_TEST_POSTGRES")
            .expect("these tests need a Postgres server: run `cargo xtask test`, which starts one");
        let name = format!("store_{}", uuid::Uuid::new_v4().simple());
        let admin = Database::connect(&server).await.unwrap();
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        admin.close().await.unwrap();
        TestDatabase { url: on_database(&server, &name), _directory: None }
    }

    /// Returns one database of each kind.
    pub(crate) async fn each() -> Vec<Self> {
        vec![Self::sqlite(), Self::postgres().await]
    }

    pub(crate) async fn store(&self) -> SeaOrmStore {
        SeaOrmStore::connect(&self.url).await.unwrap()
    }

    /// Opens a store whose time a test controls.
    pub(crate) async fn store_at(&self, clock: Arc<dyn squidmesh_core::port::Clock>) -> SeaOrmStore {
        SeaOrmStore::builder(&self.url).clock(clock).connect().await.unwrap()
    }

    /// Returns a single connection that is independent of the store.
    pub(crate) async fn connection(&self) -> DatabaseConnection {
        let url = if self.url.starts_with("sqlite") { format!("{}?mode=rwc", self.url) } else { self.url.clone() };
        let mut options = ConnectOptions::new(url);
        options.max_connections(1);
        Database::connect(options).await.unwrap()
    }
}

impl std::fmt::Debug for TestDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&redact_url(&self.url))
    }
}

/// Returns the URL of another database on the same server.
fn on_database(server: &str, name: &str) -> String {
    let (address, parameters) = server.split_once('?').map_or((server, None), |(a, p)| (a, Some(p)));
    let (scheme, rest) = address.split_once("://").unwrap();
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    let parameters = parameters.map(|parameters| format!("?{parameters}")).unwrap_or_default();
    format!("{scheme}://{host}/{name}{parameters}")
}

/// Returns the number of rows of a table.
pub(crate) async fn count(connection: &impl ConnectionTrait, table: &str) -> i64 {
    let statement = sea_orm::Statement::from_string(
        connection.get_database_backend(),
        format!("SELECT count(*) AS rows FROM {table}"),
    );
    connection.query_one_raw(statement).await.unwrap().unwrap().try_get_by("rows").unwrap()
}
