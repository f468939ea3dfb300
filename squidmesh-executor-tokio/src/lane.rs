//! A lane: a bounded number of workers over a set of queues.
//!
//! A lane claims due work for its idle workers, and sleeps until something may be due: after a commit of this
//! process, at the next due time that the store returned, or when the [poller](crate::poller) wakes it. Meanwhile it
//! offers its idle workers to the changes of this process. Claims are never awaited in a `select!`: a claim that is
//! dropped halfway would be lost until its lease expires.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use squidmesh_core::Runner;
use squidmesh_core::command::{BegunStep, DeliveryOutcome, HeldClaim, HeldClaims, WorkerOffer};
use squidmesh_core::port::cage::{self, Caged, Panic};
use squidmesh_core::workflow::{CancelReason, Cancellation};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};

/// The maximum number of claims in one call to the store.
const MAX_BATCH: usize = 256;
/// Under load, a claim is made when one in this many workers is idle.
const IDLE_SHARE: usize = 4;
/// How long a claim under load waits for that many workers.
const GATHER_TIMEOUT: Duration = Duration::from_millis(5);
/// How long it may take to record aborted handlers as interrupted.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Work that is due within this time and cannot be claimed is blocked, for example by a transaction of the host.
const BLOCKED_DELAY: Duration = Duration::from_millis(10);
/// The factor by which each further wait for blocked work grows.
const BACKOFF_FACTOR: u32 = 2;
/// The minimum time between two looks for work that precedes that of busy workers.
const MIN_LOOK_INTERVAL: Duration = Duration::from_millis(100);

pub(crate) struct Lane {
    pub(crate) runner: Runner,
    /// The idle workers, while nothing is known to be due.
    pub(crate) offer: WorkerOffer,
    pub(crate) concurrency: usize,
    pub(crate) poll: Duration,
    pub(crate) drain: Duration,
    pub(crate) published: watch::Receiver<u64>,
    /// The number of consecutive claims that left due work behind.
    pub(crate) fruitless: u32,
    /// When busy workers last looked for work that precedes theirs.
    pub(crate) looked_at: Option<Instant>,
}

impl Lane {
    /// Works until `shutdown`, then drains. A panic also drains this lane, and all others.
    pub(crate) async fn run(mut self, shutdown: Cancellation) -> Result<(), Panic> {
        let mut working = JoinSet::new();
        let worked = Caged::new(Box::pin(self.work(&mut working, &shutdown))).await;
        shutdown.cancel(CancelReason::ShuttingDown);
        self.drain(working).await;
        worked
    }

    async fn work(&mut self, working: &mut JoinSet<DeliveryOutcome>, shutdown: &Cancellation) {
        while !shutdown.is_cancelled() {
            while let Some(ended) = working.try_join_next() {
                log_panic(ended);
            }
            while let Some(begun) = self.offer.try_receive() {
                self.spawn(begun, working);
            }
            let taken = working.len().saturating_add(self.offer.withdraw());
            let free = self.concurrency.saturating_sub(taken).min(MAX_BATCH);
            if free == 0 {
                self.busy(working, shutdown).await;
                continue;
            }
            self.published.mark_unchanged();
            let (wait, offers) = match self.runner.claim(free).await {
                Ok(found) if shutdown.is_cancelled() => {
                    self.release(found.claims).await;
                    break;
                }
                Ok(found) => {
                    let full = found.claims.len() >= free;
                    let wait = self.wait_after(&found, full);
                    for claim in found.claims {
                        let runner = self.runner.clone();
                        working.spawn(async move { runner.deliver(claim).await });
                    }
                    if full {
                        self.gather(working, shutdown).await;
                        continue;
                    }
                    (wait, true)
                }
                Err(error) => {
                    tracing::warn!(target: "squidmesh", %error, "cannot claim due work; retrying after the poll interval");
                    // What is due is not known then, and comes before new runs.
                    (Some(self.poll), false)
                }
            };
            self.rest(wait, offers, working, shutdown).await;
        }
    }

    /// Returns how long until something may be due after a claim. Due work that could not be claimed is blocked:
    /// each further wait for it is longer, because each look costs the database something.
    fn wait_after(&mut self, found: &HeldClaims, full: bool) -> Option<Duration> {
        let wait = found.next_in.map(|next| next.saturating_add(Duration::from_millis(1)));
        if full || found.next_in.is_none_or(|next| next > BLOCKED_DELAY) {
            self.fruitless = 0;
            return wait;
        }
        let longer = BLOCKED_DELAY.saturating_mul(BACKOFF_FACTOR.saturating_pow(self.fruitless));
        let wait = if self.fruitless == 0 { wait } else { wait.map(|wait| wait.max(longer.min(self.poll))) };
        self.fruitless = self.fruitless.saturating_add(1);
        wait
    }

