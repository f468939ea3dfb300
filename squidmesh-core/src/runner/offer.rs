//! Offering idle workers to the changes of this process, which begin the steps that they dispatch in their own commit.

use std::sync::Arc;

use super::outcome::DeliveryOutcome;
use super::shared::Runner;
use crate::dispatch::Lease;
use crate::runtime::Runtime;
use crate::runtime::begun_step::ReceivedStep;
use crate::runtime::offers::Offer;

/// An executor's idle workers, offered to the changes of this process. Created by
/// [`Runner::offer_workers`](Runner::offer_workers).
///
/// A start reserves one of them for its first step, and the record of an outcome one for each successor that its own
/// worker does not continue with. These steps begin in the commit that dispatches them: without a claim, and without a
/// second commit. Without an offer, they are left to the next claim.
///
/// An executor that stops [closes](WorkerOffer::close) its offer and delivers what it still
/// [receives](WorkerOffer::receive). If the offer is dropped before that, those steps wait until their leases expire,
/// which counts as an attempt.
pub struct WorkerOffer {
    offer: Arc<Offer>,
}

impl WorkerOffer {
    /// Offers this many workers, in place of what was offered before. Offer workers only after a
    /// [claim](Runner::claim) that found less work than there were workers: work that is due comes before new runs.
    pub fn set(&self, workers: usize) {
        self.offer.set(workers);
    }

    /// Withdraws the offer before a claim. Returns the number of workers that are reserved already: they cannot be
    /// claimed for.
    #[must_use = "the reserved workers are not free"]
    pub fn withdraw(&self) -> usize {
        self.offer.withdraw()
    }

    /// Withdraws the offer permanently. Steps for workers that are reserved already are still returned by
    /// [`receive`](WorkerOffer::receive).
    pub fn close(&self) {
        self.offer.close();
    }

    /// Waits for a step that was begun for one of the workers, and returns it: pass it to
    /// [`deliver_begun`](Runner::deliver_begun). The worker is no longer part of the offer. Returns `None` once the
    /// offer is closed and no worker is reserved.
    ///
    /// The step may not be committed yet: [`deliver_begun`](Runner::deliver_begun) waits for that. Dropping the future
    /// loses nothing.
    pub async fn receive(&self) -> Option<BegunStep> {
        self.offer.receive().await.map(BegunStep)
    }

    /// Returns a step that [`receive`](WorkerOffer::receive) would return at once.
    pub fn try_receive(&self) -> Option<BegunStep> {
        self.offer.try_receive().map(BegunStep)
    }
}

impl std::fmt::Debug for WorkerOffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerOffer").finish_non_exhaustive()
    }
}

impl Drop for WorkerOffer {
    fn drop(&mut self) {
        self.offer.abandon();
    }
}

/// A step that was begun for an offered worker, in the commit that dispatched it. Its lease is extended as long as this
/// value exists.
pub struct BegunStep(ReceivedStep);

impl BegunStep {
    /// Returns the lease under which the step was begun.
    pub fn lease(&self) -> &Lease {
        self.0.held.lease()
    }
}

impl std::fmt::Debug for BegunStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BegunStep").field(self.lease()).finish()
    }
}

impl Runner {
    /// Creates an offer of workers that serve this runner's queues; at first of none.
    pub fn offer_workers(&self) -> WorkerOffer {
        WorkerOffer { offer: self.runtime.offers.add(self.queues.clone(), self.urgency.clone(), self.family) }
    }

    /// Waits for the commit that begins a step for an offered worker, executes and records the step, and continues with
    /// the successor if it is due at once. Changes nothing if the commit is not applied.
    ///
    /// Dropping the future leaves the step until its lease expires; nothing committed is undone.
    pub async fn deliver_begun(&self, begun: BegunStep) -> DeliveryOutcome {
        let cached = self.runtime.run_cache.run(begun.lease().key.run_id);
        let Runtime { store, clock, config, .. } = &*self.runtime;
        if !begun.0.is_committed(&**store, &**clock, config.call_timeout, &cached).await {
            return DeliveryOutcome::Done { steps: 0 };
        }
        let ReceivedStep { held, task, .. } = begun.0;
        held.confirm();
        let run = cached.read(self.runtime.turn_timeout(), |state| Arc::new(state.run.clone())).await;
        match run {
            Some(run) => self.execute_begun(held, task, run, &cached).await,
            None => self.deliver_step(held, task.step, &cached).await,
        }
    }
}
