//! `POST /loans`: stores the loan's row and starts its run in one transaction, so that neither is ever without the
//! other.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;

use crate::api_error::ApiError;
use crate::app::App;
use crate::application::Application;
use crate::loan;
use crate::view::LoanView;
use crate::workflow::LOAN;

/// Takes in an application: 201 for a new one, 200 for one that is repeated.
///
/// # Errors
/// Returns an [`ApiError`]. Nothing was stored, except after an answer of 504: then all of it may have been.
pub async fn apply(
    State(app): State<App>,
    body: Result<Json<Application>, JsonRejection>,
) -> Result<(StatusCode, Json<LoanView>), ApiError> {
    let Json(application) = body?;
    // An error on the way, or a client that disconnects before the commit, rolls both back.
    let stored = app.store.transaction(&app.mesh, async |transaction, mesh| {
        let run = mesh.start(LOAN, &application).idempotency_key(&application.loan_id).await?;
        let (loan, new) = loan::insert(transaction, &application, run.id).await?;
        Ok::<_, ApiError>((run, loan, new))
    });
    let (run, loan, new) = stored.await?;

    if !loan.is_of(&application) {
        return Err(ApiError::OtherApplication { loan_id: loan.loan_id });
    }
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(LoanView::of(loan, Some(run)))))
}
