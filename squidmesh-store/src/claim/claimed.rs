//! Reads what was claimed: the leases, and the runs of their intents.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sea_orm::{DbErr, QueryResult};
use squidmesh_core::RunId;
use squidmesh_core::dispatch::Lease;
use squidmesh_core::port::{Claim, StoreError};
use squidmesh_core::run::RunSnapshot;

use crate::database::Database;
use crate::query::load::load_all;
use crate::rows::lease_from_row;

/// Reads leases. An unreadable row stays leased until its lease expires, and is skipped: it must not stop the
/// others.
pub(crate) fn leases(rows: &[QueryResult]) -> Vec<Lease> {
    let lease = |row: &QueryResult| match lease_from_row(row) {
        Ok(lease) => Some(lease),
        Err(unreadable) => {
            tracing::error!(error = %unreadable.of("an intent"), "an intent cannot be read and is left alone");
            None
        }
    };
    rows.iter().filter_map(lease).collect()
}

/// Reads the runs of claimed intents, except for those that the claimer has cached.
pub(crate) async fn with_runs(
    database: &Database,
    leases: Vec<Lease>,
    cached_runs: &[RunId],
) -> Result<Vec<Claim>, DbErr> {
    let mut ids: BTreeSet<RunId> = leases.iter().map(|lease| lease.key.run_id).collect();
    for known in cached_runs {
        ids.remove(known);
    }
    let wanted: Vec<RunId> = ids.iter().copied().collect();
    let runs = load_all(database.reader(), &wanted).await?;
    let runs: HashMap<RunId, Shared> =
        runs.into_iter().map(|(id, loaded)| (id, loaded.map(|state| Some(Arc::new(state))))).collect();
    let claims = leases.into_iter().map(|lease| {
        let id = lease.key.run_id;
        let state = match runs.get(&id) {
            Some(loaded) => copy_of(loaded),
            None if ids.contains(&id) => Err(missing(id)),
            None => Ok(None),
        };
        Claim { lease, state }
    });
    Ok(claims.collect())
}

/// A run that several claims share.
type Shared = Result<Option<Arc<RunSnapshot>>, StoreError>;

/// Copies the result of loading a run, for several intents of that run.
fn copy_of(loaded: &Shared) -> Shared {
    match loaded {
        Ok(state) => Ok(state.clone()),
        Err(StoreError::Corrupt { what, reason }) => {
            Err(StoreError::Corrupt { what: what.clone(), reason: reason.clone() })
        }
        Err(error) => Err(StoreError::Corrupt { what: "a run".to_owned(), reason: error.to_string() }),
    }
}

fn missing(id: RunId) -> StoreError {
    StoreError::Corrupt { what: format!("run {id}"), reason: "it has an intent but is not stored".to_owned() }
}
