//! A process: a runtime over the case's store with its own executor, whose workers can be stopped or killed.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, select};
use serde_json::json;

use super::ExecutorFixture;
use crate::cancellation::{CancelReason, Cancellation};
use crate::event::{Event, EventKind};
use crate::facade::Squidmesh;
use crate::id::RunId;
use crate::inspect::RunDetails;
use crate::port::{Executor, RunHistory, Store};
use crate::run::{Run, RunSnapshot, RunStatus};
use crate::testing::RecordingSink;
use crate::testing::limit::awaiting;
use crate::testing::store_suite::take_turns;
use crate::workflow::{Step, Trigger, Workflow};

/// Returns a workflow with these steps, one after the other.
pub(super) fn chain(name: &str, steps: impl IntoIterator<Item = (&'static str, Step)>) -> Workflow {
    let steps: Vec<_> = steps.into_iter().collect();
    let names: Vec<&str> = steps.iter().map(|(name, _)| *name).collect();
    let mut workflow = Workflow::builder(name).trigger(Trigger::manual("go"));
    for (_, step) in steps {
        workflow = workflow.step(step);
    }
    for pair in names.windows(2) {
        workflow = workflow.then(pair[0], pair[1]);
    }
    workflow.then(names[names.len() - 1], crate::workflow::COMPLETE).build().unwrap()
}

pub(super) struct Process {
    pub(super) mesh: Squidmesh,
    pub(super) sink: RecordingSink,
    stop: Cancellation,
    kill: Cancellation,
    workers: Option<BoxFuture<'static, ()>>,
}

impl Process {
    /// Creates a process with its own executor and no workers yet.
    pub(super) fn new(fixture: &dyn ExecutorFixture, store: &Arc<dyn Store>, workflows: &[Workflow]) -> Self {
        Process::with(fixture, store, workflows, fixture.executor())
    }

    /// Creates a process with this executor and no workers yet.
    pub(super) fn with(
        fixture: &dyn ExecutorFixture,
        store: &Arc<dyn Store>,
        workflows: &[Workflow],
        executor: Arc<dyn Executor>,
    ) -> Self {
        let sink = RecordingSink::new();
        let moment = fixture.moment();
        let mut builder = Squidmesh::builder(Arc::clone(store)).executor(executor).event_sink(sink.clone());
        for workflow in workflows {
            builder = builder.workflow(workflow.clone());
        }
        let configured = builder.configure(|config| {
            config.lease = moment * 10;
            config.heartbeat = moment * 2;
        });
        let mesh = configured.build().unwrap();
        Process { mesh, sink, stop: Cancellation::new(), kill: Cancellation::new(), workers: None }
    }

    /// Starts the workers.
    pub(super) fn work(&mut self, fixture: &dyn ExecutorFixture) {
        let (mesh, stop, kill) = (self.mesh.clone(), self.stop.clone(), self.kill.clone());
        let work = async move {
            let shutdown = async move {
                stop.cancelled().await;
            };
            let running = async move { mesh.run_workers(shutdown).await.expect("the executor can work") };
            let killed = async move {
                kill.cancelled().await;
            };
            select(running.boxed(), killed.boxed()).await;
        };
        self.workers = Some(fixture.spawn(work.boxed()));
    }

    /// Starts a run.
    pub(super) async fn start(&self, workflow: &str) -> Run {
        self.mesh.start_run(workflow, &json!({})).await.expect("the run is started")
    }

    /// Starts `runs` runs.
    pub(super) async fn start_many(&self, workflow: &str, runs: usize) -> Vec<RunId> {
        let mut ids = Vec::new();
        for _ in 0..runs {
            ids.push(self.start(workflow).await.id);
        }
        ids
    }

    /// Asks the workers to stop, without waiting for them.
    pub(super) fn shut_down(&self) {
        self.stop.cancel(CancelReason::ShuttingDown);
    }

    /// Waits until the workers, which were asked to stop, have ended.
    pub(super) async fn ended(&mut self) {
        awaiting(
            "the end of the workers: `Executor::run` returns after the shutdown, once its deliveries have ended or were \
             interrupted",
        );
        self.workers.take().expect("the workers were started").await;
    }

    /// Stops the workers gracefully.
    pub(super) async fn stop(&mut self) {
        self.shut_down();
        self.ended().await;
    }

    /// Ends the workers at once, in the middle of their work.
    pub(super) async fn kill(&mut self) {
        self.kill.cancel(CancelReason::ShuttingDown);
        self.ended().await;
    }

    /// Waits until this process has emitted the end of a run and returns the run's status.
    pub(super) async fn end_of(&self, id: RunId) -> RunStatus {
        let ended = |event: &Event| {
            event.run_id == id && matches!(event.kind, EventKind::RunTransition { to, .. } if to.is_terminal())
        };
        awaiting(format!(
            "the end of run {id}: a step of it is not delivered; `publish` announces some work, and `Runner::claim` finds \
             all that is due, whether it was announced or not"
        ));
        self.sink.wait_for(ended).await.status
    }

    /// Waits until this process has emitted that all these runs completed.
    pub(super) async fn all_completed(&self, ids: &[RunId]) {
        for id in ids {
            assert_eq!(self.end_of(*id).await, RunStatus::Completed);
        }
    }

    /// Returns everything that is known about a run.
    pub(super) async fn details(&self, id: RunId) -> RunDetails {
        self.mesh.inspect_run(id).await.expect("the run can be inspected")
    }
}

/// Returns everything stored about a run, to compare before and after.
pub(super) async fn facts(store: &dyn Store, id: RunId) -> (Option<RunSnapshot>, RunHistory) {
    (store.load(id).await.expect("the run can be read"), store.history(id).await.expect("the history can be read"))
}

/// The number of checks before more time passes: enough for workers to have their turn on a busy machine.
pub(super) const LOOKS: usize = 5_000;

/// Lets time pass, moment by moment, until `done` completes.
pub(super) async fn while_time_passes(fixture: &dyn ExecutorFixture, done: impl Future<Output = ()>) {
    let mut done = pin!(done);
    loop {
        fixture.pass(fixture.moment()).await;
        for _ in 0..LOOKS {
            if done.as_mut().now_or_never().is_some() {
                return;
            }
            take_turns().await;
        }
    }
}
