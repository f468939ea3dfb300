//! A run, as far as the summary needs it.

use serde_json::Value;
use squidmesh_core::command::CommandError;
use squidmesh_core::inspect::RunDetails;
use squidmesh_core::run::{AuditKind, CompensationStatus};
use squidmesh_core::{Run, RunFilter, RunStatus, Squidmesh, Timestamp};

use crate::checkout::REVIEWED_ABOVE_CENTS;
use crate::orders::Order;
use crate::runs::{self, RunsError};

/// A run, as far as the summary needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFact {
    /// The run's id.
    pub id: String,
    /// The run's workflow.
    pub workflow: String,
    /// The order that the run processes, if it processes one.
    pub order_id: Option<String>,
    /// The run's status.
    pub status: RunStatus,
    /// The reason of its failure.
    pub error: Option<String>,
    /// The failed run that it resumes.
    pub resumed_from: Option<String>,
    /// The night that it settles, if a schedule started it.
    pub night: Option<String>,
    /// The decisions about a big order: approved, rejected, or expired.
    pub decisions: Vec<AuditKind>,
    /// The compensated steps, the one that completed last first.
    pub compensated: Vec<Compensated>,
}

/// A step that was compensated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compensated {
    /// The step.
    pub step: String,
    /// The outcome of the compensation.
    pub status: CompensationStatus,
    /// When it began.
    pub from: Timestamp,
    /// When it ended.
    pub until: Option<Timestamp>,
}

/// Returns all runs of the shop.
pub(super) async fn gather(mesh: &Squidmesh) -> Result<Vec<RunFact>, RunsError> {
    let mut facts = Vec::new();
    for run in runs::all(mesh, RunFilter::new()).await? {
        facts.push(fact(mesh, mesh.get_run(run.id).await?).await?);
    }
    Ok(facts)
}

async fn fact(mesh: &Squidmesh, run: Run) -> Result<RunFact, CommandError> {
    let order = serde_json::from_value::<Order>(Value::Object((*run.payload).clone())).ok();
    let big = order.is_some_and(|order| order.total_cents() > REVIEWED_ABOVE_CENTS);
    // Most runs need no further details.
    let details = match big || run.status == RunStatus::Failed {
        true => Some(mesh.inspect_run(run.id).await?),
        false => None,
    };
    Ok(RunFact {
        id: run.id.to_string(),
        workflow: run.workflow.to_string(),
        order_id: run.payload.get("order_id").and_then(Value::as_str).map(str::to_owned),
        status: run.status,
        error: run.last_error.map(|failure| format!("{}: {}", failure.kind, failure.message)),
        resumed_from: run.resumed_from.map(|id| id.to_string()),
        night: run.intended_at.map(|night| night.to_string()),
        decisions: details.as_ref().map(decisions).unwrap_or_default(),
        compensated: details.as_ref().map(compensated).unwrap_or_default(),
    })
}

fn decisions(details: &RunDetails) -> Vec<AuditKind> {
    let decided = [AuditKind::Approved, AuditKind::Rejected, AuditKind::Expired];
    details.audit.iter().map(|event| event.kind).filter(|kind| decided.contains(kind)).collect()
}

fn compensated(details: &RunDetails) -> Vec<Compensated> {
    let mut steps: Vec<_> = details.steps.iter().filter_map(|step| step.run.as_ref()).collect();
    steps.sort_by_key(|step| std::cmp::Reverse(step.sequence));
    let compensated = steps.into_iter().filter_map(|step| Some((step, step.compensation.as_ref()?)));
    compensated
        .map(|(step, compensation)| Compensated {
            step: step.step.to_string(),
            status: compensation.status,
            from: compensation.started_at,
            until: compensation.finished_at,
        })
        .collect()
}
