//! Claims due intents, and reads their runs.
//!
//! On Postgres, claimers skip rows that others are about to take; on SQLite, they take turns.

use std::time::Duration;

use sea_orm::prelude::Uuid;
use sea_orm::{DbErr, QueryResult};
use squidmesh_core::dispatch::Lease;
use squidmesh_core::port::{ClaimBatch, ClaimRequest, StoreError, Takeover};
use tokio::time::Instant;

use super::claimed::{leases, with_runs};
use super::front::{self, Next};
use super::held::lease_until;
use super::queue_heads;
use crate::clock::StoreClock;
use crate::database::Database;
use crate::epoch::IN_THIS_EPOCH;
use crate::error::failed;
use crate::rows::INTENT_KEY;
use crate::sql::{Row, Sql, execute_chunks};

/// Claims intents, up to the limit of a request.
pub(crate) async fn claim(database: &Database, request: &ClaimRequest) -> Result<ClaimBatch, StoreError> {
    let doing = failed("claiming work");
    if request.limit == 0 || request.queues.is_empty() || request.fingerprints.is_empty() {
        return Ok(ClaimBatch { claims: Vec::new(), next_in: None });
    }
    let mut request = request.clone();
    request.queues.sort();
    request.queues.dedup();
    let request = &request;
    let (leases, next_in) = found(database, request).await.map_err(&doing)?;
    Ok(ClaimBatch { claims: with_runs(database, leases, &request.cached_runs).await.map_err(&doing)?, next_in })
}

/// Looks at the front first, and at the heads of queues only if the work of others crowds the front. Once that was
/// the case, it is expected to last for a while.
async fn found(database: &Database, request: &ClaimRequest) -> Result<(Vec<Lease>, Option<Duration>), DbErr> {
    let mut leases = Vec::new();
    if !database.crowd.is_expected() {
        leases = claim_with(database, request, (front::claim, front::select)).await?;
        if leases.len() >= request.limit {
            return Ok((leases, None));
        }
        match front::next(database, request).await? {
            Next::In(next_in) => return Ok((leases, next_in)),
            Next::Hidden => database.crowd.expect(),
        }
    }
    let mut rest = request.clone();
    rest.limit = request.limit.saturating_sub(leases.len());
    leases.extend(claim_with(database, &rest, (queue_heads::claim, queue_heads::select)).await?);
    let next_in = if leases.len() < request.limit { queue_heads::next(database, request).await? } else { None };
    Ok((leases, next_in))
}

/// A function that writes the statement for a request.
type Write = fn(Sql, &StoreClock, &ClaimRequest) -> Sql;

/// Claims with the statement for the database: on Postgres it claims, on SQLite it selects the intents to claim.
async fn claim_with(
    database: &Database,
    request: &ClaimRequest,
    (claim, select): (Write, Write),
) -> Result<Vec<Lease>, DbErr> {
    if database.is_sqlite() {
        return claim_in_turn(database, request, select).await;
    }
    let connection = database.writer();
    let sql = claim(Sql::numbered(connection), &database.clock, request);
    let mut rows = sql.fetch(connection).await?;
    rows.sort_by_cached_key(|row| (row.try_get_by("due_class").unwrap_or(i32::MAX), due_at(row)));
    Ok(leases(&rows))
}

/// Looks first without blocking writers. Only if there is work, it looks again with the write lock and claims it.
async fn claim_in_turn(database: &Database, request: &ClaimRequest, select: Write) -> Result<Vec<Lease>, DbErr> {
    let mut first = request.clone();
    first.limit = 1;
    let seen = select(Sql::numbered(database.reader()), &database.clock, &first).fetch(database.reader()).await?;
    if with_keys(seen).is_empty() {
        return Ok(Vec::new());
    }
    let asked = Instant::now();
    let transaction = match database.begin().await {
        Ok(transaction) => transaction,
        Err(error) => {
            database.contention.failed();
            return Err(error);
        }
    };
    let mut request = request.clone();
    if database.contention.got_through(Instant::now(), asked.elapsed(), request.lease) {
        request.takeover = Takeover::Nothing;
    }
    let rows = select(Sql::numbered(&transaction), &database.clock, &request).fetch(&transaction).await?;
    let rows = with_keys(rows);
    let (keys, odd) = keys_of(&rows)?;
    let write = |sql: Sql, rows: &[&Row]| lease_selected(sql, &database.clock, &request, rows);
    execute_chunks(&transaction, &keys.iter().collect::<Vec<_>>(), write).await?;
    for (run, step) in odd {
        let sql = lease_until(Sql::on(&transaction), &database.clock, request.token, request.lease);
        let sql = sql.push(" WHERE run_id = ").bind(run);
        sql.push(" AND CAST(step AS BLOB) = ").bind(step).execute(&transaction).await?;
    }
    transaction.commit().await?;
    Ok(leases(&rows))
}

/// Leases the selected intents, on SQLite.
pub(crate) fn lease_selected(sql: Sql, clock: &StoreClock, request: &ClaimRequest, rows: &[&Row]) -> Sql {
    let sql = lease_until(sql.with_change(INTENT_KEY, rows), clock, request.token, request.lease);
    sql.join_change("squidmesh_intents", "run_id = run AND step = name").push(" AND ").push(IN_THIS_EPOCH)
}

/// Returns the rows before the first one without a key, after which no row may be claimed.
fn with_keys(mut rows: Vec<QueryResult>) -> Vec<QueryResult> {
    let sound = rows.iter().take_while(|row| row.try_get_by::<Uuid, _>("run_id").is_ok()).count();
    rows.truncate(sound);
    rows
}

/// The key of a row whose step is not a text, as stored.
type OddKey = (Uuid, Vec<u8>);

/// Returns the keys of rows as stored, and separately those whose step is not a text.
fn keys_of(rows: &[QueryResult]) -> Result<(Vec<Row>, Vec<OddKey>), DbErr> {
    let (mut keys, mut odd) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let run: Uuid = row.try_get_by("run_id")?;
        match row.try_get_by::<String, _>("step") {
            Ok(step) => keys.push(vec![run.into(), step.into()]),
            Err(_) => odd.push((run, row.try_get_by("step")?)),
        }
    }
    Ok((keys, odd))
}

fn due_at(row: &QueryResult) -> i64 {
    row.try_get_by("due_at").unwrap_or(i64::MAX)
}
