//! The events that the caller of a dispatch emits after its commit.

use super::{Intent, JobMetadata};
use crate::run::Run;

/// An event about a dispatch: emitted by the caller after its commit, never before.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DispatchEvent {
    /// A target of a run was dispatched; one event for each target.
    RunDispatched {
        /// The run at the time of the dispatch.
        run: Run,
        /// The metadata of the job.
        metadata: JobMetadata,
    },
}

impl DispatchEvent {
    /// Returns the intent that was committed for the target.
    pub(crate) fn intent(&self) -> Option<&Intent> {
        match self {
            DispatchEvent::RunDispatched { metadata, .. } => metadata.intent.as_deref(),
        }
    }
}
