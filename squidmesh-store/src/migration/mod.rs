//! The tables of the store, and their migrations.
//!
//! [`SeaOrmStore::connect`](crate::SeaOrmStore::connect) applies pending migrations. A host that migrates by
//! itself includes [`Migrator`] in its own migrator and connects with migrations disabled:
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
//! Every migration creates only what is missing, so the two ways may be mixed.
//!
//! # Old processes on a newer database
//!
//! In a rolling deploy, processes of the previous version start beside new ones, so migrations of a newer version
//! do not stop them: a release contains only migrations that the previous release can work with. The name of a
//! migration that it cannot work with ends in `_breaking`; a process that finds an unknown one refuses to start,
//! with [`ConnectError::NewerDatabase`](crate::ConnectError::NewerDatabase), and the claims and commits of one that is
//! running fail.

mod claims;
mod delays;
mod identity;
mod input_snapshots;
mod lineage;
mod lists;
mod signals;
mod statements;
mod summaries;
mod tables;
mod taken_transitions;
mod trigger_notes;

use sea_orm::sea_query::{Alias, IntoIden};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, DynIden};
use sea_orm_migration::{MigrationTrait, MigratorTrait};

use crate::database::Database;
use crate::sql::Sql;

/// The store's migrations, in order. Applied migrations are recorded in a table of their own,
/// `squidmesh_migrations`.
#[derive(Clone, Copy, Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(tables::TABLES),
            Box::new(lineage::LINEAGE),
            Box::new(delays::DELAYS),
            Box::new(claims::CLAIM_INDEXES),
            Box::new(lists::LIST_INDEXES),
            Box::new(trigger_notes::TRIGGER_NOTES),
            Box::new(identity::IDENTITY),
            Box::new(summaries::SUMMARIES),
            Box::new(input_snapshots::INPUT_SNAPSHOTS),
            Box::new(taken_transitions::TAKEN_TRANSITIONS),
            Box::new(signals::SIGNALS),
        ]
    }

    fn migration_table_name() -> DynIden {
        Alias::new(APPLIED).into_iden()
    }
}

const APPLIED: &str = "squidmesh_migrations";

/// The advisory lock of these migrations in a Postgres database.
const LOCK: i64 = 0x5351_4944_4d45_5348;

/// The end of the name of a migration that earlier versions cannot work with.
const BREAKING: &str = "_breaking";

/// Why a database was not migrated.
pub(crate) enum Unmigrated {
    /// A newer version has changed it in a way that this version cannot work with.
    Newer(String),
    /// These tables are missing, and are not to be created.
    Missing(Vec<String>),
    /// There are tables in several schemas.
    Several(Vec<String>),
    /// The database returned an error.
    Failed(DbErr),
}

impl From<DbErr> for Unmigrated {
    fn from(error: DbErr) -> Self {
        Unmigrated::Failed(error)
    }
}

/// Applies pending migrations, if permitted. Any number of processes may call this concurrently, beside others
/// that work: one migrates, the others wait for it. If nothing is pending, nothing is locked, and no right to
/// change tables is needed.
pub(crate) async fn migrate(database: &Database, may_migrate: bool) -> Result<(), Unmigrated> {
    let found = look(database.reader()).await?;
    let missing = found.missing();
    // A partial set of tables is not a new database: a person must restore the lost ones.
    let lost = !missing.is_empty() && missing.len() < TABLES.len();
    if lost || !(missing.is_empty() || may_migrate) {
        return Err(Unmigrated::Missing(missing));
    }
    if may_migrate && !(found.complete && missing.is_empty()) {
        apply(database, &found).await?;
    }
    database.pin(look(database.reader()).await?.schema.as_deref());
    Ok(())
}

async fn apply(database: &Database, found: &Found) -> Result<(), DbErr> {
    // Not one of the store's own transactions: a migration has no timeout.
    let transaction = database.begin_for_host().await?;
    lock(&transaction).await?;
    if transaction.get_database_backend() == DbBackend::Postgres {
        in_schema(&transaction, found.schema.as_deref()).await?;
    }
    // Checked again, now that no other process migrates: a host that reset its migrations dropped the tables, but
    // not this record.
    let now = look(&transaction).await.unwrap_or_default();
    if now.tables.is_empty() && now.recorded {
        transaction.execute_unprepared(&format!("DELETE FROM {APPLIED}")).await?;
    }
    Migrator::up(&transaction, None).await?;
    transaction.commit().await
}

