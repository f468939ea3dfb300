//! Where a round takes place: a fresh database of its own on one of the two engines, and what it counts.

use std::path::PathBuf;

use sea_orm::{ConnectionTrait, Statement};
use squidmesh_store::SeaOrmStore;
use tempfile::TempDir;

use crate::Failure;
use crate::server::{PgDatabase, Reading, Server};

/// The engine.
#[derive(Clone, Debug)]
pub(crate) enum Ground {
    Postgres(Server),
    /// The directory for its files.
    Sqlite(PathBuf),
}

/// A fresh database.
#[derive(Debug)]
pub(crate) enum Place {
    Postgres(PgDatabase),
    Sqlite(TempDir),
}

/// What a database has on record.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recorded {
    other_runs: i64,
    completed_runs: i64,
    other_steps: i64,
    completed_steps: i64,
    attempts: i64,
    intents: i64,
}

impl Ground {
    /// A place for one round.
    pub(crate) async fn fresh(&self, name: &str) -> Result<Place, Failure> {
        Ok(match self {
            Ground::Postgres(server) => Place::Postgres(server.fresh(name).await?),
            Ground::Sqlite(directory) => Place::Sqlite(tempfile::tempdir_in(directory)?),
        })
    }
}

impl Place {
    pub(crate) fn url(&self) -> String {
        match self {
            Place::Postgres(database) => database.url.clone(),
            Place::Sqlite(directory) => format!("sqlite://{}", directory.path().join("bench.db").display()),
        }
    }

    /// A store with its defaults.
    pub(crate) async fn store(&self) -> Result<SeaOrmStore, Failure> {
        Ok(SeaOrmStore::connect(&self.url()).await?)
    }

    /// The counters as they stand, once every connection is closed.
    pub(crate) async fn read(&self) -> Result<Reading, Failure> {
        match self {
            Place::Postgres(database) => database.read().await,
            Place::Sqlite(_) => Ok(Reading::of_this_program()),
        }
    }

    /// How many statements the server has carried out in it.
    pub(crate) async fn statements(&self) -> Result<f64, Failure> {
        match self {
            Place::Postgres(database) => database.statements().await,
            Place::Sqlite(_) => Ok(f64::NAN),
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

    /// What is recorded so far.
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

    /// Whether everything was recorded, once, since `earlier`: so many runs completed and no other, and so many steps completed,
    /// each in so many attempts, with nothing left to do.
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

    /// Takes it away.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        match self {
            Place::Postgres(database) => database.drop_it().await,
            Place::Sqlite(directory) => Ok(directory.close()?),
        }
    }
}
