//! The dispatcher of hosts: hands the targets that they dispatch to the configured executor, in the same atomic change
//! as the state that caused the dispatch. The runtime does the same with what it dispatches, through the same engine.
//!
//! Each call has two forms. The plain form opens a unit of work, commits it and emits the events. The `…_with_events`
//! form adds to the caller's unit of work and returns the events. The caller emits them after its commit, which also
//! wakes the workers. In both forms, the executor describes the jobs first: if it refuses, fails or panics, the call
//! changes nothing. Only targets that can run now are dispatched: nothing is scheduled ahead of the run.
//!
//! Dispatching in a unit of work of the caller:
//!
//! ```
//! use squidmesh_core::command::{DispatchError, RunKeptChanging};
//! use squidmesh_core::definition::StepName;
//! use squidmesh_core::dispatch::DispatchOptions;
//! use squidmesh_core::port::{CommitOutcome, StoreSession};
//! use squidmesh_core::{RunId, Squidmesh};
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
//!         _ => return Err(RunKeptChanging { run }.into()),           // the run changed: open it again
//!     }
//!     Ok(())
//! }
//! ```

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryFutureExt;

use crate::dispatch::{DispatchOptions, JobMetadata};
use crate::engine::{self, Dispatched, UnitOfWork};
use crate::event::Event;
use crate::id::RunId;
use crate::name::StepName;
use crate::port::StoreSession;
use crate::runtime::{
    Announcement, Call, DecideError, DispatchError, RetryPolicy, RunNotFound, Runtime, UnknownDefinition,
};

/// The operation, as errors name it.
const DISPATCHING: &str = "dispatching";

/// Dispatches the steps and compensations of runs. Created by
/// [`Squidmesh::dispatcher`](crate::Squidmesh::dispatcher).
#[derive(Clone)]
pub struct Dispatcher {
    runtime: Arc<Runtime>,
    timeout: Duration,
}

impl Dispatcher {
    pub(crate) fn new(runtime: Arc<Runtime>, timeout: Duration) -> Self {
        Dispatcher { runtime, timeout }
    }

    /// Opens a unit of work on a run in its current state. The caller closes and commits it.
    ///
    /// # Errors
    /// [`DispatchError::NotFound`]; [`DispatchError::UnknownDefinition`]; [`DispatchError::Store`].
    pub async fn open(&self, session: &dyn StoreSession, run: RunId) -> Result<UnitOfWork, DispatchError> {
        let opened = async {
            let state = session.load(run).await?.ok_or(RunNotFound { run })?;
            let definition = self.runtime.definition(session, &state.run.fingerprint).await?;
            let definition = definition.ok_or(UnknownDefinition { run })?;
            Ok(UnitOfWork::open(definition, state, self.runtime.inputs(), self.runtime.config.limits()))
        };
        Call::new(self.timeout).bound(&*self.runtime.clock, DISPATCHING, opened).await
    }

    /// Emits the events of a `…_with_events` form, and wakes the workers of this and of other processes as the plain
    /// form does. Must be called after the commit, never before.
    pub fn emit(&self, events: Vec<Event>) {
        let intents = events.iter().filter_map(Event::intent).cloned().collect();
        self.runtime.announce(&Announcement { events, intents });
    }

    /// Dispatches the run's current step or, for a dependency workflow without one, its entry steps together, each
    /// with a pending step run. Skips entry steps that are scheduled already. Returns one [`JobMetadata`] per
    /// dispatched target.
    ///
    /// # Errors
    /// [`DispatchError::Refused`] with [`InvalidStep`](crate::command::DispatchRefused::InvalidStep) and `None` for a
    /// transition workflow without a current step, with [`NotRunnable`](crate::command::DispatchRefused::NotRunnable) if
    /// the current step has begun; see [`DispatchError`] for the rest.
    pub async fn dispatch_run(&self, run: RunId, options: &DispatchOptions) -> Result<Vec<JobMetadata>, DispatchError> {
        self.commit(run, |work| self.dispatch_run_with_events(work, options)).await
    }

