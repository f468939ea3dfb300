//! Examines the longest due intents of each class in turn, independent of their queue and version.
//!
//! The cost therefore does not depend on the number of queues and versions, with work or without. Only a limited
//! number of intents is examined: work that is hidden behind much work of others is found by
//! [`queue_heads`](super::queue_heads).

use std::time::Duration;

use sea_orm::DbErr;
use squidmesh_core::port::ClaimRequest;

use super::class::{CLASSES, Served, of_class};
use super::held::lease_until;
use crate::clock::StoreClock;
use crate::database::Database;
use crate::epoch::IN_THIS_EPOCH;
use crate::sql::{Kept, Sql};

/// The number of intents of a class to examine, and the number to add per requested intent. Other claimers may
/// have locked some of them.
const MIN_EXAMINED: usize = 256;
const EXAMINED_PER_INTENT: usize = 4;
/// The delay before looking again for work that is due but was locked by another transaction, in milliseconds.
const LOCKED_FOR: i64 = 10;

/// Returns the number of intents to examine.
pub(super) fn reach(limit: usize) -> i64 {
    i64::try_from(limit.saturating_mul(EXAMINED_PER_INTENT).saturating_add(MIN_EXAMINED)).unwrap_or(i64::MAX)
}

pub(super) fn number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Claims, on Postgres, and returns the claimed intents. Matching rows are locked one by one until there are
/// enough; locked rows are claimed.
///
/// Each class takes what the previous ones have left of the limit. It takes nothing if one of them has more
/// intents than were examined, which is checked only once there is something to take.
pub(crate) fn claim(sql: Sql, clock: &StoreClock, request: &ClaimRequest) -> Sql {
    let (sql, served) = Served::of(sql, request);
    let (sql, limit) = sql.keep(number(request.limit));
    let (sql, reach) = sql.keep(reach(request.limit));
    let sql = sql.push("WITH remaining_0 AS (SELECT ").put(limit).push("::bigint AS remaining), ");
    let mut sql = first_of_class(sql, clock, 0, served, reach);
    for class in 1..CLASSES.len() {
        let before = class - 1;
        sql = sql.push(&format!(
            ", remaining_{class} AS MATERIALIZED (SELECT remaining - (SELECT count(*) FROM class_{before}) AS remaining FROM remaining_{before}), \
             none_hidden_{class} AS MATERIALIZED (SELECT NOT EXISTS (SELECT 1 FROM squidmesh_intents WHERE "
        ));
        sql = clock.now(of_class(sql, before).push(" AND available_at <= "));
        sql = sql.push(" ORDER BY available_at OFFSET ").put(reach).push(")");
        if before > 0 {
            sql = sql.push(&format!(" AND (SELECT holds FROM none_hidden_{before})"));
        }
        sql = first_of_class(sql.push(" AS holds), "), clock, class, served, reach);
    }
    hold(sql.push(", "), clock, request, &CLASSES_FOUND)
}

const CLASSES_FOUND: [&str; 4] = ["class_0", "class_1", "class_2", "class_3"];

/// Adds `class_n AS (…)`: the claimable intents among the longest due of a class, up to `remaining_n`, already locked.
pub(super) fn first_of_class(sql: Sql, clock: &StoreClock, class: usize, served: Served, reach: Kept) -> Sql {
    let sql = sql
        .push(&format!(
            "class_{class} AS MATERIALIZED (SELECT row_ctid AS due_ctid, {class} AS due_class, due_at FROM ("
        ))
        .push("SELECT ctid AS row_ctid, queue, fingerprint, available_at AS due_at FROM squidmesh_intents WHERE ");
    let sql = clock.now(served.of_class(sql, class).push(" AND available_at <= "));
    let sql = sql.push(" ORDER BY available_at LIMIT ").put(reach).push(") AS seen ");
    let mut condition = CLASSES.get(class).copied().unwrap_or("false").to_owned();
    if class > 0 {
        condition = format!("{condition} AND (SELECT holds FROM none_hidden_{class})");
    }
    let sql = served.condition(lock(sql, &condition).push(" WHERE "));
    sql.push(&format!(" ORDER BY due_at LIMIT (SELECT remaining FROM remaining_{class}))"))
}

