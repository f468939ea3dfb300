//! Throw-away databases, each of them empty.

use sea_orm::{ConnectionTrait, Database};

/// The variable with the URL of the server on which tests may create databases.
const SERVER: &str = "SQUIDMESH_TEST_POSTGRES";

/// A database of one test.
pub struct TestDatabase {
    url: String,
    _directory: Option<tempfile::TempDir>,
}

impl TestDatabase {
    /// Creates a SQLite database in a file that is removed when this is dropped.
    pub fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let url = format!("sqlite://{}", directory.path().join("test.db").display());
        TestDatabase { url, _directory: Some(directory) }
    }

    /// Creates a Postgres database on the server of the tests, which is gone with the server.
    pub async fn postgres() -> Self {
        let server = std::env::var(SERVER).unwrap_or_else(|_| {
            panic!("{SERVER} is not set: run `cargo xtask test`, which starts a Postgres server for the tests")
        });
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let admin = Database::connect(&server).await.expect("the server of the tests can be reached");
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("a database can be made");
        admin.close().await.expect("the connection can be closed");
        TestDatabase { url: on_database(&server, &name), _directory: None }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Returns the URL of another database on the same server.
fn on_database(server: &str, name: &str) -> String {
    let (address, parameters) = server
        .split_once('?')
        .map_or((server, String::new()), |(address, parameters)| (address, format!("?{parameters}")));
    let (scheme, rest) = address.split_once("://").expect("the URL of a server");
    let host = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{host}/{name}{parameters}")
}
