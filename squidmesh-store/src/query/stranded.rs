//! Finds stranded runs, whose work only a version that the asking process does not have can execute.
//!
//! Walks the two indexes by which work is claimed, over the intents that have been due for long. These are few,
//! however much other work waits. Knows nothing of why a version is missing.

use squidmesh_core::RunId;
use squidmesh_core::port::{StoreError, StrandedRequest};

use crate::clock::{StoreClock, millis};
use crate::database::Database;
use crate::error::failed;
use crate::rows::run_id_from_row;
use crate::sql::Sql;

/// Enumerates the queues that have waiting intents, and the versions waiting in each, one index lookup after
/// another.
const WAITING: &str = "WITH RECURSIVE queue(queue_name) AS (\
     SELECT min(queue) FROM squidmesh_intents WHERE lease IS NULL UNION ALL \
     SELECT (SELECT min(queue) FROM squidmesh_intents WHERE lease IS NULL AND queue > queue_name) FROM queue \
     WHERE queue_name IS NOT NULL), \
     version(version_queue, version_name) AS (\
     SELECT queue_name, (SELECT min(fingerprint) FROM squidmesh_intents WHERE lease IS NULL AND queue = queue_name) \
     FROM queue WHERE queue_name IS NOT NULL UNION ALL \
     SELECT version_queue, (SELECT min(fingerprint) FROM squidmesh_intents \
     WHERE lease IS NULL AND queue = version_queue AND fingerprint > version_name) FROM version \
     WHERE version_name IS NOT NULL), \
     priorities(listed_priority) AS (VALUES (0), (1), (2)) \
     SELECT DISTINCT run_id FROM (SELECT run_id FROM version CROSS JOIN priorities CROSS JOIN squidmesh_intents \
     WHERE version_name";

/// Returns the stranded runs that match a request.
pub(crate) async fn stranded(database: &Database, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
    let sql = statement(Sql::numbered(database.reader()), &database.clock, request);
    let rows = sql.fetch(database.reader()).await.map_err(failed("listing stranded runs"))?;
    // An unreadable row must not hide the others.
    Ok(rows.iter().filter_map(|row| run_id_from_row(row, "run_id").ok()).collect())
}

pub(crate) fn statement(sql: Sql, clock: &StoreClock, request: &StrandedRequest) -> Sql {
    let (sql, known) = sql.keep_texts(request.known.iter().map(ToString::to_string));
    let sql = match request.run {
        Some(run) => {
            let sql = sql.push("SELECT DISTINCT run_id FROM (SELECT run_id FROM squidmesh_intents WHERE run_id = ");
            due_for_long(sql.bind(run.as_uuid()).push(" AND fingerprint").not_among(known), clock, request)
        }
        None => {
            let sql = sql.push(WAITING).not_among(known);
            let sql = sql
                .push(" AND lease IS NULL AND queue = version_queue AND fingerprint = version_name AND priority = listed_priority");
            let sql = due_for_long(sql, clock, request);
            let sql =
                sql.push(" UNION ALL SELECT run_id FROM squidmesh_intents WHERE lease IS NOT NULL AND fingerprint");
            due_for_long(sql.not_among(known), clock, request)
        }
    };
    let limit = i64::try_from(request.limit).unwrap_or(i64::MAX);
    sql.push(") AS stranded ORDER BY run_id LIMIT ").bind(limit)
}

/// Adds to a condition on intents: those that have been due for `due_for`.
fn due_for_long(sql: Sql, clock: &StoreClock, request: &StrandedRequest) -> Sql {
    let sql = clock.now(sql.push(" AND available_at <= ")).push(" - ").bind(millis(request.due_for));
    match request.after {
        Some(after) => sql.push(" AND run_id > ").bind(after.as_uuid()),
        None => sql,
    }
}
