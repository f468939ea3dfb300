//! A database that already holds many finished runs.
//!
//! A thousand real runs are copied in the database until there are enough, with other ids and times and all their
//! rows, regardless of the columns of the tables.

use sea_orm::sqlx::{AssertSqlSafe, Connection, Executor, query_as};

use super::drive::{Load, round};
use crate::database::Database;
use crate::failure::Failure;
use crate::recorder::Recorder;
use crate::server::PgDatabase;
use crate::workflows;

/// The runs that are copied.
const SOURCE: usize = 1_000;

/// Fills a fresh database with finished runs of five steps.
pub(crate) async fn fill(database: &Database, runs: usize) -> Result<(), Failure> {
    let Database::Postgres(postgres) = database else { return Err("history needs Postgres".into()) };
    let chain = |recorder: &Recorder| workflows::chain(recorder, 5);
    round(database, &Load::new(&chain, SOURCE, 5)).await?;
    let copies = runs / SOURCE - 1;
    copy(postgres, copies).await
}

async fn copy(postgres: &PgDatabase, copies: usize) -> Result<(), Failure> {
    let mut connection = postgres.connect().await?;
    let columns: Vec<(String, String)> = query_as(
        "SELECT table_name::text, column_name::text FROM information_schema.columns \
         WHERE table_schema = current_schema() AND table_name IN (SELECT table_name FROM information_schema.columns \
         WHERE table_schema = current_schema() AND (column_name = 'run_id' OR table_name = 'squidmesh_runs')) \
         ORDER BY table_name, ordinal_position",
    )
    .fetch_all(&mut connection)
    .await?;
    // The time in the id goes back, ten seconds for each copy; the rest of it keeps the copies of different runs
    // apart.
    let older = |id: &str| {
        format!(
            "(lpad(to_hex(('x' || lpad(left(replace({id}::text, '-', ''), 12), 16, '0'))::bit(64)::bigint - copy * 10000), 12, '0') \
             || right(replace({id}::text, '-', ''), 20))::uuid"
        )
    };
    let mut tables: Vec<&str> = columns.iter().map(|(table, _)| table.as_str()).collect();
    tables.dedup();
    for table in tables {
        let names: Vec<&str> = columns.iter().filter(|(of, _)| of == table).map(|(_, name)| name.as_str()).collect();
        let values: Vec<String> = names
            .iter()
            .map(|name| match (*name, table) {
                ("id", "squidmesh_runs") | ("run_id", _) => older(name),
                ("workflow", _) => "'history'".to_owned(),
                (name, _) if name.ends_with("_at") => format!("{name} - copy * 10000"),
                (name, _) => name.to_owned(),
            })
            .collect();
        let insert = format!(
            "INSERT INTO {table} ({}) SELECT {} FROM generate_series(1, {copies}) AS copy, {table} AS source",
            names.join(", "),
            values.join(", ")
        );
        connection.execute(AssertSqlSafe(insert)).await?;
    }
    connection.execute("UPDATE squidmesh_runs SET workflow = 'history'").await?;
    connection.execute("VACUUM ANALYZE").await?;
    connection.execute("CHECKPOINT").await?;
    Ok(connection.close().await?)
}