/// Locks the row at `row_ctid`, if it is unchanged; joined to the rows found one by one, as long as more are wanted.
pub(super) fn lock(sql: Sql, condition: &str) -> Sql {
    sql.push("CROSS JOIN LATERAL (SELECT 1 FROM squidmesh_intents WHERE ctid = row_ctid AND ")
        .push(condition)
        .push(" AND available_at = due_at FOR UPDATE SKIP LOCKED) AS locked")
}

/// Adds `due AS (…) UPDATE …`: leases the locked rows.
pub(super) fn hold(sql: Sql, clock: &StoreClock, request: &ClaimRequest, found: &[&str]) -> Sql {
    let found: Vec<String> = found.iter().map(|part| format!("SELECT * FROM {part}")).collect();
    let sql = sql.push(&format!("due AS MATERIALIZED ({}) ", found.join(" UNION ALL ")));
    lease_until(sql, clock, request.token, request.lease)
        .push(&format!(" FROM due WHERE squidmesh_intents.ctid = due_ctid AND {IN_THIS_EPOCH}"))
        .push(" RETURNING run_id, step, lease, due_class, due_at")
}

/// Selects the claimable intents in order, on SQLite. If a class may have more intents than were examined, a row
/// without a key marks the end: the rows after it must not be claimed.
pub(crate) fn select(sql: Sql, clock: &StoreClock, request: &ClaimRequest) -> Sql {
    let (sql, served) = Served::of(sql, request);
    let (sql, limit) = sql.keep(number(request.limit));
    let (sql, reach) = sql.keep(reach(request.limit));
    let mut sql = sql.push("WITH ");
    for class in 0..CLASSES.len() {
        sql = sql.push(if class > 0 { ", " } else { "" }).push(&format!("class_{class} AS MATERIALIZED ("));
        sql = select_class(sql, clock, class, served, (reach, limit)).push(")");
    }
    sql = sql.push(", ends(end_class, end_at) AS MATERIALIZED (");
    for (class, found) in CLASSES_FOUND.into_iter().enumerate() {
        sql = sql.push(if class > 0 { " UNION ALL " } else { "" });
        sql = sql.push(&format!("SELECT {class}, CASE WHEN (SELECT count(*) FROM {found}) < ")).put(limit);
        sql = of_class(sql.push(" THEN (SELECT available_at FROM squidmesh_intents WHERE "), class);
        sql = clock.now(sql.push(" AND available_at <= ")).push(" ORDER BY available_at LIMIT 1 OFFSET ").put(reach);
        sql = sql.push(" + 0) END");
    }
    sql = sql.push(") SELECT run_id, step, ").bind(*request.token.as_uuid()).push(" AS lease FROM (");
    for found in CLASSES_FOUND {
        sql = sql.push(&format!("SELECT * FROM {found} UNION ALL "));
    }
    sql = sql.push("SELECT NULL, NULL, end_class, end_at, 1 FROM ends WHERE end_at IS NOT NULL");
    sql.push(") ORDER BY due_class, due_at, is_end LIMIT ").put(limit).push(" + 0")
}

/// Selects the claimable intents among the longest due of a class.
///
/// SQLite makes a new plan whenever the value bound to a bare `LIMIT ?` changes. The rows of the inner query come
/// in its order, one at a time.
pub(super) fn select_class(
    sql: Sql,
    clock: &StoreClock,
    class: usize,
    served: Served,
    (reach, limit): (Kept, Kept),
) -> Sql {
    let sql = sql
        .push(&format!("SELECT run_id, step, {class} AS due_class, due_at, 0 AS is_end FROM ("))
        .push("SELECT run_id, step, queue, fingerprint, available_at AS due_at FROM squidmesh_intents WHERE ");
    let sql = clock.now(served.of_class(sql, class).push(" AND available_at <= "));
    let sql = sql.push(" ORDER BY available_at LIMIT ").put(reach).push(" + 0) WHERE ");
    served.condition(sql).push(" LIMIT ").put(limit).push(" + 0")
}

/// When the next intent is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Not before this time; `None` if never.
    In(Option<Duration>),
    /// It is hidden behind other work.
    Hidden,
}

