//! An executor for a queue that carries text.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use event_listener::Event;
use futures_util::future::{Either, FutureExt, select, select_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use squidmesh_core::Runner;
use squidmesh_core::command::PerformError;
use squidmesh_core::definition::QueueName;
use squidmesh_core::dispatch::{DeliveryMessage, Intent, Job, JobMetadata, Refusal};
use squidmesh_core::port::{Clock, Executor, ExecutorError};
use squidmesh_core::workflow::Cancellation;

/// How many deliveries are carried out at once.
const WORKERS: usize = 16;
/// How long before the store is asked again for work that was not announced.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// How long steps may take to finish after the executor begins to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

pub struct QueueExecutor {
    queue: Mutex<VecDeque<String>>, // stands for the client of a real queue
    parked: Mutex<Vec<String>>,     // what an operator has to look at
    woken: Event,
    clock: Arc<dyn Clock>,
    missing: Vec<QueueName>, // queues that the real one does not have
}

impl QueueExecutor {
    pub fn new(clock: Arc<dyn Clock>, missing: Vec<QueueName>) -> Self {
        QueueExecutor { queue: Mutex::default(), parked: Mutex::default(), woken: Event::new(), clock, missing }
    }

    fn pop(&self) -> Option<String> {
        self.queue.lock().unwrap().pop_front()
    }

    async fn perform(&self, runner: &Runner, message: String) {
        match runner.perform(message.as_bytes()).await {
            Ok(_) => {} // carried out, or a harmless duplicate
            Err(PerformError::InvalidMessage(_) | PerformError::UnknownTrigger { .. }) => {
                self.parked.lock().unwrap().push(message);
            }
            Err(_) => {} // the store is down: the intent is in it, and is claimed later
        }
    }

    async fn work(&self, runner: &Runner, shutdown: &Cancellation) {
        let mut running = FuturesUnordered::new();
        while !shutdown.is_cancelled() {
            // Listen before looking: what comes between the two is not missed.
            let woken = self.woken.listen();
            let free = WORKERS - running.len();
            if free > 0
                && let Some(message) = self.pop()
            {
                running.push(self.perform(runner, message).boxed());
                let _ = running.next().now_or_never(); // begins it, so that it is not claimed below
                continue;
            }
            let asked_at = self.clock.now();
            let mut wait = POLL_INTERVAL;
            if free > 0
                && let Ok(found) = runner.claim(free).await
            {
                if shutdown.is_cancelled() {
                    let _ = runner.release(found.claims).await; // if that fails, the leases expire
                    break;
                }
                for claim in found.claims {
                    running.push(runner.deliver(claim).map(drop).boxed());
                }
                wait = found.next_in.map_or(wait, |next| next.min(wait));
            }
            let wait = wait.saturating_sub(self.clock.now().since(asked_at));
            let ended = async {
                if running.next().await.is_none() {
                    pending().await
                }
            };
            let stopped = shutdown.cancelled().map(drop);
            select_all([ended.boxed(), woken.boxed(), self.clock.sleep(wait), stopped.boxed()]).await;
        }
        runner.drain();
        let mut all_ended = running.collect::<()>();
        if let Either::Right(_) = select(&mut all_ended, self.clock.sleep(DRAIN_TIMEOUT)).await {
            runner.interrupt();
            all_ended.await;
        }
    }
}

#[async_trait]
impl Executor for QueueExecutor {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        match jobs.iter().find(|job| self.missing.contains(&job.queue)) {
            Some(job) => Err(Refusal::Unroutable {
                job_id: job.key.to_string(),
                reason: format!("there is no queue {}", job.queue),
            }),
            None => Ok(jobs.iter().map(Job::metadata).collect()),
        }
    }

    fn publish(&self, intents: &[Intent]) {
        // Delayed work stays in the store until it is due: no queue has to hold a message back.
        for intent in intents.iter().filter(|intent| intent.delay.is_zero()) {
            self.queue.lock().unwrap().push_back(DeliveryMessage::from(&intent.key).to_string());
        }
        self.woken.notify(1); // for delayed work too, which may be due before the workers look again
    }

    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError> {
        // What other processes commit wakes the workers as well.
        let notified = async {
            loop {
                runner.work_notified().await;
                self.woken.notify(1);
            }
        };
        // In this order: work is listened for before the workers look for the first time.
        select(pin!(notified), pin!(self.work(&runner, &shutdown))).await;
        Ok(())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }
}
