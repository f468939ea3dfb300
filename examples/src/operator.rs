//! The operator, scripted: looks at the runs that wait or have failed, asks the runtime why, and lets go on what can go on.
//!
//! Whatever it knows of a run, [`Squidmesh::explain_run`] has told it.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::DbErr;
use squidmesh_core::inspect::{Explanation, NextAction};
use squidmesh_core::{CommandError, ResumeError, Run, RunFilter, RunId, RunStatus, Squidmesh, StoreError};
use tokio::time::sleep;

use crate::runs::{self, RunsError};
use crate::shop::Shop;
use crate::tables::customs;

/// How often it looks.
const PAUSE: Duration = Duration::from_millis(500);

/// What it looks at, beside all that failed: a few runs of each of these.
const WAITING: [RunStatus; 3] = [RunStatus::Paused, RunStatus::Retrying, RunStatus::Running];
const A_FEW: usize = 5;

/// An operator. Clones see the same.
#[derive(Clone)]
pub struct Operator {
    shop: Shop,
    mesh: Squidmesh,
    /// What was told, by workflow and reason: the first of each.
    told: Arc<Mutex<BTreeMap<(String, String), String>>>,
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
    /// An operator of this shop.
    pub fn new(shop: Shop, mesh: Squidmesh) -> Self {
        Operator { shop, mesh, told: Arc::default() }
    }

    /// What the runtime told of runs that waited or failed: one sentence for each workflow and reason.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Works for as long as it is awaited.
    ///
    /// # Errors
    /// [`OperatorError`].
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

    /// Resumes a failed run if it can go on; tells whether there is nothing more to do about it.
    async fn settle(&self, run: &Run) -> Result<bool, OperatorError> {
        let why = self.explain(run).await?;
        if !why.actions.contains(&NextAction::Resume) {
            // A sibling of the failed step may still run; what is compensated is done with.
            return Ok(run.workflow != "fulfilment");
        }
        let Some(order_id) = run.payload.get("order_id").and_then(|id| id.as_str()) else { return Ok(true) };
        customs::clear(self.shop.connection(), order_id).await?;
        let resume = self.mesh.resume_run(run.id).actor("otto");
        match resume.await {
            Ok(_) => Ok(true),
            Err(ResumeError::Unresumable(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn explain(&self, run: &Run) -> Result<Explanation, OperatorError> {
        let why = self.mesh.explain_run(run.id).await?;
        if matches!(why.status, RunStatus::Completed | RunStatus::Cancelled) {
            return Ok(why); // it did not wait for long
        }
        let (reason, sentence) = (word(&why.reason), sentence(run, &why));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.entry((run.workflow.to_string(), reason)).or_insert(sentence);
        Ok(why)
    }
}

/// `checkout of order-000007 is paused: paused_for_approval at review, until 2026-…; could be: approve, reject, cancel`.
fn sentence(run: &Run, why: &Explanation) -> String {
    let mut text = run.workflow.to_string();
    if let Some(order_id) = run.payload.get("order_id").and_then(|id| id.as_str()) {
        let _ = write!(text, " of {order_id}");
    }
    let _ = write!(text, " is {}: {}", why.status, word(&why.reason));
    if let Some(step) = &why.step {
        let _ = write!(text, " at {step}");
    }
    if let Some(attempt) = why.attempt {
        let _ = write!(text, ", attempt {attempt}");
    }
    if let Some(at) = why.at {
        let _ = write!(text, ", until {at}");
    }
    if let Some(failure) = &why.failure {
        let _ = write!(text, " ({})", failure.message);
    }
    let actions: Vec<String> = why.actions.iter().map(word).collect();
    let _ = write!(text, "; could be: {}", actions.join(", "));
    text
}

/// The name that a word of the runtime has in JSON.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// A run that has failed and is neither compensated to its end nor resumed: there is still something to wait for.
///
/// # Errors
/// The store's own.
pub async fn any_unsettled(mesh: &Squidmesh) -> Result<bool, RunsError> {
    let failed = runs::all(mesh, RunFilter::new().status(RunStatus::Failed)).await?;
    if failed.is_empty() {
        return Ok(false);
    }
    let resumed: HashSet<RunId> =
        runs::of(mesh, "fulfilment", &[]).await?.into_iter().filter_map(|run| run.resumed_from).collect();
    for run in failed {
        let why = mesh.explain_run(run.id).await?;
        let can_go_on = why.actions.contains(&NextAction::Resume) && !resumed.contains(&run.id);
        if can_go_on || !mesh.inspect_run(run.id).await?.intents.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
