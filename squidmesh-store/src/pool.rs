//! Sets the connection pools up, and protects them.
//!
//! A future that is dropped while a Postgres transaction begins hands its connection back inside the open transaction;
//! whoever gets it next writes into that, is told Ok, and loses it. So no transaction of the store itself is ever begun in a
//! future that may be dropped, and every connection that comes back from the host is cleared of any transaction. The store's own
//! connections on Postgres are not: nobody else gets at them, and it would cost them a round trip each time.

use std::time::Duration;

use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use crate::ConnectError;
use crate::masked;

/// How long to wait for a free connection, and for one to be made.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection that was idle for so long is tried before it is used.
const STALE: Duration = Duration::from_secs(5);
/// Statements differ by their number of rows: more of them than usual are worth keeping.
const STATEMENTS: usize = 512;

/// The connections of a store, by what they are for.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    /// What changes something. On SQLite a single connection: writers take turns in the order in which they came.
    pub(crate) writer: DatabaseConnection,
    /// What only reads.
    pub(crate) reader: DatabaseConnection,
    /// What the host does.
    pub(crate) host: DatabaseConnection,
}

/// Opens the database of a URL.
pub(crate) async fn open(url: &str, max_connections: u32) -> Result<Pools, ConnectError> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    match scheme {
        #[cfg(feature = "sqlite")]
        Some("sqlite") => sqlite::open(url, max_connections).await,
        #[cfg(feature = "postgres")]
        Some("postgres" | "postgresql") => postgres::open(url, max_connections).await,
        _ if ["sqlite", "postgres", "postgresql", "mysql"].iter().any(|known| scheme == Some(known)) => {
            Err(ConnectError::UnsupportedDatabase { url: masked(url) })
        }
        _ => Err(ConnectError::InvalidUrl { url: masked(url) }),
    }
}

/// What every pool has in common. Statements are not logged: neither their text nor their values are for logs.
fn options(url: &str, max_connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(max_connections)
        .acquire_timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .test_before_acquire_if_idle_for(STALE)
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    options
}

/// The driver's own spans show the URL, with its password, to whoever records everything.
async fn connect(options: ConnectOptions) -> Result<DatabaseConnection, DbErr> {
    Database::connect(options).with_subscriber(NoSubscriber::default()).await
}

fn unreachable(url: &str) -> impl Fn(DbErr) -> ConnectError + '_ {
    move |error| ConnectError::Unreachable { url: masked(url), source: without_url(error, url) }
}

