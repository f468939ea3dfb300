//! `POST /loans/{loan_id}/approve` and `/reject`: a person's decision, recorded with that person's name.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use serde::Deserialize;

use crate::api_error::ApiError;
use crate::app::App;
use crate::caller::Caller;
use crate::view::LoanView;
use crate::workflow::REVIEW;

/// Approves a loan.
///
/// # Errors
/// Returns an [`ApiError`]; a loan that does not wait for a decision is a conflict.
pub async fn approve(
    State(app): State<App>,
    caller: Caller,
    Path(loan_id): Path<String>,
) -> Result<Json<LoanView>, ApiError> {
    let loan = app.loan(&loan_id).await?;
    // The step is named, so that a request that is repeated late never decides another approval of the run.
    let run = app.mesh.approve_run(loan.run()).step(REVIEW).actor(caller.name).await?;
    Ok(Json(LoanView::of(loan, Some(run))))
}

/// The reason for a rejection, which the customer receives.
#[derive(Debug, Deserialize)]
pub struct Rejection {
    comment: String,
}

/// Rejects a loan.
///
/// # Errors
/// Returns an [`ApiError`]; a loan that does not wait for a decision is a conflict.
pub async fn reject(
    State(app): State<App>,
    caller: Caller,
    Path(loan_id): Path<String>,
    body: Result<Json<Rejection>, JsonRejection>,
) -> Result<Json<LoanView>, ApiError> {
    let Json(Rejection { comment }) = body?;
    let loan = app.loan(&loan_id).await?;
    let run = app.mesh.reject_run(loan.run()).step(REVIEW).actor(caller.name).comment(comment).await?;
    Ok(Json(LoanView::of(loan, Some(run))))
}
