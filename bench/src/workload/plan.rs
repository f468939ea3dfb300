//! What is measured, how often, in which order: rounds of different workloads take turns, the limits between them, so
//! that a machine that slows down meanwhile slows all of them.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::drive::{self, Load, Via};
use super::snapshot::Snapshot;
use super::starts::{self, Manner};
use super::{alone, arrival, delayed, history, idle, name, processes, signals};
use crate::bare::{self, Extent};
use crate::database::{Database, Engine};
use crate::failure::Failure;
use crate::figure::{Figures, Round};
use crate::recorder::Recorder;
use crate::server::Server;
use crate::{report, workflows};

/// A workload: its name, and its number of rounds in the quick and in the full run.
struct Entry {
    name: &'static str,
    quick: usize,
    full: usize,
    /// Whether it is measured against SQLite's limit.
    sqlite: bool,
}

const fn entry(name: &'static str, quick: usize, full: usize) -> Entry {
    Entry { name, quick, full, sqlite: false }
}

const fn on_sqlite(name: &'static str, quick: usize, full: usize) -> Entry {
    Entry { name, quick, full, sqlite: true }
}

/// The order of each round; the quick run has the workloads that form the ratios.
const PLAN: &[Entry] = &[
    entry(name::LIMITS_POSTGRES, 3, 5),
    entry(name::CHAIN_10K_POSTGRES, 3, 5),
    entry(name::STARTS_AND_WORK, 2, 5),
    entry(name::STARTS_BATCH, 2, 5),
    entry(name::ALONE, 2, 3),
    entry(name::SIGNAL_ALONE, 2, 3),
    entry(name::SIGNALS_10K, 1, 3),
    on_sqlite(name::LIMITS_SQLITE, 2, 5),
    on_sqlite(name::CHAIN_10K_SQLITE, 2, 5),
    entry(name::HISTORY, 2, 3),
    entry(name::PROCESSES_1, 2, 3),
    entry(name::PROCESSES_2, 2, 3),
    entry(name::FAN_1000, 1, 3),
    entry(name::ARRIVAL, 1, 3),
    entry(name::SNAPSHOT, 1, 3),
    entry(name::IDLE, 1, 3),
    entry(name::CHAIN_1K_POSTGRES, 0, 3),
    on_sqlite(name::CHAIN_1K_SQLITE, 0, 3),
    on_sqlite(name::ALONE_SQLITE, 0, 3),
    entry(name::STARTS_SINGLE, 0, 3),
    entry(name::STARTS_IN_TRANSACTION, 0, 3),
    entry(name::FAN_10, 0, 3),
    entry(name::OUTPUTS_1K, 0, 3),
    entry(name::OUTPUTS_64K, 1, 3),
    entry(name::RETRIES, 0, 3),
    entry(name::TRANSACTIONAL, 0, 3),
    entry(name::DELAYED, 0, 3),
    entry(name::PROCESSES_4, 0, 3),
    entry(name::REDIS, 0, 3),
];

/// One run of the benchmark.
pub(crate) struct Plan {
    pub(crate) server: Server,
    /// The Redis, if there is one.
    pub(crate) redis: Option<String>,
    /// The directory for SQLite's files.
    pub(crate) directory: PathBuf,
    pub(crate) quick: bool,
    pub(crate) only: Vec<String>,
    /// Whether the slowest statements are printed.
    pub(crate) profile: bool,
}

/// The databases that last longer than one round.
#[derive(Default)]
struct Kept {
    history: Option<Database>,
    snapshot: Option<(Database, Snapshot)>,
}

impl Plan {
    /// Measures everything, and returns the failures beside the figures: a workload that fails does not stop the
    /// others.
    pub(crate) async fn carry_out(&self, figures: &mut Figures) -> Result<Vec<String>, Failure> {
        let (mut kept, mut failed) = (Kept::default(), Vec::new());
        let rounds = PLAN.iter().map(|entry| self.rounds(entry)).max().unwrap_or(0);
        for number in 1..=rounds {
            for entry in PLAN.iter().filter(|entry| self.rounds(entry) >= number) {
                let begun = Instant::now();
                match self.round(entry.name, figures, &mut kept).await {
                    Ok(round) => {
                        report::round(entry.name, number, &round, begun.elapsed().as_secs_f64());
                        figures.add(entry.name, &round);
                    }
                    Err(error) => {
                        println!("  {} round {number} FAILED: {error}", entry.name);
                        failed.push(format!("{}: {error}", entry.name));
                    }
                }
            }
        }
        if let Some((mut database, snapshot)) = kept.snapshot {
            snapshot.release(&mut database).await?;
            database.close().await?;
        }
        if let Some(database) = kept.history {
            database.close().await?;
        }
        Ok(failed)
    }

