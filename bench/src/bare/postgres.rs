//! The limit on Postgres: one hop a transaction with 1, 8 and 16 clients, and batches of 10 and 100.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::try_join_all;
use sea_orm::sqlx::postgres::{PgArguments, PgConnection, Postgres};
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::types::Uuid;
use sea_orm::sqlx::{AssertSqlSafe, Connection, Executor, Row, query, query_scalar};

use super::{Extent, FINGERPRINT, Hopper, token};
use crate::failure::Failure;
use crate::figure::{Round, percentile};
use crate::server::{PgDatabase, Server};

const TABLES: &str = "
    CREATE TABLE bare_runs (
        id UUID NOT NULL PRIMARY KEY, workflow TEXT COLLATE \"C\" NOT NULL, fingerprint TEXT COLLATE \"C\" NOT NULL,
        trigger_name TEXT NOT NULL, status TEXT NOT NULL, payload TEXT NOT NULL, current_step TEXT, last_error TEXT,
        replayed_from UUID, resumed_from UUID, intended_at BIGINT, idempotency_key TEXT COLLATE \"C\",
        revision BIGINT NOT NULL, token UUID NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
        finished_at BIGINT
    ) WITH (fillfactor = 70);
    CREATE UNIQUE INDEX bare_runs_by_key ON bare_runs (workflow, idempotency_key) WHERE idempotency_key IS NOT NULL;
    CREATE TABLE bare_step_runs (
        run_id UUID NOT NULL, step TEXT COLLATE \"C\" NOT NULL, status TEXT NOT NULL, input TEXT NOT NULL,
        recovery TEXT NOT NULL, output TEXT, last_error TEXT, attempt BIGINT NOT NULL, failures BIGINT NOT NULL,
        crashes BIGINT NOT NULL, lease UUID, sequence BIGINT, resume TEXT, manual TEXT, routes TEXT, compensation TEXT,
        created_at BIGINT NOT NULL, started_at BIGINT, attempt_started_at BIGINT, finished_at BIGINT,
        PRIMARY KEY (run_id, step)
    ) WITH (fillfactor = 70);
    CREATE TABLE bare_intents (
        run_id UUID NOT NULL, step TEXT COLLATE \"C\" NOT NULL, queue TEXT COLLATE \"C\" NOT NULL,
        priority SMALLINT NOT NULL, fingerprint TEXT COLLATE \"C\" NOT NULL, available_at BIGINT NOT NULL, lease UUID,
        PRIMARY KEY (run_id, step)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
            autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000);
    CREATE INDEX bare_intents_by_due ON bare_intents (queue, priority, available_at) WHERE lease IS NULL;
    CREATE INDEX bare_intents_by_lease ON bare_intents (queue, available_at) WHERE lease IS NOT NULL;
";

/// Uses indexes regardless of the statistics, like the store's connections.
const SETTINGS: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off";

/// The content of a row is the same in every form; only the keys, the revision, the tokens and the times come from
/// the client.
const FILL_RUNS: &str = "INSERT INTO bare_runs
    SELECT id, 'chain', $2, 'start', 'running', '{}', 'step-0', NULL, NULL, NULL, NULL, NULL, 0, id, $3, $3, NULL FROM unnest($1::uuid[]) AS id";
const FILL_STEPS: &str = "INSERT INTO bare_step_runs
    SELECT id, 'step-0', 'running', '{}', 'compensatable', NULL, NULL, 1, 0, 0, id, NULL, NULL, NULL, NULL, NULL, $2, $2, $2, NULL
    FROM unnest($1::uuid[]) AS id";
const FILL_INTENTS: &str = "INSERT INTO bare_intents
    SELECT id, 'step-0', 'default', 0, $2, $3, id FROM unnest($1::uuid[]) AS id";

const UPDATE_RUN: &str =
    "UPDATE bare_runs SET status = 'running', current_step = $3, last_error = NULL, fingerprint = $4,
    revision = revision + 1, token = $5, updated_at = $6, finished_at = NULL WHERE id = $1 AND revision = $2";
const UPDATE_STEP: &str =
    "UPDATE bare_step_runs SET status = 'completed', output = '{}', last_error = NULL, lease = NULL,
    sequence = $3, finished_at = $4 WHERE run_id = $1 AND step = $2";