    /// Does the same as [`dispatch_run`](Dispatcher::dispatch_run), in the caller's unit of work.
    ///
    /// # Errors
    /// Those of [`Dispatcher::dispatch_run`]; the unit of work is then unchanged.
    pub fn dispatch_run_with_events(
        &self,
        work: &mut UnitOfWork,
        options: &DispatchOptions,
    ) -> Result<Dispatched, DispatchError> {
        Ok(engine::dispatch_run(work, options, &*self.runtime)?)
    }

    /// Dispatches steps of the run that can run now, each once, in the given order: the current step of a transition
    /// workflow, or steps of a dependency workflow whose dependencies have completed. With
    /// [`schedule_pending`](DispatchOptions::schedule_pending), a pending step run is created for each, and only
    /// newly created ones are dispatched, so that calling twice dispatches once. Without it, a completed step may be
    /// dispatched as well: it is not executed again, and the run continues from its recorded output. Without targets,
    /// nothing is dispatched, regardless of the state of the run.
    ///
    /// # Errors
    /// [`DispatchError::Refused`] with [`InvalidStep`](crate::command::DispatchRefused::InvalidStep) if a step is unknown,
    /// with [`NotRunnable`](crate::command::DispatchRefused::NotRunnable) if a step cannot run now: the whole call fails.
    /// See [`DispatchError`] for the rest.
    pub async fn dispatch_steps(
        &self,
        run: RunId,
        targets: &[StepName],
        options: &DispatchOptions,
    ) -> Result<Vec<JobMetadata>, DispatchError> {
        self.commit(run, |work| self.dispatch_steps_with_events(work, targets, options)).await
    }

    /// Does the same as [`dispatch_steps`](Dispatcher::dispatch_steps), in the caller's unit of work.
    ///
    /// # Errors
    /// Those of [`Dispatcher::dispatch_steps`]; the unit of work is then unchanged.
    pub fn dispatch_steps_with_events(
        &self,
        work: &mut UnitOfWork,
        targets: &[StepName],
        options: &DispatchOptions,
    ) -> Result<Dispatched, DispatchError> {
        Ok(engine::dispatch_steps(work, targets, options, &*self.runtime)?)
    }

    /// Dispatches the compensation of a failed run. The runtime does so itself in the commit that fails a run; this
    /// is for a host that dispatches a failed run's compensation again. The executor describes it and cannot refuse
    /// it.
    ///
    /// # Errors
    /// [`DispatchError::Refused`] with [`NotFailed`](crate::command::DispatchRefused::NotFailed) for any other run; see
    /// [`DispatchError`] for the rest.
    pub async fn dispatch_compensation(&self, run: RunId) -> Result<Vec<JobMetadata>, DispatchError> {
        self.commit(run, |work| self.dispatch_compensation_with_events(work)).await
    }

    /// Does the same as [`dispatch_compensation`](Dispatcher::dispatch_compensation), in the caller's unit of work:
    /// the one that fails the run.
    ///
    /// # Errors
    /// Those of [`Dispatcher::dispatch_compensation`]; the unit of work is then unchanged.
    pub fn dispatch_compensation_with_events(&self, work: &mut UnitOfWork) -> Result<Dispatched, DispatchError> {
        Ok(engine::dispatch_compensation(work, &*self.runtime)?)
    }

    async fn commit(
        &self,
        run: RunId,
        mut dispatch: impl FnMut(&mut UnitOfWork) -> Result<Dispatched, DispatchError>,
    ) -> Result<Vec<JobMetadata>, DispatchError> {
        let call = Call::new(self.timeout);
        let decided = self.runtime.decide(run, RetryPolicy::fail_fast(&call), &mut dispatch);
        let dispatched = decided.map_err(DecideError::into_call_error::<DispatchError>);
        let ((metadata, events), _) = call.bound(&*self.runtime.clock, DISPATCHING, dispatched).await?;
        // The commit has notified the executor.
        self.runtime.announce(&Announcement { events, intents: Vec::new() });
        Ok(metadata)
    }
}
