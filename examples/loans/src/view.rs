//! `GET /loans/{loan_id}` and `/why`: where a loan is, and why it is there.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use squidmesh_core::definition::StepName;
use squidmesh_core::inspect::Explanation;
use squidmesh_core::{Run, RunStatus, Timestamp};

use crate::api_error::ApiError;
use crate::app::App;
use crate::caller::Caller;
use crate::loan;
use crate::workflow::LOAN;

/// A loan as clients see it: its row, and the state of its run.
#[derive(Debug, Serialize)]
pub struct LoanView {
    #[serde(flatten)]
    loan: loan::Model,
    /// `None` once the run was pruned.
    run: Option<RunView>,
}

#[derive(Debug, Serialize)]
struct RunView {
    status: RunStatus,
    step: Option<StepName>,
    updated_at: Timestamp,
}

impl LoanView {
    pub(crate) fn of(loan: loan::Model, run: Option<Run>) -> Self {
        let run = run.map(|run| RunView { status: run.status, step: run.current_step, updated_at: run.updated_at });
        LoanView { loan, run }
    }
}

/// Shows a loan.
///
/// # Errors
/// Returns an [`ApiError`].
pub async fn show(State(app): State<App>, Path(loan_id): Path<String>) -> Result<Json<LoanView>, ApiError> {
    let loan = app.loan(&loan_id).await?;
    let run = app.mesh.find_run(LOAN.name(), &loan_id).await?;
    Ok(Json(LoanView::of(loan, run)))
}

/// Explains why a loan's run is in its state, and which actions it accepts now. Only for known callers, since the text
/// of a failure is shown as it is stored.
///
/// # Errors
/// Returns an [`ApiError`].
pub async fn why(
    State(app): State<App>,
    _: Caller,
    Path(loan_id): Path<String>,
) -> Result<Json<Explanation>, ApiError> {
    let loan = app.loan(&loan_id).await?;
    Ok(Json(app.mesh.explain_run(loan.run()).await?))
}
