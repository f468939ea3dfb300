//! The processes: how each is started with what it was deployed with, and how it ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt;
use squidmesh_core::testing::SeededEntropy;
use squidmesh_core::{
    CancelReason, Cancellation, Event, EventSink, Fingerprint, MissedPolicy, Squidmesh, StoreSession, Timestamp,
    Workflow,
};

use super::clock::SimClock;
use super::executor::SimExecutor;
use super::plan::{ORDERS, Plan, TICKS};
use super::props::Props;
use super::stage::ProcessId;
use super::store::SimStore;
use crate::check::{RunRecord, check_told};

/// What there is to deploy.
pub(crate) struct Script {
    first: Workflow,
    second: Workflow,
    ticks: Option<Workflow>,
}

/// Which versions a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deployed {
    First,
    Both,
    /// The second, which adopts what it can.
    Second,
}

impl Script {
    pub(crate) fn new(first: &Plan, second: &Plan, ticks: Option<&(Plan, MissedPolicy)>, props: &Arc<Props>) -> Self {
        Script {
            first: first.workflow(ORDERS, None, props),
            second: second.workflow(ORDERS, None, props),
            ticks: ticks.map(|(plan, missed)| plan.workflow(TICKS, Some(*missed), props)),
        }
    }

    fn workflows(&self, deployed: Deployed) -> impl Iterator<Item = &Workflow> {
        let first = (deployed != Deployed::Second).then_some(&self.first);
        let second = (deployed != Deployed::First).then_some(&self.second);
        first.into_iter().chain(second).chain(&self.ticks)
    }

    /// The versions that a process with this has.
    pub(crate) fn versions(&self, deployed: Deployed) -> BTreeSet<Fingerprint> {
        self.workflows(deployed).map(|workflow| *workflow.definition().fingerprint()).collect()
    }
}

/// A process that runs.
pub(crate) struct Process {
    pub(crate) id: ProcessId,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) mesh: Squidmesh,
    pub(crate) shutdown: Cancellation,
}

impl Process {
    /// Starts a process and its workers.
    pub(crate) fn start(id: ProcessId, script: &Script, deployed: Deployed, props: &Arc<Props>) -> Self {
        props.stage.note(format_args!("process {id} starts with {deployed:?}"));
        let process = Process::idle(id, script, deployed, props);
        let (mesh, shutdown) = (process.mesh.clone(), process.shutdown.clone());
        props.stage.spawn(id, async move {
            let stopped = async {
                shutdown.cancelled().await;
            };
            mesh.run_workers(stopped).await.expect("the executor can work");
        });
        process
    }

    /// A process without workers.
    pub(crate) fn idle(id: ProcessId, script: &Script, deployed: Deployed, props: &Arc<Props>) -> Self {
        let (stage, temper) = (&props.stage, props.temper);
        let skew = if props.chaos() { stage.below(2 * temper.skew + 1) as i64 - temper.skew as i64 } else { 0 };
        let clock = SimClock::new(Arc::clone(stage), skew);
        let executor = SimExecutor::new(Arc::clone(props), id, Arc::clone(&clock));
        let mut builder = Squidmesh::builder(SimStore::new(Arc::clone(props)))
            .executor(executor)
            .entropy(SeededEntropy::new(stage.draw()))
            .event_sink(Witness(Arc::clone(props)))
            .configure(|config| {
                config.lease = temper.lease;
                config.heartbeat = temper.lease / 3;
                config.stranded_after = temper.stranded;
            });
        for workflow in script.workflows(deployed) {
            builder = builder.workflow(workflow.clone());
        }
        if deployed == Deployed::Second {
            builder = builder.adopt(ORDERS);
        }
        Process { id, clock, mesh: builder.build().expect("the settings are sound"), shutdown: Cancellation::new() }
    }

    /// Tells it to stop.
    pub(crate) fn stop(&self) {
        self.shutdown.cancel(CancelReason::ShuttingDown);
    }
}

/// A place where a process is, or will be again.
pub(crate) struct Place {
    pub(crate) process: Option<Process>,
    pub(crate) back_at: Timestamp,
}

/// Hears what is told, and looks at once whether it is so.
struct Witness(Arc<Props>);

impl EventSink for Witness {
    fn emit(&self, event: &Event) {
        let props = &self.0;
        let stored = props.store.load(event.run_id).now_or_never().and_then(Result::ok).flatten();
        let record = stored.and_then(|state| {
            let history = props.store.history(event.run_id).now_or_never()?.ok()?;
            Some(RunRecord { state, history, definition: None })
        });
        let violations = check_told(event, record.as_ref());
        props.watch().violations.extend(violations);
        props.note_event(event.clone());
    }
}
