//! Claims due intents, and reads their runs.
//!
//! One class of intents after the other, each walked along its index from the longest due on, so that what is not due is never
//! looked at. On Postgres claimers skip what others are about to take; on SQLite they take turns.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sea_orm::prelude::Uuid;
use sea_orm::{DbErr, QueryResult};
use squidmesh_core::{
    Claim, ClaimRequest, Claims, Fingerprint, Lease, LeaseToken, Priority, QueueName, RunId, RunState, StoreError,
};

use crate::clock::{StoreClock, millis};
use crate::database::Database;
use crate::error::failed;
use crate::intents::INTENT_KEY;
use crate::load::load_all;
use crate::rows::lease_from_row;
use crate::sql::{Row, Sql, execute_chunks};

/// The classes, in the order of claiming, as conditions of the two indexes of the table. A lease that has run out goes before
/// everything else: its step has waited for the lease already, and must not wait for a backlog as well.
pub(crate) const CLASSES: [(&str, Option<Priority>); 4] = [
    ("lease IS NOT NULL", None),
    ("lease IS NULL", Some(Priority::High)),
    ("lease IS NULL", Some(Priority::Normal)),
    ("lease IS NULL", Some(Priority::Low)),
];

/// Of SQLite, where any column may hold anything: what has no id, or no time to be due at, is nobody's work, and must not keep others
/// from theirs.
const SOUND: &str = " AND typeof(run_id) = 'blob' AND length(run_id) = 16 AND typeof(available_at) = 'integer'";

/// How soon to look again for work that is due but was locked by somebody else at the moment of looking.
const LOCKED_FOR: i64 = 10;

/// Claims up to the limit of a request.
pub(crate) async fn claim(database: &Database, request: &ClaimRequest) -> Result<Claims, StoreError> {
    let doing = failed("claiming work");
    if request.limit == 0 || request.queues.is_empty() || request.fingerprints.is_empty() {
        return Ok(Claims::new(Vec::new(), None));
    }
    let mut request = request.clone();
    request.queues.sort();
    request.queues.dedup();
    let request = &request;
    let leases = if database.is_sqlite() {
        claim_in_turn(database, request).await.map_err(&doing)?
    } else {
        claim_at_once(database, request).await.map_err(&doing)?
    };
    let next_in = if leases.len() < request.limit { next_in(database, request).await.map_err(&doing)? } else { None };
    Ok(Claims::new(with_runs(database, leases, &request.at_hand).await.map_err(&doing)?, next_in))
}

/// One statement: what is found is locked, and what is locked is held.
async fn claim_at_once(database: &Database, request: &ClaimRequest) -> Result<Vec<Lease>, DbErr> {
    let connection = database.writer();
    let sql = due(Sql::on(connection), database.clock(), request);
    let sql = held_until(sql.push(" "), database.clock(), request.token, request.lease)
        .push(" FROM due WHERE squidmesh_intents.ctid = due_place")
        .push(" RETURNING run_id, step, lease, due_class, due_at");
    let mut rows = sql.fetch(connection).await?;
    rows.sort_by_cached_key(|row| (row.try_get_by("due_class").unwrap_or(i32::MAX), due_at(row)));
    Ok(leases(&rows))
}

/// Looks first, without disturbing those who write; only if there is something, looks again with the write lock and holds
/// what is there.
async fn claim_in_turn(database: &Database, request: &ClaimRequest) -> Result<Vec<Lease>, DbErr> {
    let select = |sql| {
        let sql = due(sql, database.clock(), request).push(" SELECT due_run AS run_id, due_step AS step, ");
        sql.bind(*request.token.as_uuid()).push(" AS lease FROM due ORDER BY due_class, due_at")
    };
    if select(Sql::on(database.reader())).fetch(database.reader()).await?.is_empty() {
        return Ok(Vec::new());
    }
    let transaction = database.begin().await?;
    let rows = select(Sql::on(&transaction)).fetch(&transaction).await?;
    let keys: Vec<Row> = rows.iter().map(key_of).collect::<Result<_, _>>()?;
    execute_chunks(&transaction, &keys.iter().collect::<Vec<_>>(), |sql, rows| {
        held_until(sql.with_change(INTENT_KEY, rows), database.clock(), request.token, request.lease)
            .join_change("squidmesh_intents", "run_id = run AND step = name")
    })
    .await?;
    transaction.commit().await?;
    Ok(leases(&rows))
}

