//! The identity of the caller.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::api_error::ApiError;

/// The header that names the caller.
const HEADER: &str = "x-user";

/// The person who sent the request: the actor of a decision.
///
/// **A stand-in for authentication**: it believes the header. A service verifies a token or a session here, and checks
/// what the caller may do; the handlers stay as they are.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name that is recorded in the audit trail.
    pub name: String,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let header = parts.headers.get(HEADER).and_then(|value| value.to_str().ok());
        match header.map(str::trim) {
            Some(name) if !name.is_empty() => Ok(Caller { name: name.to_owned() }),
            _ => Err(ApiError::UnknownCaller),
        }
    }
}
