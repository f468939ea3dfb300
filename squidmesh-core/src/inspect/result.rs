//! The result of a run, as the type that a reference to its workflow names.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::details::RunDetails;
use crate::chain::debug_as_text;
use crate::id::RunId;
use crate::json::decode;
use crate::name::WorkflowName;
use crate::run::RunStatus;
use crate::workflow::WorkflowRef;

/// Why a run has no result of the requested type.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum NoResult {
    /// The run has not completed.
    #[error("run {run} has no result: it is {status}")]
    NotCompleted {
        /// The run.
        run: RunId,
        /// The status that the run has instead.
        status: RunStatus,
    },
    /// The run is of another workflow than the reference.
    #[error("run {run} is of workflow {found}, not of {expected}")]
    OtherWorkflow {
        /// The run.
        run: RunId,
        /// The workflow of the run.
        found: WorkflowName,
        /// The workflow that the reference names.
        expected: &'static str,
    },
    /// The run's context is not of the type that the reference names. Nothing of it is shown.
    #[error("the result of run {run} does not fit {expected}: {reason}")]
    DoesNotFit {
        /// The run.
        run: RunId,
        /// The name of the type.
        expected: &'static str,
        /// The path in the context, and what was expected there.
        reason: String,
    },
}

debug_as_text!(NoResult);

impl RunDetails {
    /// Returns the result of the completed run, its context, as the type that the reference names.
    ///
    /// # Errors
    /// [`NoResult`].
    pub fn result<P, R: DeserializeOwned>(&self, workflow: WorkflowRef<P, R>) -> Result<R, NoResult> {
        let run = self.run.id;
        if self.run.workflow != workflow.name() {
            return Err(NoResult::OtherWorkflow { run, found: self.run.workflow.clone(), expected: workflow.name() });
        }
        if self.run.status != RunStatus::Completed {
            return Err(NoResult::NotCompleted { run, status: self.run.status });
        }
        decode(Value::Object(self.context.clone())).map_err(|failure| NoResult::DoesNotFit {
            run,
            expected: std::any::type_name::<R>(),
            reason: failure.to_string(),
        })
    }
}
