//! The measured Postgres: fresh databases, its reported settings, and its own counters.
//!
//! Knows `pg_stat_*`. Knows no table of Squidmesh.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, query_as, query_scalar};

use crate::failure::Failure;
use crate::processes::{family_cpu, own_cpu, parent_of};

/// The settings that are read back and printed: those that make a commit durable, or cheap.
const SETTINGS: &[&str] = &[
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "wal_level",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "autovacuum",
    "commit_delay",
    "shared_preload_libraries",
    "data_checksums",
];

/// The settings that durability needs; the benchmark refuses a server with others.
const REQUIRED: &[(&str, &str)] = &[("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")];

/// A server on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    options: Box<PgConnectOptions>,
    base: String,
    postmaster: u32,
    /// Whether it counts statements.
    counts_statements: bool,
}

/// A fresh database on it.
#[derive(Clone, Debug)]
pub(crate) struct PgDatabase {
    pub(crate) server: Server,
    pub(crate) name: String,
    pub(crate) url: String,
    /// The number of connections that a workload deliberately keeps open while the counters are read.
    pub(crate) held_open: i64,
}

impl Server {
    /// Connects to the maintenance database of a server, `postgres://…/postgres`.
    pub(crate) async fn at(url: &str) -> Result<Self, Failure> {
        let options = Box::new(PgConnectOptions::from_str(url)?.disable_statement_logging());
        let mut connection = options.connect().await?;
        let backend: i32 = query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
        let postmaster = parent_of(backend.cast_unsigned())?;
        let counts_statements = connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await.is_ok()
            && connection.execute("SELECT count(*) FROM pg_stat_statements").await.is_ok();
        let (base, _) = url.rsplit_once('/').ok_or("the URL of the server names no database")?;
        Ok(Server { options, base: base.to_owned(), postmaster, counts_statements })
    }

    /// Returns the settings in force, as the server reports them.
    pub(crate) async fn settings(&self) -> Result<BTreeMap<String, String>, Failure> {
        let mut connection = self.options.connect().await?;
        let mut settings = BTreeMap::new();
        for name in SETTINGS {
            let value: String =
                query_scalar("SELECT current_setting($1)").bind(*name).fetch_one(&mut connection).await?;
            settings.insert(format!("postgres {name}"), value);
        }
        for (name, value) in REQUIRED {
            if settings.get(&format!("postgres {name}")).is_none_or(|found| found != value) {
                return Err(format!("the server must have {name} = {value}: a benchmark without it flatters").into());
            }
        }
        Ok(settings)
    }

    /// Creates a new, empty database.
    pub(crate) async fn fresh(&self, name: &str) -> Result<PgDatabase, Failure> {
        let mut connection = self.options.connect().await?;
        let name = format!("bench_{name}").replace('-', "_");
        connection.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).await?;
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        Ok(PgDatabase { server: self.clone(), url: format!("{}/{name}", self.base), name, held_open: 0 })
    }
}

impl PgDatabase {
    pub(crate) async fn connect(&self) -> Result<PgConnection, Failure> {
        Ok((*self.server.options).clone().database(&self.name).connect().await?)
    }

