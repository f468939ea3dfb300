//! The host's handle on the runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{self, Either};
use serde::Serialize;

use super::command::Scope;
use super::start::start_all;
use super::{
    CancelRun, CommandError, Decide, Joined, PruneRuns, ReplayRun, ReplayRuns, ResumeRun, ResumeRuns, RunDetails,
    Runtime, SquidmeshBuilder, StartRun, Unblock,
};
use crate::engine::Verdict;
use crate::inspect::{Explanation, Graph};
use crate::{
    CancelReason, Cancellation, Dispatcher, ExecutorError, Run, RunFilter, RunId, RunPage, Runner, StartError, Store,
    StoreError, StoreSession, Timestamp, TriggerError, TriggerStatus, WorkflowName,
};

/// The runtime: starts runs, commands and inspects them, and runs workers. Cheap to clone.
#[derive(Clone)]
pub struct Squidmesh {
    runtime: Arc<Runtime>,
}

impl Squidmesh {
    /// Begins to assemble a runtime over a store.
    pub fn builder(store: impl Store) -> SquidmeshBuilder {
        SquidmeshBuilder::new(store)
    }

    pub(crate) fn from_runtime(runtime: Arc<Runtime>) -> Self {
        Squidmesh { runtime }
    }

    /// Starts a run of the newest registered version of a workflow: `mesh.start_run("checkout", &order).await?`. The run and its
    /// first dispatch are committed together.
    ///
    /// # Errors
    /// [`StartError`](crate::StartError): nothing was stored.
    pub fn start_run<P: Serialize + ?Sized>(&self, workflow: &str, payload: &P) -> StartRun<'static> {
        StartRun::new(self.runtime.clone(), workflow, payload)
    }

    /// Starts many runs, each as it would be started alone, and answers for each in their order. They are committed together as
    /// far as the store can, which is several times as fast as one after the other; what is wrong with one harms no other.
    ///
    /// ```
    /// # async fn import(mesh: squidmesh_core::Squidmesh, orders: Vec<String>) -> Result<(), squidmesh_core::StartError> {
    /// let starts = orders.iter().map(|order| mesh.start_run("checkout", order).idempotency_key(order));
    /// for started in mesh.start_runs(starts).await {
    ///     println!("{}", started?.id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start_runs<'a>(&self, starts: impl IntoIterator<Item = StartRun<'a>>) -> Vec<Result<Run, StartError>> {
        start_all(starts).await
    }

    /// Cancels a run. Pending and paused runs are cancelled at once, and so are those in which no step runs; otherwise the
    /// run is cancelling until the running step ends or its worker's lease runs out.
    ///
    /// # Errors
    /// [`CommandError::InvalidTransition`] for a run that has ended or is being cancelled; [`CommandError::NotFound`].
    pub fn cancel_run(&self, id: RunId) -> CancelRun<'static> {
        CancelRun::new(self.scope(), id)
    }

    /// Lets a run go on that a pause step stopped.
    ///
    /// # Errors
    /// [`CommandError::InvalidTransition`] for a run that is not paused; [`CommandError::OtherDecision`] for an approval.
    pub fn unblock_run(&self, id: RunId) -> Unblock<'static> {
        Unblock::new(self.scope(), id)
    }

    /// Approves what a run waits for; the actor is required.
    ///
    /// # Errors
    /// [`CommandError::InvalidTransition`] for a run that is not paused, such as after another decision.
    pub fn approve_run(&self, id: RunId) -> Decide<'static> {
        Decide::new(self.scope(), id, Verdict::Approve)
    }

    /// Rejects what a run waits for; the actor is required.
    ///
    /// # Errors
    /// [`CommandError::InvalidTransition`] for a run that is not paused, such as after another decision.
    pub fn reject_run(&self, id: RunId) -> Decide<'static> {
        Decide::new(self.scope(), id, Verdict::Reject)
    }

    /// Starts a new run from the payload of one that has ended, on the newest registered version, linked to the old one.
    ///
    /// # Errors
    /// [`ReplayError::UnsafeReplay`](crate::ReplayError::UnsafeReplay) after a completed step that is irreversible or not
    /// compensatable, unless that is allowed; see [`ReplayError`](crate::ReplayError) for the rest.
    pub fn replay_run(&self, id: RunId) -> ReplayRun {
        ReplayRun::new(self.runtime.clone(), id)
    }

    /// Starts a new run that goes on from where a failed one stopped, on the same version of the workflow, linked to the old
    /// one: the outputs of its completed steps are kept, and what failed is tried again. The old run stays failed, and goes on
    /// once: whoever resumes it again is given the run that goes on already, which may be resumed itself if it fails too.
    ///
    /// # Errors
    /// [`ResumeError::UnsafeResume`](crate::ResumeError::UnsafeResume) if a step that was tried is irreversible or not
    /// compensatable, unless that is allowed; [`ResumeError::Unresumable`](crate::ResumeError::Unresumable) for a run that has
    /// not failed, or whose completed steps are compensated; see [`ResumeError`](crate::ResumeError) for the rest.
    pub fn resume_run(&self, id: RunId) -> ResumeRun {
        ResumeRun::new(self.runtime.clone(), id)
    }

    /// Replays the runs on a page of a filter, each as [`replay_run`](Squidmesh::replay_run) would: `filter.limit` bounds one
    /// call, [`Bulk::next`](crate::Bulk::next) goes on. With [`dry_run`](ReplayRuns::dry_run) it only tells what would happen.
    ///
    /// ```
    /// use squidmesh_core::{BulkError, RunFilter, RunStatus, Squidmesh};
    ///
    /// async fn replay_what_failed(mesh: &Squidmesh) -> Result<(), BulkError> {
    ///     let mut filter = RunFilter::new().status(RunStatus::Failed).limit(200);
    ///     loop {
    ///         let page = mesh.replay_runs(filter.clone()).batch_key("outage of 3 May").actor("ada").await?;
    ///         let Some(next) = page.next else { return Ok(()) };
    ///         filter = filter.after(next);
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`BulkError`](crate::BulkError) if no run was looked at; what is refused of a run stands with it.
    pub fn replay_runs(&self, filter: RunFilter) -> ReplayRuns {
        ReplayRuns::new(self.runtime.clone(), filter)
    }

    /// Resumes the runs on a page of a filter, each as [`resume_run`](Squidmesh::resume_run) would; otherwise as
    /// [`replay_runs`](Squidmesh::replay_runs), but without a batch key: a run goes on once in any case.
    ///
    /// # Errors
    /// [`BulkError`](crate::BulkError) if no run was looked at; what is refused of a run stands with it.
    pub fn resume_runs(&self, filter: RunFilter) -> ResumeRuns {
        ResumeRuns::new(self.runtime.clone(), filter)
    }

    /// Deletes runs that ended `older_than` ago or longer, with their steps, attempts and audit trails, in small transactions, and answers
    /// how many: `mesh.prune_runs(hours(24 * 30)).status(RunStatus::Completed).await?`. With
    /// [`dry_run`](PruneRuns::dry_run) it only counts them. May be called at any time, by several processes at once, and again
    /// after it failed half-way.
    ///
    /// Never deleted are runs that have not ended, those for which something is left to be done (a compensation), those that a run
    /// came from that has not ended, and those that went on from a failed run that is kept. An idempotency key is free again once
    /// its run is deleted, so `older_than` should exceed the time in which a start may be repeated.
    ///
    /// # Errors
    /// [`StoreError`]; what was deleted before stays deleted.
    pub fn prune_runs(&self, older_than: Duration) -> PruneRuns {
        PruneRuns::new(self.runtime.clone(), older_than)
    }

    /// Why a run is where it is, what could be done about it right now, and where that is recorded.
    ///
    /// # Errors
    /// [`CommandError::NotFound`]; [`CommandError::Store`].
    pub async fn explain_run(&self, id: RunId) -> Result<Explanation, CommandError> {
        self.runtime.explain(&*self.runtime.store, id).await
    }

    /// The run as a graph, with states and the path taken.
    ///
    /// # Errors
    /// [`CommandError::NotFound`]; [`CommandError::UnknownDefinition`]; [`CommandError::Store`].
    pub async fn graph(&self, id: RunId) -> Result<Graph, CommandError> {
        self.runtime.graph(&*self.runtime.store, id).await
    }

    /// A run with its context, steps, attempts and audit trail.
    ///
    /// # Errors
    /// [`CommandError::NotFound`]; [`CommandError::Store`].
    pub async fn inspect_run(&self, id: RunId) -> Result<RunDetails, CommandError> {
        self.runtime.inspect(&*self.runtime.store, id).await
    }

    /// The run that was started under an idempotency key of a workflow; `None` if there is none, or no such workflow.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_run(&self, workflow: &str, idempotency_key: &str) -> Result<Option<Run>, StoreError> {
        let Ok(workflow) = WorkflowName::new(workflow) else { return Ok(None) };
        match self.runtime.store.find_by_key(&workflow, idempotency_key).await? {
            Some(id) => Ok(self.runtime.store.load(id).await?.map(|state| state.run)),
            None => Ok(None),
        }
    }

    /// Runs that match, newest first, page by page.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_runs(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        self.runtime.store.list(filter).await
    }

    /// The cron triggers of the newest registered versions, by name: how each stands, and when it fires next.
    ///
    /// # Errors
    /// [`TriggerError::Store`].
    pub async fn triggers(&self) -> Result<Vec<TriggerStatus>, TriggerError> {
        self.runtime.triggers().await
    }

    /// The next `count` occurrences of a cron trigger, from the time of the store's clock on, whether it is paused or not; 10,000
    /// at most.
    ///
    /// # Errors
    /// [`TriggerError`].
    pub async fn next_occurrences(
        &self,
        workflow: &str,
        trigger: &str,
        count: usize,
    ) -> Result<Vec<Timestamp>, TriggerError> {
        self.runtime.next_occurrences(workflow, trigger, count).await
    }

    /// Stops a cron trigger from firing, in every process and for every version of the workflow, until it is resumed. Runs that
    /// it has started go on, and [`start_run`](Self::start_run) still takes it. To pause a paused trigger changes nothing.
    ///
    /// # Errors
    /// [`TriggerError`]; nothing was changed.
    pub async fn pause_trigger(&self, workflow: &str, trigger: &str) -> Result<TriggerStatus, TriggerError> {
        self.runtime.set_paused(workflow, trigger, true).await
    }

    /// Lets a paused cron trigger fire again. The occurrences of the time of the pause are left out, whatever the trigger's
    /// policy: nobody missed them. To resume a trigger that is not paused changes nothing.
    ///
    /// # Errors
    /// [`TriggerError`]; nothing was changed.
    pub async fn resume_trigger(&self, workflow: &str, trigger: &str) -> Result<TriggerStatus, TriggerError> {
        self.runtime.set_paused(workflow, trigger, false).await
    }

    /// Runs that lie because only a version of their workflow that is not registered here can carry them on, and nobody who has
    /// it took them up for [`Config::stranded_after`](crate::Config::stranded_after); oldest first, a page at a time: `after`
    /// is the `next` of the page before. What keeps each of them is told by [`explain_run`](Squidmesh::explain_run).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn waiting_for_definition(&self, after: Option<RunId>) -> Result<RunPage, StoreError> {
        self.runtime.waiting_for_definition(after).await
    }

    /// The runtime inside a transaction of the host, which the store's adapter has joined.
    pub fn within<'a>(&self, session: &'a dyn StoreSession) -> Joined<'a> {
        Joined::new(self.runtime.clone(), session)
    }

    /// The dispatcher.
    pub fn dispatcher(&self) -> Dispatcher {
        Dispatcher::new(self.runtime.clone())
    }

    /// The way in for deliveries: for executors, and for hosts that consume a queue of their own.
    pub fn runner(&self) -> Runner {
        Runner::new(self.runtime.clone())
    }

    /// Runs the executor's workers until `shutdown` completes, then drains: what runs may finish within the executor's
    /// bound, and everything else is left for others, no attempt counted.
    ///
    /// # Errors
    /// [`ExecutorError`] if the executor cannot work at all.
    pub async fn run_workers(&self, shutdown: impl Future<Output = ()>) -> Result<(), ExecutorError> {
        let stop = Cancellation::new();
        let runner = self.runner();
        let work = self.runtime.executor.run(runner.clone(), stop.clone());
        let signal = async {
            shutdown.await;
            stop.cancel(CancelReason::ShuttingDown);
            future::pending::<()>().await;
        };
        let kept = future::join3(runner.keep_leases(), runner.keep_schedules(), runner.keep_adopting());
        let beside = future::join(signal, kept);
        match future::select(work, pin!(beside)).await {
            Either::Left((ended, _)) => ended,
            Either::Right((_, work)) => work.await,
        }
    }

    fn scope(&self) -> Scope<'static> {
        Scope { runtime: self.runtime.clone(), within: None }
    }
}