/// `UPDATE … SET` that puts intents into somebody's hands.
pub(crate) fn held_until(sql: Sql, clock: &StoreClock, token: LeaseToken, lease: Duration) -> Sql {
    let sql = sql.push("UPDATE squidmesh_intents SET lease = ").bind(*token.as_uuid()).push(", available_at = ");
    clock.now(sql).push(" + ").bind(millis(lease))
}

/// `WITH … due AS (…)`: what a request may claim, as `due_run`, `due_step`, `due_class`, `due_at` and, on Postgres, the place
/// where it lies.
///
/// Each class takes what the classes before it have left of the limit.
fn due(sql: Sql, clock: &StoreClock, request: &ClaimRequest) -> Sql {
    let limit = i64::try_from(request.limit).unwrap_or(i64::MAX);
    let left = |mut sql: Sql, class: usize| {
        // SQLite makes a new plan whenever what is bound to a bare `LIMIT ?` changes.
        sql = sql.bind(limit).on_sqlite(" + 0");
        for earlier in 0..class {
            sql = sql.push(&format!(" - (SELECT count(*) FROM class_{earlier})"));
        }
        sql
    };
    let mut sql = sql.push("WITH ");
    for class in 0..CLASSES.len() {
        for (place, queue) in request.queues.iter().enumerate() {
            sql = sql
                .push(&format!("queue_{class}_{place} AS MATERIALIZED (SELECT run_id AS due_run, step AS due_step, "))
                .push(&format!("{class} AS due_class, available_at AS due_at"))
                .on_postgres(", ctid AS due_place")
                .push(" FROM squidmesh_intents WHERE ");
            sql = clock.now(of_class(sql, class, queue).push(" AND available_at <= "));
            sql = of_versions(sql.push(" AND "), &request.fingerprints);
            sql = left(sql.push(" ORDER BY available_at LIMIT "), class);
            sql = sql.on_postgres(" FOR UPDATE SKIP LOCKED").push("), ");
        }
        let queues: Vec<String> =
            (0..request.queues.len()).map(|place| format!("SELECT * FROM queue_{class}_{place}")).collect();
        let all = format!("class_{class} AS MATERIALIZED (SELECT * FROM ({}) AS queues", queues.join(" UNION ALL "));
        sql = left(sql.push(&all).push(" ORDER BY due_at LIMIT "), class).push("), ");
    }
    let classes: Vec<String> = (0..CLASSES.len()).map(|class| format!("SELECT * FROM class_{class}")).collect();
    sql.push(&format!("due AS MATERIALIZED ({})", classes.join(" UNION ALL ")))
}

/// How long until the next intent that the request could claim is due. Called after the claim: what is due now and was not
/// claimed is in somebody else's hands for a moment, or has just come.
async fn next_in(database: &Database, request: &ClaimRequest) -> Result<Option<Duration>, DbErr> {
    let connection = database.reader();
    let mut sql = database.clock().now(Sql::on(connection).push("SELECT min(next_at) - "));
    sql = sql.push(" AS wait FROM (");
    let parts = (0..CLASSES.len()).flat_map(|class| request.queues.iter().map(move |queue| (class, queue)));
    for (place, (class, queue)) in parts.enumerate() {
        sql = sql
            .push(if place > 0 { " UNION ALL " } else { "" })
            .push("SELECT (SELECT available_at FROM squidmesh_intents WHERE ");
        sql = of_versions(of_class(sql, class, queue).push(" AND "), &request.fingerprints);
        sql = sql.push(" ORDER BY available_at LIMIT 1) AS next_at");
    }
    let rows = sql.push(") AS classes").fetch(connection).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let wait: Option<i64> = row.try_get_by("wait")?;
    Ok(wait.map(|wait| {
        let wait = if wait <= 0 && !database.is_sqlite() { LOCKED_FOR } else { wait };
        Duration::from_millis(u64::try_from(wait).unwrap_or(0))
    }))
}

