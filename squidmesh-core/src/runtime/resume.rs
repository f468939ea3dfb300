//! Resuming: a new run that goes on from where a failed one stopped.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use super::start::{check_actor, start_in};
use super::{Runtime, StartError};
use crate::engine::{self, NewRun, Resumption, UnitOfWork, Unresumable, resumption, resumption_in};
use crate::{
    DispatchError, Fingerprint, Run, RunId, RunState, StepName, StoreError, StoreSession, Workflow, WorkflowName,
};

/// Why a run was not resumed. Nothing was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// There is no run with this id.
    #[error("there is no run {0}")]
    NotFound(RunId),
    /// The run has no place to go on from.
    #[error(transparent)]
    Unresumable(#[from] Unresumable),
    /// Effects that cannot be undone might happen twice.
    #[error(
        "resuming run {run} would try steps again that are irreversible or not compensatable: {}; allow it with `.allow_irreversible()`",
        .steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    UnsafeResume {
        /// The run.
        run: RunId,
        /// The steps that were tried before and did not complete.
        steps: Vec<StepName>,
    },
    /// This process does not have the version of the workflow that the run is pinned to, and no other may
    /// [adopt](crate::SquidmeshBuilder::adopt) its runs.
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
    /// The new run could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The resumption of a failed run. Made by [`Squidmesh::resume_run`](crate::Squidmesh::resume_run).
#[must_use = "a run is resumed when this is awaited"]
pub struct ResumeRun {
    runtime: Arc<Runtime>,
    id: RunId,
    allow_irreversible: bool,
    actor: Option<String>,
}

impl ResumeRun {
    pub(super) fn new(runtime: Arc<Runtime>, id: RunId) -> Self {
        ResumeRun { runtime, id, allow_irreversible: false, actor: None }
    }

    /// The idempotency key of the one run that goes on from another.
    pub(super) fn key(id: RunId) -> String {
        format!("resume:{id}")
    }

    /// Resumes even if a step is tried again whose effect cannot be undone.
    pub fn allow_irreversible(mut self) -> Self {
        self.allow_irreversible = true;
        self
    }

    /// Who resumes it, for the audit trail.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// The old run and how it would go on, if it may.
    async fn prepared(&self) -> Result<Prepared, ResumeError> {
        let run = self.id;
        let state = self.runtime.store.load(run).await?.ok_or(ResumeError::NotFound(run))?;
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
        check_actor(&self.runtime, self.actor.as_deref())?;
        Ok(Prepared { state, workflow, resumption })
    }

    fn begin(&self, prepared: &Prepared) -> Result<UnitOfWork, DispatchError> {
        let Prepared { state, workflow, resumption } = prepared;
        let (runtime, moment) = (&self.runtime, self.runtime.moment());
        let new = NewRun {
            id: runtime.entropy.run_id(moment.now),
            trigger: state.run.trigger.clone(),
            payload: (*state.run.payload).clone(),
            intended_at: state.run.intended_at,
            idempotency_key: Some(ResumeRun::key(self.id)),
            replay: None,
        };
        let (definition, limits) = (workflow.definition().clone(), runtime.config.limits());
        engine::resume(definition, resumption, new, self.actor.clone(), moment, limits, &**runtime)
    }

    async fn resume(self) -> Result<Run, ResumeError> {
        let prepared = self.prepared().await?;
        let (runtime, definition) = (&self.runtime, prepared.workflow.definition());
        let (run, announcement) = start_in(runtime, &*runtime.store, definition, || self.begin(&prepared)).await?;
        runtime.tell(&announcement);
        Ok(run)
    }

    /// Whether the run would be resumed. Nothing is stored.
    pub(super) async fn check(self) -> Result<(), ResumeError> {
        let prepared = self.prepared().await?;
        self.begin(&prepared).map_err(StartError::from)?;
        Ok(())
    }
}

struct Prepared {
    state: RunState,
    workflow: Arc<Workflow>,
    resumption: Resumption,
}

impl IntoFuture for ResumeRun {
    type Output = Result<Run, ResumeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.resume())
    }
}