    /// Returns the requested workloads that do not exist.
    pub(crate) fn unknown(&self) -> Vec<&str> {
        let is_known = |only: &&String| PLAN.iter().any(|entry| entry.name.contains(only.as_str()));
        self.only.iter().filter(|only| !is_known(only)).map(String::as_str).collect()
    }

    /// Returns the names of all workloads.
    pub(crate) fn workloads() -> Vec<&'static str> {
        PLAN.iter().map(|entry| entry.name).collect()
    }

    /// Returns the number of finished runs that the measured ones are stored beside.
    pub(crate) fn history(&self) -> usize {
        if self.quick { 100_000 } else { 1_000_000 }
    }

    /// Returns the minimum age of the snapshot, beside the time that ten thousand runs take.
    pub(crate) fn snapshot(&self) -> Duration {
        Duration::from_secs(if self.quick { 0 } else { 600 })
    }

    /// Returns the number of rounds of a workload in this run: those that were not requested have none, except the
    /// limits and what the others are compared with.
    fn rounds(&self, entry: &Entry) -> usize {
        // A whole name matches only itself, a part of one matches every name that contains it.
        let whole = |only: &str| PLAN.iter().any(|entry| entry.name == only);
        let names = |only: &str, name: &str| if whole(only) { name == only } else { name.contains(only) };
        let asked = |name: &str| self.only.is_empty() || self.only.iter().any(|only| names(only, name));
        let needed = match entry.name {
            name::LIMITS_POSTGRES => PLAN.iter().any(|other| !other.sqlite && asked(other.name)),
            name::LIMITS_SQLITE => PLAN.iter().any(|other| other.sqlite && asked(other.name)),
            name::CHAIN_10K_POSTGRES => {
                [name::ARRIVAL, name::FAN_1000, name::HISTORY, name::SNAPSHOT].into_iter().any(asked)
            }
            name::PROCESSES_1 => asked(name::PROCESSES_2),
            _ => false,
        };
        let rounds = if self.quick { entry.quick } else { entry.full };
        match (asked(entry.name), needed) {
            // A workload that is named is run, in the quick run too.
            (true, _) if !self.only.is_empty() => rounds.max(1),
            (true, _) | (false, true) => rounds,
            (false, false) => 0,
        }
    }

    async fn round(&self, workload: &'static str, figures: &Figures, kept: &mut Kept) -> Result<Round, Failure> {
        let postgres = Engine::Postgres(self.server.clone());
        let sqlite = Engine::Sqlite(self.directory.clone());
        let extent = Extent { each: Duration::from_millis(if self.quick { 500 } else { 2_000 }), all: !self.quick };
        let size = |quick: usize, full: usize| if self.quick { quick } else { full };
        match workload {
            name::LIMITS_POSTGRES => return bare::on_postgres(&self.server, extent).await,
            name::LIMITS_SQLITE => return bare::on_sqlite(&self.directory, extent).await,
            name::HISTORY => return self.with_history(&postgres, kept).await,
            name::SNAPSHOT => return self.with_snapshot(&postgres, kept).await,
            _ => {}
        }
        let engine = if workload.ends_with("sqlite") { sqlite } else { postgres };
        let database = engine.fresh(workload).await?;
        let chain = |recorder: &Recorder| workflows::chain(recorder, 5);
        let measured = match workload {
            name::CHAIN_1K_POSTGRES | name::CHAIN_1K_SQLITE => {
                drive::round(&database, &Load::new(&chain, 1_000, 5)).await?
            }
            name::ALONE | name::ALONE_SQLITE => alone::round(&database, size(100, 200)).await?,
            name::SIGNAL_ALONE => signals::alone(&database, size(100, 200)).await?,
            name::SIGNALS_10K => signals::crowd(&database, 10_000).await?,
            name::ARRIVAL => {
                let peak = figures.median(name::CHAIN_10K_POSTGRES, "steps/s").ok_or("the peak is not known")?;
                arrival::round(&database, peak / 2.0, Duration::from_secs(size(6, 20) as u64)).await?
            }
            name::FAN_10 => fan(&database, 10, 1_000).await?,
            name::FAN_1000 => fan(&database, 1_000, 10).await?,
            name::OUTPUTS_1K => carrying(&database, 1_024, 1_000).await?,
            name::OUTPUTS_64K => carrying(&database, name::LARGE_OUTPUT, 100).await?,
            name::RETRIES => drive::round(&database, &Load::new(&workflows::stumbling, 1_000, 5).in_attempt(2)).await?,
            name::TRANSACTIONAL => {
                database.execute(workflows::BOOKINGS).await?;
                drive::round(&database, &Load::new(&workflows::booking, 500, 5)).await?
            }
            name::DELAYED => delayed::round(&database, size(10_000, 100_000)).await?,
            name::STARTS_AND_WORK => drive::at_once(&database, &Load::new(&chain, 10_000, 5)).await?,
            name::STARTS_SINGLE => starts::round(&database, 10_000, Manner::Single).await?,
            name::STARTS_BATCH => starts::round(&database, 20_000, Manner::Batch).await?,
            name::STARTS_IN_TRANSACTION => starts::round(&database, 2_000, Manner::InTransaction).await?,
            name::PROCESSES_1 => processes::round(&database, 10_000, 1).await?,
            name::PROCESSES_2 => processes::round(&database, 10_000, 2).await?,
            name::PROCESSES_4 => processes::round(&database, 10_000, 4).await?,
            name::REDIS => {
                let url = self.redis.clone().ok_or("SQUIDMESH_BENCH_REDIS names no server")?;
                let prefix = format!("bench-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos());
                let load = Load::new(&chain, 10_000, 5).via(Via::Redis { url, prefix });
                drive::round(&database, &load).await?
            }
            name::IDLE => idle::round(&database, size(1_000, 10_000), Duration::from_secs(size(6, 30) as u64)).await?,
            _ => drive::round(&database, &Load::new(&chain, 10_000, 5)).await?,
        };
        self.print_profile(&database).await?;
        database.close().await?;
        Ok(measured)
    }

    /// Measures on a database with a million finished runs, a hundred thousand in the quick run; filled once.
    async fn with_history(&self, engine: &Engine, kept: &mut Kept) -> Result<Round, Failure> {
        if kept.history.is_none() {
            let database = engine.fresh(name::HISTORY).await?;
            history::fill(&database, self.history()).await?;
            kept.history = Some(database);
        }
        self.chain_once_more(kept.history.as_ref().ok_or("there is no history")?).await
    }

    /// Measures beside a snapshot that is ten minutes old, in the quick run as old as it takes to complete ten
    /// thousand runs.
    async fn with_snapshot(&self, engine: &Engine, kept: &mut Kept) -> Result<Round, Failure> {
        if kept.snapshot.is_none() {
            let mut database = engine.fresh(name::SNAPSHOT).await?;
            let snapshot = Snapshot::age(&mut database, 10_000, self.snapshot()).await?;
            kept.snapshot = Some((database, snapshot));
        }
        let (database, _) = kept.snapshot.as_ref().ok_or("there is no snapshot")?;
        self.chain_once_more(database).await
    }

    async fn chain_once_more(&self, database: &Database) -> Result<Round, Failure> {
        let chain = |recorder: &Recorder| workflows::chain(recorder, 5);
        let measured = drive::round(database, &Load::new(&chain, 10_000, 5)).await?;
        self.print_profile(database).await?;
        Ok(measured)
    }

    async fn print_profile(&self, database: &Database) -> Result<(), Failure> {
        if let (true, Database::Postgres(database)) = (self.profile, database) {
            for statement in database.slowest(15).await? {
                println!("    {statement}");
            }
        }
        Ok(())
    }
}

async fn fan(database: &Database, width: usize, runs: usize) -> Result<Round, Failure> {
    let fan = |recorder: &Recorder| workflows::fan(recorder, width);
    // The time from the end of one handler to the beginning of the next means nothing where they run in parallel.
    Ok(drive::round(database, &Load::new(&fan, runs, width + 2)).await?.without("hop p50 ms").without("hop p99 ms"))
}

async fn carrying(database: &Database, bytes: usize, runs: usize) -> Result<Round, Failure> {
    let carrying = |recorder: &Recorder| workflows::carrying(recorder, bytes);
    drive::round(database, &Load::new(&carrying, runs, 5)).await
}