/// The driver's error, unless it shows the URL as it was given, with its password: then what it says, without that.
fn without_url(error: DbErr, url: &str) -> Box<dyn std::error::Error + Send + Sync> {
    if format!("{error:?}").contains(url) {
        Box::from(error.to_string().replace(url, &masked(url)))
    } else {
        Box::new(error)
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::str::FromStr;
    use std::time::Instant;

    use sea_orm::sqlx::pool::PoolOptions;
    use sea_orm::sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
    use sea_orm::sqlx::{Connection, Executor};

    use super::*;
    use crate::error::is_busy;

    /// How long one waits for another process that writes.
    const BUSY: Duration = Duration::from_secs(10);
    /// How long one waits before a file that was refused is opened again.
    const BETWEEN_TRIES: Duration = Duration::from_millis(10);

    pub(super) async fn open(url: &str, max_connections: u32) -> Result<Pools, ConnectError> {
        if SqliteConnectOptions::from_str(url).is_err() || url == "sqlite:" || url == "sqlite://" {
            return Err(ConnectError::InvalidUrl { url: masked(url) });
        }
        if is_in_memory(url) {
            // The database lives as long as its one connection.
            let mut options = options(url, 1);
            options.min_connections(1).idle_timeout(None).max_lifetime(None).map_sqlx_sqlite_pool_opts(cleared);
            options.map_sqlx_sqlite_opts(|options| options.statement_cache_capacity(STATEMENTS));
            let connection = connect(options).await.map_err(unreachable(url))?;
            return Ok(Pools { writer: connection.clone(), reader: connection.clone(), host: connection });
        }
        let pool = |size| {
            let create = !url.contains("mode=");
            let mut options = options(url, size);
            options.map_sqlx_sqlite_pool_opts(cleared_or_closed).map_sqlx_sqlite_opts(move |options| {
                let options = if create { options.create_if_missing(true) } else { options };
                options
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(BUSY)
                    .statement_cache_capacity(STATEMENTS)
            });
            options
        };
        // One after the other: the first creates the file and switches it to the write-ahead log.
        let writer = connect_in_turn(pool(1)).await.map_err(unreachable(url))?;
        let host = connect_in_turn(pool(max_connections)).await.map_err(unreachable(url))?;
        Ok(Pools { writer, reader: host.clone(), host })
    }

    /// While another process switches a new file to the write-ahead log, or is the last to leave it, SQLite refuses whoever
    /// opens it at once, whatever `busy_timeout` says.
    async fn connect_in_turn(options: ConnectOptions) -> Result<DatabaseConnection, DbErr> {
        let begun = Instant::now();
        loop {
            match connect(options.clone()).await {
                Err(error) if is_busy(&error) && begun.elapsed() < BUSY => tokio::time::sleep(BETWEEN_TRIES).await,
                answer => return answer,
            }
        }
    }

    fn is_in_memory(url: &str) -> bool {
        url.contains(":memory:") || url.contains("mode=memory")
    }

    fn cleared(pool: PoolOptions<Sqlite>) -> PoolOptions<Sqlite> {
        pool.after_release(|connection, _| {
            Box::pin(async move {
                // Mostly there is none, which SQLite calls an error.
                let _ = connection.execute("ROLLBACK").await;
                Ok(true)
            })
        })
    }

    /// The same, for connections that can be replaced: one whose transaction was ended behind the driver's back, as SQLite does
    /// after some errors, would take every later transaction for a nested one.
    fn cleared_or_closed(pool: PoolOptions<Sqlite>) -> PoolOptions<Sqlite> {
        pool.after_release(|connection, _| {
            Box::pin(async move {
                let _ = connection.execute("ROLLBACK").await;
                Ok(!connection.is_in_transaction())
            })
        })
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use std::str::FromStr;

    use sea_orm::sqlx::pool::PoolOptions;
    use sea_orm::sqlx::postgres::{PgConnectOptions, Postgres};
    use sea_orm::sqlx::{Connection, Executor};

    use super::*;

    /// Three for transactions that commit, the others for claims, leases and reading.
    const OWN: u32 = 8;

    /// For the store's own connections. They go by keys and by the index on due times, always, one row after the other: a plan that was
    /// made while a table was empty must not read all of it once it is full. And a row that somebody keeps locked must not hold up the rest
    /// for long. As there is but one good plan for each statement, none is made twice.
    const OWN_SETTINGS: &str = "SET lock_timeout = '5s'; SET enable_seqscan = off; SET enable_bitmapscan = off; \
        SET enable_mergejoin = off; SET enable_memoize = off; SET plan_cache_mode = force_generic_plan";

    /// For the host's connections, where the store's statements run in joined transactions: plans by the size that the tables
    /// have, not by that which they had once.
    const HOST_SETTINGS: &str = "SET plan_cache_mode = force_custom_plan";

    pub(super) async fn open(url: &str, max_connections: u32) -> Result<Pools, ConnectError> {
        if PgConnectOptions::from_str(url).is_err() {
            return Err(ConnectError::InvalidUrl { url: masked(url) });
        }
        let pool = |size, clear: fn(PoolOptions<Postgres>) -> PoolOptions<Postgres>, settings: &'static str| {
            let mut options = options(url, size);
            options
                .map_sqlx_postgres_opts(|options| options.statement_cache_capacity(STATEMENTS))
                .map_sqlx_postgres_pool_opts(move |pool| {
                    clear(pool).after_connect(move |connection, _| {
                        Box::pin(async move { connection.execute(settings).await.map(drop) })
                    })
                });
            options
        };
        let own = connect(pool(OWN, |pool| pool, OWN_SETTINGS)).await.map_err(unreachable(url))?;
        let host = connect(pool(max_connections, cleared, HOST_SETTINGS)).await.map_err(unreachable(url))?;
        Ok(Pools { writer: own.clone(), reader: own, host })
    }

    fn cleared(pool: PoolOptions<Postgres>) -> PoolOptions<Postgres> {
        pool.after_release(|connection, _| {
            Box::pin(async move {
                // A ROLLBACK alone would have the server warn every time that there is nothing to roll back.
                if connection.execute("BEGIN; ROLLBACK").await.is_err() {
                    connection.execute("ROLLBACK").await?;
                }
                // One that the driver still takes to be in a transaction would begin none but nested ones.
                Ok(!connection.is_in_transaction())
            })
        })
    }
}
