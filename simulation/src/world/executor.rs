//! The executor of a process: workers over the store's intents, and consumers of the shared queue, both notified of
//! work by announcements that may be lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use event_listener::Event;
use futures_util::FutureExt;
use futures_util::future::select_all;
use squidmesh_core::command::{BegunStep, DeliveryOutcome, HeldClaim, PerformError};
use squidmesh_core::dispatch::{DeliveryMessage, Intent, Job, JobMetadata, Refusal};
use squidmesh_core::port::{Clock, Executor, ExecutorError};
use squidmesh_core::workflow::{CancelReason, Cancellation};
use squidmesh_core::{Runner, ms, secs};

use super::clock::SimClock;
use super::environment::Environment;
use super::scheduler::ProcessId;
use crate::mutation::Mutation;

/// The maximum number of concurrent deliveries of a process.
const WORKERS: usize = 4;
/// The number of a process's tasks that are not deliveries: the consumer and the relay.
const KEEPERS: usize = 2;
/// The time that running deliveries have to finish after a shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct SimExecutor {
    shared: Arc<Shared>,
}

struct Shared {
    environment: Arc<Environment>,
    process: ProcessId,
    clock: Arc<SimClock>,
    announced: Event,
    working: AtomicUsize,
}

impl SimExecutor {
    pub(crate) fn new(environment: Arc<Environment>, process: ProcessId, clock: Arc<SimClock>) -> Self {
        let shared = Shared { environment, process, clock, announced: Event::new(), working: AtomicUsize::new(0) };
        SimExecutor { shared: Arc::new(shared) }
    }

    /// Spawns work as its own task.
    fn carry_out(&self, work: impl Future<Output = ()> + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        shared.working.fetch_add(1, Ordering::SeqCst);
        self.shared.environment.scheduler.spawn(self.shared.process, async move {
            work.await;
            shared.working.fetch_sub(1, Ordering::SeqCst);
            shared.announced.notify(usize::MAX);
        });
    }

    /// Returns the number of workers that are not working.
    fn idle(&self) -> usize {
        (WORKERS + KEEPERS).saturating_sub(self.shared.working.load(Ordering::SeqCst))
    }

    /// Delivers a step that was begun for a worker.
    fn deliver_begun(&self, runner: &Runner, begun: Option<BegunStep>) {
        if let Some(begun) = begun {
            let (runner, environment) = (runner.clone(), Arc::clone(&self.shared.environment));
            self.carry_out(async move {
                let lease = begun.lease().clone();
                match runner.deliver_begun(begun).await {
                    // It is delivered again once its lease has expired.
                    DeliveryOutcome::Failed(_) => {}
                    outcome => environment.nothing_is_left_open(&lease, &format!("{outcome:?}")),
                }
            });
        }
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

    /// Takes messages from the queue, one by one, until the shutdown.
    async fn consume(self, runner: Runner, shutdown: Cancellation) {
        let Shared { environment, .. } = &*self.shared;
        while !shutdown.is_cancelled() {
            let arrival = environment.queue.arrival();
            let now = environment.scheduler.now();
            let Some(message) = environment.queue.take(now, |count| environment.scheduler.below(count as u64) as usize)
            else {
                let wait = environment.queue.next().map_or(secs(3_600), |at| at.since(now).max(ms(1)));
                let shut = async {
                    shutdown.cancelled().await;
                };
                select_all([arrival.boxed(), environment.scheduler.sleep(wait).boxed(), shut.boxed()]).await;
                continue;
            };
            let key = DeliveryMessage::parse(&message).ok().and_then(|payload| payload.intent());
            let again = match key {
                Some(key) if environment.conditions.relays => match runner.claim_keys(&[key]).await {
                    Ok(claims) => {
                        for claim in claims {
                            deliver(environment, &runner, claim).await;
                        }
                        false
                    }
                    Err(_) => true,
                },
                _ => match runner.perform(&message).await {
                    // The message is acknowledged after its work was executed: the acknowledgement may be lost.
                    Ok(_) => environment.goes_wrong(10),
                    Err(PerformError::InvalidMessage(_)) => false,
                    Err(_) => true,
                },
            };
            if again && environment.chaos() {
                environment
                    .queue
                    .put(environment.scheduler.now().after(secs(1 + environment.scheduler.below(30))), message);
            }
        }
    }
}

/// Delivers a claim, which leaves nothing to be taken over.
async fn deliver(environment: &Environment, runner: &Runner, claim: HeldClaim) {
    let lease = claim.lease.clone();
    let delivery = runner.deliver(claim).boxed();
    if environment.mutation == Some(Mutation::DroppedDelivery) && environment.goes_wrong(20) {
        let dropped = environment.scheduler.sleep(ms(environment.scheduler.below(200))).boxed();
        futures_util::future::select(delivery, dropped).await;
        environment.nothing_is_left_open(&lease, "dropped");
        return;
    }
    match delivery.await {
        // It is delivered again once its lease has expired.
        DeliveryOutcome::Failed(_) => {}
        outcome => environment.nothing_is_left_open(&lease, &format!("{outcome:?}")),
    }
}

/// Puts due work into the queue from time to time, as far as this process knows its version.
async fn relay(environment: Arc<Environment>, runner: Runner, shutdown: Cancellation) {
    while !shutdown.is_cancelled() {
        let wait = match runner.list_due(None, None, 50).await {
            Ok(due) => {
                for intent in due.intents {
                    let message = serde_json::to_vec(&DeliveryMessage::from(&intent.key)).expect("a payload is JSON");
                    environment.queue.put(environment.scheduler.now(), message);
                }
                due.next_in.map_or(environment.conditions.poll, |next| next.clamp(secs(1), environment.conditions.poll))
            }
            Err(_) => secs(1),
        };
        let shut = async {
            shutdown.cancelled().await;
        };
        select_all([environment.scheduler.sleep(wait).boxed(), shut.boxed()]).await;
    }
}

/// Stops the heartbeats when the workers end.
struct StopOnDrop(Cancellation);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cancel(CancelReason::ShuttingDown);
    }
}

