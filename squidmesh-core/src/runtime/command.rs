//! What people command: cancel, unblock, approve, reject.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::decide::{DecideError, Persistence};
use super::{AfterCommit, Runtime};
use crate::engine::{self, Decided, ManualError, UnitOfWork, Verdict};
use crate::{InvalidTransition, JsonViolation, Run, RunId, StepName, StoreError, StoreSession};

/// Why a command was not carried out. The run is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no run with this id.
    #[error("there is no run {0}")]
    NotFound(RunId),
    /// The run's status does not allow it.
    #[error(transparent)]
    InvalidTransition(#[from] InvalidTransition),
    /// The run waits for another decision.
    #[error("step {step} waits to be {expected}")]
    OtherDecision {
        /// The step that waits.
        step: StepName,
        /// What it waits for.
        expected: &'static str,
    },
    /// Another step waits than the one that the call named.
    #[error("step {waits} waits for a person, not step {meant:?}")]
    OtherStep {
        /// The step that waits.
        waits: StepName,
        /// The step that was named.
        meant: String,
    },
    /// The paused run does not say how it goes on; or names a step that its workflow does not have.
    #[error("the paused run cannot go on: {reason}")]
    CannotResume {
        /// Why, for people.
        reason: String,
    },
    /// What the actor gave cannot be stored.
    #[error("{what} was refused: {why}")]
    Unacceptable {
        /// Which part: the actor, the comment, the metadata, or the decision as a whole, which is the output of its step.
        what: &'static str,
        /// Why.
        why: JsonViolation,
    },
    /// A decision needs to say whose it is.
    #[error("a decision needs an actor")]
    ActorNeeded,
    /// The version that the run is pinned to is neither registered nor stored.
    #[error("run {0} is pinned to a version of its workflow that is not known: register that version")]
    UnknownDefinition(RunId),
    /// The run kept changing.
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
            ManualError::OtherStep { waits, meant } => CommandError::OtherStep { waits, meant },
            ManualError::Unacceptable { why, .. } => {
                CommandError::Unacceptable { what: "the decision as a whole", why }
            }
            ManualError::MissingResume { .. } | ManualError::InvalidTarget { .. } => {
                CommandError::CannotResume { reason: error.to_string() }
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

/// Where a command is carried out.
pub(super) struct Scope<'a> {
    pub(super) runtime: Arc<Runtime>,
    pub(super) within: Option<(&'a dyn StoreSession, &'a AfterCommit)>,
}

impl Scope<'_> {
    async fn command<E: Into<CommandError>>(
        &self,
        id: RunId,
        command: impl FnMut(&mut UnitOfWork) -> Result<(), E> + Send,
    ) -> Result<Run, CommandError> {
        match self.within {
            None => {
                let ((), run) = self.runtime.decide(id, Persistence::Caller, command).await?;
                Ok(Arc::unwrap_or_clone(run))
            }
            Some((session, after)) => {
                let ((), state, announcement) =
                    self.runtime.decide_in(session, id, None, Persistence::Caller, command).await?;
                after.add(announcement);
                Ok(state.run)
            }
        }
    }

    fn check(&self, decided: &Decided) -> Result<(), CommandError> {
        let limits = &self.runtime.config.json;
        let text = |what, text: &Option<String>| match text {
            Some(text) => {
                limits.check(&Value::from(text.as_str())).map_err(|why| CommandError::Unacceptable { what, why })
            }
            None => Ok(()),
        };
        text("the actor", &decided.actor)?;
        text("the comment", &decided.comment)?;
        match &decided.metadata {
            Some(metadata) => limits
                .check(&Value::Object(metadata.clone()))
                .map_err(|why| CommandError::Unacceptable { what: "the metadata", why }),
            None => Ok(()),
        }
    }
}

macro_rules! manual_command {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* }) => {
        $(#[$doc])*
        #[must_use = "the command is carried out when this is awaited"]
        pub struct $name<'a> {
            scope: Scope<'a>,
            id: RunId,
            decided: Decided,
            $($field: $type,)*
        }

        impl<'a> $name<'a> {
            pub(super) fn new(scope: Scope<'a>, id: RunId, $($field: $type),*) -> Self {
                $name { scope, id, decided: Decided::default(), $($field),* }
            }

            /// Who does it.
            pub fn actor(mut self, actor: impl Into<String>) -> Self {
                self.decided.actor = Some(actor.into());
                self
            }

            /// What they say, for the audit trail.
            pub fn comment(mut self, comment: impl Into<String>) -> Self {
                self.decided.comment = Some(comment.into());
                self
            }

            /// What else belongs to it, for the audit trail.
            pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
                self.decided.metadata = Some(metadata);
                self
            }
        }

        impl<'a> IntoFuture for $name<'a> {
            type Output = Result<Run, CommandError>;
            type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.carry_out())
            }
        }
    };
}

manual_command!(
    /// The cancellation of a run. Made by [`Squidmesh::cancel_run`](crate::Squidmesh::cancel_run).
    CancelRun {}
);
manual_command!(
    /// The release of a paused run. Made by [`Squidmesh::unblock_run`](crate::Squidmesh::unblock_run).
    Unblock {}
);
manual_command!(
    /// The decision on an approval. Made by [`Squidmesh::approve_run`](crate::Squidmesh::approve_run) and
    /// [`Squidmesh::reject_run`](crate::Squidmesh::reject_run).
    Decide { verdict: Verdict }
);

macro_rules! of_a_step {
    ($name:ident) => {
        impl $name<'_> {
            /// The step that is meant: if another one waits by the time that the call is carried out, it is refused. Without it,
            /// whichever step waits is meant.
            pub fn step(mut self, step: impl Into<String>) -> Self {
                self.decided.step = Some(step.into());
                self
            }
        }
    };
}

of_a_step!(Unblock);
of_a_step!(Decide);

impl CancelRun<'_> {
    async fn carry_out(self) -> Result<Run, CommandError> {
        self.scope.check(&self.decided)?;
        self.scope.command(self.id, |work| engine::cancel(work, self.decided.clone())).await
    }
}

impl Unblock<'_> {
    async fn carry_out(self) -> Result<Run, CommandError> {
        self.scope.check(&self.decided)?;
        let runtime = self.scope.runtime.clone();
        self.scope.command(self.id, |work| engine::unblock(work, self.decided.clone(), &*runtime)).await
    }
}

impl Decide<'_> {
    async fn carry_out(self) -> Result<Run, CommandError> {
        if self.decided.actor.as_ref().is_none_or(String::is_empty) {
            return Err(CommandError::ActorNeeded);
        }
        self.scope.check(&self.decided)?;
        let runtime = self.scope.runtime.clone();
        self.scope.command(self.id, |work| engine::decide(work, self.verdict, self.decided.clone(), &*runtime)).await
    }
}