    /// Waits for a worker to end, while all are busy.
    ///
    /// Meanwhile it looks from time to time for work that precedes the next steps of the busy workers: after a
    /// commit in any process, if the work may be of a higher class, and otherwise for expired leases.
    async fn busy(&mut self, working: &mut JoinSet<DeliveryOutcome>, shutdown: &Cancellation) {
        let woken = async {
            if !self.runner.gives_way() {
                if !self.runner.has_classes() {
                    pending::<()>().await;
                }
                // The poller keeps a sender as long as lanes work.
                let _ = self.published.changed().await;
            }
            if let Some(looked_at) = self.looked_at {
                sleep(MIN_LOOK_INTERVAL.saturating_sub(looked_at.elapsed())).await;
            }
        };
        tokio::select! {
            Some(ended) = working.join_next() => {
                log_panic(ended);
                return;
            }
            Some(begun) = self.offer.receive() => {
                self.spawn(begun, working);
                return;
            }
            _ = shutdown.cancelled() => return,
            () = woken => {}
            () = sleep(self.poll) => {}
        }
        self.published.mark_unchanged();
        if let Err(error) = self.runner.look_for_urgent().await {
            tracing::debug!(target: "squidmesh", %error, "cannot look for urgent work; retrying shortly");
        }
        self.looked_at = Some(Instant::now());
    }

    /// Lets some workers end before the next claim if more is due than there are workers. One call for many claims
    /// costs the database little more than a call for one, and work that is claimed together starts together.
    async fn gather(&self, working: &mut JoinSet<DeliveryOutcome>, shutdown: &Cancellation) {
        let enough = self.concurrency.div_ceil(IDLE_SHARE);
        let ended = async {
            while self.concurrency.saturating_sub(working.len()) < enough {
                match working.join_next().await {
                    Some(ended) => log_panic(ended),
                    None => break,
                }
            }
        };
        tokio::select! {
            _ = timeout(GATHER_TIMEOUT, ended) => {}
            _ = shutdown.cancelled() => {}
        }
    }

    /// Sleeps until something may be due. Workers that end claim nothing: there was less due work than workers. Changes
    /// of this process begin steps for the idle workers.
    async fn rest(
        &mut self,
        wait: Option<Duration>,
        offers: bool,
        working: &mut JoinSet<DeliveryOutcome>,
        shutdown: &Cancellation,
    ) {
        let due = async {
            match wait {
                Some(wait) => sleep(wait).await,
                None => pending().await,
            }
        };
        let mut due = pin!(due);
        loop {
            while let Some(ended) = working.try_join_next() {
                log_panic(ended);
            }
            self.offer.set(if offers { self.concurrency.saturating_sub(working.len()) } else { 0 });
            tokio::select! {
                // The poller keeps a sender as long as lanes work.
                _ = self.published.changed() => return,
                Some(begun) = self.offer.receive() => self.spawn(begun, working),
                Some(ended) = working.join_next() => log_panic(ended),
                () = &mut due => return,
                _ = shutdown.cancelled() => return,
            }
        }
    }

    /// Executes a step that was begun for one of the offered workers.
    fn spawn(&self, begun: BegunStep, working: &mut JoinSet<DeliveryOutcome>) {
        let runner = self.runner.clone();
        working.spawn(async move { runner.deliver_begun(begun).await });
    }

    /// Claims no more, lets running work finish, and aborts it after the timeout.
    async fn drain(&self, mut working: JoinSet<DeliveryOutcome>) {
        self.offer.close();
        self.runner.drain();
        if timeout(self.drain, self.all_ended(&mut working)).await.is_ok() {
            return;
        }
        self.runner.interrupt();
        if timeout(INTERRUPT_TIMEOUT, self.all_ended(&mut working)).await.is_err() {
            tracing::warn!(target: "squidmesh", left = working.len(), "workers did not stop in time; their leases will expire");
            working.abort_all();
        }
    }

    /// Waits until all work has ended, that of commits in progress included.
    async fn all_ended(&self, working: &mut JoinSet<DeliveryOutcome>) {
        while let Some(begun) = self.offer.receive().await {
            self.spawn(begun, working);
        }
        while let Some(ended) = working.join_next().await {
            log_panic(ended);
        }
    }

    async fn release(&self, claims: Vec<HeldClaim>) {
        if let Err(error) = self.runner.release(claims).await {
            tracing::warn!(target: "squidmesh", %error, "cannot release claims; their leases will expire");
        }
    }
}

/// Logs the panic of a delivery. Deliveries catch the panics of handlers, so a delivery that panics is a defect.
fn log_panic(ended: Result<DeliveryOutcome, JoinError>) {
    if let Err(error) = ended {
        if error.is_panic() {
            tracing::error!(target: "squidmesh", "a delivery panicked; it will be retried after its lease expires");
        }
        cage::discard(error);
    }
}
