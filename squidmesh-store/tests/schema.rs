//! The schema that each migration creates is kept in `schema/`, for both databases: a released migration always
//! creates the same schema.
//!
//! `schema/released` lists the migrations that are in a release. Those of the next release may still change:
//! `SQUIDMESH_WRITE_SCHEMA=1` writes their schema. On a release, their names are added to the list.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod databases;

use std::path::Path;

use databases::TestDatabase;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use sea_orm_migration::MigratorTrait;
use squidmesh_store::migration::Migrator;

/// A table's statements in SQLite, as they were written.
const SQLITE: &str = "SELECT sql AS line FROM sqlite_master WHERE tbl_name LIKE 'squidmesh_%' AND tbl_name <> 'squidmesh_migrations' AND sql IS NOT NULL ORDER BY name";

/// The columns, options and indexes of a table in Postgres.
const POSTGRES: [&str; 3] = [
    "SELECT concat_ws(' ', table_name || '.' || column_name, data_type, CASE is_nullable WHEN 'NO' THEN 'NOT NULL' END, \
     'COLLATE ' || collation_name, 'DEFAULT ' || column_default) AS line FROM information_schema.columns \
     WHERE table_name LIKE 'squidmesh\\_%' AND table_name <> 'squidmesh_migrations' AND table_schema = current_schema() ORDER BY table_name, ordinal_position",
    "SELECT concat_ws(' ', relname, array_to_string(reloptions, ', ')) AS line FROM pg_class \
     WHERE relname LIKE 'squidmesh\\_%' AND relname <> 'squidmesh_migrations' AND relkind = 'r' ORDER BY relname",
    "SELECT replace(indexdef, ' ' || schemaname || '.', ' ') AS line FROM pg_indexes \
     WHERE tablename LIKE 'squidmesh\\_%' AND tablename <> 'squidmesh_migrations' AND schemaname = current_schema() ORDER BY indexname",
];

async fn schema(connection: &DatabaseConnection) -> String {
    let backend = connection.get_database_backend();
    let questions: &[&str] = if backend == DbBackend::Sqlite { &[SQLITE] } else { &POSTGRES };
    let mut schema = String::new();
    for question in questions {
        for row in connection.query_all_raw(Statement::from_string(backend, *question)).await.unwrap() {
            let line: String = row.try_get_by("line").unwrap();
            schema.push_str(&line.split_whitespace().collect::<Vec<_>>().join(" "));
            schema.push('\n');
        }
    }
    schema
}

#[tokio::test]
async fn each_migration_makes_the_schema_that_is_kept_of_it() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let released = std::fs::read_to_string(directory.join("released")).unwrap();
    for database in TestDatabase::each().await {
        let connection = database.connection().await;
        let kind = if connection.get_database_backend() == DbBackend::Sqlite { "sqlite" } else { "postgres" };
        for migration in Migrator::migrations() {
            let name = migration.name();
            Migrator::up(&connection, Some(1)).await.unwrap();
            let (made, file) = (schema(&connection).await, directory.join(format!("{name}.{kind}")));
            if std::env::var_os("SQUIDMESH_WRITE_SCHEMA").is_some() && !released.lines().any(|line| line == name) {
                std::fs::write(&file, &made).unwrap();
            }
            let kept = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(
                made == kept,
                "{name} makes another schema than is kept in {}. If it is in no release, run this test with \
                 SQUIDMESH_WRITE_SCHEMA=1; if it is, leave it as it was and add a migration.\n--- made\n{made}\n--- kept\n{kept}",
                file.display()
            );
        }
    }
}

#[test]
fn what_is_released_is_still_there() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let released = std::fs::read_to_string(directory.join("released")).unwrap();
    let names: Vec<String> = Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    let released: Vec<&str> = released.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(
        released.len() <= names.len() && released.iter().zip(&names).all(|(old, now)| old == now),
        "{released:?} {names:?}"
    );
    for name in released {
        for kind in ["sqlite", "postgres"] {
            assert!(directory.join(format!("{name}.{kind}")).exists(), "{name}.{kind}");
        }
    }
}
