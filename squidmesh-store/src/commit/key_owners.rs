//! Looks up which runs were started under idempotency keys.

use std::collections::HashMap;

use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, DbErr};
use squidmesh_core::RunId;
use squidmesh_core::port::CommitOutcome;

use crate::sql::{Row, fetch_chunks, fixed};

/// A workflow, and one of its idempotency keys.
pub(crate) type Key = (String, String);

/// Returns the runs that were started under keys of workflows.
pub(crate) async fn key_owners<C: ConnectionTrait>(
    connection: &C,
    keys: &[&Key],
) -> Result<HashMap<Key, RunId>, DbErr> {
    let keys: Vec<Row> =
        keys.iter().map(|(workflow, key)| vec![workflow.as_str().into(), key.as_str().into()]).collect();
    let found = fetch_chunks(connection, &keys.iter().collect::<Vec<_>>(), |sql, rows| {
        sql.with_change(&[fixed("flow"), fixed("key")], rows)
            .push("SELECT flow, key, (SELECT id FROM squidmesh_runs WHERE workflow = flow AND idempotency_key = key ")
            .push("AND idempotency_key IS NOT NULL) AS id FROM change")
    })
    .await?;
    let mut owners = HashMap::new();
    for row in &found {
        if let Some(id) = row.try_get_by::<Option<Uuid>, _>("id")? {
            owners.insert((row.try_get_by("flow")?, row.try_get_by("key")?), RunId::from_uuid(id));
        }
    }
    Ok(owners)
}

/// Returns why a run was not inserted: another one owns its key, or it exists already.
pub(super) fn refusal(run: RunId, key: Option<&Key>, owners: &HashMap<Key, RunId>) -> CommitOutcome {
    match key.and_then(|key| owners.get(key)) {
        Some(owner) if *owner != run => CommitOutcome::KeyTaken(*owner),
        _ => CommitOutcome::Conflict,
    }
}
