//! A connection that records the text of statements. On SQLite, a database in memory executes them; on Postgres, no
//! server is needed, and every answer is empty.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use sea_orm::sqlx::postgres::PgQueryResult;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, Statement};

pub(super) struct Recorder {
    sqlite: Option<DatabaseConnection>,
    texts: Mutex<Vec<String>>,
}

impl Recorder {
    pub(super) fn sqlite(database: &DatabaseConnection) -> Self {
        Recorder { sqlite: Some(database.clone()), texts: Mutex::default() }
    }

    pub(super) fn postgres() -> Self {
        Recorder { sqlite: None, texts: Mutex::default() }
    }

    /// Returns the texts that were recorded since the last call.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.texts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn record(&self, text: &str) {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }
}

#[async_trait]
impl ConnectionTrait for Recorder {
    fn get_database_backend(&self) -> DbBackend {
        if self.sqlite.is_some() { DbBackend::Sqlite } else { DbBackend::Postgres }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.record(&statement.sql);
        match &self.sqlite {
            Some(database) => database.execute_raw(statement).await,
            None => Ok(PgQueryResult::default().into()),
        }
    }

    async fn execute_unprepared(&self, text: &str) -> Result<ExecResult, DbErr> {
        self.execute_raw(Statement::from_string(self.get_database_backend(), text)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.pop())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.record(&statement.sql);
        match &self.sqlite {
            Some(database) => database.query_all_raw(statement).await,
            None => Ok(Vec::new()),
        }
    }
}
