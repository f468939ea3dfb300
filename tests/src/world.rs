//! A runtime, and workers that run while a scenario waits for its runs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use squidmesh_core::testing::{ManualClock, RecordingSink};
use squidmesh_core::{
    Clock, Event, EventKind, EventSink, Run, RunDetails, RunId, RunStatus, ShowEverything, Squidmesh, SquidmeshBuilder,
    StepState, StepView,
};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::Moody;

/// The longest that anything in a scenario may take, in real time.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing must have happened before a clock that stands still is moved.
const QUIET: Duration = Duration::from_millis(15);

/// One runtime, as one process has it.
pub struct World {
    pub mesh: Squidmesh,
    pub sink: Arc<RecordingSink>,
    pub executor: Arc<Moody>,
    told: watch::Receiver<usize>,
    statuses: Statuses,
    clock: Option<Arc<ManualClock>>,
}

impl std::ops::Deref for World {
    type Target = Squidmesh;

    fn deref(&self) -> &Squidmesh {
        &self.mesh
    }
}

/// Keeps what the runtime tells, and wakes who waits for more.
struct Telling {
    sink: Arc<RecordingSink>,
    count: watch::Sender<usize>,
    statuses: Statuses,
}

/// The status of each run, as its last event told it.
type Statuses = Arc<Mutex<HashMap<RunId, RunStatus>>>;

impl EventSink for Telling {
    fn emit(&self, event: &Event) {
        self.sink.emit(event);
        self.statuses.lock().unwrap().insert(event.run_id, event.status);
        self.count.send_modify(|count| *count += 1);
    }
}

impl World {
    pub(crate) fn new(builder: SquidmeshBuilder, executor: Arc<Moody>, clock: Option<Arc<ManualClock>>) -> Self {
        let sink = Arc::new(RecordingSink::new());
        let count = watch::Sender::new(0);
        let told = count.subscribe();
        let statuses = Statuses::default();
        let telling = Telling { sink: sink.clone(), count, statuses: statuses.clone() };
        let mesh = builder.event_sink(telling).redaction(ShowEverything).build().expect("the settings are sound");
        World { mesh, sink, executor, told, statuses, clock }
    }

    /// Runs workers until a run has ended, or waits for a person, and nothing is left to deliver for it.
    pub async fn settle(&self, id: RunId) -> RunDetails {
        self.settle_all([id]).await.remove(0)
    }

    /// The same for several runs, with the same workers.
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

    /// Runs workers for as long as something takes, then lets them drain.
    pub async fn working<T>(&self, something: impl Future<Output = T>) -> T {
        let (stop, stopped) = oneshot::channel::<()>();
        let mesh = self.mesh.clone();
        let workers = tokio::spawn(async move { mesh.run_workers(async { drop(stopped.await) }).await });
        let something = async {
            let done = timeout(PATIENCE, something).await;
            let _ = stop.send(());
            // Whatever the outcome, the workers are awaited first, so that nothing is left running.
            let ended = timeout(PATIENCE, workers).await.expect("the workers drain");
            ended.expect("the workers do not panic").expect("the executor can work");
            done.unwrap_or_else(|_| panic!("a scenario took longer than {PATIENCE:?}; events: {:?}", self.sink.names()))
        };
        tokio::select! {
            done = something => done,
            () = self.move_time() => unreachable!("time is moved as long as something waits"),
        }
    }

    /// Waits, beside workers, until a run rests.
    pub async fn rests(&self, id: RunId) -> RunDetails {
        let mut told = self.told.clone();
        loop {
            told.mark_unchanged();
            let details = self.look(id).await;
            if rests(details.run.status) && details.intents.is_empty() {
                return self.look(id).await; // the parts of one look are read one after the other
            }
            // Looking costs as much as the run is wide, so not at every event. Another process may be the one that carries
            // the run on, and tells nothing here.
            let _ = timeout(Duration::from_millis(500), async {
                while told.changed().await.is_ok() {
                    if self.statuses.lock().unwrap().get(&id).is_none_or(|status| rests(*status)) {
                        break;
                    }
                }
            })
            .await;
        }
    }

    /// Waits, beside workers of this process, until something has been told.
    pub async fn until(&self, happened: impl Fn(&Event) -> bool) {
        let mut told = self.told.clone();
        while !self.sink.events().iter().any(&happened) {
            // The sender lives as long as the runtime.
            told.changed().await.expect("the runtime is there");
        }
    }

    /// The run and everything that is stored of it.
    pub async fn look(&self, id: RunId) -> RunDetails {
        self.mesh.inspect_run(id).await.expect("the run can be inspected")
    }

    pub async fn status(&self, id: RunId) -> RunStatus {
        self.look(id).await.run.status
    }

    /// The names of the events of a run, in order.
    pub fn told(&self, run: &Run) -> Vec<&'static str> {
        self.sink.of_run(run.id).iter().map(|event| event.kind.name()).collect()
    }

    /// The reasons for which deliveries of a run were skipped, in order.
    pub fn skipped(&self, id: RunId) -> Vec<&'static str> {
        let events = self.sink.of_run(id);
        let reasons = events.iter().filter_map(|event| match &event.kind {
            EventKind::StepSkipped { reason, .. } => Some(reason.as_str()),
            _ => None,
        });
        reasons.collect()
    }

    /// Where time is not real, moves it to what is waited for next, whenever nothing happens otherwise.
    async fn move_time(&self) {
        let Some(clock) = &self.clock else { return std::future::pending().await };
        let mut before = 0;
        loop {
            tokio::time::sleep(QUIET).await;
            let now = *self.told.borrow();
            if now == before
                && let Some(deadline) = clock.next_deadline()
            {
                clock.advance(deadline.since(clock.now()));
            }
            before = now;
        }
    }
}

/// Whether a run in this status goes on only if somebody does something.
fn rests(status: RunStatus) -> bool {
    status.is_terminal() || status == RunStatus::Paused
}

/// The part of an inspection about one step.
pub fn step<'a>(details: &'a RunDetails, name: &str) -> &'a StepView {
    details.steps.iter().find(|step| step.name.as_str() == name).expect("a declared step")
}

/// The states of the steps, in the order of declaration.
pub fn states(details: &RunDetails) -> Vec<StepState> {
    details.steps.iter().map(|step| step.state).collect()
}

/// The statuses of the attempts of a step, checked to be numbered 1, 2, … without gaps.
pub fn attempts(details: &RunDetails, name: &str) -> Vec<&'static str> {
    let attempts = &step(details, name).attempts;
    let numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, (1..).take(attempts.len()).collect::<Vec<u32>>(), "attempts of {name} without gaps");
    attempts.iter().map(|attempt| attempt.status.as_str()).collect()
}

/// The distinct statuses of all attempts.
pub fn kinds_of_attempts(details: &RunDetails) -> BTreeSet<&'static str> {
    details.steps.iter().flat_map(|step| &step.attempts).map(|attempt| attempt.status.as_str()).collect()
}
