//! The dispatcher: bridges what the runtime intends to the configured executor, in the same atomic change as the state
//! that caused it.
//!
//! Each call has two forms. The plain form opens a unit of work, commits it and emits the events. The `…_with_events` form
//! adds to the caller's unit of work and hands the events back, to be emitted after the caller's commit. In both, the
//! executor describes the jobs first: if it refuses, fails or panics, nothing of the call remains.
//!
//! A caller with a unit of work of its own:
//!
//! ```
//! use squidmesh_core::{CommitOutcome, DispatchError, DispatchOptions, RunId, Squidmesh, StepName, StoreSession};
//!
//! async fn dispatch_in_one_change(
//!     mesh: &Squidmesh,
//!     session: &dyn StoreSession, // the store, or a transaction of the host that the store has joined
//!     run: RunId,
//!     steps: &[StepName],
//! ) -> Result<(), DispatchError> {
//!     let dispatcher = mesh.dispatcher();
//!     let mut work = dispatcher.open(session, run).await?;
//!     let options = DispatchOptions::new().schedule_pending();
//!     let (_metadata, events) = dispatcher.dispatch_steps_with_events(&mut work, steps, &options)?;
//!     let answers = session.commit(vec![work.close().commit]).await?;
//!     match answers.into_iter().next().transpose()? {
//!         Some(CommitOutcome::Committed) => dispatcher.emit(events), // after the commit, never before
//!         _ => return Err(DispatchError::Conflict(run)),             // the run changed: open it again
//!     }
//!     Ok(())
//! }
//! ```

use std::sync::Arc;

use crate::engine::{self, Dispatched, UnitOfWork};
use crate::runtime::{DecideError, Persistence, Runtime};
use crate::{DispatchError, DispatchEvent, DispatchOptions, JobMetadata, RunId, StepName, StoreSession};

/// Dispatches the steps and compensations of runs. Made by [`Squidmesh::dispatcher`](crate::Squidmesh::dispatcher).
#[derive(Clone)]
pub struct Dispatcher {
    runtime: Arc<Runtime>,
}

impl Dispatcher {
    pub(crate) fn new(runtime: Arc<Runtime>) -> Self {
        Dispatcher { runtime }
    }

    /// Opens a unit of work on a run as it is now, to be closed and committed by the caller.
    ///
    /// # Errors
    /// [`DispatchError::NotFound`]; [`DispatchError::UnknownDefinition`]; [`DispatchError::Store`].
    pub async fn open(&self, session: &dyn StoreSession, run: RunId) -> Result<UnitOfWork, DispatchError> {
        let state = session.load(run).await?.ok_or(DispatchError::NotFound(run))?;
        let definition = self.runtime.definition(session, &state.run.fingerprint).await?;
        let definition = definition.ok_or(DispatchError::UnknownDefinition(run))?;
        Ok(UnitOfWork::open(definition, state, self.runtime.moment(), self.runtime.config.limits()))
    }

    /// Emits the events of a `…_with_events` form. Call it after the commit, never before.
    pub fn emit(&self, events: Vec<DispatchEvent>) {
        let events: Vec<_> = events.into_iter().map(Into::into).collect();
        self.runtime.announce(&events, &[]);
    }

    /// Dispatches the run's current step; for a dependency workflow without one, its entry steps together, each with a
    /// pending step run. One metadata for each dispatched target.
    ///
    /// # Errors
    /// [`DispatchError::InvalidStep`] with `None` for a transition workflow without a current step; see
    /// [`DispatchError`] for the rest.
    pub async fn dispatch_run(&self, run: RunId, options: &DispatchOptions) -> Result<Vec<JobMetadata>, DispatchError> {
        self.commit(run, |work| self.dispatch_run_with_events(work, options)).await
    }

    /// The same, in the caller's unit of work.
    ///
    /// # Errors
    /// As [`Dispatcher::dispatch_run`]; the unit of work is then as it was.
    pub fn dispatch_run_with_events(
        &self,
        work: &mut UnitOfWork,
        options: &DispatchOptions,
    ) -> Result<Dispatched, DispatchError> {
        engine::dispatch_run(work, options, &*self.runtime)
    }

    /// Dispatches steps of the run, each once, in the order given. With
    /// [`schedule_pending`](DispatchOptions::schedule_pending), a pending step run is created for each and only those newly
    /// created are dispatched, so that calling twice dispatches once. No targets: nothing is dispatched.
    ///
    /// # Errors
    /// [`DispatchError::InvalidStep`] if any step is unknown; see [`DispatchError`] for the rest.
    pub async fn dispatch_steps(
        &self,
        run: RunId,
        targets: &[StepName],
        options: &DispatchOptions,
    ) -> Result<Vec<JobMetadata>, DispatchError> {
        self.commit(run, |work| self.dispatch_steps_with_events(work, targets, options)).await
    }

    /// The same, in the caller's unit of work.
    ///
    /// # Errors
    /// As [`Dispatcher::dispatch_steps`]; the unit of work is then as it was.
    pub fn dispatch_steps_with_events(
        &self,
        work: &mut UnitOfWork,
        targets: &[StepName],
        options: &DispatchOptions,
    ) -> Result<Dispatched, DispatchError> {
        engine::dispatch_steps(work, targets, options, &*self.runtime)
    }

    /// Dispatches the compensation of a failed run. The runtime does so itself in the change that fails a run; this is for
    /// a host that brings a failed run's compensation back.
    ///
    /// # Errors
    /// [`DispatchError::NotFailed`] for any other run; see [`DispatchError`] for the rest.
    pub async fn dispatch_compensation(&self, run: RunId) -> Result<Vec<JobMetadata>, DispatchError> {
        self.commit(run, |work| self.dispatch_compensation_with_events(work)).await
    }

    /// The same, in the caller's unit of work: the one that fails the run.
    ///
    /// # Errors
    /// As [`Dispatcher::dispatch_compensation`]; the unit of work is then as it was.
    pub fn dispatch_compensation_with_events(&self, work: &mut UnitOfWork) -> Result<Dispatched, DispatchError> {
        engine::dispatch_compensation(work, &*self.runtime)
    }

    async fn commit(
        &self,
        run: RunId,
        mut dispatch: impl FnMut(&mut UnitOfWork) -> Result<Dispatched, DispatchError>,
    ) -> Result<Vec<JobMetadata>, DispatchError> {
        let dispatched = self.runtime.decide(run, Persistence::Caller, &mut dispatch).await;
        let ((metadata, events), _) = dispatched.map_err(|error| match error {
            DecideError::NotFound(id) => DispatchError::NotFound(id),
            DecideError::UnknownDefinition(id) => DispatchError::UnknownDefinition(id),
            DecideError::Refused(error) => error,
            DecideError::Fenced(id) | DecideError::KeyTaken(id) | DecideError::Conflict(id) => {
                DispatchError::Conflict(id)
            }
            DecideError::Store(error) => DispatchError::Store(error),
        })?;
        self.emit(events);
        Ok(metadata)
    }
}
