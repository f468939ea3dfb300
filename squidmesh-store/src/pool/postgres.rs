//! The connections to a Postgres database.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::prelude::Uuid;
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::postgres::Postgres;
use sea_orm::sqlx::{AssertSqlSafe, ConnectOptions as _, Connection, Executor};
use sea_orm::{DbBackend, DbErr, Statement};
use tokio::time::{Instant, timeout};

use super::address::{self, Address};
use super::calls::Calls;
use super::connections::{self, CACHED_STATEMENTS, Opening, Pools, connect};
use super::own::{OWN_SETTINGS, Own};
use crate::connect_error::ConnectError;
use crate::error::silent;
use crate::redact_url::redact_url;

/// Settings of the host's connections, on which the store's statements run in joined transactions: plans follow
/// the current size of the tables, not an earlier one.
const HOST_SETTINGS: &str = "SET plan_cache_mode = force_custom_plan";

/// Settings of all connections: a server that loses a client releases its locks.
const KEEP_ALIVE: &str = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// A connection of the host that was idle for longer is probed before it is lent.
const PROBE_IF_IDLE_FOR: Duration = Duration::from_secs(5);
/// How long clearing a returned connection may take; after that it is closed.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn open(url: &str, opening: &Opening) -> Result<Pools, ConnectError> {
    let Address { options, search_path, .. } = address::read(url)?;
    let search_path = opening.schema.as_deref().map(address::quoted).or(search_path);
    let search_path = search_path.map(|path| format!("; SET search_path = {path}")).unwrap_or_default();
    let parsed = options.statement_cache_capacity(CACHED_STATEMENTS).disable_statement_logging();
    let settings = format!("{OWN_SETTINGS}; {KEEP_ALIVE}{search_path}");
    let own = Arc::new(Own::opened(parsed.clone(), settings, opening.own, opening.bounds.clone()));
    if has_no_sessions(&own).await.map_err(|error| ConnectError::unreachable(url, error))? {
        return Err(ConnectError::TransactionPooler { url: redact_url(url) });
    }
    let own = Calls::Postgres(own);

    // The URL that logs may show at the lowest level is not that of the database.
    let mut options = connections::options("postgres://", opening.for_host, opening.bounds.connect());
    let settings = format!("{HOST_SETTINGS}; {KEEP_ALIVE}{search_path}");
    options
        .connect_lazy(true)
        .test_before_acquire_if_idle_for(PROBE_IF_IDLE_FOR)
        .map_sqlx_postgres_opts(move |_| parsed.clone())
        .map_sqlx_postgres_pool_opts(move |pool| {
            let settings = settings.clone();
            cleared(pool).after_connect(move |connection, _| {
                let settings = AssertSqlSafe(settings.clone());
                Box::pin(async move { connection.execute(settings).await.map(drop) })
            })
        });
    let host = connect(options).await.map_err(|error| ConnectError::unreachable(url, error))?;
    Ok(Pools { writer: own.clone(), reader: own, host })
}

/// Returns whether two connections share a session. If they do, a pooler between assigns a server connection per
/// transaction, and settings, prepared statements and `LISTEN` on a connection would not last.
async fn has_no_sessions(own: &Arc<Own>) -> Result<bool, DbErr> {
    let (mut first, mut second) = (own.lend().await?, own.lend().await?);
    let (sent, mark) = (Instant::now(), Uuid::new_v4().to_string());
    let deadline = sent + own.bounds().call();
    let marked = first.simple(&format!("SET squidmesh.session = '{mark}'"), deadline).await;
    first.end(marked, sent)?;
    let look = Statement::from_string(DbBackend::Postgres, "SELECT current_setting('squidmesh.session', true) AS mark");
    let seen = second.fetch(look, deadline).await;
    let seen = second.end(seen, sent)?;
    let seen: Option<String> = seen.first().map(|row| row.try_get_by("mark")).transpose()?.flatten();
    Ok(seen.is_some_and(|seen| seen == mark))
}

fn cleared(pool: PoolOptions<Postgres>) -> PoolOptions<Postgres> {
    pool.after_release(|connection, _| {
        Box::pin(async move {
            let cleared = timeout(CLEAR_TIMEOUT, async {
                // The server would log a warning for each ROLLBACK without a transaction. In a transaction that began with
                // an earlier statement, this one is later than it; in one that has failed, it is an error.
                let is_alone = connection.fetch_optional("SELECT WHERE now() = statement_timestamp()").await;
                if !matches!(is_alone, Ok(Some(_))) {
                    connection.execute("ROLLBACK").await?;
                }
                // A connection that the driver takes to be in a transaction would begin only nested ones.
                Ok(!connection.is_in_transaction())
            });
            // A connection that does not answer is closed, so that its slot in the pool is free again.
            cleared.await.unwrap_or_else(|_| Err(silent()))
        })
    })
}
