//! The tables, and how they come to be.
//!
//! [`SeaOrmStore::connect`](crate::SeaOrmStore::connect) applies what is missing. A host that migrates by itself takes
//! [`Migrator`] into its own migrator and connects with migrating switched off:
//!
//! ```
//! use sea_orm_migration::prelude::*;
//!
//! struct HostMigrator;
//!
//! impl MigratorTrait for HostMigrator {
//!     fn migrations() -> Vec<Box<dyn MigrationTrait>> {
//!         let mut migrations = vec![ /* the host's own */ ];
//!         migrations.extend(squidmesh_store::migration::Migrator::migrations());
//!         migrations
//!     }
//! }
//! ```
//!
//! Every migration creates only what is not there, so that both ways may even be mixed.
//!
//! # Old processes on a newer database
//!
//! In a rolling deploy processes of the version before are started beside the new ones, so migrations of a newer version do not
//! stop them: a release brings only what the release before bears. A migration that it could not bear has a name that ends in
//! `_breaking`; who finds one that it does not know refuses to start, with
//! [`ConnectError::NewerDatabase`](crate::ConnectError::NewerDatabase).

mod lineage;
mod tables;

use sea_orm::sea_query::{Alias, IntoIden};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, DynIden};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager};

use crate::database::Database;
use crate::sql::Sql;

/// The store's migrations, in order. What is applied is kept in a table of its own, `squidmesh_migrations`.
#[derive(Clone, Copy, Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(tables::Tables), Box::new(lineage::Lineage)]
    }

    fn migration_table_name() -> DynIden {
        Alias::new(APPLIED).into_iden()
    }
}

const APPLIED: &str = "squidmesh_migrations";

/// Identifies the migration of these tables among the advisory locks of a Postgres database.
const LOCK: i64 = 0x5351_4944_4d45_5348;

/// How the name of a migration ends that the versions before it cannot work with.
const BREAKING: &str = "_breaking";

/// What is applied already.
enum Applied {
    /// Everything that this version knows.
    Complete,
    /// Not everything.
    Incomplete,
    /// Something that this version cannot work with.
    Breaking(String),
}

/// Why a database was not migrated.
pub(crate) enum Unmigrated {
    /// A newer version has changed it so that this one cannot work with it.
    Newer(String),
    /// The database said no.
    Failed(DbErr),
}

impl From<DbErr> for Unmigrated {
    fn from(error: DbErr) -> Self {
        Unmigrated::Failed(error)
    }
}

/// Applies what is missing. Any number of processes may do so at once, beside others that work: one does it, the others wait
/// for it. Where nothing is missing nothing is locked, and no right to change tables is needed.
pub(crate) async fn migrate(database: &Database) -> Result<(), Unmigrated> {
    match applied(database.reader()).await? {
        Applied::Complete => return Ok(()),
        Applied::Breaking(migration) => return Err(Unmigrated::Newer(migration)),
        Applied::Incomplete => {}
    }
    let transaction = database.begin().await?;
    lock(&transaction).await?;
    Migrator::up(&transaction, None).await?;
    Ok(transaction.commit().await?)
}

/// What is applied. Migrations that a newer version added are none of this version's business, unless they are breaking ones.
async fn applied<C: ConnectionTrait>(connection: &C) -> Result<Applied, DbErr> {
    let table = "SELECT count(*) AS tables FROM ";
    let sql = match connection.get_database_backend() {
        DbBackend::Postgres => {
            let named = "information_schema.tables WHERE table_schema = current_schema() AND table_name = ";
            Sql::on(connection).push(table).push(named)
        }
        _ => Sql::on(connection).push(table).push("sqlite_master WHERE type = 'table' AND name = "),
    };
    let rows = sql.bind(APPLIED).fetch(connection).await?;
    let tables: i64 = rows.first().map_or(Ok(0), |row| row.try_get_by("tables"))?;
    if tables == 0 {
        return Ok(Applied::Incomplete);
    }
    let rows = Sql::on(connection).push("SELECT version FROM ").push(APPLIED).fetch(connection).await?;
    let applied: Vec<String> = rows.iter().map(|row| row.try_get_by("version")).collect::<Result<_, _>>()?;
    let known = Migrator::migrations();
    let is_known = |name: &String| known.iter().any(|migration| migration.name() == name);
    if let Some(breaking) = applied.iter().find(|name| name.ends_with(BREAKING) && !is_known(name)) {
        return Ok(Applied::Breaking(breaking.clone()));
    }
    let complete = known.iter().all(|migration| applied.iter().any(|name| name == migration.name()));
    Ok(if complete { Applied::Complete } else { Applied::Incomplete })
}

/// One migrates at a time. On SQLite the transaction itself is the lock; on Postgres whoever migrates waits patiently for the
/// others, and then only shortly for tables that are in use, so that work behind it is not held up.
async fn lock(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    if transaction.get_database_backend() == DbBackend::Postgres {
        transaction.execute_unprepared("SET LOCAL lock_timeout = '60s'").await?;
        transaction.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({LOCK})")).await?;
        transaction.execute_unprepared("SET LOCAL lock_timeout = '5s'").await?;
    }
    Ok(())
}

/// Runs statements written for both databases: `{uuid}`, `{key}` (a text that is compared byte by byte), `{warm}` (room for
/// updates in place), `{hot}` (rows come and go) and `{without rowid}` are put in the words of the one at hand.
async fn execute_all(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let postgres = connection.get_database_backend() == DbBackend::Postgres;
    for statement in statements {
        let words: [(&str, &str); 5] = if postgres {
            [
                ("{uuid}", "UUID"),
                ("{key}", "TEXT COLLATE \"C\""),
                ("{warm}", " WITH (fillfactor = 70)"),
                ("{hot}", HOT_TABLE),
                ("{without rowid}", ""),
            ]
        } else {
            [
                ("{uuid}", "BLOB"),
                ("{key}", "TEXT"),
                ("{warm}", ""),
                ("{hot}", ""),
                ("{without rowid}", " WITHOUT ROWID"),
            ]
        };
        let statement = words.iter().fold((*statement).to_owned(), |text, (word, meaning)| text.replace(word, meaning));
        connection.execute_unprepared(&statement).await?;
    }
    Ok(())
}

/// Rows of a hot table live for moments: it is vacuumed by their number, not by a share of a size that is mostly zero.
const HOT_TABLE: &str = " WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, \
                         autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000)";