/// Continues in the schema in which the tables are, or are to be created.
async fn in_schema(transaction: &DatabaseTransaction, schema: Option<&str>) -> Result<(), DbErr> {
    if let Some(schema) = schema {
        let schema = format!("\"{}\"", schema.replace('"', "\"\""));
        transaction.execute_unprepared(&format!("SET LOCAL search_path = {schema}")).await?;
        return Ok(());
    }
    let wanted = "SELECT current_setting('search_path') AS path WHERE current_schema() IS NULL";
    let wanted = Sql::on(transaction).push(wanted).fetch(transaction).await?;
    if let Some(row) = wanted.first() {
        // None of the schemas exists. The first is the one that was requested.
        let path: String = row.try_get_by("path")?;
        let first = path.split(',').map(str::trim).find(|schema| !schema.contains('$')).unwrap_or("public");
        transaction.execute_unprepared(&format!("CREATE SCHEMA IF NOT EXISTS {first}")).await?;
    }
    Ok(())
}

/// The tables of the store that exist.
#[derive(Default)]
struct Found {
    /// Their schema, on Postgres.
    schema: Option<String>,
    tables: Vec<String>,
    /// Whether there is a record of applied migrations.
    recorded: bool,
    /// Whether all migrations that this version knows were applied.
    complete: bool,
}

impl Found {
    fn missing(&self) -> Vec<String> {
        let missing = TABLES.iter().filter(|table| !self.tables.iter().any(|found| found == *table));
        missing.map(|table| (*table).to_owned()).collect()
    }
}

/// Looks for the tables, in any schema of the search path. Migrations that a newer version added are ignored,
/// unless they are breaking.
async fn look<C: ConnectionTrait>(connection: &C) -> Result<Found, Unmigrated> {
    let sql = Sql::on(connection);
    let sql = if sql.is_postgres() {
        sql.push("SELECT nspname::text AS schema, relname::text AS name FROM pg_class JOIN pg_namespace ON ")
            .push("pg_namespace.oid = relnamespace JOIN unnest(current_schemas(false)) WITH ORDINALITY AS path(name, position) ")
            .push("ON path.name = nspname WHERE relkind IN ('r', 'p') AND left(relname, 10) = 'squidmesh_' ORDER BY position")
    } else {
        sql.push("SELECT NULL AS schema, name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 10) = 'squidmesh_'")
    };
    let mut found = Found::default();
    let mut schemas: Vec<String> = Vec::new();
    for row in &sql.fetch(connection).await? {
        let (schema, name): (Option<String>, String) = (row.try_get_by("schema")?, row.try_get_by("name")?);
        if name != APPLIED && !TABLES.contains(&name.as_str()) {
            continue;
        }
        schemas.extend(schema.filter(|schema| !schemas.contains(schema)));
        if name == APPLIED {
            found.recorded = true;
        } else {
            found.tables.push(name);
        }
    }
    if schemas.len() > 1 {
        return Err(Unmigrated::Several(schemas));
    }
    found.schema = schemas.pop();
    if !found.recorded {
        return Ok(found);
    }
    let rows = Sql::on(connection).push("SELECT version FROM ").push(APPLIED).fetch(connection).await?;
    let applied: Vec<String> = rows.iter().map(|row| row.try_get_by("version")).collect::<Result<_, DbErr>>()?;
    let known = Migrator::migrations();
    let is_known = |name: &String| known.iter().any(|migration| migration.name() == name);
    if let Some(breaking) = applied.iter().find(|name| name.ends_with(BREAKING) && !is_known(name)) {
        return Err(Unmigrated::Newer(breaking.clone()));
    }
    found.complete = known.iter().all(|migration| applied.iter().any(|name| name == migration.name()));
    Ok(found)
}

/// All tables, except for the record of migrations.
const TABLES: [&str; 7] = [
    "squidmesh_definitions",
    "squidmesh_runs",
    "squidmesh_step_runs",
    "squidmesh_attempts",
    "squidmesh_intents",
    "squidmesh_audit",
    "squidmesh_triggers",
];

/// Lets one process migrate at a time. On SQLite, the transaction itself is the lock. On Postgres, a process waits
/// up to a minute for other migrations, and then only briefly for tables that are in use, so that it does not
/// block the work behind it.
async fn lock(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    if transaction.get_database_backend() == DbBackend::Postgres {
        transaction.execute_unprepared("SET LOCAL lock_timeout = '60s'").await?;
        transaction.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({LOCK})")).await?;
        transaction.execute_unprepared("SET LOCAL lock_timeout = '5s'").await?;
    }
    Ok(())
}
