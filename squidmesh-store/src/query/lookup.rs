//! Finds single items by key: a run by its idempotency key, a definition by its fingerprint.

use sea_orm::ConnectionTrait;
use squidmesh_core::RunId;
use squidmesh_core::definition::{Definition, Fingerprint, WorkflowName};
use squidmesh_core::port::StoreError;

use crate::error::failed;
use crate::rows::{definition_from_row, run_id_from_row};
use crate::sql::Sql;

/// Returns the run of a workflow that was started under a key.
pub(crate) async fn find_by_idempotency_key<C: ConnectionTrait>(
    connection: &C,
    workflow: &WorkflowName,
    key: &str,
) -> Result<Option<RunId>, StoreError> {
    let sql = Sql::on(connection)
        .push("SELECT id FROM squidmesh_runs WHERE workflow = ")
        .bind(workflow.as_str())
        .push(" AND idempotency_key = ")
        .bind(key);
    let rows = sql.fetch(connection).await.map_err(failed("looking up an idempotency key"))?;
    let id = rows.first().map(|row| run_id_from_row(row, "id")).transpose();
    id.map_err(|unreadable| unreadable.of("the id of a run"))
}

/// Returns a stored version of a workflow.
pub(crate) async fn definition<C: ConnectionTrait>(
    connection: &C,
    fingerprint: &Fingerprint,
) -> Result<Option<Definition>, StoreError> {
    let sql = Sql::on(connection)
        .push("SELECT body FROM squidmesh_definitions WHERE fingerprint = ")
        .bind(fingerprint.to_string());
    let rows = sql.fetch(connection).await.map_err(failed("loading a definition"))?;
    let definition = rows.first().map(definition_from_row).transpose();
    definition.map_err(|unreadable| unreadable.of(format!("definition {fingerprint}")))
}
