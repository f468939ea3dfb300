//! The host's handle to the runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::{self, Either};
use serde::Serialize;

use crate::cage::{self, Caged, Panic};
use crate::cancellation::{CancelReason, Cancellation};
use crate::dispatcher::Dispatcher;
use crate::engine::ApprovalDecision;
use crate::id::RunId;
use crate::inspect::{Explanation, Graph, RunDetails};
use crate::name::WorkflowName;
use crate::port::{ExecutorError, RunFilter, RunPage, StoreError, StoreSession};
use crate::run::Run;
use crate::runner::Runner;
use crate::runtime::scope::Scope;
use crate::runtime::start::start_all;
use crate::runtime::{
    Call, CancelRun, CommandError, DecideApproval, PauseTrigger, PruneRuns, ReplayRun, ReplayRuns, ResumeRun,
    ResumeRuns, RunNotFound, Runtime, SignalKey, SignalRun, StartError, StartRun, TransactionScope, TriggerError,
    TriggerStatus, UnblockRun, keys,
};
use crate::time::Timestamp;
use crate::workflow::WorkflowRef;

/// The operation of reading cron triggers, as errors name it.
const READING_TRIGGERS: &str = "reading cron triggers";

/// The runtime: starts, controls and inspects runs, and runs workers. Cheap to clone.
#[derive(Clone)]
pub struct Squidmesh {
    runtime: Arc<Runtime>,
    /// The timeout of each call.
    timeout: Duration,
}

impl Squidmesh {
    pub(crate) fn from_runtime(runtime: Arc<Runtime>) -> Self {
        Squidmesh { timeout: runtime.config.call_timeout, runtime }
    }

    /// Returns a handle to the same runtime whose calls have this timeout instead of
    /// [`Config::call_timeout`](crate::Config::call_timeout): `mesh.timeout(secs(2)).inspect_run(id).await?`. Starts,
    /// commands and similar calls can also be given a timeout of their own.
    ///
    /// A call that is not answered within its timeout fails, whether it waits for the store or for a worker of this
    /// process that is recording a change of the same run. [`StoreError::Unavailable`] means that nothing was or will
    /// be changed. [`StoreError::OutcomeUnknown`] means that the call may have taken effect, or may yet do so: check
    /// before repeating it. The source of both is [`CallTimedOut`](crate::command::CallTimedOut). Nothing else is aborted with
    /// the call.
    #[must_use]
    pub fn timeout(&self, timeout: Duration) -> Self {
        Squidmesh { runtime: self.runtime.clone(), timeout }
    }

