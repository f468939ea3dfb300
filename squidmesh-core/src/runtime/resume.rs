//! Resuming: a new run that continues where a failed one stopped.

use std::sync::Arc;
use std::time::Duration;

use super::actor::InvalidActor;
use super::awaited::awaited;
use super::lookup_error::RunNotFound;
use super::start::start_in;
use super::{Call, RetryPolicy, Runtime, StartError, keys};
use crate::chain::debug_as_text;
use crate::definition::Fingerprint;
use crate::engine::{self, DispatchRefused, NewRun, Resumption, UnitOfWork, Unresumable, resumption, resumption_in};
use crate::id::RunId;
use crate::name::{StepName, WorkflowName, listed};
use crate::port::{StoreError, StoreSession};
use crate::run::{Run, RunSnapshot};
use crate::workflow::Workflow;

/// The operation, as errors name it.
const RESUMING: &str = "resuming a run";

/// The reasons why a run was not resumed. Nothing was stored, except that after [`StoreError::OutcomeUnknown`] the
/// new run may have been stored, or may yet be.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// There is no run with this id.
    #[error(transparent)]
    NotFound(#[from] RunNotFound),
    /// The run cannot be resumed: it has not failed, or has no step to continue from.
    #[error(transparent)]
    Unresumable(#[from] Unresumable),
    /// Irreversible effects might be repeated.
    #[error(
        "resuming run {run} would try steps again that are irreversible or not compensatable: {}; allow it with `.allow_irreversible()`",
        listed(.steps)
    )]
    UnsafeResume {
        /// The run.
        run: RunId,
        /// The steps that were tried before and did not complete.
        steps: Vec<StepName>,
    },
    /// The version that the run is pinned to is not registered here, and no registered version may
    /// [adopt](crate::command::SquidmeshBuilder::adopt) its runs.
    #[error(
        "run {run} is pinned to version {fingerprint} of workflow {workflow}, which is not registered: register it"
    )]
    NotRegistered {
        /// The run.
        run: RunId,
        /// The workflow.
        workflow: WorkflowName,
        /// The version.
        fingerprint: Fingerprint,
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

debug_as_text!(ResumeError);

/// The resumption of a failed run. Created by [`Squidmesh::resume_run`](crate::Squidmesh::resume_run).
#[must_use = "a run is resumed when this is awaited"]
pub struct ResumeRun {
    runtime: Arc<Runtime>,
    id: RunId,
    allow_irreversible: bool,
    actor: Option<String>,
    timeout: Duration,
}

impl ResumeRun {
    pub(crate) fn new(runtime: Arc<Runtime>, id: RunId) -> Self {
        ResumeRun { timeout: runtime.config.call_timeout, runtime, id, allow_irreversible: false, actor: None }
    }

    /// Resumes even if a step with an irreversible effect is tried again.
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

    /// Returns the old run and how it would be resumed, if it may be.
    async fn prepared(&self) -> Result<Prepared, ResumeError> {
        let run = self.id;
        let state = self.runtime.store.load(run).await?.ok_or(RunNotFound { run })?;
        let fingerprint = state.run.fingerprint;
        let (runtime, missing) =
            (&self.runtime, || ResumeError::NotRegistered { run, workflow: state.run.workflow.clone(), fingerprint });
        let (workflow, resumption) = match runtime.registry.version(&fingerprint) {
            Some(workflow) => (workflow, resumption(&state, workflow.definition())?),
            None => {
                let adopter = runtime.registry.adopter(&state.run.workflow).ok_or_else(missing)?;
                let own = runtime.definition(&*runtime.store, &fingerprint).await?.ok_or_else(missing)?;
                (adopter, resumption_in(&state, &own, adopter.definition())?)
            }
        };
        let workflow = workflow.clone();
        if !resumption.irreversible.is_empty() && !self.allow_irreversible {
            return Err(ResumeError::UnsafeResume { run, steps: resumption.irreversible });
        }
        self.runtime.check_actor(self.actor.as_deref())?;
        Ok(Prepared { state, workflow, resumption })
    }

    fn begin(&self, prepared: &Prepared) -> Result<UnitOfWork, DispatchRefused> {
        let Prepared { state, workflow, resumption } = prepared;
        let (runtime, inputs) = (&self.runtime, self.runtime.inputs());
        let new = NewRun {
            id: runtime.entropy.run_id(inputs.now),
            trigger: state.run.trigger.clone(),
            payload: (*state.run.payload).clone(),
            intended_at: state.run.intended_at,
            idempotency_key: Some(keys::resumption(self.id)),
            replay: None,
        };
        let (definition, limits) = (workflow.definition().clone(), runtime.config.limits());
        engine::resume(definition, resumption, new, self.actor.clone(), inputs, limits, &**runtime)
    }

    async fn resume(self) -> Result<Run, ResumeError> {
        let (runtime, call) = (self.runtime.clone(), Call::new(self.timeout));
        call.bound(&*runtime.clock, RESUMING, self.start(RetryPolicy::fail_fast(&call))).await
    }

    /// Resumes the run as part of a call.
    pub(super) async fn start(self, policy: RetryPolicy<'_>) -> Result<Run, ResumeError> {
        let prepared = self.prepared().await?;
        let runtime = &self.runtime;
        let begin = || self.begin(&prepared);
        Ok(keys::shown(start_in(runtime, None, policy, begin).await?))
    }

    /// Checks whether the run would be resumed. Nothing is stored.
    pub(super) async fn check(self) -> Result<(), ResumeError> {
        let prepared = self.prepared().await?;
        self.begin(&prepared).map_err(StartError::from)?;
        Ok(())
    }
}

struct Prepared {
    state: RunSnapshot,
    workflow: Arc<Workflow>,
    resumption: Resumption,
}

awaited!(ResumeRun, resume -> Result<Run, ResumeError>);
