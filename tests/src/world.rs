//! A runtime, and workers that run while a scenario waits for its runs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use squidmesh_core::command::SquidmeshBuilder;
use squidmesh_core::event::{Event, EventKind};
use squidmesh_core::inspect::{RunDetails, ShowEverything, StepState, StepView};
use squidmesh_core::port::{Clock, EventSink};
use squidmesh_core::schedule::TriggerEvent;
use squidmesh_core::testing::{ManualClock, RecordingSink};
use squidmesh_core::{Run, RunId, RunStatus, Squidmesh};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::FlakyExecutor;

/// The maximum duration of anything in a scenario, in real time.
const SCENARIO_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a runtime must be quiet before its manual clock is moved.
const QUIET: Duration = Duration::from_millis(15);

/// One runtime, as a process has it.
pub struct World {
    pub mesh: Squidmesh,
    pub sink: Arc<RecordingSink>,
    pub executor: Arc<FlakyExecutor>,
    emitted: watch::Receiver<usize>,
    statuses: Statuses,
    clock: Option<Arc<ManualClock>>,
}

impl std::ops::Deref for World {
    type Target = Squidmesh;

    fn deref(&self) -> &Squidmesh {
        &self.mesh
    }
}

/// Keeps the runtime's events, and wakes those that wait for more.
struct NotifyingSink {
    sink: Arc<RecordingSink>,
    count: watch::Sender<usize>,
    statuses: Statuses,
}

/// The status of each run, as of its last event.
type Statuses = Arc<Mutex<HashMap<RunId, RunStatus>>>;

impl EventSink for NotifyingSink {
    fn emit(&self, event: &Event) {
        self.sink.emit(event);
        self.statuses.lock().unwrap().insert(event.run_id, event.status);
        self.count.send_modify(|count| *count += 1);
    }

    fn emit_trigger(&self, event: &TriggerEvent) {
        self.sink.emit_trigger(event);
    }
}

impl World {
    pub(crate) fn new(
        builder: SquidmeshBuilder,
        executor: Arc<FlakyExecutor>,
        clock: Option<Arc<ManualClock>>,
    ) -> Self {
        let sink = Arc::new(RecordingSink::new());
        let count = watch::Sender::new(0);
        let emitted = count.subscribe();
        let statuses = Statuses::default();
        let notifying = NotifyingSink { sink: sink.clone(), count, statuses: statuses.clone() };
        let mesh = builder.event_sink(notifying).redaction(ShowEverything).build().expect("the settings are sound");
        World { mesh, sink, executor, emitted, statuses, clock }
    }

    /// Runs workers until a run has ended or waits for a person, and nothing is left to deliver for it.
    pub async fn settle(&self, id: RunId) -> RunDetails {
        self.settle_all([id]).await.remove(0)
    }

    /// Does the same for several runs, with the same workers.
    pub async fn settle_all(&self, ids: impl IntoIterator<Item = RunId>) -> Vec<RunDetails> {
        let ids: Vec<RunId> = ids.into_iter().collect();
        self.working(async {
            let mut settled = Vec::with_capacity(ids.len());
            for id in ids {
                settled.push(self.rests(id).await);
            }
            settled
        })
        .await
    }

    /// Runs workers until a future completes, then lets them drain.
    pub async fn working<T>(&self, something: impl Future<Output = T>) -> T {
        let (stop, stopped) = oneshot::channel::<()>();
        let mesh = self.mesh.clone();
        let workers = tokio::spawn(async move { mesh.run_workers(async { drop(stopped.await) }).await });
        let something = async {
            let done = timeout(SCENARIO_TIMEOUT, something).await;
            let _ = stop.send(());
            // In every case the workers are awaited first, so that none is left running.
            let ended = timeout(SCENARIO_TIMEOUT, workers).await.expect("the workers drain");
            ended.expect("the workers do not panic").expect("the executor can work");
            done.unwrap_or_else(|_| {
                panic!("a scenario took longer than {SCENARIO_TIMEOUT:?}; events: {:?}", self.sink.names())
            })
        };
        tokio::select! {
            done = something => done,
            () = self.move_time() => unreachable!("time is moved as long as something waits"),
        }
    }

