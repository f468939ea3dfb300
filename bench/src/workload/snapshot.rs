//! A transaction elsewhere in the database that holds its snapshot: no row that is deleted after it can be vacuumed.

use std::time::{Duration, Instant};

use sea_orm::sqlx::postgres::PgConnection;
use sea_orm::sqlx::{Connection, Executor};

use super::drive::{Load, start, work_off};
use crate::database::Database;
use crate::failure::Failure;
use crate::recorder::Recorder;
use crate::workflows;

/// The snapshot, until it is released.
pub(crate) struct Snapshot(PgConnection);

impl Snapshot {
    /// Takes a snapshot and leaves it open while chains are completed for `age`, once at least.
    pub(crate) async fn age(database: &mut Database, runs: usize, age: Duration) -> Result<Snapshot, Failure> {
        let Database::Postgres(postgres) = database else { return Err("a snapshot needs Postgres".into()) };
        let mut connection = postgres.connect().await?;
        // It only reads: a transaction with an id of its own would block vacuuming in the other workloads' databases
        // too.
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await?;
        postgres.held_open += 1;
        let begun = Instant::now();
        let chain = |recorder: &Recorder| workflows::chain(recorder, 5);
        let mut churned = 0;
        while churned == 0 || begun.elapsed() < age {
            start(database, &Load::new(&chain, runs, 5)).await?;
            work_off(database, &Load::new(&chain, runs, 5)).await?;
            churned += runs;
        }
        Ok(Snapshot(connection))
    }

    /// Releases the snapshot.
    pub(crate) async fn release(self, database: &mut Database) -> Result<(), Failure> {
        self.0.close().await?;
        if let Database::Postgres(postgres) = database {
            postgres.held_open -= 1;
        }
        Ok(())
    }
}