    /// Returns the number of runs whose snapshot this process caches. None at rest; for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn held_states(&self) -> usize {
        self.runtime.run_cache.len()
    }

    /// Starts a run of the newest registered version of a workflow: `mesh.start_run("checkout", &order).await?`.
    /// Commits the run and its first dispatch together. The returned run is pending; or, if a worker of this process is
    /// idle, its first step has begun.
    ///
    /// # Errors
    /// [`StartError`](crate::command::StartError) states whether anything was stored.
    pub fn start_run<P: Serialize + ?Sized>(&self, workflow: impl AsRef<str>, payload: &P) -> StartRun<'static> {
        StartRun::new(self.runtime.clone(), workflow.as_ref(), payload).timeout(self.timeout)
    }

    /// Starts a run as [`start_run`](Self::start_run) does, with a payload of the type that the reference names:
    /// `mesh.start(CHECKOUT, &order).await?`. See [`WorkflowRef`].
    ///
    /// # Errors
    /// [`StartError`](crate::command::StartError) states whether anything was stored.
    pub fn start<P: Serialize, R>(&self, workflow: WorkflowRef<P, R>, payload: &P) -> StartRun<'static> {
        self.start_run(workflow.name(), payload)
    }

    /// Starts many runs and returns one result per start, in order. The starts are committed together as far as the
    /// store can, which is several times faster than starting them one after the other. An invalid start does not
    /// affect the others. 1,024 starts proceed at a time, and the timeout of each begins when it is among them. If
    /// all of those fail because the store is unavailable, the remaining ones are not tried.
    ///
    /// ```
    /// use serde::Serialize;
    /// use squidmesh_core::command::StartError;
    /// use squidmesh_core::Squidmesh;
    ///
    /// #[derive(Serialize)]
    /// struct Order { order_id: String, cents: u64 }
    ///
    /// async fn import(mesh: &Squidmesh, orders: &[Order]) -> Result<(), StartError> {
    ///     let starts = orders.iter().map(|order| mesh.start_run("checkout", order).idempotency_key(&order.order_id));
    ///     for started in mesh.start_runs(starts).await {
    ///         println!("{}", started?.id);
    ///     }
    ///     Ok(())
    /// }
    /// # use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, block_on};
    /// # use squidmesh_core::{COMPLETE, Field, Step, StepContext, StepResult, Trigger, Workflow};
    /// # async fn pay(_: (), _: StepContext) -> StepResult<()> { Ok(()) }
    /// # let fields = Trigger::manual("place_order").field(Field::string("order_id")).field(Field::integer("cents"));
    /// # let checkout = Workflow::builder("checkout").trigger(fields).step(Step::new("pay", pay)).then("pay", COMPLETE);
    /// # let clock = std::sync::Arc::new(ManualClock::default());
    /// # let builder = Squidmesh::builder(MemoryStore::new(clock.clone())).executor(MemoryExecutor::new(clock));
    /// # let mesh = builder.workflow(checkout.build()?).build()?;
    /// # block_on(import(&mesh, &[Order { order_id: "A-17".to_owned(), cents: 5 }]))?;
    /// # assert!(block_on(mesh.find_run("checkout", "A-17"))?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn start_runs<'a>(&self, starts: impl IntoIterator<Item = StartRun<'a>>) -> Vec<Result<Run, StartError>> {
        start_all(starts).await
    }

    /// Cancels a run. A run that is pending or paused, or of which no step is running, is cancelled at once.
    /// Otherwise it is cancelling until the running step ends or its worker's lease expires.
    ///
    /// # Errors
    /// [`CommandError::Refused`] with an [`InvalidTransition`](crate::command::CommandRefused::InvalidTransition) for a
    /// run that has ended or is being cancelled; [`CommandError::NotFound`].
    pub fn cancel_run(&self, id: RunId) -> CancelRun<'static> {
        CancelRun::new(self.scope(), id)
    }

    /// Unblocks a run that a pause step has paused.
    ///
    /// # Errors
    /// [`CommandError::Refused`] with an [`InvalidTransition`](crate::command::CommandRefused::InvalidTransition) for a
    /// run that is not paused, with [`OtherDecision`](crate::command::CommandRefused::OtherDecision) for an approval.
    pub fn unblock_run(&self, id: RunId) -> UnblockRun<'static> {
        UnblockRun::new(self.scope(), id)
    }

    /// Approves the run's pending approval; the actor is required.
    ///
    /// # Errors
    /// [`CommandError::Refused`] with an [`InvalidTransition`](crate::command::CommandRefused::InvalidTransition) for a
    /// run that is not paused; after another decision, it names that decision, its actor and its time.
    pub fn approve_run(&self, id: RunId) -> DecideApproval<'static> {
        DecideApproval::new(self.scope(), id, ApprovalDecision::Approve)
    }

    /// Rejects the run's pending approval; the actor is required.
    ///
    /// # Errors
    /// [`CommandError::Refused`] with an [`InvalidTransition`](crate::command::CommandRefused::InvalidTransition) for a
    /// run that is not paused; after another decision, it names that decision, its actor and its time.
    pub fn reject_run(&self, id: RunId) -> DecideApproval<'static> {
        DecideApproval::new(self.scope(), id, ApprovalDecision::Reject)
    }

    /// Sends a signal to a run: `mesh.signal_run(id, "payment_received", &payment).await?`. It completes the step that
    /// [waits](crate::wait_for) for it; if none does yet, it is kept for the first one that will. The workflow
    /// [declares](crate::Signal) its name and payload.
    ///
    /// # Errors
    /// [`SignalError`](crate::command::SignalError) states why the run does not receive the signal; nothing was stored.
    pub fn signal_run<P: Serialize + ?Sized>(
        &self,
        id: RunId,
        signal: impl AsRef<str>,
        payload: &P,
    ) -> SignalRun<'static> {
        SignalRun::new(self.scope(), id, signal.as_ref(), payload)
    }

    /// Sends a signal to the run that was started under an idempotency key, as [`signal_run`](Self::signal_run) does. If
    /// that run has failed and was resumed, the run that resumes it receives the signal. With
    /// [`or_start`](SignalKey::or_start), a run that does not exist is started, and receives the signal in the same
    /// commit.
    ///
    /// # Errors
    /// [`SignalError`](crate::command::SignalError) states why no run receives the signal; nothing was stored.
    pub fn signal_key<P: Serialize + ?Sized>(
        &self,
        workflow: impl AsRef<str>,
        key: impl AsRef<str>,
        signal: impl AsRef<str>,
        payload: &P,
    ) -> SignalKey<'static> {
        SignalKey::new(self.scope(), workflow.as_ref(), key.as_ref(), signal.as_ref(), payload)
    }

    /// Starts a new run, linked to an ended one and with its payload, on the newest registered version.
    ///
    /// # Errors
    /// [`ReplayError::UnsafeReplay`](crate::command::ReplayError::UnsafeReplay) if a completed step is irreversible or cannot
    /// be compensated, unless that is allowed; see [`ReplayError`](crate::command::ReplayError) for the rest.
    pub fn replay_run(&self, id: RunId) -> ReplayRun {
        ReplayRun::new(self.runtime.clone(), id).timeout(self.timeout)
    }

    /// Starts a new run that resumes a failed one and is linked to it, on the same version of the workflow or, if
    /// that is not registered, on one that may [adopt](crate::command::SquidmeshBuilder::adopt) its runs. It keeps the outputs
    /// of completed steps and retries the failed one. The original run stays `Failed` and is resumed at most once;
    /// resuming it again returns the run created the first time, which can itself be resumed if it fails.
    ///
    /// # Errors
    /// [`ResumeError::UnsafeResume`](crate::command::ResumeError::UnsafeResume) if a step that was tried is irreversible or
    /// cannot be compensated, unless that is allowed; [`ResumeError::Unresumable`](crate::command::ResumeError::Unresumable)
    /// if the run has not failed, some of its steps still run, its completed steps are compensated, or nothing is
    /// left to retry; see [`ResumeError`](crate::command::ResumeError) for the rest.
    pub fn resume_run(&self, id: RunId) -> ResumeRun {
        ResumeRun::new(self.runtime.clone(), id).timeout(self.timeout)
    }

    /// Replays the runs that a filter matches, one page per call, each as [`replay_run`](Squidmesh::replay_run)
    /// would. `filter.limit` sets the size of the page; [`BulkPage::next`](crate::command::BulkPage::next) continues with the
    /// next one. With [`dry_run`](ReplayRuns::dry_run), it only reports what would happen.
    ///
    /// ```
    /// use squidmesh_core::command::BulkError;
    /// use squidmesh_core::{RunFilter, RunStatus, Squidmesh};
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
    /// [`BulkError`](crate::command::BulkError) if no run was processed; the error of a single run is part of the page.
    pub fn replay_runs(&self, filter: RunFilter) -> ReplayRuns {
        ReplayRuns::new(self.runtime.clone(), filter).timeout(self.timeout)
    }

    /// Resumes the runs that a filter matches, one page per call, each as [`resume_run`](Squidmesh::resume_run)
    /// would. Otherwise like [`replay_runs`](Squidmesh::replay_runs), but without a batch key: a run is resumed at
    /// most once anyway.
    ///
    /// # Errors
    /// [`BulkError`](crate::command::BulkError) if no run was processed; the error of a single run is part of the page.
    pub fn resume_runs(&self, filter: RunFilter) -> ResumeRuns {
        ResumeRuns::new(self.runtime.clone(), filter).timeout(self.timeout)
    }

    /// Deletes runs that ended at least `older_than` ago, with their steps, attempts and audit trails, in small
    /// transactions, and returns how many: `mesh.prune_runs(hours(24 * 30)).status(RunStatus::Completed).await?`.
    /// With [`dry_run`](PruneRuns::dry_run), it only counts them. May be called at any time, by several processes at
    /// once, and again after it failed half-way.
    ///
    /// Never deletes runs that have not ended, runs with work left (a compensation), runs that an unfinished run was
    /// replayed or resumed from, and runs resumed from a failed run that is kept. An idempotency key is free again
    /// once its run is deleted, so `older_than` should exceed the time within which a start may be repeated.
    ///
    /// # Errors
    /// [`StoreError`]; runs deleted before the error stay deleted.
    pub fn prune_runs(&self, older_than: Duration) -> PruneRuns {
        PruneRuns::new(self.runtime.clone(), older_than)
    }

    /// Explains why a run is in its current state, what can be done about it now, and where that is recorded.
    ///
    /// # Errors
    /// [`CommandError::NotFound`]; [`CommandError::Store`].
    pub async fn explain_run(&self, id: RunId) -> Result<Explanation, CommandError> {
        self.bound("explaining a run", self.runtime.explain(&*self.runtime.store, id)).await
    }

    /// Returns the run as a graph, with states and the path taken.
    ///
    /// # Errors
    /// [`CommandError::NotFound`]; [`CommandError::UnknownDefinition`]; [`CommandError::Store`].
    pub async fn graph(&self, id: RunId) -> Result<Graph, CommandError> {
        self.bound("drawing a run", self.runtime.graph(&*self.runtime.store, id)).await
    }

    /// Returns a run: its status, payload, times and last error. Its steps are read and not returned, its history is not
    /// read.
    ///
    /// # Errors
    /// [`CommandError::NotFound`]; [`CommandError::Store`].
    pub async fn get_run(&self, id: RunId) -> Result<Run, CommandError> {
        let load = async {
            let state = self.runtime.store.load(id).await?.ok_or(RunNotFound { run: id })?;
            Ok(keys::shown(state.run))
        };
        self.bound("reading a run", load).await
    }

    /// Returns a run with its context, steps, attempts and audit trail.
    ///
    /// # Errors
    /// [`CommandError::NotFound`]; [`CommandError::Store`].
    pub async fn inspect_run(&self, id: RunId) -> Result<RunDetails, CommandError> {
        self.bound("inspecting a run", self.runtime.inspect(&*self.runtime.store, id)).await
    }

    /// Returns the run started under an idempotency key of a workflow. `None` if there is no such run or workflow, or
    /// if the key is not a valid one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_run(
        &self,
        workflow: impl AsRef<str>,
        idempotency_key: impl AsRef<str>,
    ) -> Result<Option<Run>, StoreError> {
        let Ok(workflow) = WorkflowName::new(workflow) else { return Ok(None) };
        let store = &self.runtime.store;
        let find = async {
            match keys::find(&**store, &workflow, idempotency_key.as_ref()).await? {
                Some(id) => Ok(store.load(id).await?.map(|state| keys::shown(state.run))),
                None => Ok(None),
            }
        };
        self.bound("finding a run", find).await
    }

    /// Lists the runs that match, newest first, page by page. A page shows the runs as they were at one moment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_runs(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        let mut page = self.bound("listing runs", self.runtime.store.list(filter)).await?;
        for run in &mut page.runs {
            run.idempotency_key = run.idempotency_key.take().map(keys::unmarked);
        }
        Ok(page)
    }

    /// Lists the cron triggers of the newest registered versions, by name, with their state and next occurrence.
    ///
    /// # Errors
    /// [`TriggerError::Store`].
    pub async fn triggers(&self) -> Result<Vec<TriggerStatus>, TriggerError> {
        self.bound(READING_TRIGGERS, self.runtime.triggers()).await
    }

    /// Returns the next `count` occurrences (at most 10,000) of a cron trigger, starting from the store's current
    /// time, whether the trigger is paused or not.
    ///
    /// # Errors
    /// [`TriggerError`].
    pub async fn next_occurrences(
        &self,
        workflow: impl AsRef<str>,
        trigger: impl AsRef<str>,
        count: usize,
    ) -> Result<Vec<Timestamp>, TriggerError> {
        self.bound(READING_TRIGGERS, self.runtime.next_occurrences(workflow.as_ref(), trigger.as_ref(), count)).await
    }

    /// Pauses a cron trigger in every process and for every version of the workflow, until it is resumed. Runs that
    /// it has started continue, and [`start_run`](Self::start_run) still accepts it. Pausing a paused trigger changes
    /// nothing.
    ///
    /// # Errors
    /// [`TriggerError`] states whether anything was changed.
    pub fn pause_trigger(&self, workflow: impl AsRef<str>, trigger: impl AsRef<str>) -> PauseTrigger {
        PauseTrigger::new(self.runtime.clone(), workflow.as_ref(), trigger.as_ref(), true).timeout(self.timeout)
    }

    /// Resumes a paused cron trigger. Skips the occurrences during the pause, regardless of the trigger's policy on
    /// missed occurrences: they do not count as missed. Resuming a trigger that is not paused changes nothing.
    ///
    /// # Errors
    /// [`TriggerError`] states whether anything was changed.
    pub fn resume_trigger(&self, workflow: impl AsRef<str>, trigger: impl AsRef<str>) -> PauseTrigger {
        PauseTrigger::new(self.runtime.clone(), workflow.as_ref(), trigger.as_ref(), false).timeout(self.timeout)
    }

    /// Lists stranded runs: those that only a version not registered here can continue, and whose work no process
    /// with that version has claimed for [`Config::stranded_after`](crate::Config::stranded_after). Oldest first,
    /// page by page: `after` is the `next` of the previous page. [`explain_run`](Squidmesh::explain_run) shows what a
    /// run waits for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stranded_runs(&self, after: Option<RunId>) -> Result<RunPage, StoreError> {
        self.bound("listing runs", self.runtime.stranded_runs(after)).await
    }

    /// Returns the runtime's commands within a transaction of the host that the store's adapter has joined.
    pub fn within<'a>(&self, session: &'a dyn StoreSession) -> TransactionScope<'a> {
        TransactionScope::new(self.runtime.clone(), self.timeout, session)
    }

    /// Returns the dispatcher.
    pub fn dispatcher(&self) -> Dispatcher {
        Dispatcher::new(self.runtime.clone(), self.timeout)
    }

    /// Returns the runner that receives deliveries: for executors, and for hosts that consume a queue of their own.
    pub fn runner(&self) -> Runner {
        Runner::new(self.runtime.clone())
    }

    /// Runs the executor's workers until `shutdown` completes, then drains: running steps may finish within the
    /// executor's bound; everything else is left to other workers, without counting an attempt.
    ///
    /// The future borrows nothing: `tokio::spawn(mesh.run_workers(shutdown))` works beside a server that shuts down
    /// with the same signal.
    ///
    /// # Errors
    /// [`ExecutorError`] if the executor cannot work at all or panics, or if `shutdown` panics: the workers drain
    /// then too.
    pub fn run_workers<F: Future<Output = ()>>(
        &self,
        shutdown: F,
    ) -> impl Future<Output = Result<(), ExecutorError>> + use<F> {
        self.clone().work_until(shutdown)
    }

    async fn work_until(self, shutdown: impl Future<Output = ()>) -> Result<(), ExecutorError> {
        let stop = Cancellation::new();
        let signalled = OnceLock::new();
        let runner = self.runner();
        let executor = &self.runtime.executor;
        let work = cage::call(|| executor.run(runner.clone(), stop.clone())).map_err(panicked("the executor"))?;
        let signal = async {
            let ended = Caged::new(Box::pin(shutdown)).await;
            let _ = signalled.set(ended.map_err(panicked("the future that says when to shut down")));
            stop.cancel(CancelReason::ShuttingDown);
            future::pending::<()>().await;
        };
        let kept = future::join4(
            self.runtime.executor.run_heartbeats(runner.clone()),
            runner.run_scheduler(),
            runner.run_adoption(),
            self.runtime.run_retention(),
        );
        let beside = future::join(signal, kept);
        let ended = match future::select(Caged::new(work), pin!(beside)).await {
            Either::Left((ended, _)) => ended,
            Either::Right((_, work)) => work.await,
        };
        ended.map_err(panicked("the executor"))??;
        signalled.into_inner().unwrap_or(Ok(()))
    }

    fn scope(&self) -> Scope<'static> {
        Scope { runtime: self.runtime.clone(), timeout: self.timeout, within: None }
    }

    /// Bounds a read-only call by the timeout.
    async fn bound<T, E: From<StoreError>>(
        &self,
        doing: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        Call::new(self.timeout).bound(&*self.runtime.clock, doing, work).await
    }
}

/// Returns the error that stops the workers when the host's code panics.
fn panicked(whose: &str) -> impl Fn(Panic) -> ExecutorError {
    move |panic| ExecutorError { reason: format!("{whose} panicked"), source: Some(Box::new(panic)) }
}
