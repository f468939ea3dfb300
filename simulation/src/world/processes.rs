//! The processes: how each is started with its deployed versions, and how it ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt;
use squidmesh_checker::{RunRecord, check_emitted};
use squidmesh_core::definition::{Fingerprint, MissedPolicy};
use squidmesh_core::event::Event;
use squidmesh_core::port::{EventSink, StoreSession};
use squidmesh_core::testing::SeededEntropy;
use squidmesh_core::workflow::{CancelReason, Cancellation};
use squidmesh_core::{Squidmesh, Timestamp, Workflow};

use super::clock::SimClock;
use super::environment::Environment;
use super::executor::SimExecutor;
use super::plan::{ORDERS, Plan, TICKS};
use super::scheduler::ProcessId;
use super::store::SimStore;

/// The maximum size of a run's context, in bytes.
const CONTEXT: usize = 4_096;
/// The maximum number of signals of a run that no step has taken.
const SIGNALS: usize = 4;

/// The versions that can be deployed.
pub(crate) struct Releases {
    first: Workflow,
    second: Workflow,
    ticks: Option<Workflow>,
}

/// The versions that a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deployed {
    First,
    Both,
    /// The second, which adopts what it can.
    Second,
}

impl Releases {
    pub(crate) fn new(
        first: &Plan,
        second: &Plan,
        ticks: Option<&(Plan, MissedPolicy)>,
        environment: &Arc<Environment>,
    ) -> Self {
        Releases {
            first: first.workflow(ORDERS, None, environment),
            second: second.workflow(ORDERS, None, environment),
            ticks: ticks.map(|(plan, missed)| plan.workflow(TICKS, Some(*missed), environment)),
        }
    }

    fn workflows(&self, deployed: Deployed) -> impl Iterator<Item = &Workflow> {
        let first = (deployed != Deployed::Second).then_some(&self.first);
        let second = (deployed != Deployed::First).then_some(&self.second);
        first.into_iter().chain(second).chain(&self.ticks)
    }

    /// Returns the fingerprints of the versions that a process with this deployment has.
    pub(crate) fn versions(&self, deployed: Deployed) -> BTreeSet<Fingerprint> {
        self.workflows(deployed).map(|workflow| *workflow.definition().fingerprint()).collect()
    }
}

/// A running process.
pub(crate) struct Process {
    pub(crate) id: ProcessId,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) mesh: Squidmesh,
    pub(crate) shutdown: Cancellation,
}

impl Process {
    /// Starts a process and its workers.
    pub(crate) fn start(
        id: ProcessId,
        releases: &Releases,
        deployed: Deployed,
        environment: &Arc<Environment>,
    ) -> Self {
        environment.scheduler.note(format_args!("process {id} starts with {deployed:?}"));
        let process = Process::idle(id, releases, deployed, environment);
        let (mesh, shutdown) = (process.mesh.clone(), process.shutdown.clone());
        environment.scheduler.spawn(id, async move {
            let stopped = async {
                shutdown.cancelled().await;
            };
            mesh.run_workers(stopped).await.expect("the executor can work");
        });
        process
    }

    /// Creates a process without workers.
    pub(crate) fn idle(id: ProcessId, releases: &Releases, deployed: Deployed, environment: &Arc<Environment>) -> Self {
        let (scheduler, conditions) = (&environment.scheduler, environment.conditions);
        let skew = if environment.chaos() {
            scheduler.below(2 * conditions.skew + 1) as i64 - conditions.skew as i64
        } else {
            0
        };
        let clock = SimClock::new(Arc::clone(scheduler), skew);
        let executor = SimExecutor::new(Arc::clone(environment), id, Arc::clone(&clock));
        let mut builder = Squidmesh::builder(SimStore::new(Arc::clone(environment)))
            .executor(executor)
            .entropy(SeededEntropy::new(scheduler.draw()))
            .event_sink(Witness(Arc::clone(environment)))
            .configure(|config| {
                config.lease = conditions.lease;
                config.heartbeat = conditions.lease / 3;
                config.stranded_after = conditions.stranded;
                // So small that signals fill them: some do not fit any more.
                (config.json.max_bytes, config.max_context_bytes) = (CONTEXT, CONTEXT);
                config.max_buffered_signals = SIGNALS;
            });
        for workflow in releases.workflows(deployed) {
            builder = builder.workflow(workflow.clone());
        }
        if deployed == Deployed::Second {
            builder = builder.adopt(ORDERS);
        }
        Process { id, clock, mesh: builder.build().expect("the settings are sound"), shutdown: Cancellation::new() }
    }

    /// Asks the process to stop.
    pub(crate) fn stop(&self) {
        self.shutdown.cancel(CancelReason::ShuttingDown);
    }
}

/// A slot for a process, which is restarted after it ends.
pub(crate) struct Slot {
    pub(crate) process: Option<Process>,
    pub(crate) back_at: Timestamp,
}

/// Receives events, and checks at once whether they are true.
struct Witness(Arc<Environment>);

impl EventSink for Witness {
    fn emit(&self, event: &Event) {
        let environment = &self.0;
        let stored = environment.store.load(event.run_id).now_or_never().and_then(Result::ok).flatten();
        let record = stored.and_then(|state| {
            let history = environment.store.history(event.run_id).now_or_never()?.ok()?;
            Some(RunRecord { state, history, definition: None })
        });
        let violations = check_emitted(event, record.as_ref());
        environment.observer().violations.extend(violations);
        environment.note_event(event.clone());
    }
}
