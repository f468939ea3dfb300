//! Opens a store: parses the URL, sets up the pools, migrates, and starts the writer.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::DatabaseConnection;
use squidmesh_core::port::Clock;

use crate::clock::StoreClock;
use crate::commit::Committer;
use crate::connect_error::ConnectError;
use crate::database::Database;
use crate::error::described;
use crate::migration::{Unmigrated, migrate};
use crate::pool::bounds::{Bounds, Wanted};
use crate::pool::connections::Opening;
use crate::pool::open;
use crate::redact_url::redact_url;
use crate::store::SeaOrmStore;

/// The maximum number of transactions that commit concurrently. SQLite has one writer; on Postgres, others proceed
/// while one waits for the disk.
const WRITERS_ON_POSTGRES: usize = 3;
/// Three for transactions that commit, the others for claims, leases and reads.
const OWN_ON_POSTGRES: u32 = 8;

impl SeaOrmStore {
    /// Opens the database at a URL, such as `sqlite://shop.db` (created if missing), `sqlite::memory:` or
    /// `postgres://user:password@host/database`, and creates missing tables.
    ///
    /// Must be called within a tokio runtime, which runs the store's writer as a task.
    ///
    /// # Errors
    /// Returns a [`ConnectError`] if the URL is invalid, or the database or its tables cannot be used.
    pub async fn connect(url: impl AsRef<str>) -> Result<SeaOrmStore, ConnectError> {
        SeaOrmStore::builder(url).connect().await
    }

    /// Like [`connect`](Self::connect), on an existing connection of the host.
    ///
    /// The host is responsible for its pool. On Postgres, a future that is dropped while it begins a transaction
    /// (by `select!`, a timeout or an abort) returns its connection to the pool inside the open transaction, and
    /// later writes that return `Ok` are lost. Set an `after_release` hook that rolls back, and
    /// `plan_cache_mode = force_custom_plan`, as the store does for its own pools. On SQLite, set the write-ahead log,
    /// `synchronous = FULL` and a busy timeout.
    ///
    /// # Errors
    /// Returns a [`ConnectError`] if the database or its tables cannot be used.
    pub async fn from_connection(connection: DatabaseConnection) -> Result<SeaOrmStore, ConnectError> {
        SeaOrmStore::builder_on(connection).connect().await
    }

    /// Like [`connect`](Self::connect), with options.
    pub fn builder(url: impl AsRef<str>) -> StoreBuilder {
        StoreBuilder::on_url(url.as_ref())
    }

    /// Like [`from_connection`](Self::from_connection), with options.
    pub fn builder_on(connection: DatabaseConnection) -> StoreBuilder {
        StoreBuilder::on_connection(connection)
    }
}

