//! Reading runs: all that match, page by page.

use squidmesh_core::command::CommandError;
use squidmesh_core::definition::{InvalidName, WorkflowName};
use squidmesh_core::port::StoreError;
use squidmesh_core::run::RunSummary;
use squidmesh_core::{RunFilter, RunStatus, Squidmesh};

/// Why runs could not be read or commanded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunsError {
    /// The runs could not be listed.
    #[error("the runs could not be listed")]
    Store(#[from] StoreError),
    /// A command was refused, or did not reach the run.
    #[error("a run could not be commanded")]
    Command(#[from] CommandError),
    /// The name of the workflow is invalid.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

/// Returns all runs of a workflow that are in one of these statuses, or in any if none is given; the newest first.
///
/// # Errors
/// Returns a [`RunsError`].
pub async fn of(mesh: &Squidmesh, workflow: &str, statuses: &[RunStatus]) -> Result<Vec<RunSummary>, RunsError> {
    let filter = RunFilter::new().workflow(WorkflowName::new(workflow)?);
    all(mesh, statuses.iter().copied().fold(filter, RunFilter::status)).await.map_err(RunsError::from)
}

/// Returns all matching runs.
///
/// # Errors
/// Returns the store's error.
pub async fn all(mesh: &Squidmesh, filter: RunFilter) -> Result<Vec<RunSummary>, StoreError> {
    let mut filter = filter.limit(500);
    let mut runs = Vec::new();
    loop {
        let page = mesh.list_runs(&filter).await?;
        runs.extend(page.runs);
        match page.next {
            Some(next) => filter = filter.after(next),
            None => return Ok(runs),
        }
    }
}
