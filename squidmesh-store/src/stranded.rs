//! Finds runs whose work lies because only a version that the asking process does not have can carry it out.
//!
//! Walks the two indexes by which work is claimed, over what has been due for long: there is little of that, whatever else
//! waits. Knows nothing of why a version is missing.

use squidmesh_core::{RunId, StoreError, StrandedRequest};

use crate::clock::millis;
use crate::database::Database;
use crate::error::failed;
use crate::rows::run_id_from_row;
use crate::sql::Sql;

/// Every queue that there is work for, found one after the other in an index: of what waits, and of what is held.
const QUEUES: &str = "WITH RECURSIVE waiting(line) AS (\
     SELECT min(queue) FROM squidmesh_intents WHERE lease IS NULL UNION ALL \
     SELECT (SELECT min(queue) FROM squidmesh_intents WHERE lease IS NULL AND queue > line) FROM waiting \
     WHERE line IS NOT NULL), \
     held(line) AS (\
     SELECT min(queue) FROM squidmesh_intents WHERE lease IS NOT NULL UNION ALL \
     SELECT (SELECT min(queue) FROM squidmesh_intents WHERE lease IS NOT NULL AND queue > line) FROM held \
     WHERE line IS NOT NULL), \
     classes(rank) AS (VALUES (0), (1), (2)) ";

/// What waits, class by class of each queue, and what is held: each as its index has it.
const PARTS: [&str; 2] = [
    "SELECT run_id FROM waiting CROSS JOIN classes CROSS JOIN squidmesh_intents \
     WHERE lease IS NULL AND queue = line AND priority = rank",
    "SELECT run_id FROM held CROSS JOIN squidmesh_intents WHERE lease IS NOT NULL AND queue = line",
];

/// The stranded runs that a request asks for.
pub(crate) async fn stranded(database: &Database, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
    let mut sql = Sql::on(database.reader());
    if request.run.is_none() {
        sql = sql.push(QUEUES);
    }
    sql = sql.push("SELECT DISTINCT run_id FROM (");
    sql = match request.run {
        Some(run) => {
            let of_run = sql.push("SELECT run_id FROM squidmesh_intents WHERE run_id = ").bind(run.as_uuid());
            due_for_long(of_run, database, request)
        }
        None => {
            for (place, part) in PARTS.into_iter().enumerate() {
                sql = sql.push(if place > 0 { " UNION ALL " } else { "" }).push(part);
                sql = due_for_long(sql, database, request);
            }
            sql
        }
    };
    let limit = i64::try_from(request.limit).unwrap_or(i64::MAX);
    let sql = sql.push(") AS stranded ORDER BY run_id LIMIT ").bind(limit);
    let rows = sql.fetch(database.reader()).await;
    let rows = rows.map_err(failed("looking for stranded runs"))?;
    // A row that cannot be read must not hide the others.
    Ok(rows.iter().filter_map(|row| run_id_from_row(row, "run_id").ok()).collect())
}

/// Goes on after a condition on intents: those that have been due for so long, of other versions.
fn due_for_long(sql: Sql, database: &Database, request: &StrandedRequest) -> Sql {
    let sql = database.clock().now(sql.push(" AND available_at <= ")).push(" - ").bind(millis(request.due_for));
    let sql = if request.known.is_empty() {
        sql
    } else {
        let known = request.known.iter().map(ToString::to_string);
        sql.push(" AND fingerprint NOT IN (").list(known).push(")")
    };
    match request.after {
        Some(after) => sql.push(" AND run_id > ").bind(after.as_uuid()),
        None => sql,
    }
}
