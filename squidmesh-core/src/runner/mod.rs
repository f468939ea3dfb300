//! The runner: the only way back in for what an executor delivers.
//!
//! It claims, prepares, executes and records: each step of that a decision of the engine, committed before the next. It also
//! fires what cron triggers have due. It
//! knows no queue and no runtime; the executor brings both.

mod compensation;
mod delivery;
mod execute;
mod leases;
mod perform;
mod relay;
mod schedule;
mod step;
mod strangers;
mod transaction;

pub use delivery::Delivery;
pub use perform::PerformError;
pub use relay::Route;
pub use schedule::Fired;

use std::sync::Arc;
use std::time::Duration;

use self::leases::Leases;
use self::strangers::Look;
use crate::runtime::{Persistence, Runtime};
use crate::{
    CancelReason, Cancellation, Claim, ClaimRequest, Claims, EventKind, QueueName, Run, SkipReason, StepName,
    StoreError,
};

/// How many leases an outcome in hand is worth waiting for a store that is not available.
const PATIENCE: u32 = 4;

/// Carries out deliveries. Cheap to clone; clones share their leases and their shutdown.
#[derive(Clone)]
pub struct Runner {
    runtime: Arc<Runtime>,
    leases: Arc<Leases>,
    look: Arc<Look>,
    queues: Arc<[QueueName]>,
    draining: Cancellation,
    interrupted: Cancellation,
}

impl Runner {
    pub(crate) fn new(runtime: Arc<Runtime>) -> Self {
        Runner {
            queues: runtime.registry.queues().into(),
            leases: Arc::new(Leases::default()),
            look: Arc::new(Look::default()),
            draining: Cancellation::new(),
            interrupted: Cancellation::new(),
            runtime,
        }
    }

    /// The queues that it serves: every queue that a registered step names, unless changed by [`Runner::serving`].
    pub fn queues(&self) -> &[QueueName] {
        &self.queues
    }

    /// The same runner for these queues only.
    #[must_use]
    pub fn serving(&self, queues: impl IntoIterator<Item = QueueName>) -> Self {
        Runner { queues: queues.into_iter().collect(), ..self.clone() }
    }

    /// Claims up to `limit` due intents of the served queues, for the workflows registered here. Deliver each, or
    /// [`release`](Runner::release) it.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was claimed, or the claims run out with their lease.
    pub async fn claim(&self, limit: usize) -> Result<Claims, StoreError> {
        let token = self.runtime.entropy.lease_token();
        let fingerprints = self.runtime.registry.fingerprints();
        let request = ClaimRequest::new(self.queues.to_vec(), fingerprints, limit, token, self.runtime.config.lease);
        self.runtime.store.claim(&request.at_hand(self.runtime.hot.known())).await
    }

    /// Gives claims back that were not delivered: they are due at once for any worker, and no attempt has been counted.
    ///
    /// # Errors
    /// [`StoreError`]: the claims run out with their lease instead.
    pub async fn release(&self, claims: Vec<Claim>) -> Result<(), StoreError> {
        let leases: Vec<_> = claims.into_iter().map(|claim| claim.lease).collect();
        self.runtime.store.release(&leases, Duration::ZERO).await?;
        self.runtime.store.tell_of_work();
        Ok(())
    }

    /// Completes when another process may have committed work that is due; see
    /// [`Store::work_committed`](crate::Store::work_committed).
    pub async fn work_committed(&self) {
        self.runtime.store.work_committed().await;
    }

    /// Whether that is told at present of all that other processes commit; see
    /// [`Store::hears_of_work`](crate::Store::hears_of_work).
    pub fn hears_of_work(&self) -> bool {
        self.runtime.store.hears_of_work()
    }

    /// Begins to drain: steps that run are left to finish, but no delivery goes on with a successor.
    pub fn drain(&self) {
        self.draining.cancel(CancelReason::ShuttingDown);
    }

    /// Ends what still runs: handlers are told and dropped, their attempts are recorded as interrupted and do not count, and
    /// their steps are due at once for any worker.
    pub fn interrupt(&self) {
        self.drain();
        self.interrupted.cancel(CancelReason::ShuttingDown);
    }

    /// Extends the leases of everything that this runner and its clones carry out, until it is dropped.
    /// [`Squidmesh::run_workers`](crate::Squidmesh::run_workers) does this by itself; a host that drives
    /// [`perform`](Runner::perform) from a queue of its own runs it beside.
    pub async fn keep_leases(&self) {
        self.leases.keep(&self.runtime).await;
    }

    fn persistence(&self) -> Persistence {
        Persistence::Worker(self.runtime.config.lease.saturating_mul(PATIENCE))
    }

    /// Tells of a delivery that was a no-op.
    fn skipped(&self, run: &Run, step: Option<&StepName>, reason: SkipReason) -> Delivery {
        let kind = EventKind::StepSkipped { step: step.cloned(), reason };
        self.runtime.announce(&[crate::Event::new(run, self.runtime.clock.now(), kind)], &[]);
        Delivery::Skipped(reason)
    }
}
