//! Looks at due intents without claiming them, for executors that announce them elsewhere.
//!
//! Walks the indexes by which work is claimed, in the order of claiming, a page at a time. Locks nothing.

use squidmesh_core::{Due, DueIntent, DueRequest, StoreError, Timestamp};

use crate::claim::{CLASSES, of_class, of_versions};
use crate::database::Database;
use crate::error::failed;
use crate::rows::{due_intent_from_row, intent_key_to_row};
use crate::sql::Sql;

/// The order within a class.
const ORDER: &str = "available_at, run_id, step";

/// A page of due intents, and when the next one falls due.
pub(crate) async fn due(database: &Database, request: &DueRequest) -> Result<Due, StoreError> {
    let doing = failed("looking for due work");
    let mut request = request.clone();
    request.queues.sort();
    request.queues.dedup();
    let rows = page(database, &request).fetch(database.reader()).await.map_err(&doing)?;
    let Some(first) = rows.first() else { return Ok(Due::new(Vec::new(), false, None, Timestamp::EPOCH)) };
    let now: i64 = first.try_get_by("told_at").map_err(&doing)?;
    let next: Option<i64> = first.try_get_by("next_at").map_err(&doing)?;
    let now = Timestamp::from_millis(now);
    let next_in = next.map(|next| Timestamp::from_millis(next).since(now));
    // With nothing due there is one row without an intent.
    let found = rows.iter().filter(|row| row.try_get_by::<Option<i32>, _>("rank").is_ok_and(|rank| rank.is_some()));
    let mut page = Vec::with_capacity(rows.len());
    let mut more = false;
    for (place, row) in found.enumerate() {
        if place == request.limit {
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
    Ok(Due::new(page, more, next_in, now))
}

/// One statement: the time, when the next intent falls due, and beside it the page with one row more than wanted.
fn page(database: &Database, request: &DueRequest) -> Sql {
    let limit = i64::try_from(request.limit).unwrap_or(i64::MAX).saturating_add(1);
    let wanted = !request.fingerprints.is_empty();
    let queues = || request.queues.iter().filter(|_| wanted);
    let begun = request.after.as_ref().map_or(0, class_of);
    let sql = Sql::on(database.reader()).push("WITH moment AS MATERIALIZED (SELECT ");
    let mut sql = database.clock().now(sql).push(" AS told_at)");
    let mut lines = Vec::new();
    for class in begun..CLASSES.len() {
        for (place, queue) in queues().enumerate() {
            let line = format!("line_{class}_{place}");
            sql = sql
                .push(&format!(", {line} AS MATERIALIZED (SELECT {class} AS rank, run_id, step, queue, priority, "))
                .push("fingerprint, available_at FROM squidmesh_intents WHERE ");
            sql = of_class(sql, class, queue).push(" AND available_at <= (SELECT told_at FROM moment)");
            if let Some(since) = request.since {
                sql = sql.push(" AND available_at > ").bind(since.as_millis());
            }
            if let Some(after) = request.after.as_ref().filter(|_| class == begun) {
                let at = after.available_at.as_millis();
                sql = sql.push(" AND available_at >= ").bind(at);
                sql = sql.push(" AND (available_at, run_id, step) > (").bind(at);
                sql = sql.push(", ").list(intent_key_to_row(&after.key)).push(")");
            }
            sql = of_versions(sql.push(" AND "), &request.fingerprints);
            sql = sql.push(&format!(" ORDER BY {ORDER} LIMIT ")).bind(limit).push(")");
            lines.push(format!("SELECT * FROM {line}"));
        }
    }
    if lines.is_empty() {
        return sql.push(" SELECT told_at, NULL AS next_at, NULL AS rank FROM moment");
    }
    sql = sql
        .push(&format!(", page AS MATERIALIZED (SELECT * FROM ({}) AS lines ", lines.join(" UNION ALL ")))
        .push(&format!("ORDER BY rank, {ORDER} LIMIT "))
        .bind(limit)
        .push(") SELECT told_at, (SELECT min(next_at) FROM (");
    let parts = (0..CLASSES.len()).flat_map(|class| queues().map(move |queue| (class, queue)));
    for (place, (class, queue)) in parts.enumerate() {
        sql = sql
            .push(if place > 0 { " UNION ALL " } else { "" })
            .push("SELECT (SELECT available_at FROM squidmesh_intents WHERE ");
        sql = of_class(sql, class, queue).push(" AND available_at > (SELECT told_at FROM moment)");
        sql = of_versions(sql.push(" AND "), &request.fingerprints);
        sql = sql.push(" ORDER BY available_at LIMIT 1) AS next_at");
    }
    sql.push(&format!(") AS later) AS next_at, page.* FROM moment LEFT JOIN page ON 1 = 1 ORDER BY rank, {ORDER}"))
}

/// The place of an intent's class in the order of claiming.
fn class_of(intent: &DueIntent) -> usize {
    let same = |(held, priority): &(&str, _)| match priority {
        None => intent.run_out && held.contains("NOT NULL"),
        Some(priority) => !intent.run_out && *priority == intent.priority,
    };
    CLASSES.iter().position(same).unwrap_or(0)
}
