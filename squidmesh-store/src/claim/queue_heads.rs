//! Examines the heads of queues: the first intent that waits in a queue, for a version, in a class.
//!
//! Goes from version to version in an index, so the cost depends on the number of versions that wait in the served
//! queues, not on the number of intents or on other work. Used when the work of others hides everything from
//! [`front`](super::front).

use std::time::Duration;

use sea_orm::DbErr;
use squidmesh_core::port::ClaimRequest;

use super::class::{Served, sound};
use super::front::{first_at, first_of_class, hold, lock, number, reach, select_class, waiting};
use crate::clock::StoreClock;
use crate::database::Database;
use crate::sql::{Kept, Sql};

/// Selects the next version for which work waits in a queue, for `queue(queue_name, queue_version) AS (…)`.
const NEXT_VERSION: &str = "(SELECT min(fingerprint) FROM squidmesh_intents WHERE lease IS NULL AND queue = ";

/// Adds `WITH … head AS (…)`: the heads in the served queues, with their class as `head_class`, and when they are
/// due.
fn heads(sql: Sql, served: Served) -> Sql {
    let sql = sql.push("WITH RECURSIVE queue(queue_name, queue_version) AS (SELECT value, ").push(NEXT_VERSION);
    let sql = sql.push("value) FROM ").table_of(served.queues);
    let sql = sql.push(" UNION ALL SELECT queue_name, ").push(NEXT_VERSION);
    let sql = sql.push("queue_name AND fingerprint > queue_version) FROM queue WHERE queue_version IS NOT NULL), ");
    let sql = sql.push("classes(head_class) AS (VALUES (1), (2), (3)), head AS MATERIALIZED (");
    let sql = sql
        .push("SELECT queue_name, queue_version, head_class, (SELECT min(available_at) FROM squidmesh_intents WHERE ");
    let sql = sound(sql.push(IN_QUEUE)).push(") AS head_at FROM queue CROSS JOIN classes WHERE queue_version");
    sql.among(served.versions).push(")")
}

/// The condition for an intent behind a head.
const IN_QUEUE: &str =
    "lease IS NULL AND queue = queue_name AND fingerprint = queue_version AND priority = head_class - 1";

/// Adds `, first AS (…)`: as many of the due heads as are wanted. No intent behind another head can be due before
/// these.
fn first_heads(sql: Sql, clock: &StoreClock, limit: Kept) -> Sql {
    let sql = clock.now(sql.push(", first AS MATERIALIZED (SELECT * FROM head WHERE head_at <= "));
    sql.push(" ORDER BY head_class, head_at LIMIT ").put(limit).push(" + 0)")
}

/// Claims, on Postgres, and returns the claimed intents.
pub(crate) fn claim(sql: Sql, clock: &StoreClock, request: &ClaimRequest) -> Sql {
    let (sql, served) = Served::of(sql, request);
    let (sql, limit) = sql.keep(number(request.limit));
    let (sql, all) = sql.keep(i64::MAX);
    let (sql, tries) = sql.keep(reach(request.limit));
    let sql = first_heads(heads(sql, served), clock, limit);
    let sql = sql.push(", remaining_0 AS (SELECT ").put(limit).push("::bigint AS remaining), ");
    let sql = first_of_class(sql, clock, 0, served, all);
    let sql = sql
        .push(", waiting AS MATERIALIZED (SELECT row_ctid AS due_ctid, head_class AS due_class, due_at FROM (")
        .push("SELECT row_ctid, head_class, due_at FROM first CROSS JOIN LATERAL (")
        .push("SELECT ctid AS row_ctid, available_at AS due_at FROM squidmesh_intents WHERE ");
    let sql = clock.now(sql.push(IN_QUEUE).push(" AND available_at <= "));
    let sql =
        sql.push(" ORDER BY available_at LIMIT ").put(tries).push(") AS intent ORDER BY head_class, due_at LIMIT ");
    let sql = lock(sql.put(tries).push(") AS seen "), "lease IS NULL");
    let sql = sql.push(
        " ORDER BY due_class, due_at LIMIT (SELECT remaining - (SELECT count(*) FROM class_0) FROM remaining_0)), ",
    );
    hold(sql, clock, request, &["class_0", "waiting"])
}

/// Selects the claimable intents in order, on SQLite.
pub(crate) fn select(sql: Sql, clock: &StoreClock, request: &ClaimRequest) -> Sql {
    let (sql, served) = Served::of(sql, request);
    let (sql, limit) = sql.keep(number(request.limit));
    let (sql, all) = sql.keep(i64::MAX);
    let sql = first_heads(heads(sql, served), clock, limit);
    let sql = sql.push(" SELECT run_id, step, ").bind(*request.token.as_uuid()).push(" AS lease FROM (");
    let sql = select_class(sql.push("SELECT * FROM ("), clock, 0, served, (all, limit));
    let sql = sql.push(") UNION ALL SELECT * FROM (");
    let sql = sql.push("SELECT intent.run_id, intent.step, head_class, intent.available_at, 0 FROM first ");
    let sql = sql.push("CROSS JOIN squidmesh_intents AS intent WHERE (intent.run_id, intent.step) IN (SELECT run_id, step FROM squidmesh_intents WHERE ");
    let sql = clock.now(sound(sql.push(IN_QUEUE)).push(" AND available_at <= "));
    let sql = sql.push(" ORDER BY available_at LIMIT ").put(limit).push(" + 0))) ORDER BY due_class, due_at LIMIT ");
    sql.put(limit).push(" + 0")
}

/// Returns the time until the next intent that the request could claim is due; see
/// [`front::next`](super::front::next).
pub(super) async fn next(database: &Database, request: &ClaimRequest) -> Result<Option<Duration>, DbErr> {
    let connection = database.reader();
    let (sql, served) = Served::of(Sql::numbered(connection), request);
    let (sql, all) = sql.keep(i64::MAX - 1);
    let sql = database.clock.now(heads(sql, served).push(" SELECT ")).push(" AS read_at, min(at) AS at FROM (");
    let sql = first_at(sql.push("SELECT ("), 0, served, all).push(") AS at UNION ALL SELECT head_at FROM head) AS ats");
    let rows = sql.fetch(connection).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (now, at): (i64, Option<i64>) = (row.try_get_by("read_at")?, row.try_get_by("at")?);
    Ok(at.map(|at| waiting(database, at.saturating_sub(now))))
}
