//! The database of a round: a fresh one on one of the two engines, and its counters.

use std::path::PathBuf;

use sea_orm::{ConnectionTrait, Statement};
use squidmesh_store::SeaOrmStore;
use tempfile::TempDir;

use crate::failure::Failure;
use crate::server::{PgDatabase, Reading, Server};

/// The engine.
#[derive(Clone, Debug)]
pub(crate) enum Engine {
    Postgres(Server),
    /// The directory for the database's files.
    Sqlite(PathBuf),
}

/// A fresh database.
#[derive(Debug)]
pub(crate) enum Database {
    Postgres(PgDatabase),
    Sqlite(TempDir),
}

/// The counts of a database's rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recorded {
    other_runs: i64,
    completed_runs: i64,
    other_steps: i64,
    completed_steps: i64,
    attempts: i64,
    intents: i64,
}

impl Engine {
    /// Creates a database for one round.
    pub(crate) async fn fresh(&self, name: &str) -> Result<Database, Failure> {
        Ok(match self {
            Engine::Postgres(server) => Database::Postgres(server.fresh(name).await?),
            Engine::Sqlite(directory) => Database::Sqlite(tempfile::tempdir_in(directory)?),
        })
    }
}

impl Database {
    pub(crate) fn url(&self) -> String {
        match self {
            Database::Postgres(database) => database.url.clone(),
            Database::Sqlite(directory) => format!("sqlite://{}", directory.path().join("bench.db").display()),
        }
    }

    /// Connects a store with its defaults.
    pub(crate) async fn store(&self) -> Result<SeaOrmStore, Failure> {
        Ok(SeaOrmStore::connect(&self.url()).await?)
    }

    /// Returns the counters as they stand, once every connection is closed.
    pub(crate) async fn read(&self) -> Result<Reading, Failure> {
        match self {
            Database::Postgres(database) => database.read().await,
            Database::Sqlite(_) => Ok(Reading::of_this_program()),
        }
    }

    /// Returns the number of statements that the server has executed in the database.
    pub(crate) async fn statements(&self) -> Result<f64, Failure> {
        match self {
            Database::Postgres(database) => database.statements().await,
            Database::Sqlite(_) => Ok(f64::NAN),
        }
    }

    pub(crate) async fn execute(&self, sql: &str) -> Result<(), Failure> {
        let store = self.store().await?;
        store.connection().execute_unprepared(sql).await?;
        Ok(())
    }

    pub(crate) async fn count(&self, store: &SeaOrmStore, sql: &str) -> Result<i64, Failure> {
        let statement = Statement::from_string(store.connection().get_database_backend(), sql);
        let row = store.connection().query_one_raw(statement).await?.ok_or("a count has no row")?;
        Ok(row.try_get_by_index(0)?)
    }

    /// Returns the counts of the rows so far.
    pub(crate) async fn recorded(&self) -> Result<Recorded, Failure> {
        let store = self.store().await?;
        let count = async |sql: &str| self.count(&store, sql).await;
        Ok(Recorded {
            other_runs: count("SELECT count(*) FROM squidmesh_runs WHERE status <> 'completed'").await?,
            completed_runs: count("SELECT count(*) FROM squidmesh_runs WHERE status = 'completed'").await?,
            other_steps: count("SELECT count(*) FROM squidmesh_step_runs WHERE status <> 'completed'").await?,
            completed_steps: count("SELECT count(*) FROM squidmesh_step_runs WHERE status = 'completed'").await?,
            attempts: count("SELECT CAST(COALESCE(sum(attempt), 0) AS BIGINT) FROM squidmesh_step_runs").await?,
            intents: count("SELECT count(*) FROM squidmesh_intents").await?,
        })
    }

    /// Checks that everything was recorded since `earlier`, once: `runs` runs completed and no other, and `steps`
    /// steps completed, each in `attempts` attempts, with no work left.
    pub(crate) async fn check(
        &self,
        earlier: &Recorded,
        runs: usize,
        steps: usize,
        attempts: u32,
    ) -> Result<(), Failure> {
        let (runs, steps) = (i64::try_from(runs)?, i64::try_from(steps)?);
        let found = self.recorded().await?;
        let expected = Recorded {
            other_runs: earlier.other_runs,
            completed_runs: earlier.completed_runs + runs,
            other_steps: earlier.other_steps,
            completed_steps: earlier.completed_steps + steps,
            attempts: earlier.attempts + steps * i64::from(attempts),
            intents: earlier.intents,
        };
        if found == expected { Ok(()) } else { Err(format!("expected {expected:?}, found {found:?}").into()) }
    }

    /// Removes the database.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        match self {
            Database::Postgres(database) => database.drop_it().await,
            Database::Sqlite(directory) => Ok(directory.close()?),
        }
    }
}
