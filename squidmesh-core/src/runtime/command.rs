//! The commands of operators: cancel, unblock, approve, reject.

use std::time::Duration;

use futures_util::TryFutureExt;
use serde_json::{Map, Value};

use super::actor::InvalidActor;
use super::awaited::awaited;
use super::commit::{DecideError, RunKeptChanging};
use super::lookup_error::{RunNotFound, UnknownDefinition};
use super::scope::{Scope, Unattributable};
use super::{Call, RetryPolicy};
use crate::chain::debug_as_text;
use crate::engine::{self, ApprovalDecision, Attribution, CommandRefused, UnitOfWork};
use crate::id::RunId;
use crate::json::JsonViolation;
use crate::port::StoreError;
use crate::run::Run;

/// The reasons why a command was not applied. The run is unchanged, except that after [`StoreError::OutcomeUnknown`]
/// the command may have been applied, or may yet be.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no run with this id.
    #[error(transparent)]
    NotFound(#[from] RunNotFound),
    /// The run does not allow the command.
    #[error(transparent)]
    Refused(#[from] CommandRefused),
    /// The actor is missing, or cannot be stored.
    #[error(transparent)]
    Actor(#[from] InvalidActor),
    /// Another value that the actor gave cannot be stored.
    #[error("{what} was refused: {why}")]
    Unacceptable {
        /// The refused value: the comment or the metadata.
        what: &'static str,
        /// The violated rule.
        why: JsonViolation,
    },
    /// The version that the run is pinned to is neither registered nor stored.
    #[error(transparent)]
    UnknownDefinition(#[from] UnknownDefinition),
    /// The run kept changing while the command was retried.
    #[error(transparent)]
    Conflict(#[from] RunKeptChanging),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

debug_as_text!(CommandError);

impl From<Unattributable> for CommandError {
    fn from(error: Unattributable) -> Self {
        match error {
            Unattributable::Actor(error) => error.into(),
            Unattributable::Value { what, why } => CommandError::Unacceptable { what, why },
        }
    }
}

/// Applies a command.
async fn command(
    scope: &Scope<'_>,
    doing: &'static str,
    id: RunId,
    decided: &Attribution,
    command: impl FnMut(&mut UnitOfWork) -> Result<(), CommandRefused> + Send,
) -> Result<Run, CommandError> {
    scope.check(decided)?;
    let call = Call::new(scope.timeout);
    let applied = scope.decide(RetryPolicy::fail_fast(&call), id, command);
    let ((), run) =
        call.bound(&*scope.runtime.clock, doing, applied.map_err(DecideError::into_call_error::<CommandError>)).await?;
    Ok(run)
}

macro_rules! manual_command {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* }) => {
        $(#[$doc])*
        #[must_use = "the command is applied when this is awaited"]
        pub struct $name<'a> {
            scope: Scope<'a>,
            id: RunId,
            decided: Attribution,
            $($field: $type,)*
        }

        impl<'a> $name<'a> {
            pub(crate) fn new(scope: Scope<'a>, id: RunId, $($field: $type),*) -> Self {
                $name { scope, id, decided: Attribution::default(), $($field),* }
            }

            /// Sets the actor.
            pub fn actor(mut self, actor: impl AsRef<str>) -> Self {
                self.decided.actor = Some(actor.as_ref().to_owned());
                self
            }

            /// Sets the actor's comment, for the audit trail.
            pub fn comment(mut self, comment: impl AsRef<str>) -> Self {
                self.decided.comment = Some(comment.as_ref().to_owned());
                self
            }

            /// Sets the timeout of the call, instead of [`Config::call_timeout`](crate::Config::call_timeout).
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.scope.timeout = timeout;
                self
            }

            /// Sets further data for the audit trail.
            pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
                self.decided.metadata = Some(metadata);
                self
            }
        }

        awaited!($name<'a>, call -> Result<Run, CommandError>);
    };
}

manual_command!(
    /// The cancellation of a run. Created by [`Squidmesh::cancel_run`](crate::Squidmesh::cancel_run).
    CancelRun {}
);
manual_command!(
    /// The unblocking of a paused run. Created by [`Squidmesh::unblock_run`](crate::Squidmesh::unblock_run).
    UnblockRun {}
);
manual_command!(
    /// The decision on an approval. Created by [`Squidmesh::approve_run`](crate::Squidmesh::approve_run) and
    /// [`Squidmesh::reject_run`](crate::Squidmesh::reject_run).
    DecideApproval { verdict: ApprovalDecision }
);

impl CancelRun<'_> {
    async fn call(self) -> Result<Run, CommandError> {
        let cancel = |work: &mut UnitOfWork| engine::cancel(work, self.decided.clone());
        command(&self.scope, "cancelling a run", self.id, &self.decided, cancel).await
    }
}

impl UnblockRun<'_> {
    /// Sets the step that the command is for: if a different one waits when the call is applied, the command is
    /// refused. By default, the command is for the step that waits.
    pub fn step(mut self, step: impl AsRef<str>) -> Self {
        self.decided.step = Some(step.as_ref().to_owned());
        self
    }

    async fn call(self) -> Result<Run, CommandError> {
        let runtime = &*self.scope.runtime;
        let unblock = |work: &mut UnitOfWork| engine::unblock(work, self.decided.clone(), runtime);
        command(&self.scope, "unblocking a run", self.id, &self.decided, unblock).await
    }
}

impl DecideApproval<'_> {
    /// Sets the step that the command is for: if a different one waits when the call is applied, the command is
    /// refused. By default, the command is for the step that waits.
    pub fn step(mut self, step: impl AsRef<str>) -> Self {
        self.decided.step = Some(step.as_ref().to_owned());
        self
    }

    async fn call(self) -> Result<Run, CommandError> {
        if self.decided.actor.is_none() {
            return Err(InvalidActor::Missing.into());
        }
        let runtime = &*self.scope.runtime;
        let decide = |work: &mut UnitOfWork| engine::decide(work, self.verdict, self.decided.clone(), runtime);
        command(&self.scope, "deciding about a run", self.id, &self.decided, decide).await
    }
}