/// Options for opening a store. Created by [`SeaOrmStore::builder`] or [`SeaOrmStore::builder_on`].
#[derive(Clone, Debug)]
#[must_use = "nothing is opened before `connect`"]
pub struct StoreBuilder {
    source: Source,
    max_connections: u32,
    own_connections: u32,
    bounds: Wanted,
    schema: Option<String>,
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
            Source::Url(url) => f.write_str(&redact_url(url)),
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
        StoreBuilder {
            source,
            max_connections: 8,
            own_connections: OWN_ON_POSTGRES,
            bounds: Wanted::default(),
            schema: None,
            migrate: true,
            clock: StoreClock::Database,
        }
    }

    /// Sets the maximum number of connections for the host, and on SQLite also for reads. The default is 8.
    ///
    /// Connections are opened as needed, in addition to the store's [own](Self::own_connections). On Postgres,
    /// each running transactional step holds one. A database in memory has a single connection, and a connection
    /// that the host brought keeps its own limits.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// Sets the maximum number of connections for the store itself on Postgres. The default is 8, the minimum 2.
    ///
    /// Connections are opened as needed. A process that runs workers opens two more: one listens for work, the
    /// other extends its leases. On SQLite, the store has a single connection, which writes.
    pub fn own_connections(mut self, connections: u32) -> Self {
        self.own_connections = connections.max(2);
        self
    }

    /// Sets the Postgres schema that holds the tables. A missing schema is created.
    ///
    /// By default, tables are looked up in all schemas of the search path and created in the first of them. The
    /// URL may name the schema as well, with `?schema=jobs`, or a whole search path, with
    /// `?search_path=jobs,public`.
    ///
    /// The host's connections use the same search path. Setting a schema is an error on SQLite and on a connection
    /// that the host brought.
    pub fn schema(mut self, schema: impl AsRef<str>) -> Self {
        self.schema = Some(schema.as_ref().to_owned());
        self
    }

    /// Sets how long a call to the database may take before it fails. The default is 8 seconds, or a third of the
    /// lease under which work is claimed, if that is shorter.
    ///
    /// On Postgres, the server ends a statement one second earlier, so that it is known that nothing was changed.
    /// A call that gets no answer fails at the timeout and its connection is closed; whether a commit was applied
    /// is then unknown until the store is asked again. On SQLite, the timeout bounds the wait for locks.
    ///
    /// The timeout applies to the store's own calls, not to migrations, to the work of a handler in a
    /// transactional step, or to the host's own transactions. On a connection that the host brought, the host sets
    /// the earlier timeout on the server (`statement_timeout`).
    ///
    /// Building a runtime fails if the timeout is longer than half its lease.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.bounds.call = Some(timeout);
        self
    }

    /// Sets how long it may take to get a connection, idle or new. The default is 3 seconds; it never exceeds the
    /// [call timeout](Self::call_timeout).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.bounds.connect = Some(timeout);
        self
    }

    /// Sets whether missing tables are created. The default is `true`. Disable it if the host runs
    /// [`Migrator`](crate::migration::Migrator) itself.
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// Uses this clock instead of the database's to decide which intents are due and which leases have expired.
    /// For tests that control time.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = StoreClock::Given(clock);
        self
    }

    /// Opens the store. Must be called within a tokio runtime, which runs the store's writer as a task.
    ///
    /// # Errors
    /// Returns a [`ConnectError`] if the URL is invalid, or the database or its tables cannot be used.
    pub async fn connect(self) -> Result<SeaOrmStore, ConnectError> {
        let name = format!("{:?}", self.source);
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(ConnectError::OutsideRuntime);
        }
        for timeout in [self.bounds.call, self.bounds.connect].into_iter().flatten() {
            if timeout < Bounds::MIN_CALL {
                return Err(ConnectError::TimeoutTooShort { timeout, least: Bounds::MIN_CALL });
            }
        }
        #[cfg_attr(
            not(feature = "postgres"),
            expect(unused_mut, reason = "only the URL of a Postgres states a timeout")
        )]
        let mut wanted = self.bounds;
        #[cfg(feature = "postgres")]
        if let (None, Source::Url(url)) = (wanted.connect, &self.source) {
            wanted.connect = open::connect_timeout(url)?;
        }
        let bounds = Bounds::new(wanted);
        let opening = Opening {
            for_host: self.max_connections,
            own: self.own_connections,
            schema: self.schema.clone(),
            bounds: bounds.clone(),
        };
        let pools = match self.source {
            Source::Url(url) => open::open(&url, &opening).await?,
            Source::Connection(_) if self.schema.is_some() => return Err(ConnectError::NoSchemas { url: name }),
            Source::Connection(connection) => open::take(connection, bounds.clone())?,
        };
        let database = Arc::new(Database::new(pools, bounds, self.clock));
        let writers = if database.is_sqlite() { 1 } else { WRITERS_ON_POSTGRES };
        // In a task of its own: dropping the caller must not interrupt a migration.
        let (migrating, may_migrate) = (Arc::clone(&database), self.migrate);
        let migrated = tokio::spawn(async move { migrate(&migrating, may_migrate).await }).await;
        match migrated {
            Ok(Ok(())) => {}
            Ok(Err(Unmigrated::Newer(migration))) => {
                return Err(ConnectError::NewerDatabase { url: name, migration });
            }
            Ok(Err(Unmigrated::Missing(tables))) => return Err(ConnectError::MissingTables { url: name, tables }),
            Ok(Err(Unmigrated::Several(schemas))) => return Err(ConnectError::SeveralSchemas { url: name, schemas }),
            Ok(Err(Unmigrated::Failed(error))) => {
                return Err(ConnectError::Migration { url: name, source: described(error) });
            }
            Err(error) => return Err(ConnectError::Migration { url: name, source: Box::new(error) }),
        }
        let committer = Committer::start(&database, writers);
        Ok(SeaOrmStore::new(database, committer))
    }
}
