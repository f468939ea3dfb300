//! A migration as statements, written once for both databases.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use crate::query::list::{ODD_ON_POSTGRES, ODD_ON_SQLITE};

/// A migration. In its statements, `{uuid}`, `{key}` (a text that is compared byte by byte), `{warm}` (room for updates
/// in place), `{hot}` (rows come and go), `{without rowid}` and `{odd}` (the condition of the index on odd ids) are
/// replaced by the syntax of the database.
pub(super) struct Statements {
    pub(super) name: &'static str,
    pub(super) up: &'static [&'static str],
    pub(super) down: &'static [&'static str],
    /// The table and the column that it adds, if it adds one: SQLite has no `ADD COLUMN IF NOT EXISTS`.
    pub(super) column: Option<(&'static str, &'static str)>,
}

impl MigrationName for Statements {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait]
impl MigrationTrait for Statements {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        self.execute(manager, self.up, true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        self.execute(manager, self.down, false).await
    }
}

impl Statements {
    /// Executes statements, unless the column is present, or absent, as after them.
    async fn execute(&self, manager: &SchemaManager<'_>, statements: &[&str], present: bool) -> Result<(), DbErr> {
        if let Some((table, column)) = self.column
            && manager.has_column(table, column).await? == present
        {
            return Ok(());
        }
        let connection = manager.get_connection();
        let postgres = connection.get_database_backend() == DbBackend::Postgres;
        for statement in statements {
            let statement = WORDS.iter().fold((*statement).to_owned(), |text, (word, on_postgres, on_sqlite)| {
                text.replace(word, if postgres { on_postgres } else { on_sqlite })
            });
            connection.execute_unprepared(&statement).await?;
        }
        Ok(())
    }
}

/// The words that are replaced, with their meanings on Postgres and on SQLite.
const WORDS: [(&str, &str, &str); 6] = [
    ("{uuid}", "UUID", "BLOB"),
    ("{key}", "TEXT COLLATE \"C\"", "TEXT"),
    ("{warm}", " WITH (fillfactor = 70)", ""),
    ("{hot}", HOT_TABLE, ""),
    ("{without rowid}", "", " WITHOUT ROWID"),
    ("{odd}", ODD_ON_POSTGRES, ODD_ON_SQLITE),
];

/// Rows of a hot table are short-lived: it is vacuumed by their number, not by a fraction of a size that is mostly
/// zero.
const HOT_TABLE: &str = " WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, \
                         autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000)";
