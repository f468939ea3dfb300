//! Throw-away databases, each without a run.

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};
use sea_orm_migration::MigratorTrait;
use squidmesh_store::migration::Migrator;

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

    /// Creates a Postgres database on the server of the tests, which is gone with the server. It has the store's
    /// tables already: it is a copy of a database that the first test makes, since to migrate takes longer than most
    /// tests.
    pub async fn postgres() -> Self {
        let (server, name) = (server(), fresh_name());
        let admin = single_connection(&server).await;
        let copy = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}");
        if admin.execute_unprepared(&copy).await.is_err() {
            make_template(&admin, &server).await;
            admin.execute_unprepared(&copy).await.expect("the template can be copied");
        }
        admin.close().await.expect("the connection can be closed");
        TestDatabase { url: on_database(&server, &name), _directory: None }
    }

    /// Creates a Postgres database without tables.
    pub async fn empty_postgres() -> Self {
        let (server, name) = (server(), fresh_name());
        let admin = single_connection(&server).await;
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("a database can be made");
        admin.close().await.expect("the connection can be closed");
        TestDatabase { url: on_database(&server, &name), _directory: None }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The database that is copied, and its name until it is complete.
const TEMPLATE: &str = "squidmesh_template";
const UNFINISHED: &str = "squidmesh_template_unfinished";

/// Makes the template, unless another process has made it meanwhile.
async fn make_template(admin: &DatabaseConnection, server: &str) {
    let run = async |sql: String| admin.execute_unprepared(&sql).await.expect("the template can be made");
    run("SELECT pg_advisory_lock(7)".to_owned()).await;
    let made = format!("SELECT 1 FROM pg_database WHERE datname = '{TEMPLATE}'");
    let made = admin.query_one_raw(Statement::from_string(admin.get_database_backend(), made)).await;
    if made.expect("databases can be listed").is_none() {
        run(format!("DROP DATABASE IF EXISTS {UNFINISHED}")).await;
        run(format!("CREATE DATABASE {UNFINISHED}")).await;
        let template = single_connection(&on_database(server, UNFINISHED)).await;
        Migrator::up(&template, None).await.expect("the tables can be made");
        template.close().await.expect("the connection can be closed");
        run(format!("ALTER DATABASE {UNFINISHED} RENAME TO {TEMPLATE}")).await;
    }
    run("SELECT pg_advisory_unlock(7)".to_owned()).await;
}

fn server() -> String {
    std::env::var(SERVER).unwrap_or_else(|_| {
        panic!("{SERVER} is not set: run `cargo xtask test`, which starts a Postgres server for the tests")
    })
}

fn fresh_name() -> String {
    format!("test_{}", uuid::Uuid::new_v4().simple())
}

/// Connects with one connection: an advisory lock belongs to its session.
async fn single_connection(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1);
    Database::connect(options).await.expect("the server of the tests can be reached")
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