    /// Drops the database.
    pub(crate) async fn drop_it(self) -> Result<(), Failure> {
        let mut connection = self.server.options.connect().await?;
        connection.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name))).await?;
        Ok(())
    }

    /// Returns the counters as they stand. Waits until every other connection to the database is closed: a server
    /// process submits its counts when it ends.
    pub(crate) async fn read(&self) -> Result<Reading, Failure> {
        let mut connection = self.connect().await?;
        let begun = Instant::now();
        loop {
            let others_open: i64 = query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                 AND backend_type = 'client backend'",
            )
            .fetch_one(&mut connection)
            .await?;
            if others_open <= self.held_open {
                break;
            }
            if begun.elapsed() > Duration::from_secs(10) {
                return Err(format!("{others_open} connections to {} were never closed", self.name).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (wal, commits, rollbacks, size): (i64, i64, i64, i64) = query_as(
            "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, xact_commit, xact_rollback, \
             pg_database_size(datid) FROM pg_stat_database \
             WHERE datname = current_database()",
        )
        .fetch_one(&mut connection)
        .await?;
        let (dead, not_hot): (i64, i64) = query_as(
            "SELECT COALESCE(sum(n_tup_upd + n_tup_del), 0)::bigint, \
             COALESCE(sum(n_tup_upd - n_tup_hot_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables",
        )
        .fetch_one(&mut connection)
        .await?;
        let statements = self.statements().await?;
        connection.close().await?;
        Ok(Reading {
            wal: wal as f64,
            commits: commits as f64,
            rollbacks: rollbacks as f64,
            size: size as f64,
            dead: dead as f64,
            not_hot: not_hot as f64,
            statements,
            server_cpu: family_cpu(self.server.postmaster),
            own_cpu: own_cpu(),
        })
    }

    /// Returns the number of statements executed in the database; queried from another database, so that the query
    /// does not count.
    pub(crate) async fn statements(&self) -> Result<f64, Failure> {
        if !self.server.counts_statements {
            return Ok(f64::NAN);
        }
        let mut maintenance = self.server.options.connect().await?;
        let statements: i64 = query_scalar(
            "SELECT COALESCE(sum(calls), 0)::bigint FROM pg_stat_statements \
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = $1)",
        )
        .bind(&self.name)
        .fetch_one(&mut maintenance)
        .await?;
        maintenance.close().await?;
        Ok(statements as f64)
    }

    /// Returns the statements that took the server longest, for a profile.
    pub(crate) async fn slowest(&self, count: i64) -> Result<Vec<String>, Failure> {
        if !self.server.counts_statements {
            return Ok(Vec::new());
        }
        let mut maintenance = self.server.options.connect().await?;
        let rows: Vec<(i64, f64, i64, i64, String)> = query_as(
            "SELECT calls, total_exec_time, rows, (wal_bytes)::bigint, \
             left(regexp_replace(query, '\\s+', ' ', 'g'), 110) FROM pg_stat_statements \
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = $1) ORDER BY total_exec_time DESC LIMIT $2",
        )
        .bind(&self.name)
        .bind(count)
        .fetch_all(&mut maintenance)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(calls, total, rows, wal, query)| {
                format!("{calls:>8} calls {total:>9.0} ms {rows:>9} rows {wal:>11} WAL bytes  {query}")
            })
            .collect())
    }
}

/// The counts of the server and the kernel at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    wal: f64,
    commits: f64,
    rollbacks: f64,
    size: f64,
    dead: f64,
    not_hot: f64,
    statements: f64,
    server_cpu: f64,
    own_cpu: f64,
}

impl Reading {
    /// Reads only this program: an embedded database has no other counters.
    pub(crate) fn of_this_program() -> Self {
        let none = f64::NAN;
        let own_cpu = own_cpu();
        Reading {
            wal: none,
            commits: none,
            rollbacks: none,
            size: none,
            dead: none,
            not_hot: none,
            statements: none,
            server_cpu: none,
            own_cpu,
        }
    }

    /// Returns the cost from an earlier reading to this one, for each of `units` units.
    pub(crate) fn since(&self, earlier: &Reading, units: usize) -> crate::figure::Round {
        let units = units as f64;
        crate::figure::Round::new()
            .with("commits/step", (self.commits - earlier.commits) / units)
            .with("rollbacks/step", (self.rollbacks - earlier.rollbacks) / units)
            .with("database bytes/step", (self.size - earlier.size) / units)
            .with("WAL bytes/step", (self.wal - earlier.wal) / units)
            .with("dead tuples/step", (self.dead - earlier.dead) / units)
            .with("dead tuples not HOT/step", (self.not_hot - earlier.not_hot) / units)
            .with("queries/step", (self.statements - earlier.statements) / units)
            .with("server CPU µs/step", (self.server_cpu - earlier.server_cpu) * 1e6 / units)
            .with("program CPU µs/step", (self.own_cpu - earlier.own_cpu) * 1e6 / units)
    }
}
