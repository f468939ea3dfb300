//! The store's own connections to Postgres. Each is lent to one call at a time, and each call has a deadline.
//!
//! A call that the server does not end in time is ended here, a second later. Its connection is closed and never
//! reused, because a statement may still be running on it. A connection with an unfinished transaction is closed
//! as well. Connections that have been idle since before a failed call are as suspect as that call's own, and are
//! closed with it: after an outage, calls do not run into one dead connection after another.
//!
//! Connections are opened directly, or taken from a pool that the host brought. Knows no table.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, Postgres};
use sea_orm::sqlx::{self, AssertSqlSafe, ConnectOptions, Connection, Error as SqlxError, Executor};
use sea_orm::{DbErr, ExecResult, QueryResult, RuntimeErr, Statement};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::address::quoted;
use super::bounds::Bounds;
use crate::error::{Fault, silent};
use crate::sql::arguments;

/// Settings of the store's own connections. Their statements always go by keys and by the index on due times, one
/// row at a time: a plan that was made while a table was empty must not scan it once it is full. A row that
/// another transaction keeps locked must not block the others for long. Since each statement has only one good
/// plan, it is planned once. It reads few rows: compiling it, which the server does again for each execution, takes
/// longer than that.
pub(super) const OWN_SETTINGS: &str = "SET lock_timeout = '5s'; SET enable_seqscan = off; SET enable_bitmapscan = off; \
    SET enable_mergejoin = off; SET enable_memoize = off; SET jit = off; SET plan_cache_mode = force_generic_plan";

/// A connection that was idle for longer is probed before it is lent.
const PROBE_IF_IDLE_FOR: Duration = Duration::from_secs(1);
/// How long the answer to a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that was idle for longer is closed.
const MAX_IDLE: Duration = Duration::from_secs(600);
/// The maximum age of a connection, which bounds what a session accumulates on the server.
const MAX_AGE: Duration = Duration::from_secs(1_800);
/// How long closing a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The store's own connections.
pub(crate) struct Own {
    source: Source,
    bounds: Bounds,
    /// One permit per connection.
    permits: Arc<Semaphore>,
    size: usize,
    /// Unused connections, the most recently used last.
    idle: Mutex<Vec<Idle>>,
}

/// The source of connections.
enum Source {
    /// They are opened here, and set up by these statements.
    Server { options: Box<PgConnectOptions>, settings: Box<Mutex<String>> },
    /// They are taken from the host's pool.
    Hosts(PgPool),
}

struct Idle {
    connection: Opened,
    since: Instant,
}

/// A connection that was opened here.
struct Opened {
    connection: PgConnection,
    born: Instant,
    /// The statement timeout that is set on the server.
    bound: Duration,
}

impl Own {
    /// Opens up to `size` connections, as needed.
    pub(crate) fn opened(options: PgConnectOptions, settings: String, size: u32, bounds: Bounds) -> Self {
        Own::from(Source::Server { options: Box::new(options), settings: Box::new(Mutex::new(settings)) }, size, bounds)
    }

    /// Takes connections from the host's pool, which limits their number itself.
    pub(crate) fn hosts(pool: PgPool, bounds: Bounds) -> Self {
        let size = pool.options().get_max_connections();
        Own::from(Source::Hosts(pool), size, bounds)
    }

    /// Returns connections to the same server, with the same timeouts, for another async runtime.
    pub(crate) fn another(&self, size: u32) -> Self {
        let settings = match &self.source {
            Source::Server { settings, .. } => settings.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Source::Hosts(_) => OWN_SETTINGS.to_owned(),
        };
        Own::opened(self.options(), settings, size, self.bounds.clone())
    }

    fn from(source: Source, size: u32, bounds: Bounds) -> Self {
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Own { source, bounds, permits: Arc::new(Semaphore::new(size)), size, idle: Mutex::default() }
    }

    /// Fixes the schema, independently of later changes to the search path. Connections of the host keep their
    /// own.
    pub(crate) fn pin(&self, schema: &str) {
        if let Source::Server { settings, .. } = &self.source {
            let mut settings = settings.lock().unwrap_or_else(PoisonError::into_inner);
            settings.push_str(&format!("; SET search_path = {}", quoted(schema)));
            drop(settings);
            self.suspect(Instant::now());
        }
    }

