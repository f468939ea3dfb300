//! The connections that execute the store's own statements. All of them pass here, and each gets a deadline.
//!
//! On Postgres, a call that exceeds its deadline is cancelled, and its [connection](super::own) closed. On SQLite,
//! it waits for locks up to the busy timeout; no connection is closed, because a database in memory exists only in
//! its single connection.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
#[cfg(feature = "postgres")]
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::bounds::Bounds;
#[cfg(feature = "postgres")]
use super::own::{Lent, Own};
use crate::error::silent;

/// Where the store's statements go, each on a connection of its own.
#[derive(Clone, Debug)]
pub(crate) enum Calls {
    /// A SQLite pool.
    Sqlite(DatabaseConnection, Bounds),
    /// Connections to Postgres.
    #[cfg(feature = "postgres")]
    Postgres(Arc<Own>),
}

impl Calls {
    fn bounds(&self) -> &Bounds {
        match self {
            Calls::Sqlite(_, bounds) => bounds,
            #[cfg(feature = "postgres")]
            Calls::Postgres(own) => own.bounds(),
        }
    }

    /// Returns the path of a SQLite database, or `None` if it is in memory.
    pub(crate) async fn file(&self) -> Result<Option<String>, DbErr> {
        let text = "SELECT file FROM pragma_database_list WHERE name = 'main'";
        let row = self.query_one_raw(Statement::from_string(DbBackend::Sqlite, text)).await?;
        let file: Option<String> = row.map(|row| row.try_get_by("file")).transpose()?.flatten();
        Ok(file.filter(|file| !file.is_empty()))
    }

    /// Begins a transaction that reads one snapshot of the database, and ends within the call timeout. Must be called in
    /// a task that is not cancelled: a SQLite connection that is given back within it would read the old snapshot.
    pub(crate) async fn begin_reading(&self) -> Result<Transaction, DbErr> {
        let deadline = Instant::now() + self.bounds().call();
        match self {
            Calls::Sqlite(pool, _) => Ok(Transaction::Sqlite(with_deadline(deadline, pool.begin()).await?, deadline)),
            #[cfg(feature = "postgres")]
            Calls::Postgres(own) => begin_as(own, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", deadline).await,
        }
    }

    /// Begins a write transaction that ends within the call timeout. On SQLite, it takes the write lock at once: a
    /// transaction that reads first and writes later fails immediately if another one wrote in between, regardless
    /// of the busy timeout.
    pub(crate) async fn begin(&self) -> Result<Transaction, DbErr> {
        let deadline = Instant::now() + self.bounds().call();
        match self {
            Calls::Sqlite(pool, _) => {
                Ok(Transaction::Sqlite(begin_immediate(pool, self.bounds().call()).await?, deadline))
            }
            #[cfg(feature = "postgres")]
            Calls::Postgres(own) => begin_as(own, "BEGIN", deadline).await,
        }
    }
}

#[cfg(feature = "postgres")]
async fn begin_as(own: &Arc<Own>, command: &str, deadline: Instant) -> Result<Transaction, DbErr> {
    let mut lent = own.lend().await?;
    let sent = Instant::now();
    match lent.simple(command, deadline).await {
        Ok(_) => Ok(Transaction::Postgres(Mutex::new(lent), deadline)),
        Err(error) => Err(lent.end::<()>(Err(error), sent).err().unwrap_or_else(no_answer)),
    }
}

/// Begins a SQLite transaction that takes the write lock at once.
pub(crate) async fn begin_immediate(pool: &DatabaseConnection, bound: Duration) -> Result<DatabaseTransaction, DbErr> {
    let immediate = Some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode: immediate, ..TransactionOptions::default() };
    match timeout_at(Instant::now() + bound, pool.begin_with_options(options)).await {
        Err(_) | Ok(Err(DbErr::ConnectionAcquire(_))) => Err(DbErr::Conn(RuntimeErr::Internal(format!(
            "could not acquire the write lock within {bound:?}: another transaction holds it, in this process or in another"
        )))),
        Ok(answer) => answer,
    }
}