pub(crate) fn of_class(sql: Sql, class: usize, queue: &QueueName) -> Sql {
    let (held, priority) = CLASSES.get(class).copied().unwrap_or(("FALSE", None));
    let sql = sql.push(held).on_sqlite(SOUND).push(" AND queue = ").bind(queue.as_str());
    match priority {
        Some(priority) => sql.push(" AND priority = ").bind(priority.as_i16()),
        None => sql,
    }
}

pub(crate) fn of_versions(sql: Sql, fingerprints: &[Fingerprint]) -> Sql {
    sql.push("fingerprint IN (").list(fingerprints.iter().map(ToString::to_string)).push(")")
}

/// The key as it is stored, whether or not it can be read.
fn key_of(row: &QueryResult) -> Result<Row, DbErr> {
    Ok(vec![row.try_get_by::<Uuid, _>("run_id")?.into(), row.try_get_by::<String, _>("step")?.into()])
}

fn due_at(row: &QueryResult) -> i64 {
    row.try_get_by("due_at").unwrap_or(i64::MAX)
}

/// A row that cannot be read stays held until its lease runs out, and is left out: it must not stop the others.
pub(crate) fn leases(rows: &[QueryResult]) -> Vec<Lease> {
    let lease = |row: &QueryResult| match lease_from_row(row) {
        Ok(lease) => Some(lease),
        Err(unreadable) => {
            tracing::error!(error = %unreadable.of("an intent"), "an intent cannot be read and is left alone");
            None
        }
    };
    rows.iter().filter_map(lease).collect()
}

/// Reads the runs of claimed intents, but for those that the claimer has at hand.
pub(crate) async fn with_runs(database: &Database, leases: Vec<Lease>, at_hand: &[RunId]) -> Result<Vec<Claim>, DbErr> {
    let mut ids: BTreeSet<RunId> = leases.iter().map(|lease| lease.key.run_id).collect();
    for known in at_hand {
        ids.remove(known);
    }
    let wanted: Vec<RunId> = ids.iter().copied().collect();
    let runs = load_all(database.reader(), &wanted).await?;
    let runs: HashMap<RunId, Shared> =
        runs.into_iter().map(|(id, loaded)| (id, loaded.map(|state| Some(Arc::new(state))))).collect();
    let claims = leases.into_iter().map(|lease| {
        let id = lease.key.run_id;
        let state = match runs.get(&id) {
            Some(loaded) => copy_of(loaded),
            None if ids.contains(&id) => Err(missing(id)),
            None => Ok(None),
        };
        Claim::new(lease, state)
    });
    Ok(claims.collect())
}

/// A run as the claims on it share it.
type Shared = Result<Option<Arc<RunState>>, StoreError>;

/// Several intents of one run each get its state.
fn copy_of(loaded: &Shared) -> Shared {
    match loaded {
        Ok(state) => Ok(state.clone()),
        Err(StoreError::Corrupt { what, reason }) => {
            Err(StoreError::Corrupt { what: what.clone(), reason: reason.clone() })
        }
        Err(error) => Err(StoreError::Corrupt { what: "a run".to_owned(), reason: error.to_string() }),
    }
}

fn missing(id: RunId) -> StoreError {
    StoreError::Corrupt { what: format!("run {id}"), reason: "it has an intent but is not stored".to_owned() }
}
