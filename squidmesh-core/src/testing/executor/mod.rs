//! An executor in memory: it delivers when a test asks it to, or through workers that need no async runtime.
//!
//! Knows the executor port and the manual clock. Knows nothing of what it delivers.

#[cfg(test)]
mod cron_tests;
mod drain;
mod temper;
#[cfg(test)]
mod tests;
mod workers;

pub use drain::DrainError;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use event_listener::Event;

use self::temper::Temper;
use super::ManualClock;
use crate::cancellation::Cancellation;
use crate::dispatch::{Intent, Job, JobMetadata, Refusal};
use crate::name::QueueName;
use crate::port::{Clock, Executor, ExecutorError};
use crate::runner::Runner;

/// An executor in memory, on a [`ManualClock`]. Clones share everything: give one to the runtime and keep one.
///
/// A host's test starts runs and then advances them step by step: [`drain`](MemoryExecutor::drain) delivers all due
/// work, [`run_to_rest`](MemoryExecutor::run_to_rest) also lets waiting times pass, in no real time. Neither needs
/// running workers.
///
/// ```
/// use std::sync::Arc;
///
/// use serde_json::{Value, json};
/// use squidmesh_core::testing::{ManualClock, MemoryExecutor, MemoryStore, block_on};
/// use squidmesh_core::{COMPLETE, RunStatus, Squidmesh, Step, StepContext, StepResult, Trigger, Workflow, hours, wait};
///
/// async fn greet(_: Value, _: StepContext) -> StepResult<Value> {
///     Ok(json!({ "greeted": true }))
/// }
///
/// let welcome = Workflow::builder("welcome")
///     .trigger(Trigger::manual("signed_up"))
///     .step(Step::new("cool_off", wait(hours(72))))
///     .step(Step::new("greet", greet))
///     .then("cool_off", "greet")
///     .then("greet", COMPLETE)
///     .build()?;
///
/// let clock = Arc::new(ManualClock::default());
/// let store = MemoryStore::new(clock.clone());
/// let executor = MemoryExecutor::new(clock);
/// let mesh = Squidmesh::builder(store).executor(executor.clone()).workflow(welcome).build()?;
///
/// let run = block_on(mesh.start_run("welcome", &json!({})))?;
/// block_on(executor.run_to_rest(&mesh))?; // three days pass
/// assert_eq!(block_on(mesh.inspect_run(run.id))?.run.status, RunStatus::Completed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryExecutor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<ManualClock>,
    temper: Mutex<Temper>,
    published: Mutex<Vec<Intent>>,
    announced: Event,
}

impl MemoryExecutor {
    /// Creates an executor on this clock that accepts every job.
    pub fn new(clock: Arc<ManualClock>) -> Self {
        MemoryExecutor {
            shared: Arc::new(Shared {
                clock,
                temper: Mutex::default(),
                published: Mutex::default(),
                announced: Event::new(),
            }),
        }
    }

    /// Returns the clock that the executor runs on.
    pub fn manual_clock(&self) -> &Arc<ManualClock> {
        &self.shared.clock
    }

    /// Returns every intent published so far, in order.
    pub fn published(&self) -> Vec<Intent> {
        self.list().clone()
    }

    /// Returns every intent published so far and forgets them.
    pub fn take_published(&self) -> Vec<Intent> {
        std::mem::take(&mut *self.list())
    }

    /// Refuses jobs for `queue` as unroutable from now on.
    pub fn refuse(&self, queue: QueueName) {
        self.temper().refuse(queue);
    }

    /// Refuses every job with `refusal` from now on.
    pub fn refuse_with(&self, refusal: Refusal) {
        self.temper().refuse_all(refusal);
    }

    /// Refuses every job as [`Refusal::Unavailable`] from now on, like an executor whose queue is down.
    pub fn be_unavailable(&self) {
        self.refuse_with(Refusal::Unavailable { reason: "a test made the executor unavailable".to_owned() });
    }

    /// Panics from now on when jobs are described.
    pub fn panic_in_describe(&self) {
        self.temper().panic();
    }

    /// Accepts every job again.
    pub fn accept(&self) {
        *self.temper() = Temper::default();
    }

    fn temper(&self) -> MutexGuard<'_, Temper> {
        self.shared.temper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> MutexGuard<'_, Vec<Intent>> {
        self.shared.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Executor for MemoryExecutor {
    fn describe(&self, jobs: &[Job]) -> Result<Vec<JobMetadata>, Refusal> {
        // The lock is released before a panic that a test asked for.
        let temper = self.temper().clone();
        temper.describe(jobs)
    }

    fn publish(&self, intents: &[Intent]) {
        self.list().extend_from_slice(intents);
        self.shared.announced.notify(usize::MAX);
    }

    async fn run(&self, runner: Runner, shutdown: Cancellation) -> Result<(), ExecutorError> {
        workers::run(&self.shared.announced, &self.shared.clock, &runner, &shutdown).await;
        Ok(())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.shared.clock.clone()
    }
}
