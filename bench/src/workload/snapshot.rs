//! A transaction elsewhere in the database that keeps its snapshot: nothing that dies after it can be cleaned away.

use std::time::{Duration, Instant};

use sea_orm::sqlx::postgres::PgConnection;
use sea_orm::sqlx::{Connection, Executor};

use super::drive::{Load, start, work_off};
use crate::place::Place;
use crate::recorder::Recorder;
use crate::{Failure, workflows};

/// The snapshot, until it is let go.
pub(crate) struct Snapshot(PgConnection);

impl Snapshot {
    /// Takes a snapshot and leaves it open while chains are worked off for so long, once at least.
    pub(crate) async fn age(place: &mut Place, runs: usize, age: Duration) -> Result<Snapshot, Failure> {
        let Place::Postgres(database) = place else { return Err("a snapshot is held open on Postgres only".into()) };
        let mut connection = database.connect().await?;
        // It only reads: a transaction that has a number of its own would hold up the other workloads' databases too.
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await?;
        database.held_open += 1;
        let begun = Instant::now();
        let chain = |recorder: &Recorder| workflows::chain(recorder, 5);
        let mut churned = 0;
        while churned == 0 || begun.elapsed() < age {
            start(place, &Load::new(&chain, runs, 5)).await?;
            work_off(place, &Load::new(&chain, runs, 5)).await?;
            churned += runs;
        }
        Ok(Snapshot(connection))
    }

    /// Lets it go.
    pub(crate) async fn release(self, place: &mut Place) -> Result<(), Failure> {
        self.0.close().await?;
        if let Place::Postgres(database) = place {
            database.held_open -= 1;
        }
        Ok(())
    }
}
