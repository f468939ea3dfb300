//! The executor of a process: workers over the store's intents, and consumers of the shared queue, both told of work by
//! announcements that may get lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use event_listener::Event;
use futures_util::FutureExt;
use futures_util::future::select_all;
use squidmesh_core::{
    Cancellation, Clock, DeliveryPayload, Executor, ExecutorError, Intent, Job, JobMetadata, PerformError, Refusal,
    Runner, ms, secs,
};

use super::clock::SimClock;
use super::props::Props;
use super::stage::ProcessId;

/// How many deliveries a process carries out at once.
const WORKERS: usize = 4;
/// How many tasks of a process are none.
const KEEPERS: usize = 2;
/// How long what runs may take once the process is told to stop.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct SimExecutor {
    shared: Arc<Shared>,
}

struct Shared {
    props: Arc<Props>,
    process: ProcessId,
    clock: Arc<SimClock>,
    announced: Event,
    working: AtomicUsize,
}

impl SimExecutor {
    pub(crate) fn new(props: Arc<Props>, process: ProcessId, clock: Arc<SimClock>) -> Self {
        let shared = Shared { props, process, clock, announced: Event::new(), working: AtomicUsize::new(0) };
        SimExecutor { shared: Arc::new(shared) }
    }

    /// Puts work on the stage as a task of its own.
    fn carry_out(&self, work: impl Future<Output = ()> + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        shared.working.fetch_add(1, Ordering::SeqCst);
        self.shared.props.stage.spawn(self.shared.process, async move {
            work.await;
            shared.working.fetch_sub(1, Ordering::SeqCst);
            shared.announced.notify(usize::MAX);
        });
    }

    async fn rest(&self) {
        loop {
            let changed = self.shared.announced.listen();
            if self.shared.working.load(Ordering::SeqCst) == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Takes messages from the queue, one by one, until it is told to stop.
    async fn consume(self, runner: Runner, shutdown: Cancellation) {
        let Shared { props, .. } = &*self.shared;
        while !shutdown.is_cancelled() {
            let arrival = props.queue.arrival();
            let now = props.stage.now();
            let Some(message) = props.queue.take(now, |count| props.stage.below(count as u64) as usize) else {
                let wait = props.queue.next().map_or(secs(3_600), |at| at.since(now).max(ms(1)));
                let shut = async {
                    shutdown.cancelled().await;
                };
                select_all([arrival.boxed(), props.stage.sleep(wait).boxed(), shut.boxed()]).await;
                continue;
            };
            let key = DeliveryPayload::parse(&message).ok().and_then(|payload| payload.intent());
            let again = match key {
                Some(key) if props.temper.relays => match runner.take(&[key]).await {
                    Ok(claims) => {
                        for claim in claims {
                            runner.deliver(claim).await;
                        }
                        false
                    }
                    Err(_) => true,
                },
                _ => match runner.perform(&message).await {
                    // It is acknowledged after it was carried out: the acknowledgement may get lost.
                    Ok(_) => props.goes_wrong(10),
                    Err(PerformError::InvalidPayload(_)) => false,
                    Err(_) => true,
                },
            };
            if again && props.chaos() {
                props.queue.put(props.stage.now().after(secs(1 + props.stage.below(30))), message);
            }
        }
    }
}

/// Puts what is due into the queue from time to time, as far as it is known here.
async fn relay(props: Arc<Props>, runner: Runner, shutdown: Cancellation) {
    while !shutdown.is_cancelled() {
        let wait = match runner.due(None, None, 50).await {
            Ok(due) => {
                for intent in due.intents {
                    let message = serde_json::to_vec(&DeliveryPayload::from(&intent.key)).expect("a payload is JSON");
                    props.queue.put(props.stage.now(), message);
                }
                due.next_in.map_or(props.temper.poll, |next| next.clamp(secs(1), props.temper.poll))
            }
            Err(_) => secs(1),
        };
        let shut = async {
            shutdown.cancelled().await;
        };
        select_all([props.stage.sleep(wait).boxed(), shut.boxed()]).await;
    }
}

#[async_trait]
impl Executor for SimExecutor {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        if let Some(job) = jobs.first().filter(|_| self.shared.props.goes_wrong(self.shared.props.temper.refusals)) {
            return Err(Refusal::Unroutable { job_id: job.key.to_string(), reason: "the simulation".to_owned() });
        }
        Ok(jobs.iter().map(Job::metadata).collect())
    }

    fn publish(&self, intents: &[Intent]) {
        let props = &self.shared.props;
        if !props.goes_wrong(props.temper.losses) {
            self.shared.announced.notify(usize::MAX);
        }
        for intent in intents.iter().filter(|intent| intent.delay.is_zero()) {
            let payload = DeliveryPayload::from(&intent.key);
            let message = serde_json::to_vec(&payload).expect("a payload is JSON");
            let copies = match () {
                () if props.goes_wrong(props.temper.losses) => 0,
                () if props.goes_wrong(props.temper.losses) => 2,
                () => 1,
            };
            for _ in 0..copies {
                let late = if props.goes_wrong(5) { ms(props.stage.below(90_000)) } else { Duration::ZERO };
                props.queue.put(props.stage.now().after(late), message.clone());
            }
        }
    }

    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError> {
        let Shared { props, .. } = &*self.shared;
        self.carry_out(self.clone().consume(runner.clone(), shutdown.clone()));
        if props.temper.relays {
            self.carry_out(relay(Arc::clone(props), runner.clone(), shutdown.clone()));
        }
        while !shutdown.is_cancelled() {
            // Listen first, claim after: what is announced between the two is not missed.
            let announcement = self.shared.announced.listen();
            let mut committed = runner.work_committed().boxed();
            if (&mut committed).now_or_never().is_some() {
                committed = runner.work_committed().boxed();
            }
            let free = (WORKERS + KEEPERS).saturating_sub(self.shared.working.load(Ordering::SeqCst));
            let wait = if free == 0 {
                props.temper.poll
            } else {
                match runner.claim(free).await {
                    Ok(found) => {
                        for claim in found.claims {
                            let runner = runner.clone();
                            self.carry_out(async move {
                                runner.deliver(claim).await;
                            });
                        }
                        found.next_in.map_or(props.temper.poll, |next| next.min(props.temper.poll))
                    }
                    Err(_) => secs(1),
                }
            };
            let shut = async {
                shutdown.cancelled().await;
            };
            let due = props.stage.sleep(wait.max(ms(1)));
            select_all([announcement.boxed(), committed, due.boxed(), shut.boxed()]).await;
        }
        runner.drain();
        let patience = props.stage.sleep(PATIENCE);
        futures_util::future::select(self.rest().boxed(), patience).await;
        runner.interrupt();
        self.rest().await;
        Ok(())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock) as Arc<dyn Clock>
    }
}