    /// Waits, beside running workers, until a run rests.
    pub async fn rests(&self, id: RunId) -> RunDetails {
        let mut emitted = self.emitted.clone();
        loop {
            emitted.mark_unchanged();
            let details = self.look(id).await;
            if rests(details.run.status) && details.intents.is_empty() {
                return self.look(id).await; // the parts of one look are read one after the other
            }
            // Inspecting costs as much as the run is wide, so not at every event. Another process may be the one that
            // executes the run, and emits no events here.
            let _ = timeout(Duration::from_millis(500), async {
                while emitted.changed().await.is_ok() {
                    if self.statuses.lock().unwrap().get(&id).is_none_or(|status| rests(*status)) {
                        break;
                    }
                }
            })
            .await;
        }
    }

    /// Waits, beside workers of this process, until a matching event has been emitted.
    pub async fn until(&self, happened: impl Fn(&Event) -> bool) {
        let mut emitted = self.emitted.clone();
        while !self.sink.events().iter().any(&happened) {
            // The sender lives as long as the runtime.
            emitted.changed().await.expect("the runtime is there");
        }
    }

    /// Returns the run and everything that is stored about it.
    pub async fn look(&self, id: RunId) -> RunDetails {
        self.mesh.inspect_run(id).await.expect("the run can be inspected")
    }

    pub async fn status(&self, id: RunId) -> RunStatus {
        self.look(id).await.run.status
    }

    /// Returns the names of the events of a run, in order.
    pub fn event_names(&self, run: &Run) -> Vec<&'static str> {
        self.sink.of_run(run.id).iter().map(|event| event.kind.name()).collect()
    }

    /// Returns the reasons for which deliveries of a run were ignored, in order.
    pub fn ignored_deliveries(&self, id: RunId) -> Vec<&'static str> {
        let events = self.sink.of_run(id);
        let reasons = events.iter().filter_map(|event| match &event.kind {
            EventKind::DeliveryIgnored { reason, .. } => Some(reason.as_str()),
            _ => None,
        });
        reasons.collect()
    }

    /// Where time is not real, moves it to the next deadline whenever nothing else happens.
    async fn move_time(&self) {
        let Some(clock) = &self.clock else { return std::future::pending().await };
        let mut before = 0;
        loop {
            tokio::time::sleep(QUIET).await;
            let now = *self.emitted.borrow();
            if now == before
                && let Some(deadline) = clock.next_deadline()
            {
                clock.advance(deadline.since(clock.now()));
            }
            before = now;
        }
    }
}

/// Returns whether a run in this status continues only after an outside action.
fn rests(status: RunStatus) -> bool {
    status.is_terminal() || status == RunStatus::Paused
}

/// Returns the part of an inspection about one step.
pub fn step<'a>(details: &'a RunDetails, name: &str) -> &'a StepView {
    details.steps.iter().find(|step| step.name.as_str() == name).expect("a declared step")
}

/// Returns the states of the steps, in the order of declaration.
pub fn states(details: &RunDetails) -> Vec<StepState> {
    details.steps.iter().map(|step| step.state).collect()
}

/// Returns the statuses of the attempts of a step, checked to be numbered 1, 2, … without gaps.
pub fn attempts(details: &RunDetails, name: &str) -> Vec<&'static str> {
    let attempts = &step(details, name).attempts;
    let numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, (1..).take(attempts.len()).collect::<Vec<u32>>(), "attempts of {name} without gaps");
    attempts.iter().map(|attempt| attempt.status.as_str()).collect()
}

/// Returns the distinct statuses of all attempts.
pub fn kinds_of_attempts(details: &RunDetails) -> BTreeSet<&'static str> {
    details.steps.iter().flat_map(|step| &step.attempts).map(|attempt| attempt.status.as_str()).collect()
}
