//! The runner itself: what all of its parts share.
//!
//! Knows the queues that it serves, whether it drains, and which runs it may continue. Never claims or executes.

use std::sync::Arc;
use std::time::Duration;

use super::stranded_pass::StrandedPass;
use crate::cancellation::{CancelReason, Cancellation};
use crate::definition::Priority;
use crate::name::QueueName;
use crate::run::{Run, RunStatus};
use crate::runtime::{Runtime, Urgency};

/// The number of leases for which to retry recording an outcome while the store is unavailable.
const RETRY_LEASES: u32 = 4;

/// Executes deliveries. Cheap to clone; clones share their shutdown, and all runners of a runtime share its leases.
#[derive(Clone)]
pub struct Runner {
    pub(super) runtime: Arc<Runtime>,
    pub(super) stranded: Arc<StrandedPass>,
    pub(super) queues: Arc<[QueueName]>,
    pub(super) urgency: Arc<Urgency>,
    /// Identifies the runners that drain together.
    pub(super) family: u64,
    pub(super) draining: Cancellation,
    pub(super) interrupted: Cancellation,
}

impl Runner {
    pub(crate) fn new(runtime: Arc<Runtime>) -> Self {
        let queues: Arc<[QueueName]> = runtime.registry.queues().into();
        Runner {
            urgency: runtime.urgencies.lane(&queues),
            queues,
            family: runtime.leases.family(),
            stranded: Arc::default(),
            draining: Cancellation::new(),
            interrupted: Cancellation::new(),
            runtime,
        }
    }

    /// Returns the queues that it serves: the default one and those of every registered step, unless changed by
    /// [`Runner::for_queues`].
    pub fn queues(&self) -> &[QueueName] {
        &self.queues
    }

    /// Returns the same runner for these queues only.
    #[must_use]
    pub fn for_queues(&self, queues: impl IntoIterator<Item = QueueName>) -> Self {
        let queues: Arc<[QueueName]> = queues.into_iter().collect();
        Runner { urgency: self.runtime.urgencies.lane(&queues), queues, ..self.clone() }
    }

    /// Completes when another process may have committed work that is due; see
    /// [`Store::work_notified`](crate::port::Store::work_notified).
    pub async fn work_notified(&self) {
        self.runtime.store.work_notified().await;
    }

    /// Returns whether [`work_notified`](Runner::work_notified) currently completes for everything that other
    /// processes commit; see [`Store::is_listening`](crate::port::Store::is_listening).
    pub fn is_listening(&self) -> bool {
        self.runtime.store.is_listening()
    }

    /// Starts draining: handlers are notified through their cancellation and may finish; no delivery continues with a
    /// successor.
    pub fn drain(&self) {
        self.draining.cancel(CancelReason::ShuttingDown);
        self.runtime.leases.notify_family(self.family, CancelReason::ShuttingDown);
    }

    /// Interrupts what still runs: handlers are notified and dropped, their attempts are recorded as interrupted and
    /// do not count, and their steps are due at once for any worker.
    pub fn interrupt(&self) {
        self.drain();
        self.interrupted.cancel(CancelReason::ShuttingDown);
    }

    /// Returns how long to retry while the store is unavailable.
    pub(super) fn retry_time(&self) -> Duration {
        self.runtime.config.lease.saturating_mul(RETRY_LEASES)
    }

    /// Returns whether the run's version is registered here, or not needed because no step of the run begins any
    /// more.
    pub(super) fn may_continue(&self, run: &Run) -> bool {
        let ends = matches!(run.status, RunStatus::Cancelling | RunStatus::Completed | RunStatus::Cancelled);
        ends || self.runtime.registry.version(&run.fingerprint).is_some()
    }

    /// Returns the lowest priority that a worker continues with by itself.
    pub(super) fn lowest_priority(&self) -> Option<Priority> {
        self.urgency.lowest().filter(|_| !self.draining.is_cancelled())
    }
}
