//! The limit on SQLite: one writer, one hop a transaction, and batches of 10 and 100.
//!
//! A transaction is passed to the driver as one text of many statements, prepared once: no round trip between threads
//! for each statement, which would cost more than the statement. In batches the changes are listed once and then
//! applied by five statements.

use std::path::Path;
use std::str::FromStr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::sqlite::{
    Sqlite, SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous,
};
use sea_orm::sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, query, query_scalar};

use super::{Extent, FINGERPRINT, Hopper, token};
use crate::failure::Failure;
use crate::figure::{Round, percentile};
use crate::processes::own_cpu;

const TABLES: &str = "
    CREATE TABLE bare_runs (
        id BLOB NOT NULL PRIMARY KEY, workflow TEXT NOT NULL, fingerprint TEXT NOT NULL, trigger_name TEXT NOT NULL,
        status TEXT NOT NULL, payload TEXT NOT NULL, current_step TEXT, last_error TEXT, replayed_from BLOB,
        resumed_from BLOB, intended_at BIGINT, idempotency_key TEXT, revision BIGINT NOT NULL, token BLOB NOT NULL,
        created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, finished_at BIGINT
    );
    CREATE UNIQUE INDEX bare_runs_by_key ON bare_runs (workflow, idempotency_key) WHERE idempotency_key IS NOT NULL;
    CREATE TABLE bare_step_runs (
        run_id BLOB NOT NULL, step TEXT NOT NULL, status TEXT NOT NULL, input TEXT NOT NULL, recovery TEXT NOT NULL,
        output TEXT, last_error TEXT, attempt BIGINT NOT NULL, failures BIGINT NOT NULL, crashes BIGINT NOT NULL,
        lease BLOB, sequence BIGINT, resume TEXT, manual TEXT, routes TEXT, compensation TEXT,
        created_at BIGINT NOT NULL, started_at BIGINT, attempt_started_at BIGINT, finished_at BIGINT,
        PRIMARY KEY (run_id, step)
    );
    CREATE TABLE bare_intents (
        run_id BLOB NOT NULL, step TEXT NOT NULL, queue TEXT NOT NULL, priority SMALLINT NOT NULL,
        fingerprint TEXT NOT NULL, available_at BIGINT NOT NULL, lease BLOB, PRIMARY KEY (run_id, step)
    ) WITHOUT ROWID;
    CREATE INDEX bare_intents_by_due ON bare_intents (queue, priority, available_at) WHERE lease IS NULL;
    CREATE INDEX bare_intents_by_lease ON bare_intents (queue, available_at) WHERE lease IS NOT NULL;
";

const FILL: &str = "
    INSERT INTO bare_runs VALUES (?, 'chain', ?, 'start', 'running', '{}', 'step-0', NULL, NULL, NULL, NULL, NULL, 0, ?, ?, ?, NULL);
    INSERT INTO bare_step_runs VALUES
        (?, 'step-0', 'running', '{}', 'compensatable', NULL, NULL, 1, 0, 0, ?, NULL, NULL, NULL, NULL, NULL, ?, ?, ?, NULL);
    INSERT INTO bare_intents VALUES (?, 'step-0', 'default', 0, ?, ?, ?);
";

/// Lists the changes of many hops, once for the five statements.
const LIST: &str =
    "CREATE TEMP TABLE change (run BLOB, expected BIGINT, name TEXT, next TEXT, new_token BLOB, new_lease BLOB,
    at BIGINT)";

/// The hop of a single run.
const HOP: &str = "
    UPDATE bare_runs SET status = 'running', current_step = ?, last_error = NULL, fingerprint = ?, revision = revision + 1,
        token = ?, updated_at = ?, finished_at = NULL WHERE id = ? AND revision = ?;
    UPDATE bare_step_runs SET status = 'completed', output = '{}', last_error = NULL, lease = NULL, sequence = ?,
        finished_at = ? WHERE run_id = ? AND step = ?;
    INSERT INTO bare_step_runs VALUES
        (?, ?, 'running', '{}', 'compensatable', NULL, NULL, 1, 0, 0, ?, NULL, NULL, NULL, NULL, NULL, ?, ?, ?, NULL);
    DELETE FROM bare_intents WHERE run_id = ? AND step = ?;
    INSERT INTO bare_intents VALUES (?, ?, 'default', 0, ?, ?, ?);
";

/// The hops of all the listed runs, with `{fingerprint}` filled in.
const HOPS: &str = "
    UPDATE bare_runs SET status = 'running', current_step = next, last_error = NULL, fingerprint = {fingerprint},
        revision = revision + 1, token = new_token, updated_at = at, finished_at = NULL
        FROM change WHERE id = run AND revision = expected;
    UPDATE bare_step_runs SET status = 'completed', output = '{}', last_error = NULL, lease = NULL, sequence = expected,
        finished_at = at FROM change WHERE run_id = run AND step = name;
    INSERT INTO bare_step_runs SELECT run, next, 'running', '{}', 'compensatable', NULL, NULL, 1, 0, 0, new_lease, NULL, NULL,
        NULL, NULL, NULL, at, at, at, NULL FROM change;
    DELETE FROM bare_intents WHERE (run_id, step) IN (SELECT run, name FROM change);
    INSERT INTO bare_intents SELECT run, next, 'default', 0, {fingerprint}, at + 30000, new_lease FROM change;
";

