//! What the caller of a dispatch emits after its commit.

use super::JobMetadata;
use crate::Run;

/// Something that was dispatched: emitted by the caller after its commit, never before.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DispatchEvent {
    /// A target of a run was dispatched; one event for each target.
    RunDispatched {
        /// The run, as it was when its target was dispatched.
        run: Run,
        /// The job.
        metadata: JobMetadata,
    },
}