const INSERT_STEP: &str = "INSERT INTO bare_step_runs VALUES
    ($1, $2, 'running', '{}', 'compensatable', NULL, NULL, 1, 0, 0, $3, NULL, NULL, NULL, NULL, NULL, $4, $4, $4, NULL)";
const DELETE_INTENT: &str = "DELETE FROM bare_intents WHERE run_id = $1 AND step = $2";
const INSERT_INTENT: &str = "INSERT INTO bare_intents VALUES ($1, $2, 'default', 0, $3, $4, $5)";

const CHANGE: &str = "unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::uuid[], $6::uuid[])
    AS change(run, expected, name, next, new_token, new_lease)";

/// The statements of many hops: $1–$6 are the columns of a change, $7 the fingerprint, $8 the time, $9 the end of the
/// lease. Each uses those that it needs.
struct Batched {
    update_runs: String,
    update_steps: String,
    insert_steps: String,
    delete_intents: String,
    insert_intents: String,
    whole: String,
}

impl Batched {
    fn new() -> Self {
        let runs = "UPDATE bare_runs SET status = 'running', current_step = next, last_error = NULL, fingerprint = $7,
            revision = revision + 1, token = new_token, updated_at = $8, finished_at = NULL
            FROM {change} WHERE id = run AND revision = expected";
        let steps = "UPDATE bare_step_runs SET status = 'completed', output = '{}', last_error = NULL, lease = NULL,
            sequence = expected, finished_at = $8 FROM {change} WHERE run_id = run AND step = name";
        let next_steps =
            "INSERT INTO bare_step_runs SELECT run, next, 'running', '{}', 'compensatable', NULL, NULL, 1, 0, 0,
            new_lease, NULL, NULL, NULL, NULL, NULL, $8, $8, $8, NULL FROM {change}";
        let intents = "DELETE FROM bare_intents USING {change} WHERE run_id = run AND step = name";
        let next_intents = "INSERT INTO bare_intents SELECT run, next, 'default', 0, $7, $9, new_lease FROM {change}";
        let alone = |text: &str| text.replace("{change}", CHANGE);
        let inside = |text: &str| text.replace("{change}", "change");
        let whole = format!(
            "WITH change AS MATERIALIZED (SELECT * FROM {CHANGE}), a AS ({} RETURNING 1), b AS ({} RETURNING 1), c AS ({}), d AS ({}), \
             e AS ({}) SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b)",
            inside(runs),
            inside(steps),
            inside(next_steps),
            inside(intents),
            inside(next_intents),
        );
        Batched {
            update_runs: alone(runs),
            update_steps: alone(steps),
            insert_steps: alone(next_steps),
            delete_intents: alone(intents),
            insert_intents: alone(next_intents),
            whole,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// Five statements in a transaction.
    Five,
    /// One statement, which is its own transaction.
    One,
}

/// One measurement: the number of clients, the hops per transaction, and the form.
#[derive(Clone, Copy, Debug)]
struct Measurement {
    clients: usize,
    batch: usize,
    form: Form,
}

const fn measurement(clients: usize, batch: usize, form: Form) -> Measurement {
    Measurement { clients, batch, form }
}

const MEASUREMENTS: &[Measurement] = &[
    measurement(1, 1, Form::Five),
    measurement(1, 1, Form::One),
    measurement(8, 1, Form::Five),
    measurement(8, 1, Form::One),
    measurement(16, 1, Form::Five),
    measurement(16, 1, Form::One),
    measurement(4, 10, Form::Five),
    measurement(4, 10, Form::One),
    measurement(2, 100, Form::Five),
    measurement(2, 100, Form::One),
];

impl Measurement {
    fn forms_a_ratio(&self) -> bool {
        self.clients != 8 && self.batch != 10
    }

    fn name(&self) -> String {
        let Measurement { clients, batch, form } = self;
        let form = if *form == Form::Five { "five statements" } else { "one statement" };
        match (clients, batch) {
            (1, 1) => format!("1 client, {form}"),
            (_, 1) => format!("{clients} clients, {form}"),
            _ => format!("batches of {batch} by {clients}, {form}"),
        }
    }
}

/// Measures each form, in a database of its own: `…: hops/s`, with one client also `…: p50 ms`, and the cost of a hop
/// in the largest batch of the one statement, where it is lowest.
pub(crate) async fn measure(server: &Server, extent: Extent) -> Result<Round, Failure> {
    let database = server.fresh("bare").await?;
    let mut hoppers = fill(&database).await?;
    let mut measured = Round::new();
    for one in MEASUREMENTS.iter().filter(|one| extent.all || one.forms_a_ratio()) {
        let before = database.read().await?;
        let mut hopped = hop(&database, hoppers, *one, extent.each).await?;
        hoppers = hopped.hoppers;
        let after = database.read().await?;
        let name = one.name();
        measured = measured.with(format!("{name}: hops/s"), hopped.hops as f64 / hopped.elapsed);
        if one.clients == 1 {
            measured = measured.with(format!("{name}: p50 ms"), percentile(&mut hopped.latencies, 0.5) * 1e3);
        }
        if one.batch == 100 && one.form == Form::One {
            measured = measured.and(after.since(&before, hopped.hops));
        }
    }
    let hops: i64 = hoppers.iter().map(|hopper| hopper.hops).sum();
    check(&database, hops).await?;
    database.drop_it().await?;
    Ok(measured)
}

async fn fill(database: &PgDatabase) -> Result<Vec<Hopper>, Failure> {
    let hoppers = Hopper::all();
    let ids: Vec<Uuid> = hoppers.iter().map(|hopper| hopper.id).collect();
    let mut connection = database.connect().await?;
    connection.execute(TABLES).await?;
    query(FILL_RUNS).bind(&ids).bind(FINGERPRINT).bind(now()).execute(&mut connection).await?;
    query(FILL_STEPS).bind(&ids).bind(now()).execute(&mut connection).await?;
    query(FILL_INTENTS).bind(&ids).bind(FINGERPRINT).bind(now() + 30_000).execute(&mut connection).await?;
    connection.execute("VACUUM ANALYZE").await?;
    connection.close().await?;
    Ok(hoppers)
}

/// Checks that every hop was recorded.
async fn check(database: &PgDatabase, hops: i64) -> Result<(), Failure> {
    let mut connection = database.connect().await?;
    let completed: i64 = query_scalar("SELECT count(*) FROM bare_step_runs WHERE status = 'completed'")
        .fetch_one(&mut connection)
        .await?;
    let intents: i64 = query_scalar("SELECT count(*) FROM bare_intents").fetch_one(&mut connection).await?;
    let revisions: i64 = query_scalar("SELECT sum(revision)::bigint FROM bare_runs").fetch_one(&mut connection).await?;
    let runs = i64::try_from(super::RUNS)?;
    if (completed, revisions, intents) != (hops, hops, runs) {
        return Err(format!("{hops} bare hops left {completed} steps, {revisions} revisions, {intents} intents").into());
    }
    Ok(())
}

/// The result of a measurement.
struct Hopped {
    hoppers: Vec<Hopper>,
    hops: usize,
    /// The elapsed time, in seconds.
    elapsed: f64,
    /// The latency of each transaction, in seconds.
    latencies: Vec<f64>,
}

async fn hop(
    database: &PgDatabase,
    mut hoppers: Vec<Hopper>,
    how: Measurement,
    time: Duration,
) -> Result<Hopped, Failure> {
    let share = hoppers.len() / how.clients;
    let mut clients = Vec::new();
    for number in 0..how.clients {
        let mut connection = database.connect().await?;
        connection.execute(SETTINGS).await?;
        let own = hoppers.split_off(if number + 1 == how.clients { 0 } else { hoppers.len() - share });
        clients.push((connection, own));
    }
    let begun = Instant::now();
    let working = clients
        .into_iter()
        .map(|(connection, own)| async move { tokio::spawn(one_client(connection, own, how, begun + time)).await? });
    let ended = try_join_all(working).await?;
    let elapsed = begun.elapsed().as_secs_f64();
    let mut hopped = Hopped { hoppers: Vec::new(), hops: 0, elapsed, latencies: Vec::new() };
    for (own, hops, latencies) in ended {
        hopped.hoppers.extend(own);
        hopped.hops += hops;
        hopped.latencies.extend(latencies);
    }
    Ok(hopped)
}

async fn one_client(
    mut connection: PgConnection,
    mut hoppers: Vec<Hopper>,
    how: Measurement,
    until: Instant,
) -> Result<(Vec<Hopper>, usize, Vec<f64>), Failure> {
    let batched = Batched::new();
    let (mut hops, mut latencies) = (0, Vec::new());
    'all: loop {
        for batch in hoppers.chunks_mut(how.batch) {
            let begun = Instant::now();
            if begun >= until {
                break 'all;
            }
            match (how.form, &*batch) {
                (Form::Five, [one]) => five(&mut connection, *one).await?,
                (Form::Five, many) => five_batched(&mut connection, &batched, many).await?,
                (Form::One, many) => whole(&mut connection, &batched, many).await?,
            }
            latencies.push(begun.elapsed().as_secs_f64());
            hops += batch.len();
            batch.iter_mut().for_each(|hopper| hopper.hops += 1);
        }
    }
    connection.close().await?;
    Ok((hoppers, hops, latencies))
}

async fn five(connection: &mut PgConnection, hopper: Hopper) -> Result<(), Failure> {
    let (id, step, next, at) = (hopper.id, hopper.step(), hopper.next_step(), now());
    let mut transaction = connection.begin().await?;
    let (new_token, lease) = (token(at.cast_unsigned()), token(id.as_u64_pair().1));
    let run = query(UPDATE_RUN).bind(id).bind(hopper.hops).bind(&next).bind(FINGERPRINT).bind(new_token).bind(at);
    let changed = run.execute(&mut *transaction).await?.rows_affected();
    let step_run = query(UPDATE_STEP).bind(id).bind(&step).bind(hopper.hops).bind(at);
    let changed = changed + step_run.execute(&mut *transaction).await?.rows_affected();
    query(INSERT_STEP).bind(id).bind(&next).bind(lease).bind(at).execute(&mut *transaction).await?;
    let deleted = query(DELETE_INTENT).bind(id).bind(&step).execute(&mut *transaction).await?.rows_affected();
    let intent = query(INSERT_INTENT).bind(id).bind(&next).bind(FINGERPRINT).bind(at + 30_000).bind(lease);
    intent.execute(&mut *transaction).await?;
    transaction.commit().await?;
    expect(changed + deleted, 3)
}

async fn five_batched(connection: &mut PgConnection, sql: &Batched, hoppers: &[Hopper]) -> Result<(), Failure> {
    let columns = Columns::of(hoppers);
    let mut transaction = connection.begin().await?;
    let mut changed = 0;
    for text in [&sql.update_runs, &sql.update_steps, &sql.insert_steps, &sql.delete_intents, &sql.insert_intents] {
        changed += columns.bound(text).execute(&mut *transaction).await?.rows_affected();
    }
    transaction.commit().await?;
    expect(changed, 5 * hoppers.len())
}

async fn whole(connection: &mut PgConnection, sql: &Batched, hoppers: &[Hopper]) -> Result<(), Failure> {
    let row = Columns::of(hoppers).bound(&sql.whole).fetch_one(connection).await?;
    expect(row.try_get::<i64, _>(0)?.cast_unsigned(), 2 * hoppers.len())
}

/// The changes of many hops, as one array for each column.
struct Columns {
    ids: Vec<Uuid>,
    revisions: Vec<i64>,
    steps: Vec<String>,
    next: Vec<String>,
    tokens: Vec<Uuid>,
    leases: Vec<Uuid>,
}

impl Columns {
    fn of(hoppers: &[Hopper]) -> Self {
        Columns {
            ids: hoppers.iter().map(|hopper| hopper.id).collect(),
            revisions: hoppers.iter().map(|hopper| hopper.hops).collect(),
            steps: hoppers.iter().map(Hopper::step).collect(),
            next: hoppers.iter().map(Hopper::next_step).collect(),
            tokens: hoppers
                .iter()
                .map(|hopper| token(hopper.id.as_u64_pair().1 ^ hopper.hops.cast_unsigned()))
                .collect(),
            leases: hoppers.iter().map(|hopper| token(hopper.id.as_u64_pair().1)).collect(),
        }
    }

    fn bound<'a>(&'a self, text: &'a str) -> Query<'a, Postgres, PgArguments> {
        query(AssertSqlSafe(text))
            .bind(&self.ids)
            .bind(&self.revisions)
            .bind(&self.steps)
            .bind(&self.next)
            .bind(&self.tokens)
            .bind(&self.leases)
            .bind(FINGERPRINT)
            .bind(now())
            .bind(now() + 30_000)
    }
}

fn expect(changed: u64, expected: usize) -> Result<(), Failure> {
    if usize::try_from(changed) == Ok(expected) {
        Ok(())
    } else {
        Err(format!("a bare hop changed {changed} rows, not {expected}").into())
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