#[async_trait]
impl ConnectionTrait for Calls {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Calls::Sqlite(pool, _) => pool.get_database_backend(),
            #[cfg(feature = "postgres")]
            Calls::Postgres(_) => DbBackend::Postgres,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Calls::Sqlite(pool, bounds) => within(bounds.call(), pool.execute_raw(statement)).await,
            #[cfg(feature = "postgres")]
            Calls::Postgres(own) => own.execute(statement).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Calls::Sqlite(pool, bounds) => within(bounds.call(), pool.execute_unprepared(sql)).await,
            #[cfg(feature = "postgres")]
            Calls::Postgres(own) => own.simple(sql).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Calls::Sqlite(pool, bounds) => within(bounds.call(), pool.query_all_raw(statement)).await,
            #[cfg(feature = "postgres")]
            Calls::Postgres(own) => own.fetch(statement).await,
        }
    }
}

/// A transaction of the store's own. All of it shares one deadline. Dropping it rolls it back: on Postgres, by
/// closing its connection.
pub(crate) enum Transaction {
    Sqlite(DatabaseTransaction, Instant),
    #[cfg(feature = "postgres")]
    Postgres(Mutex<Lent>, Instant),
}

impl Transaction {
    /// Commits the transaction. Must be called in a task that is not cancelled.
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        match self {
            Transaction::Sqlite(transaction, deadline) => with_deadline(deadline, transaction.commit()).await,
            #[cfg(feature = "postgres")]
            Transaction::Postgres(lent, deadline) => end(lent, "COMMIT", deadline).await,
        }
    }

    /// Rolls the transaction back.
    pub(crate) async fn rollback(self) -> Result<(), DbErr> {
        match self {
            Transaction::Sqlite(transaction, _) => transaction.rollback().await,
            #[cfg(feature = "postgres")]
            Transaction::Postgres(lent, deadline) => end(lent, "ROLLBACK", deadline).await,
        }
    }
}

#[cfg(feature = "postgres")]
async fn end(lent: Mutex<Lent>, command: &str, deadline: Instant) -> Result<(), DbErr> {
    let (mut lent, sent) = (lent.into_inner(), Instant::now());
    let answer = lent.simple(command, deadline).await;
    // A connection whose transaction could not be ended is closed, regardless of the reason.
    if let Err(error) = answer {
        return Err(DbErr::Query(RuntimeErr::SqlxError(Arc::new(error))));
    }
    lent.end(answer, sent).map(drop)
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Transaction::Sqlite(transaction, _) => transaction.get_database_backend(),
            #[cfg(feature = "postgres")]
            Transaction::Postgres(..) => DbBackend::Postgres,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Transaction::Sqlite(transaction, deadline) => {
                with_deadline(*deadline, transaction.execute_raw(statement)).await
            }
            #[cfg(feature = "postgres")]
            Transaction::Postgres(lent, deadline) => {
                lent.lock().await.execute(statement, *deadline).await.map_err(failed)
            }
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Transaction::Sqlite(transaction, deadline) => {
                with_deadline(*deadline, transaction.execute_unprepared(sql)).await
            }
            #[cfg(feature = "postgres")]
            Transaction::Postgres(lent, deadline) => lent.lock().await.simple(sql, *deadline).await.map_err(failed),
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Transaction::Sqlite(transaction, deadline) => {
                with_deadline(*deadline, transaction.query_all_raw(statement)).await
            }
            #[cfg(feature = "postgres")]
            Transaction::Postgres(lent, deadline) => {
                lent.lock().await.fetch(statement, *deadline).await.map_err(failed)
            }
        }
    }
}

#[cfg(feature = "postgres")]
fn failed(error: sea_orm::SqlxError) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)))
}

/// Awaits a call, and cancels it after `bound`.
pub(crate) async fn within<T>(bound: Duration, call: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    with_deadline(Instant::now() + bound, call).await
}

async fn with_deadline<T>(deadline: Instant, call: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    timeout_at(deadline, call).await.unwrap_or_else(|_| Err(no_answer()))
}

/// The error of a call that was not answered.
pub(crate) fn no_answer() -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(Arc::new(silent())))
}
