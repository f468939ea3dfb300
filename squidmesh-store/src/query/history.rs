//! Reads the history of a run: attempts, audit trail and current intents.

use sea_orm::{ConnectionTrait, QueryResult};
use squidmesh_core::RunId;
use squidmesh_core::port::{RunHistory, StoreError};

use crate::error::failed;
use crate::rows::{
    ATTEMPT_COLUMNS, AUDIT_COLUMNS, INTENT_COLUMNS, Unreadable, attempt_from_row, audit_from_row, intent_from_row,
};
use crate::sql::{Column, Sql, names};

/// Returns the history of a run; empty if the run does not exist.
pub(crate) async fn history<C: ConnectionTrait>(connection: &C, id: RunId) -> Result<RunHistory, StoreError> {
    // Sorted here, not by the database, so that the order is independent of its collation.
    let mut attempts = read(connection, id, "attempts", ATTEMPT_COLUMNS, "", attempt_from_row).await?;
    attempts.sort_by(|left, right| (&left.step, left.number).cmp(&(&right.step, right.number)));
    let audit = read(connection, id, "audit", AUDIT_COLUMNS, " ORDER BY revision, ordinal", audit_from_row).await?;
    let mut intents = read(connection, id, "intents", INTENT_COLUMNS, "", intent_from_row).await?;
    intents.sort_by(|left, right| left.key.cmp(&right.key));
    Ok(RunHistory { attempts, audit, intents })
}

async fn read<C: ConnectionTrait, T>(
    connection: &C,
    id: RunId,
    table: &str,
    columns: &[Column],
    order: &str,
    decode: impl Fn(&QueryResult) -> Result<T, Unreadable>,
) -> Result<Vec<T>, StoreError> {
    let sql = Sql::on(connection)
        .push(&format!("SELECT {} FROM squidmesh_{table} WHERE run_id = ", names(columns)))
        .bind(id.as_uuid())
        .push(order);
    let rows = sql.fetch(connection).await.map_err(failed("loading the history of a run"))?;
    let decoded =
        rows.iter().map(|row| decode(row).map_err(|unreadable| unreadable.of(format!("{table} of run {id}"))));
    decoded.collect()
}
