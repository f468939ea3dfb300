//! Reads what is kept of a run besides its state: attempts, audit trail and live intents.

use sea_orm::{ConnectionTrait, QueryResult};
use squidmesh_core::{History, RunId, StoreError};

use crate::columns::{Column, names};
use crate::error::failed;
use crate::rows::{
    ATTEMPT_COLUMNS, AUDIT_COLUMNS, INTENT_COLUMNS, Unreadable, attempt_from_row, audit_from_row, intent_from_row,
};
use crate::sql::Sql;

/// The history of a run; empty for one that does not exist.
pub(crate) async fn history<C: ConnectionTrait>(connection: &C, id: RunId) -> Result<History, StoreError> {
    // Sorted here, not by the database: the order of texts is the same whatever its collation.
    let mut attempts = read(connection, id, "attempts", ATTEMPT_COLUMNS, "", attempt_from_row).await?;
    attempts.sort_by(|left, right| (&left.step, left.number).cmp(&(&right.step, right.number)));
    let audit = read(connection, id, "audit", AUDIT_COLUMNS, " ORDER BY revision, ordinal", audit_from_row).await?;
    let mut intents = read(connection, id, "intents", INTENT_COLUMNS, "", intent_from_row).await?;
    intents.sort_by(|left, right| left.key.cmp(&right.key));
    Ok(History::new(attempts, audit, intents))
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