#[async_trait]
impl Executor for SimExecutor {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        if let Some(job) =
            jobs.first().filter(|_| self.shared.environment.goes_wrong(self.shared.environment.conditions.refusals))
        {
            return Err(Refusal::Unroutable { job_id: job.key.to_string(), reason: "the simulation".to_owned() });
        }
        Ok(jobs.iter().map(Job::metadata).collect())
    }

    fn publish(&self, intents: &[Intent]) {
        let environment = &self.shared.environment;
        if !environment.goes_wrong(environment.conditions.losses) {
            self.shared.announced.notify(usize::MAX);
        }
        for intent in intents.iter().filter(|intent| intent.delay.is_zero()) {
            let payload = DeliveryMessage::from(&intent.key);
            let message = serde_json::to_vec(&payload).expect("a payload is JSON");
            let copies = match () {
                () if environment.goes_wrong(environment.conditions.losses) => 0,
                () if environment.goes_wrong(environment.conditions.losses) => 2,
                () => 1,
            };
            for _ in 0..copies {
                let late =
                    if environment.goes_wrong(5) { ms(environment.scheduler.below(90_000)) } else { Duration::ZERO };
                environment.queue.put(environment.scheduler.now().after(late), message.clone());
            }
        }
    }

    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError> {
        let Shared { environment, .. } = &*self.shared;
        self.carry_out(self.clone().consume(runner.clone(), shutdown.clone()));
        if environment.conditions.relays {
            self.carry_out(relay(Arc::clone(environment), runner.clone(), shutdown.clone()));
        }
        let offer = runner.offer_workers();
        while !shutdown.is_cancelled() {
            // Listening before claiming avoids missing an announcement between the two.
            let announcement = self.shared.announced.listen();
            let mut committed = runner.work_notified().boxed();
            if (&mut committed).now_or_never().is_some() {
                committed = runner.work_notified().boxed();
            }
            let reserved = offer.withdraw();
            let free = self.idle().saturating_sub(reserved);
            let wait = if free == 0 {
                environment.conditions.poll
            } else {
                match runner.claim(free).await {
                    Ok(found) => {
                        for claim in found.claims {
                            let (runner, environment) = (runner.clone(), Arc::clone(environment));
                            self.carry_out(async move {
                                deliver(&environment, &runner, claim).await;
                            });
                        }
                        found.next_in.map_or(environment.conditions.poll, |next| next.min(environment.conditions.poll))
                    }
                    Err(_) => secs(1),
                }
            };
            let shut = async {
                shutdown.cancelled().await;
            };
            let due = environment.scheduler.sleep(wait.max(ms(1)));
            if environment.conditions.offers && free > 0 {
                offer.set(self.idle());
            }
            let mut begun = None;
            let receive = async { begun = offer.receive().await };
            select_all([announcement.boxed(), committed, due.boxed(), shut.boxed(), receive.boxed()]).await;
            self.deliver_begun(&runner, begun);
        }
        offer.close();
        runner.drain();
        while let Some(begun) = offer.receive().await {
            self.deliver_begun(&runner, Some(begun));
        }
        let patience = environment.scheduler.sleep(DRAIN_TIMEOUT);
        futures_util::future::select(self.rest().boxed(), patience).await;
        runner.interrupt();
        self.rest().await;
        Ok(())
    }

    /// Runs the heartbeats as a separate task, as if on their own thread.
    async fn run_heartbeats(&self, runner: Runner) {
        let stop = StopOnDrop(Cancellation::new());
        let (beats, stopped) = (runner.clone(), stop.0.clone());
        let beats = async move { beats.run_heartbeats_until(&stopped).await };
        self.shared.environment.scheduler.spawn_beats(self.shared.process, beats);
        runner.keep_pulse().await;
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock) as Arc<dyn Clock>
    }
}