    /// Returns the options for connecting to the server.
    pub(crate) fn options(&self) -> PgConnectOptions {
        match &self.source {
            Source::Server { options, .. } => (**options).clone(),
            Source::Hosts(pool) => (*pool.connect_options()).clone(),
        }
    }

    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Executes one statement and returns its rows.
    pub(crate) async fn fetch(self: &Arc<Self>, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut lent = self.lend().await?;
        let (sent, deadline) = self.times();
        let answer = lent.fetch(statement, deadline).await;
        lent.end(answer, sent)
    }

    /// Executes one statement.
    pub(crate) async fn execute(self: &Arc<Self>, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut lent = self.lend().await?;
        let (sent, deadline) = self.times();
        let answer = lent.execute(statement, deadline).await;
        lent.end(answer, sent)
    }

    /// Executes SQL text as it is.
    pub(crate) async fn simple(self: &Arc<Self>, text: &str) -> Result<ExecResult, DbErr> {
        let mut lent = self.lend().await?;
        let (sent, deadline) = self.times();
        let answer = lent.simple(text, deadline).await;
        lent.end(answer, sent)
    }

    /// Returns the start and the deadline of a call.
    fn times(&self) -> (Instant, Instant) {
        let now = Instant::now();
        (now, now + self.bounds.call())
    }

    /// Lends a connection for one call. As far as is known, it is alive.
    pub(crate) async fn lend(self: &Arc<Self>) -> Result<Lent, DbErr> {
        let limit = self.bounds.connect();
        let permit = match timeout(limit, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(no_connection("the store is closed".to_owned())),
            Err(_) => return Err(no_connection(format!("all {} connections were in use for {limit:?}", self.size))),
        };
        let raw = match &self.source {
            Source::Server { options, settings } => match self.idle().await {
                Some(opened) => Raw::Opened(opened),
                None => {
                    let settings = settings.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    Raw::Opened(within(limit, self.make(options, &settings)).await?)
                }
            },
            Source::Hosts(pool) => Raw::Hosts(within(limit, pool.acquire()).await?),
        };
        Ok(Lent { raw: Some(raw), own: Arc::clone(self), _permit: permit })
    }

    /// Returns an idle connection that answers, if there is one.
    async fn idle(&self) -> Option<Opened> {
        let bound = self.bounds.on_the_server();
        loop {
            let Idle { mut connection, since } = self.idle_connections().pop()?;
            if connection.born.elapsed() > MAX_AGE {
                continue;
            }
            let answers = if connection.bound != bound {
                let set = set_bound(bound);
                connection.bound = bound;
                timeout(PROBE_TIMEOUT, connection.connection.execute(AssertSqlSafe(set)))
                    .await
                    .is_ok_and(|set| set.is_ok())
            } else if since.elapsed() > PROBE_IF_IDLE_FOR {
                timeout(PROBE_TIMEOUT, connection.connection.ping()).await.is_ok_and(|answer| answer.is_ok())
            } else {
                true
            };
            if answers {
                return Some(connection);
            }
            self.suspect(Instant::now());
        }
    }

    async fn make(&self, options: &PgConnectOptions, settings: &str) -> Result<Opened, SqlxError> {
        let bound = self.bounds.on_the_server();
        // The driver's own spans show how it connects, with the password, to a subscriber that records everything.
        let connecting = options.connect().with_subscriber(NoSubscriber::default());
        let mut connection = connecting.await?;
        connection.execute(AssertSqlSafe(format!("{settings}; {}", set_bound(bound)))).await?;
        Ok(Opened { connection, born: Instant::now(), bound })
    }

    /// Closes the connections that have been idle since `at` or longer.
    fn suspect(&self, at: Instant) {
        let mut idle = self.idle_connections();
        let (suspect, kept) = idle.drain(..).partition::<Vec<Idle>, _>(|idle| idle.since <= at);
        *idle = kept;
        drop(idle);
        drop(suspect);
    }

    fn idle_connections(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("size", &self.size).field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

/// Returns the statements that set the statement timeout of the server, and the timeout of an idle transaction,
/// whose client is gone.
fn set_bound(bound: Duration) -> String {
    // The server counts milliseconds in 31 bits.
    let set = |millis: u128| millis.clamp(1, 0x7fff_ffff);
    let (statement, idle) = (set(bound.as_millis()), set(bound.as_millis().saturating_mul(2)));
    format!("SET statement_timeout = {statement}; SET idle_in_transaction_session_timeout = {idle}")
}

async fn within<T>(limit: Duration, connect: impl Future<Output = Result<T, SqlxError>>) -> Result<T, DbErr> {
    match timeout(limit, connect).await {
        Ok(opened) => opened.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)))),
        Err(_) => Err(no_connection(format!("the server does not answer within {limit:?}"))),
    }
}

