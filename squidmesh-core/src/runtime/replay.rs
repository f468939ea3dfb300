//! Replaying: a new run from the payload of one that has ended.

use std::sync::Arc;
use std::time::Duration;

use super::actor::InvalidActor;
use super::awaited::awaited;
use super::lookup_error::RunNotFound;
use super::{Call, RetryPolicy, Runtime, StartError, StartRun};
use crate::chain::debug_as_text;
use crate::engine::unsafe_to_replay;
use crate::id::RunId;
use crate::name::{StepName, listed};
use crate::port::{StoreError, StoreSession};
use crate::run::{Run, RunStatus};

/// The reasons why a run was not replayed. Nothing was stored, except that after [`StoreError::OutcomeUnknown`] the
/// new run may have been stored, or may yet be.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// There is no run with this id.
    #[error(transparent)]
    NotFound(#[from] RunNotFound),
    /// The run has not ended: both runs would work side by side.
    #[error("run {run} is {status}: only a run that has ended is replayed; cancel it first")]
    NotEnded {
        /// The run.
        run: RunId,
        /// The status of the run.
        status: RunStatus,
    },
    /// Irreversible effects would be repeated.
    #[error(
        "replaying run {run} would repeat steps that are irreversible or not compensatable: {}; allow it with `.allow_irreversible()`",
        listed(.steps)
    )]
    UnsafeReplay {
        /// The run.
        run: RunId,
        /// The steps whose effects remain: completed, or still running beside the failed one.
        steps: Vec<StepName>,
    },
    /// The actor cannot be stored.
    #[error(transparent)]
    Actor(#[from] InvalidActor),
    /// The new run could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

debug_as_text!(ReplayError);

/// The replay of a run. Created by [`Squidmesh::replay_run`](crate::Squidmesh::replay_run).
#[must_use = "a run is replayed when this is awaited"]
pub struct ReplayRun {
    runtime: Arc<Runtime>,
    id: RunId,
    allow_irreversible: bool,
    actor: Option<String>,
    idempotency_key: Option<String>,
    own_key: Option<String>,
    timeout: Duration,
}

impl ReplayRun {
    pub(crate) fn new(runtime: Arc<Runtime>, id: RunId) -> Self {
        let timeout = runtime.config.call_timeout;
        let (idempotency_key, own_key) = (None, None);
        ReplayRun { runtime, id, allow_irreversible: false, actor: None, idempotency_key, own_key, timeout }
    }

    /// Replays even if irreversible effects are repeated.
    pub fn allow_irreversible(mut self) -> Self {
        self.allow_irreversible = true;
        self
    }

    /// Sets the timeout of the call, instead of [`Config::call_timeout`](crate::Config::call_timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the actor, for the audit trail.
    pub fn actor(mut self, actor: impl AsRef<str>) -> Self {
        self.actor = Some(actor.as_ref().to_owned());
        self
    }

    /// Replays at most once under this key; see [`StartRun::idempotency_key`].
    pub fn idempotency_key(mut self, key: impl AsRef<str>) -> Self {
        self.idempotency_key = Some(key.as_ref().to_owned());
        self
    }

    /// Replays at most once under a key that the runtime created, if there is one.
    pub(super) fn own_key(mut self, key: Option<String>) -> Self {
        self.own_key = key;
        self
    }

    /// Returns the start of the new run, if the old one may be replayed.
    async fn prepared(self) -> Result<StartRun<'static>, ReplayError> {
        let id = self.id;
        let state = self.runtime.store.load(id).await?.ok_or(RunNotFound { run: id })?;
        if !state.run.status.is_terminal() {
            return Err(ReplayError::NotEnded { run: id, status: state.run.status });
        }
        let steps = unsafe_to_replay(&state);
        if !steps.is_empty() && !self.allow_irreversible {
            return Err(ReplayError::UnsafeReplay { run: id, steps });
        }
        self.runtime.check_actor(self.actor.as_deref())?;
        let start = StartRun::new(self.runtime, state.run.workflow.as_str(), &*state.run.payload)
            .trigger(state.run.trigger.as_str())
            .replaying(id, self.actor)
            .intended_at(state.run.intended_at)
            .own_key(self.own_key);
        Ok(match self.idempotency_key {
            Some(key) => start.idempotency_key(key),
            None => start,
        })
    }

    async fn replay(self) -> Result<Run, ReplayError> {
        let (clock, call) = (self.runtime.clock.clone(), Call::new(self.timeout));
        call.bound(&*clock, "replaying a run", self.start(RetryPolicy::fail_fast(&call))).await
    }

    /// Replays the run as part of a call.
    pub(super) async fn start(self, policy: RetryPolicy<'_>) -> Result<Run, ReplayError> {
        Ok(self.prepared().await?.start_in_call(policy).await?)
    }

    /// Checks whether the run would be replayed. Nothing is stored.
    pub(super) async fn check(self) -> Result<(), ReplayError> {
        Ok(self.prepared().await?.check()?)
    }
}

awaited!(ReplayRun, replay -> Result<Run, ReplayError>);
