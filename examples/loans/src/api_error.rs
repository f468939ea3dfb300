//! Which error is which HTTP status, in one place.
//!
//! The body is a problem (RFC 9457). A client's mistake is described to the client; the service's own failures are
//! described to the log alone.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sea_orm::DbErr;
use serde::Serialize;
use squidmesh_core::command::{CommandError, CommandRefused, StartError};
use squidmesh_core::port::StoreError;

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The request names no caller.
    #[error("the request does not name its caller: send the header x-user")]
    UnknownCaller,
    /// There is no such loan.
    #[error("there is no loan {loan_id:?}")]
    UnknownLoan {
        /// The id that was given.
        loan_id: String,
    },
    /// The id belongs to an application with other contents.
    #[error("loan {loan_id:?} exists already, for another customer or amount")]
    OtherApplication {
        /// The id that was given.
        loan_id: String,
    },
    /// The body is not JSON, or does not fit its type.
    #[error(transparent)]
    Body(#[from] JsonRejection),
    /// The run was not started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A command on the run, or its inspection, failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The table of loans failed. Nothing was changed.
    #[error("the table of loans cannot be read or written: {0}")]
    Database(#[from] DbErr),
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            ApiError::UnknownCaller => StatusCode::UNAUTHORIZED,
            ApiError::UnknownLoan { .. } => StatusCode::NOT_FOUND,
            ApiError::OtherApplication { .. } => StatusCode::CONFLICT,
            ApiError::Body(rejection) => rejection.status(),
            ApiError::Start(error) => of_start(error),
            ApiError::Command(error) => of_command(error),
            ApiError::Store(error) => of_store(error),
            ApiError::Database(DbErr::Conn(_) | DbErr::ConnectionAcquire(_)) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Database(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn of_start(error: &StartError) -> StatusCode {
    match error {
        StartError::InvalidPayload { .. } | StartError::UnacceptablePayload(_) | StartError::InvalidKey => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        StartError::Conflict(_) => StatusCode::SERVICE_UNAVAILABLE,
        StartError::Store(error) => of_store(error),
        // The service's own mistakes: a workflow or trigger that is not registered, a queue that does not exist.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn of_command(error: &CommandError) -> StatusCode {
    match error {
        CommandError::NotFound(_) => StatusCode::NOT_FOUND,
        CommandError::Refused(refused) => of_refusal(refused),
        CommandError::Actor(_) | CommandError::Unacceptable { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        CommandError::Conflict(_) => StatusCode::SERVICE_UNAVAILABLE,
        CommandError::Store(error) => of_store(error),
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn of_refusal(refused: &CommandRefused) -> StatusCode {
    match refused {
        CommandRefused::InvalidTransition(_)
        | CommandRefused::OtherDecision { .. }
        | CommandRefused::OtherStep { .. } => StatusCode::CONFLICT,
        CommandRefused::Unacceptable { .. } | CommandRefused::ContextTooLarge { .. } => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn of_store(error: &StoreError) -> StatusCode {
    match error {
        StoreError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        StoreError::OutcomeUnknown { .. } => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The body of an error.
#[derive(Serialize)]
struct Problem {
    title: &'static str,
    status: u16,
    detail: String,
    /// The fields of the payload that break a rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

#[derive(Serialize)]
struct FieldError {
    path: String,
    problem: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let detail = match status {
            StatusCode::SERVICE_UNAVAILABLE => "Nothing was changed. Repeat the request later.".to_owned(),
            StatusCode::GATEWAY_TIMEOUT => {
                "The request may have been carried out, or may yet be. Repeat it: it takes effect once.".to_owned()
            }
            StatusCode::INTERNAL_SERVER_ERROR => "The service failed. Its log has the reason.".to_owned(),
            _ => self.to_string(),
        };
        if status.is_server_error() {
            tracing::error!(status = status.as_u16(), error = %self, "a request failed");
        }
        let errors = match &self {
            ApiError::Start(StartError::InvalidPayload { errors, .. }) => errors
                .iter()
                .map(|error| FieldError { path: error.path.clone(), problem: error.problem.to_string() })
                .collect(),
            _ => Vec::new(),
        };
        let title = status.canonical_reason().unwrap_or_default();
        let problem = Problem { title, status: status.as_u16(), detail, errors };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use squidmesh_core::run::{InvalidTransition, RunStatus};

    use super::*;

    fn answer(error: impl Into<ApiError>) -> (u16, bool) {
        let response = error.into().into_response();
        (response.status().as_u16(), response.headers().contains_key(header::RETRY_AFTER))
    }

    #[test]
    fn a_client_learns_whether_anything_may_have_changed() {
        let unavailable = || StoreError::Unavailable { doing: "committing", source: "no route to host".into() };
        let unknown = || StoreError::OutcomeUnknown { source: "connection reset".into() };
        assert_eq!(answer(unavailable()), (503, true));
        assert_eq!(answer(StartError::Store(unavailable())), (503, true));
        assert_eq!(answer(CommandError::Store(unknown())), (504, false));
        assert_eq!(answer(ApiError::Store(unknown())), (504, false));
    }

    #[test]
    fn a_run_that_does_not_allow_a_command_is_a_conflict() {
        let ended = InvalidTransition { from: RunStatus::Completed, to: RunStatus::Running, decided: None };
        assert_eq!(answer(CommandError::Refused(ended.into())), (409, false));
    }

    #[tokio::test]
    async fn the_services_own_failures_are_not_described_to_clients() {
        let secret = StoreError::Refused { doing: "loading a run", source: "no such table: squidmesh_runs".into() };
        let response = ApiError::from(secret).into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 1 << 10).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("squidmesh_runs"));
    }
}
