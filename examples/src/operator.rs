//! The operator, scripted: looks at the runs that wait or have failed, asks the runtime why, and resumes those that
//! can be resumed.
//!
//! Everything it knows of a run comes from [`Squidmesh::explain_run`].

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::DbErr;
use squidmesh_core::command::{CommandError, ResumeError};
use squidmesh_core::inspect::{Explanation, NextAction};
use squidmesh_core::port::StoreError;
use squidmesh_core::run::RunSummary;
use squidmesh_core::{Run, RunFilter, RunId, RunStatus, Squidmesh};
use tokio::time::sleep;

use crate::runs::{self, RunsError};
use crate::shop::Shop;
use crate::tables::customs;

/// The interval at which it looks.
const PAUSE: Duration = Duration::from_millis(500);

/// The statuses of which it looks at a few runs, beside all failed runs.
const WAITING: [RunStatus; 3] = [RunStatus::Paused, RunStatus::Retrying, RunStatus::Running];
const A_FEW: usize = 5;

/// An operator. Clones share what they learn.
#[derive(Clone)]
pub struct Operator {
    shop: Shop,
    mesh: Squidmesh,
    /// The explanations, by workflow and reason: the first of each.
    reasons: Arc<Mutex<BTreeMap<(String, String), String>>>,
}

/// Why the operator stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// The runs could not be listed or explained.
    #[error(transparent)]
    Runs(#[from] RunsError),
    /// The customs' list could not be changed.
    #[error("the customs' list could not be changed")]
    Customs(#[from] DbErr),
    /// A failed run could not be resumed.
    #[error(transparent)]
    Resume(#[from] ResumeError),
}

impl From<StoreError> for OperatorError {
    fn from(error: StoreError) -> Self {
        OperatorError::Runs(error.into())
    }
}

impl From<CommandError> for OperatorError {
    fn from(error: CommandError) -> Self {
        OperatorError::Runs(error.into())
    }
}

impl Operator {
    /// Creates an operator of this shop.
    pub fn new(shop: Shop, mesh: Squidmesh) -> Self {
        Operator { shop, mesh, reasons: Arc::default() }
    }

    /// Returns the explanations of runs that waited or failed: one sentence for each workflow and reason.
    pub fn reasons(&self) -> Vec<String> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Works for as long as it is awaited.
    ///
    /// # Errors
    /// Returns an [`OperatorError`].
    pub async fn work(&self) -> Result<Infallible, OperatorError> {
        let mut settled = HashSet::new();
        loop {
            for status in WAITING {
                let few = self.mesh.list_runs(&RunFilter::new().status(status).limit(A_FEW)).await?;
                for run in few.runs {
                    self.explain(&run).await?;
                }
            }
            for run in runs::all(&self.mesh, RunFilter::new().status(RunStatus::Failed)).await? {
                if !settled.contains(&run.id) && self.settle(&run).await? {
                    settled.insert(run.id);
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Resumes a failed run if that is possible; returns whether the operator is done with it.
    async fn settle(&self, run: &RunSummary) -> Result<bool, OperatorError> {
        let why = self.explain(run).await?;
        if !why.actions.contains(&NextAction::Resume) {
            // A sibling of the failed step may still run; a run that is compensated needs nothing more.
            return Ok(run.workflow != "fulfilment");
        }
        let payload = self.mesh.get_run(run.id).await?.payload;
        let Some(order_id) = payload.get("order_id").and_then(|id| id.as_str()) else { return Ok(true) };
        customs::clear(self.shop.connection(), order_id).await?;
        let resume = self.mesh.resume_run(run.id).actor("otto");
        match resume.await {
            Ok(_) => Ok(true),
            Err(ResumeError::Unresumable(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn explain(&self, run: &RunSummary) -> Result<Explanation, OperatorError> {
        let why = self.mesh.explain_run(run.id).await?;
        if matches!(why.status, RunStatus::Completed | RunStatus::Cancelled) {
            return Ok(why); // it did not wait for long
        }
        let (reason, sentence) = (why.reason.to_string(), sentence(&self.mesh.get_run(run.id).await?, &why));
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.entry((run.workflow.to_string(), reason)).or_insert(sentence);
        Ok(why)
    }
}

/// Returns a sentence such as `checkout of order-000007 is paused: paused_for_approval at review, deadline 2026-…;
/// possible: approve, reject, cancel`.
fn sentence(run: &Run, why: &Explanation) -> String {
    let mut text = run.workflow.to_string();
    if let Some(order_id) = run.payload.get("order_id").and_then(|id| id.as_str()) {
        let _ = write!(text, " of {order_id}");
    }
    let _ = write!(text, " is {why}");
    if let Some(failure) = &why.failure {
        let _ = write!(text, " ({})", failure.message);
    }
    text
}

/// Returns whether any failed run is neither fully compensated nor resumed: there is still something to wait for.
///
/// # Errors
/// Returns the store's error.
pub async fn any_unsettled(mesh: &Squidmesh) -> Result<bool, RunsError> {
    let failed = runs::all(mesh, RunFilter::new().status(RunStatus::Failed)).await?;
    if failed.is_empty() {
        return Ok(false);
    }
    let resumed: HashSet<RunId> =
        runs::of(mesh, "fulfilment", &[]).await?.into_iter().filter_map(|run| run.resumed_from).collect();
    for run in failed {
        let why = mesh.explain_run(run.id).await?;
        let can_resume = why.actions.contains(&NextAction::Resume) && !resumed.contains(&run.id);
        if can_resume || !mesh.inspect_run(run.id).await?.intents.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
