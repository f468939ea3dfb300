//! Opens a store: parses the URL, sets the pools up, migrates, and starts the writer.

use std::sync::Arc;

use sea_orm::{DatabaseConnection, DbBackend};
use squidmesh_core::Clock;

use crate::clock::StoreClock;
use crate::committer::Committer;
use crate::database::Database;
use crate::migration::{Unmigrated, migrate};
use crate::pool::{self, Pools};
use crate::{SeaOrmStore, masked};

/// How many transactions commit at once at most. SQLite has one writer; on Postgres others are under way while one waits for the disk.
const WRITERS_ON_POSTGRES: usize = 3;

/// How a store is opened. Made by [`SeaOrmStore::builder`] or [`SeaOrmStore::builder_on`].
#[derive(Clone, Debug)]
#[must_use = "nothing is opened before `connect`"]
pub struct StoreBuilder {
    source: Source,
    max_connections: u32,
    migrate: bool,
    clock: StoreClock,
}

#[derive(Clone)]
enum Source {
    Url(String),
    Connection(DatabaseConnection),
}

/// Shows no credentials.
impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Url(url) => f.write_str(&masked(url)),
            Source::Connection(_) => f.write_str("a connection of the host"),
        }
    }
}

impl StoreBuilder {
    pub(crate) fn on_url(url: &str) -> Self {
        StoreBuilder::from(Source::Url(url.to_owned()))
    }

    pub(crate) fn on_connection(connection: DatabaseConnection) -> Self {
        StoreBuilder::from(Source::Connection(connection))
    }

    fn from(source: Source) -> Self {
        StoreBuilder { source, max_connections: 8, migrate: true, clock: StoreClock::Database }
    }

    /// At most so many connections for the host, on SQLite for reading too; 8 if nothing is said. Each transactional step that
    /// runs on Postgres holds one. The store has more of its
    /// own: one on SQLite, eight on Postgres. They are made as they are needed. A database in memory has a single
    /// connection, and a connection that the host brought keeps its own bounds.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// Whether missing tables are created; yes if nothing is said. Switch it off where the host runs
    /// [`Migrator`](crate::migration::Migrator) itself.
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// Decides by this clock, not by the database's, what is due and which lease has run out: for tests that move time.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = StoreClock::Given(clock);
        self
    }

    /// Opens the store. Call it in a tokio runtime: the store's writer is a task there.
    ///
    /// # Errors
    /// [`ConnectError`]: the URL, the database or its tables are not as they must be.
    pub async fn connect(self) -> Result<SeaOrmStore, ConnectError> {
        let name = format!("{:?}", self.source);
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(ConnectError::OutsideRuntime);
        }
        let pools = match self.source {
            Source::Url(url) => pool::open(&url, self.max_connections).await?,
            Source::Connection(connection) => {
                Pools { writer: connection.clone(), reader: connection.clone(), host: connection }
            }
        };
        let writers = match pools.writer.get_database_backend() {
            DbBackend::Sqlite => 1,
            DbBackend::Postgres => WRITERS_ON_POSTGRES,
            _ => return Err(ConnectError::UnsupportedDatabase { url: name }),
        };
        let database = Arc::new(Database::new(pools, self.clock));
        if self.migrate {
            // In a task of its own: half a migration must not depend on the caller's patience.
            let migrating = Arc::clone(&database);
            let migrated = tokio::spawn(async move { migrate(&migrating).await }).await;
            match migrated {
                Ok(Ok(())) => {}
                Ok(Err(Unmigrated::Newer(migration))) => {
                    return Err(ConnectError::NewerDatabase { url: name, migration });
                }
                Ok(Err(Unmigrated::Failed(error))) => {
                    return Err(ConnectError::Migration { url: name, source: Box::new(error) });
                }
                Err(error) => return Err(ConnectError::Migration { url: name, source: Box::new(error) }),
            }
        }
        let committer = Committer::start(&database, writers);
        Ok(SeaOrmStore::new(database, committer))
    }
}

/// Why a store cannot be opened. URLs in it are [`masked`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL names no database.
    #[error(
        "{url:?} is not the URL of a database: expected such as \"sqlite://shop.db\", \"sqlite::memory:\" or \
         \"postgres://user:password@host/database\""
    )]
    InvalidUrl {
        /// The URL.
        url: String,
    },
    /// The database is of a kind that this build cannot use.
    #[error(
        "{url:?} is a database that this build has no driver for: enable the feature `sqlite` or `postgres` of squidmesh-store"
    )]
    UnsupportedDatabase {
        /// The URL.
        url: String,
    },
    /// The database cannot be opened or reached, or refuses the login.
    #[error("cannot connect to {url}: check that it is there, and the user and password")]
    Unreachable {
        /// The URL.
        url: String,
        /// The driver's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The tables could not be created or brought up to date.
    #[error("cannot migrate {url}: check that the user may create tables, or run the migrations yourself")]
    Migration {
        /// The URL.
        url: String,
        /// The driver's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer version changed the tables so that this one cannot work with them.
    #[error(
        "{url} was migrated by a newer version, whose {migration} this version cannot work with: deploy that version"
    )]
    NewerDatabase {
        /// The URL.
        url: String,
        /// The migration that this version does not know.
        migration: String,
    },
    /// There is no tokio runtime to work on.
    #[error("a store is opened outside of a tokio runtime: call connect within one, such as under #[tokio::main]")]
    OutsideRuntime,
}
