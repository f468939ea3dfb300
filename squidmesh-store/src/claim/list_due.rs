//! Lists due intents without claiming them, for executors that announce them elsewhere.
//!
//! Walks the indexes by which work is claimed, in claim order, one page at a time. Locks nothing. One statement
//! serves any number of queues and versions.

use squidmesh_core::Timestamp;
use squidmesh_core::port::{DueIntent, DuePage, DueRequest, StoreError};

use super::class::{CLASSES, Served, of_class};
use crate::clock::StoreClock;
use crate::database::Database;
use crate::error::failed;
use crate::rows::{due_intent_from_row, intent_key_to_row};
use crate::sql::{Kept, Sql};

/// The maximum number of intents to examine for the next due time.
const MAX_EXAMINED: i64 = 256;
/// The order within a class.
const ORDER: &str = "available_at, run_id, step";

/// Returns a page of due intents, and when the next one becomes due.
pub(crate) async fn list_due(database: &Database, request: &DueRequest) -> Result<DuePage, StoreError> {
    let doing = failed("listing due work");
    let mut request = request.clone();
    request.queues.sort();
    request.queues.dedup();
    let sql = page(Sql::numbered(database.reader()), &database.clock, &request);
    let rows = sql.fetch(database.reader()).await.map_err(&doing)?;
    let Some(row) = rows.first() else { return Ok(DuePage::new(Vec::new(), false, None, Timestamp::EPOCH)) };
    let now: i64 = row.try_get_by("read_at").map_err(&doing)?;
    let next: Option<i64> = row.try_get_by("next_at").map_err(&doing)?;
    let now = Timestamp::from_millis(now);
    let next_in = next.map(|next| Timestamp::from_millis(next).since(now));
    // If nothing is due, there is one row without an intent.
    let found = rows.iter().filter(|row| row.try_get_by::<Option<i32>, _>("class").is_ok_and(|class| class.is_some()));
    let mut page = Vec::with_capacity(rows.len());
    let mut more = false;
    for (index, row) in found.enumerate() {
        if index == request.limit {
            more = true;
            break;
        }
        match due_intent_from_row(row) {
            Ok(intent) => page.push(intent),
            Err(unreadable) => {
                tracing::error!(error = %unreadable.of("an intent"), "an intent cannot be read and is left alone");
            }
        }
    }
    Ok(DuePage::new(page, more, next_in, now))
}

/// Builds the statement: the time, the next due time, and the page with one extra row.
///
/// The classes are walked one after another, each in its order, until the page is full.
pub(crate) fn page(sql: Sql, clock: &StoreClock, request: &DueRequest) -> Sql {
    let (sql, served) = Served::keep(sql, &request.queues, &request.fingerprints);
    let (sql, limit) = sql.keep(i64::try_from(request.limit).unwrap_or(i64::MAX).saturating_add(1));
    let first = request.after.as_ref().map_or(0, class_of);
    let sql = clock.now(sql.push("WITH clock AS MATERIALIZED (SELECT "));
    let mut sql = sql.push(" AS read_at), page AS MATERIALIZED (SELECT * FROM (");
    for class in first..CLASSES.len() {
        sql = sql.push(if class > first { " UNION ALL " } else { "" });
        sql =
            sql.push(&format!("SELECT * FROM (SELECT {class} AS class, run_id, step, queue, priority, fingerprint, "));
        sql = of_class(sql.push("available_at FROM squidmesh_intents WHERE "), class);
        sql = sql.push(" AND available_at <= (SELECT read_at FROM clock)");
        if let Some(since) = request.since {
            sql = sql.push(" AND available_at > ").bind(since.as_millis());
        }
        if let Some(after) = request.after.as_ref().filter(|_| class == first) {
            let at = after.available_at.as_millis();
            sql = sql.push(" AND available_at >= ").bind(at).push(" AND (available_at, run_id, step) > (").bind(at);
            sql = sql.push(", ").list(intent_key_to_row(&after.key)).push(")");
        }
        sql = served.condition(sql.push(" AND ")).push(&format!(" ORDER BY {ORDER} LIMIT ")).put(limit);
        sql = sql.push(&format!(") AS class_{class}"));
    }
    sql = sql.push(") AS classes LIMIT ").put(limit).push(") SELECT read_at, (SELECT min(next_at) FROM (");
    let (mut sql, reach) = sql.keep(MAX_EXAMINED);
    for class in 0..CLASSES.len() {
        sql = first_later(sql.push(if class > 0 { " UNION ALL " } else { "" }), class, served, reach);
    }
    sql.push(&format!(") AS later) AS next_at, page.* FROM clock LEFT JOIN page ON 1 = 1 ORDER BY class, {ORDER}"))
}

/// Adds when the first intent of a class becomes due, or else the due time up to which intents were examined.
fn first_later(sql: Sql, class: usize, served: Served, reach: Kept) -> Sql {
    let later = |sql: Sql, columns: &str| {
        let sql = of_class(sql.push(&format!("SELECT {columns} FROM squidmesh_intents WHERE ")), class);
        sql.push(" AND available_at > (SELECT read_at FROM clock) ORDER BY available_at LIMIT ")
    };
    let sql = later(sql.push("SELECT coalesce((SELECT available_at FROM ("), "queue, fingerprint, available_at");
    let sql = served.condition(sql.put(reach).push(" + 0) AS seen WHERE "));
    let sql = sql.on_postgres(" ORDER BY available_at").push(" LIMIT 1), (");
    later(sql, "available_at").push("1 OFFSET ").put(reach).push(" - 1)) AS next_at")
}

/// Returns the position of an intent's class in the claim order.
fn class_of(intent: &DueIntent) -> usize {
    if intent.lease_expired { 0 } else { usize::try_from(intent.priority.as_i16()).map_or(0, |priority| priority + 1) }
}
