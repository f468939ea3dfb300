//! The connections to a SQLite database, in a file or in memory.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{ConnectOptions as _, Connection, Executor};
use sea_orm::{ConnectOptions, DatabaseConnection, DbErr, RuntimeErr, SqlxSqliteConnector};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::calls::Calls;
use super::connections::{CACHED_STATEMENTS, Opening, Pools, connect, options};
use super::file::{DatabaseFile, only_log_is_left};
use crate::connect_error::ConnectError;
use crate::error::is_busy;
use crate::redact_url::redact_url;

/// The delay before a file that could not be opened is opened again.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// The modes of opening a file.
const MODES: [&str; 4] = ["mode=rwc", "mode=rw", "mode=ro", "mode=memory"];

pub(super) async fn open(url: &str, opening: &Opening) -> Result<Pools, ConnectError> {
    let invalid = || ConnectError::InvalidUrl { url: redact_url(url) };
    let mode = url.split_once('?').and_then(|(_, parameters)| parameters.split('&').find(|p| p.starts_with("mode=")));
    if let Some(mode) = mode.filter(|mode| !MODES.contains(mode)) {
        return Err(ConnectError::UnsupportedParameter { url: redact_url(url), parameter: mode.to_owned() });
    }
    let parsed = SqliteConnectOptions::from_str(url).map_err(|_| invalid())?;
    // A URL with a login is that of a server, and must not create a file.
    let login = url.split_once('@').is_some_and(|(before, _)| before.trim_start_matches("sqlite:").contains(':'));
    if url == "sqlite:" || url == "sqlite://" || login {
        return Err(invalid());
    }
    let bounds = &opening.bounds;
    let unreachable = |error| ConnectError::unreachable(url, error);
    if is_in_memory(url) {
        // The database lives as long as its only connection.
        let mut options = options(url, 1, bounds.call());
        options
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .map_sqlx_sqlite_pool_opts(|pool| cleared(pool, false));
        options.map_sqlx_sqlite_opts(|options| options.statement_cache_capacity(CACHED_STATEMENTS));
        let connection = connect(options).await.map_err(unreachable)?;
        let calls = Calls::Sqlite(connection.clone(), bounds.clone());
        return Ok(Pools { writer: calls.clone(), reader: calls, host: connection });
    }
    let path = parsed.get_filename().to_owned();
    if only_log_is_left(&path) {
        return Err(ConnectError::unreachable(url, DbErr::Conn(RuntimeErr::Internal(ONLY_LOG.to_owned()))));
    }
    let busy = bounds.on_the_server();
    let parsed = parsed
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(busy)
        .statement_cache_capacity(CACHED_STATEMENTS)
        .disable_statement_logging();
    // The first connection creates the file, if permitted, and switches it to the write-ahead log. The others
    // create nothing.
    let may_create = !url.contains("mode=") || url.contains("mode=rwc");
    let first = first(&parsed.clone().create_if_missing(may_create), busy).await.map_err(unreachable)?;
    let file = DatabaseFile::at(&path);
    let pool = |size| {
        let (parsed, file) = (parsed.clone().create_if_missing(false), file.clone());
        let mut options = options(url, size, bounds.call());
        options
            .map_sqlx_sqlite_opts(move |_| parsed.clone())
            .map_sqlx_sqlite_pool_opts(move |pool| of_this_file(cleared(pool, true), file.clone()));
        options
    };
    let writer = connect_in_turn(pool(1), busy).await.map_err(unreachable)?;
    let host = connect_in_turn(pool(opening.for_host), busy).await.map_err(unreachable)?;
    let _ = first.close().await;
    let (writer, reader) = (Calls::Sqlite(writer, bounds.clone()), Calls::Sqlite(host.clone(), bounds.clone()));
    Ok(Pools { writer, reader, host })
}

/// Opens one more connection to the file of a pool, for another async runtime.
pub(crate) fn one_more(pool: &DatabaseConnection, limit: Duration) -> DatabaseConnection {
    let options = (*pool.get_sqlite_connection_pool().connect_options()).clone().create_if_missing(false);
    let file = DatabaseFile::at(options.get_filename());
    let one = PoolOptions::new().max_connections(1).acquire_timeout(limit);
    let one = of_this_file(cleared(one, true), file).connect_lazy_with(options);
    SqlxSqliteConnector::from_sqlx_sqlite_pool(one)
}

const ONLY_LOG: &str = "the file is not there, and its log is: it was moved or deleted while it was in use; put it back, or take the log \
    away as well, with what was not yet in the file";

/// Opens the first connection. While another process switches a new file to the write-ahead log, or is the last to
/// close it, SQLite refuses to open it, regardless of `busy_timeout`.
async fn first(options: &SqliteConnectOptions, limit: Duration) -> Result<SqliteConnection, DbErr> {
    let begun = Instant::now();
    loop {
        let opened = options.connect().with_subscriber(NoSubscriber::default()).await;
        match opened.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)))) {
            Err(error) if is_busy(&error) && begun.elapsed() < limit => tokio::time::sleep(RETRY_DELAY).await,
            answer => return answer,
        }
    }
}

/// Opens a pool, with the same retries.
async fn connect_in_turn(options: ConnectOptions, limit: Duration) -> Result<DatabaseConnection, DbErr> {
    let begun = Instant::now();
    loop {
        match connect(options.clone()).await {
            Err(error) if is_busy(&error) && begun.elapsed() < limit => tokio::time::sleep(RETRY_DELAY).await,
            answer => return answer,
        }
    }
}

/// Closes a connection whose file was moved or replaced.
fn of_this_file(pool: PoolOptions<Sqlite>, file: DatabaseFile) -> PoolOptions<Sqlite> {
    pool.before_acquire(move |_, about| {
        let is_that = file.is_that_of(about.age);
        Box::pin(async move { Ok(is_that) })
    })
}

fn is_in_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

/// Clears returned connections of any transaction. SQLite ends a transaction by itself after some errors without the
/// driver's knowledge; such a connection would take every later transaction for a nested one, so it is closed if it can
/// be replaced.
fn cleared(pool: PoolOptions<Sqlite>, replaceable: bool) -> PoolOptions<Sqlite> {
    pool.after_release(move |connection, _| {
        Box::pin(async move {
            // Usually there is no transaction, which SQLite reports as an error.
            let _ = connection.execute("ROLLBACK").await;
            Ok(!(replaceable && connection.is_in_transaction()))
        })
    })
}