/// Returns the time until the next intent that the request could claim is due, as far as it is visible; otherwise
/// the time until more becomes visible. Called after the claim: an intent that is due now and was not claimed is
/// briefly locked by another transaction, or is new.
pub(super) async fn next(database: &Database, request: &ClaimRequest) -> Result<Next, DbErr> {
    let connection = database.reader();
    let sql = next_due(Sql::numbered(connection), &database.clock, request);
    let mut next: Option<i64> = None;
    for row in &sql.fetch(connection).await? {
        let (now, at): (i64, Option<i64>) = (row.try_get_by("read_at")?, row.try_get_by("at")?);
        let is_served: bool = row.try_get_by("served")?;
        if !is_served && at.is_some_and(|at| at <= now) {
            return Ok(Next::Hidden);
        }
        next = [next, at.map(|at| at.saturating_sub(now))].into_iter().flatten().min();
    }
    Ok(Next::In(next.map(|wait| waiting(database, wait))))
}

/// Selects the first served intent of each class, or else the last one examined.
pub(crate) fn next_due(sql: Sql, clock: &StoreClock, request: &ClaimRequest) -> Sql {
    let (sql, served) = Served::of(sql, request);
    let (sql, reach) = sql.keep(reach(request.limit));
    if sql.is_postgres() { first_seen(sql, clock, served, reach) } else { first_found(sql, clock, served, reach) }
}

/// On Postgres, numbers the examined intents.
fn first_seen(mut sql: Sql, clock: &StoreClock, served: Served, reach: Kept) -> Sql {
    for class in 0..CLASSES.len() {
        sql = clock.now(sql.push(if class > 0 { " UNION ALL (SELECT " } else { "(SELECT " }));
        sql = served.condition(sql.push(" AS read_at, at, served FROM (SELECT available_at AS at, "));
        sql = sql.push(" AS served, row_number() OVER () AS row_index FROM (");
        sql = served.of_class(sql.push("SELECT queue, fingerprint, available_at FROM squidmesh_intents WHERE "), class);
        sql = sql.push(" ORDER BY available_at LIMIT ").put(reach);
        sql = sql.push(") AS seen) AS numbered WHERE served OR row_index = ").put(reach).push(" LIMIT 1)");
    }
    sql
}

/// On SQLite, looks up the last one examined by its offset.
fn first_found(sql: Sql, clock: &StoreClock, served: Served, reach: Kept) -> Sql {
    let mut sql = sql.push("WITH first(class, at) AS MATERIALIZED (");
    for class in 0..CLASSES.len() {
        sql = sql.push(if class > 0 { " UNION ALL " } else { "" }).push(&format!("SELECT {class}, ("));
        sql = first_at(sql, class, served, reach).push(")");
    }
    sql = clock.now(sql.push(") SELECT ")).push(" AS read_at, at IS NOT NULL AS served, coalesce(at, CASE class");
    for class in 0..CLASSES.len() {
        sql = sql.push(&format!(" WHEN {class} THEN (SELECT available_at FROM squidmesh_intents WHERE "));
        sql = of_class(sql, class).push(" ORDER BY available_at LIMIT 1 OFFSET ").put(reach).push(" - 1)");
    }
    sql.push(" END) AS at FROM first")
}

/// Selects the first due time of a class.
pub(super) fn first_at(sql: Sql, class: usize, served: Served, reach: Kept) -> Sql {
    let sql =
        sql.push("SELECT available_at FROM (SELECT queue, fingerprint, available_at FROM squidmesh_intents WHERE ");
    let sql = served.of_class(sql, class).push(" ORDER BY available_at LIMIT ").put(reach).push(" + 0) AS seen WHERE ");
    served.condition(sql).on_postgres(" ORDER BY available_at").push(" LIMIT 1")
}

/// Returns the time to wait, in the form of the result.
pub(super) fn waiting(database: &Database, wait: i64) -> Duration {
    let wait = if wait <= 0 && !database.is_sqlite() { LOCKED_FOR } else { wait };
    Duration::from_millis(u64::try_from(wait).unwrap_or(0))
}
