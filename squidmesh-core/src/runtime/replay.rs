//! Replaying: a new run from the payload of one that has ended.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use super::start::check_actor;
use super::{Runtime, StartError, StartRun};
use crate::engine::unsafe_to_replay;
use crate::{Run, RunId, RunStatus, StepName, StoreError, StoreSession};

/// Why a run was not replayed. Nothing was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// There is no run with this id.
    #[error("there is no run {0}")]
    NotFound(RunId),
    /// The run has not ended: two of them would work side by side.
    #[error("run {run} is {status}: only a run that has ended is replayed; cancel it first")]
    NotEnded {
        /// The run.
        run: RunId,
        /// Its status.
        status: RunStatus,
    },
    /// Effects that cannot be undone would be repeated.
    #[error(
        "replaying run {run} would repeat steps that are irreversible or not compensatable: {}; allow it with `.allow_irreversible()`",
        .steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    UnsafeReplay {
        /// The run.
        run: RunId,
        /// The steps whose effects stay: completed, or still running beside the one that failed.
        steps: Vec<StepName>,
    },
    /// The new run could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The replay of a run. Made by [`Squidmesh::replay_run`](crate::Squidmesh::replay_run).
#[must_use = "a run is replayed when this is awaited"]
pub struct ReplayRun {
    runtime: Arc<Runtime>,
    id: RunId,
    allow_irreversible: bool,
    actor: Option<String>,
    idempotency_key: Option<String>,
}

impl ReplayRun {
    pub(super) fn new(runtime: Arc<Runtime>, id: RunId) -> Self {
        ReplayRun { runtime, id, allow_irreversible: false, actor: None, idempotency_key: None }
    }

    /// Replays even if effects that cannot be undone are repeated.
    pub fn allow_irreversible(mut self) -> Self {
        self.allow_irreversible = true;
        self
    }

    /// Who replays it, for the audit trail.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// Replays at most once under this key; see [`StartRun::idempotency_key`].
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// The start of the new run, if the old one may be replayed.
    async fn prepared(self) -> Result<StartRun<'static>, ReplayError> {
        let id = self.id;
        let state = self.runtime.store.load(id).await?.ok_or(ReplayError::NotFound(id))?;
        if !state.run.status.is_terminal() {
            return Err(ReplayError::NotEnded { run: id, status: state.run.status });
        }
        let steps = unsafe_to_replay(&state);
        if !steps.is_empty() && !self.allow_irreversible {
            return Err(ReplayError::UnsafeReplay { run: id, steps });
        }
        check_actor(&self.runtime, self.actor.as_deref())?;
        let mut start = StartRun::new(self.runtime, state.run.workflow.as_str(), &*state.run.payload)
            .trigger(state.run.trigger.as_str())
            .replaying(id, self.actor)
            .intended_at(state.run.intended_at);
        if let Some(key) = self.idempotency_key {
            start = start.idempotency_key(key);
        }
        Ok(start)
    }

    async fn replay(self) -> Result<Run, ReplayError> {
        Ok(self.prepared().await?.await?)
    }

    /// Whether the run would be replayed. Nothing is stored.
    pub(super) async fn check(self) -> Result<(), ReplayError> {
        Ok(self.prepared().await?.check()?)
    }
}

impl IntoFuture for ReplayRun {
    type Output = Result<Run, ReplayError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.replay())
    }
}
