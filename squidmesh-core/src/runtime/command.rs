//! The commands of operators: cancel, unblock, approve, reject.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::actor::{UnacceptableActor, check_actor};
use super::awaited::awaited;
use super::commit::DecideError;
use super::{AfterCommit, Call, RetryPolicy, Runtime, keys};
use crate::engine::{self, ApprovalDecision, Attribution, ManualError, UnitOfWork};
use crate::id::RunId;
use crate::json::JsonViolation;
use crate::name::StepName;
use crate::port::{StoreError, StoreSession};
use crate::run::{InvalidTransition, PastDecision, Run, past_decision_text};
use crate::runtime::DispatchError;

/// The reasons why a command was not applied. The run is unchanged, except that after [`StoreError::OutcomeUnknown`]
/// the command may have been applied, or may yet be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no run with this id.
    #[error("there is no run {0}")]
    NotFound(RunId),
    /// The run's status does not allow the command.
    #[error(transparent)]
    InvalidTransition(#[from] InvalidTransition),
    /// The run waits for a different decision.
    #[error("step {step} waits to be {expected}")]
    OtherDecision {
        /// The step that waits.
        step: StepName,
        /// The decision that the step waits for.
        expected: &'static str,
    },
    /// A different step waits than the one that the call named.
    #[error("step {waits} waits for a person, not step {meant:?}{}", past_decision_text(.decided))]
    OtherStep {
        /// The step that waits.
        waits: StepName,
        /// The step that was named.
        meant: String,
        /// The past decision on the step that was named.
        decided: Option<Box<PastDecision>>,
    },
    /// The paused run does not define how it continues, or names a step that its workflow does not have.
    #[error("the paused run cannot be unblocked: {reason}")]
    CannotUnblock {
        /// The reason, for people.
        reason: String,
    },
    /// A value that the actor gave cannot be stored.
    #[error("{what} was refused: {why}")]
    Unacceptable {
        /// The refused value: the actor, the comment, the metadata, or the decision as a whole, which is the output
        /// of its step.
        what: &'static str,
        /// The violated rule.
        why: JsonViolation,
    },
    /// The decision does not fit into the context of the run.
    #[error(
        "the decision takes the context of the run to {bytes} bytes, beyond its limit of {limit} bytes: shorten its comment and metadata, or cancel the run"
    )]
    ContextTooLarge {
        /// The step that waits.
        step: StepName,
        /// The resulting size of the context, in bytes.
        bytes: usize,
        /// The maximum size: [`Config::max_context_bytes`](crate::Config::max_context_bytes).
        limit: usize,
    },
    /// A decision has no actor, or an actor was given but is empty.
    #[error("the actor is missing or empty: name who acts")]
    ActorNeeded,
    /// The following step could not be dispatched. The run still waits for the decision.
    #[error("nothing was decided: {0}")]
    Dispatch(#[from] DispatchError),
    /// The version that the run is pinned to is neither registered nor stored.
    #[error("run {0} is pinned to a version of its workflow that is not known: register that version")]
    UnknownDefinition(RunId),
    /// The run kept changing while the command was retried.
    #[error("run {0} kept changing; try again")]
    Conflict(RunId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ManualError> for CommandError {
    fn from(error: ManualError) -> Self {
        match error {
            ManualError::InvalidTransition(error) => CommandError::InvalidTransition(error),
            ManualError::OtherDecision { step, expected } => CommandError::OtherDecision { step, expected },
            ManualError::OtherStep { waits, meant, decided } => CommandError::OtherStep { waits, meant, decided },
            ManualError::ContextTooLarge { step, bytes, limit } => CommandError::ContextTooLarge { step, bytes, limit },
            ManualError::Unacceptable { why, .. } => {
                CommandError::Unacceptable { what: "the decision as a whole", why }
            }
            ManualError::Refused { refusal, .. } => CommandError::Dispatch(refusal.into()),
            ManualError::MissingContinuation { .. } | ManualError::InvalidTarget { .. } => {
                CommandError::CannotUnblock { reason: error.to_string() }
            }
        }
    }
}

impl<E: Into<CommandError>> From<DecideError<E>> for CommandError {
    fn from(error: DecideError<E>) -> Self {
        match error {
            DecideError::NotFound(id) => CommandError::NotFound(id),
            DecideError::UnknownDefinition(id) => CommandError::UnknownDefinition(id),
            DecideError::Refused(error) => error.into(),
            DecideError::Fenced(id) | DecideError::KeyTaken(id) | DecideError::Conflict(id) => {
                CommandError::Conflict(id)
            }
            DecideError::Store(error) => CommandError::Store(error),
        }
    }
}

/// Where a command is applied: the runtime, or a transaction of the host.
pub(crate) struct Scope<'a> {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) timeout: Duration,
    pub(crate) within: Option<(&'a dyn StoreSession, &'a AfterCommit)>,
}

impl Scope<'_> {
    async fn command<E: Into<CommandError>>(
        &self,
        doing: &'static str,
        id: RunId,
        command: impl FnMut(&mut UnitOfWork) -> Result<(), E> + Send,
    ) -> Result<Run, CommandError> {
        let call = Call::new(self.timeout);
        call.bound(&*self.runtime.clock, doing, self.apply(RetryPolicy::fail_fast(&call), id, command)).await
    }

    async fn apply<E: Into<CommandError>>(
        &self,
        policy: RetryPolicy<'_>,
        id: RunId,
        command: impl FnMut(&mut UnitOfWork) -> Result<(), E> + Send,
    ) -> Result<Run, CommandError> {
        match self.within {
            None => {
                let ((), run) = self.runtime.decide(id, policy, command).await?;
                Ok(keys::shown(Arc::unwrap_or_clone(run)))
            }
            Some((session, after)) => {
                let ((), state, announcement) =
                    self.runtime.decide_in_session(session, id, None, policy, command).await?;
                after.add(announcement);
                Ok(keys::shown(state.run))
            }
        }
    }

    fn check(&self, decided: &Attribution) -> Result<(), CommandError> {
        check_actor(&self.runtime, decided.actor.as_deref()).map_err(|error| match error {
            UnacceptableActor::Empty => CommandError::ActorNeeded,
            UnacceptableActor::Json(why) => CommandError::Unacceptable { what: "the actor", why },
        })?;
        let check = |what, value: Value| {
            self.runtime.config.json.check(&value).map_err(|why| CommandError::Unacceptable { what, why })
        };
        if let Some(comment) = &decided.comment {
            check("the comment", Value::from(comment.as_str()))?;
        }
        if let Some(metadata) = &decided.metadata {
            check("the metadata", Value::Object(metadata.clone()))?;
        }
        Ok(())
    }
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
            pub fn actor(mut self, actor: impl Into<String>) -> Self {
                self.decided.actor = Some(actor.into());
                self
            }

            /// Sets the actor's comment, for the audit trail.
            pub fn comment(mut self, comment: impl Into<String>) -> Self {
                self.decided.comment = Some(comment.into());
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

macro_rules! of_a_step {
    ($name:ident) => {
        impl $name<'_> {
            /// Sets the step that the command is for: if a different one waits when the call is applied, the command
            /// is refused. By default, the command is for the step that waits.
            pub fn step(mut self, step: impl Into<String>) -> Self {
                self.decided.step = Some(step.into());
                self
            }
        }
    };
}

of_a_step!(UnblockRun);
of_a_step!(DecideApproval);

impl CancelRun<'_> {
    async fn call(self) -> Result<Run, CommandError> {
        self.scope.check(&self.decided)?;
        self.scope.command("cancelling a run", self.id, |work| engine::cancel(work, self.decided.clone())).await
    }
}

impl UnblockRun<'_> {
    async fn call(self) -> Result<Run, CommandError> {
        self.scope.check(&self.decided)?;
        let runtime = self.scope.runtime.clone();
        let unblock = |work: &mut UnitOfWork| engine::unblock(work, self.decided.clone(), &*runtime);
        self.scope.command("unblocking a run", self.id, unblock).await
    }
}

impl DecideApproval<'_> {
    async fn call(self) -> Result<Run, CommandError> {
        if self.decided.actor.is_none() {
            return Err(CommandError::ActorNeeded);
        }
        self.scope.check(&self.decided)?;
        let runtime = self.scope.runtime.clone();
        let decide = |work: &mut UnitOfWork| engine::decide(work, self.verdict, self.decided.clone(), &*runtime);
        self.scope.command("deciding about a run", self.id, decide).await
    }
}
