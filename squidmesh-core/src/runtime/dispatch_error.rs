//! The error of a dispatch.

use super::commit::RunKeptChanging;
use super::lookup_error::{RunNotFound, UnknownDefinition};
use crate::chain::debug_as_text;
use crate::engine::DispatchRefused;
use crate::name::StepName;
use crate::port::StoreError;

/// The reason why nothing was dispatched. Changes that the call had begun are undone.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DispatchError {
    /// There is no run with this id.
    #[error(transparent)]
    NotFound(#[from] RunNotFound),
    /// The run or the executor does not allow the dispatch.
    #[error(transparent)]
    Refused(#[from] DispatchRefused),
    /// The version that the run is pinned to is neither registered nor stored.
    #[error(transparent)]
    UnknownDefinition(#[from] UnknownDefinition),
    /// The run kept changing, and the call gave up after many tries.
    #[error(transparent)]
    Conflict(#[from] RunKeptChanging),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

debug_as_text!(DispatchError);

impl DispatchError {
    /// Returns the step that the executor refused; `None` for any other error, or if the refusal is about no
    /// particular step.
    pub fn refused_step(&self) -> Option<StepName> {
        match self {
            DispatchError::Refused(refused) => refused.refused_step(),
            _ => None,
        }
    }
}