fn text(batch: usize) -> String {
    if batch == 1 {
        return format!("BEGIN IMMEDIATE; {HOP} COMMIT;");
    }
    let rows = vec!["(?, ?, ?, ?, ?, ?, ?)"; batch].join(", ");
    let hops = HOPS.replace("{fingerprint}", &format!("'{FINGERPRINT}'"));
    format!("BEGIN IMMEDIATE; DELETE FROM temp.change; INSERT INTO temp.change VALUES {rows}; {hops} COMMIT;")
}

/// Opens a file as the limits do and, by its documentation, the store.
async fn open(path: &Path) -> Result<SqliteConnection, Failure> {
    let url = format!("sqlite://{}", path.display());
    let options = SqliteConnectOptions::from_str(&url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    Ok(options.connect().await?)
}

/// Measures each batch size in a file of its own: `…: hops/s`, and for one per transaction also `…: p50 ms`.
pub(crate) async fn measure(directory: &Path, extent: Extent) -> Result<Round, Failure> {
    let directory = tempfile::tempdir_in(directory)?;
    let mut connection = open(&directory.path().join("bare.db")).await?;
    let (journal, synchronous): (String, i64) = (
        query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await?,
        query_scalar("PRAGMA synchronous").fetch_one(&mut connection).await?,
    );
    if (journal.as_str(), synchronous) != ("wal", 2) {
        return Err(
            format!("SQLite has journal_mode={journal}, synchronous={synchronous}, not wal and 2 (FULL)").into()
        );
    }
    let mut hoppers = fill(&mut connection).await?;
    let mut measured = Round::new();
    let mut start = 0;
    for batch in [1, 10, 100] {
        if batch == 10 && !extent.all {
            continue;
        }
        let text = text(batch);
        let (begun, cpu, mut hops, mut latencies) = (Instant::now(), own_cpu(), 0_usize, Vec::new());
        while begun.elapsed() < extent.each {
            if start + batch > hoppers.len() {
                start = 0;
            }
            let Some(taken) = hoppers.get_mut(start..start + batch) else { break };
            start += batch;
            let started = Instant::now();
            let mut statement = query(AssertSqlSafe(text.as_str()));
            for hopper in taken.iter() {
                statement = if batch == 1 { alone(statement, hopper) } else { listed(statement, hopper) };
            }
            let changed = usize::try_from(statement.execute(&mut connection).await?.rows_affected())?;
            if changed < 5 * batch {
                return Err(format!("{batch} bare hops changed {changed} rows").into());
            }
            latencies.push(started.elapsed().as_secs_f64());
            taken.iter_mut().for_each(|hopper| hopper.hops += 1);
            hops += batch;
        }
        let name = if batch == 1 { "one per transaction".to_owned() } else { format!("batches of {batch}") };
        measured = measured.with(format!("{name}: hops/s"), hops as f64 / begun.elapsed().as_secs_f64());
        measured = measured.with(format!("{name}: CPU µs/hop"), (own_cpu() - cpu) * 1e6 / hops as f64);
        if batch == 1 {
            measured = measured.with(format!("{name}: p50 ms"), percentile(&mut latencies, 0.5) * 1e3);
        }
    }
    let hops: i64 = hoppers.iter().map(|hopper| hopper.hops).sum();
    let completed: i64 = query_scalar("SELECT count(*) FROM bare_step_runs WHERE status = 'completed'")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    if completed == hops {
        Ok(measured)
    } else {
        Err(format!("{hops} bare hops left {completed} completed steps").into())
    }
}

type Statement<'a> = Query<'a, Sqlite, SqliteArguments>;

/// The values of [`HOP`].
fn alone<'a>(statement: Statement<'a>, hopper: &Hopper) -> Statement<'a> {
    let (id, step, next, at) = (hopper.id, hopper.step(), hopper.next_step(), now());
    let lease = token(id.as_u64_pair().1);
    let statement = statement.bind(next.clone()).bind(FINGERPRINT).bind(token(at.cast_unsigned())).bind(at);
    let statement = statement.bind(id).bind(hopper.hops);
    let statement = statement.bind(hopper.hops).bind(at).bind(id).bind(step.clone());
    let statement = statement.bind(id).bind(next.clone()).bind(lease).bind(at).bind(at).bind(at);
    let statement = statement.bind(id).bind(step);
    statement.bind(id).bind(next).bind(FINGERPRINT).bind(at + 30_000).bind(lease)
}

/// The values of one change in the list.
fn listed<'a>(statement: Statement<'a>, hopper: &Hopper) -> Statement<'a> {
    let (id, at) = (hopper.id, now());
    let statement = statement.bind(id).bind(hopper.hops).bind(hopper.step()).bind(hopper.next_step());
    statement.bind(token(at.cast_unsigned())).bind(token(id.as_u64_pair().1)).bind(at)
}

async fn fill(connection: &mut SqliteConnection) -> Result<Vec<Hopper>, Failure> {
    let hoppers = Hopper::all();
    connection.execute(TABLES).await?;
    connection.execute(LIST).await?;
    connection.execute("BEGIN IMMEDIATE").await?;
    for Hopper { id, .. } in &hoppers {
        let at = now();
        let statement = query(FILL).bind(id).bind(FINGERPRINT).bind(id).bind(at).bind(at);
        let statement = statement.bind(id).bind(id).bind(at).bind(at).bind(at);
        statement.bind(id).bind(FINGERPRINT).bind(at + 30_000).bind(id).execute(&mut *connection).await?;
    }
    connection.execute("COMMIT").await?;
    connection.execute("ANALYZE").await?;
    Ok(hoppers)
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