/// Returns the error for a connection that could not be acquired: nothing was sent.
fn no_connection(why: String) -> DbErr {
    DbErr::Conn(RuntimeErr::Internal(why))
}

/// A connection in use. It is closed unless it is given back.
pub(crate) struct Lent {
    raw: Option<Raw>,
    own: Arc<Own>,
    _permit: OwnedSemaphorePermit,
}

enum Raw {
    Opened(Opened),
    Hosts(PoolConnection<Postgres>),
}

impl Lent {
    fn connection(&mut self) -> Result<&mut PgConnection, SqlxError> {
        match &mut self.raw {
            Some(Raw::Opened(opened)) => Ok(&mut opened.connection),
            Some(Raw::Hosts(connection)) => Ok(connection),
            None => Err(SqlxError::WorkerCrashed),
        }
    }

    pub(crate) async fn fetch(
        &mut self,
        statement: Statement,
        deadline: Instant,
    ) -> Result<Vec<QueryResult>, SqlxError> {
        let values = arguments(statement.values).map_err(SqlxError::Encode)?;
        let query = sqlx::query_with(AssertSqlSafe(statement.sql), values);
        let rows = answered(deadline, query.fetch_all(self.connection()?)).await?;
        Ok(rows.into_iter().map(QueryResult::from).collect())
    }

    pub(crate) async fn execute(&mut self, statement: Statement, deadline: Instant) -> Result<ExecResult, SqlxError> {
        let values = arguments(statement.values).map_err(SqlxError::Encode)?;
        let query = sqlx::query_with(AssertSqlSafe(statement.sql), values);
        answered(deadline, query.execute(self.connection()?)).await.map(ExecResult::from)
    }

    pub(crate) async fn simple(&mut self, text: &str, deadline: Instant) -> Result<ExecResult, SqlxError> {
        let text = AssertSqlSafe(text.to_owned());
        answered(deadline, self.connection()?.execute(text)).await.map(ExecResult::from)
    }

    /// Gives the connection back if its call succeeded, or was rejected by a server that is still available.
    /// Otherwise closes it, together with the connections that were idle when the call was sent.
    pub(crate) fn end<T>(self, answer: Result<T, SqlxError>, sent: Instant) -> Result<T, DbErr> {
        let answer = answer.map_err(|error| DbErr::Query(RuntimeErr::SqlxError(Arc::new(error))));
        match &answer {
            Err(error) if Fault::of(error) == Fault::Connection => self.own.suspect(sent),
            _ => self.give_back(),
        }
        answer
    }

    /// Gives the connection back. No call may be pending on it.
    pub(crate) fn give_back(mut self) {
        match self.raw.take() {
            Some(Raw::Opened(connection)) => {
                let mut idle = self.own.idle_connections();
                idle.push(Idle { connection, since: Instant::now() });
                // One at a time is enough, because this is called often.
                let oldest = idle.first().filter(|oldest| oldest.since.elapsed() > MAX_IDLE).map(|_| 0);
                let too_old = oldest.map(|index| idle.remove(index));
                drop(idle);
                drop(too_old);
            }
            // The pool probes it again, which may take forever.
            Some(Raw::Hosts(mut connection)) => {
                spawn(timeout(CLOSE_TIMEOUT, async move { connection.return_to_pool().await }))
            }
            None => {}
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        match self.raw.take() {
            Some(Raw::Opened(opened)) => spawn(timeout(CLOSE_TIMEOUT, opened.connection.close())),
            Some(Raw::Hosts(connection)) => spawn(timeout(CLOSE_TIMEOUT, connection.detach().close())),
            None => {}
        }
    }
}

/// Spawns `work`. Without a runtime, the future is dropped at once, which closes its connection as well.
fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(work);
    }
}

async fn answered<T>(deadline: Instant, call: impl Future<Output = Result<T, SqlxError>>) -> Result<T, SqlxError> {
    timeout_at(deadline, call).await.unwrap_or_else(|_| Err(silent()))
}
