//! A lane: a bounded number of workers over a set of queues.
//!
//! The lane claims what is due as far as it has workers free, and sleeps until something may be due: a commit of this
//! process, the next due time that the store told, or a word from the [lookout](crate::lookout). Claims are never awaited in
//! a `select!`: a claim that is dropped half-way would be lost until its lease runs out.

use std::future::pending;
use std::time::Duration;

use squidmesh_core::{Cancellation, Claim, Delivery, Runner};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// The most claims in one call to the store.
const BATCH: usize = 256;
/// A claim under load is made when one of so many workers is free,
const SHARE: usize = 4;
/// or after so long.
const GATHER: Duration = Duration::from_millis(5);
/// How long handlers that were cut off may take to be recorded as interrupted.
const INTERRUPT: Duration = Duration::from_secs(5);

pub(crate) struct Lane {
    pub(crate) runner: Runner,
    pub(crate) concurrency: usize,
    pub(crate) poll: Duration,
    pub(crate) drain: Duration,
    pub(crate) published: watch::Receiver<u64>,
}

impl Lane {
    /// Works until `shutdown`, then drains.
    pub(crate) async fn run(mut self, shutdown: Cancellation) {
        let mut working = JoinSet::new();
        while !shutdown.is_cancelled() {
            while working.try_join_next().is_some() {}
            let free = self.concurrency.saturating_sub(working.len()).min(BATCH);
            if free == 0 {
                tokio::select! {
                    _ = working.join_next() => {}
                    _ = shutdown.cancelled() => {}
                }
                continue;
            }
            self.published.mark_unchanged();
            let wait = match self.runner.claim(free).await {
                Ok(found) if shutdown.is_cancelled() => {
                    self.give_back(found.claims).await;
                    break;
                }
                Ok(found) => {
                    let full = found.claims.len() == free;
                    for claim in found.claims {
                        let runner = self.runner.clone();
                        working.spawn(async move { runner.deliver(claim).await });
                    }
                    if full {
                        self.gather(&mut working, &shutdown).await;
                        continue;
                    }
                    found.next_in.map(|next| next.saturating_add(Duration::from_millis(1)))
                }
                Err(error) => {
                    tracing::warn!(target: "squidmesh", %error, "due work could not be claimed; tried again after the poll interval");
                    Some(self.poll)
                }
            };
            self.rest(wait, &shutdown).await;
        }
        self.drain(working).await;
    }

    /// With more due than workers, lets some of them end before the next claim: one call for many costs the database little more
    /// than one for each, and what is claimed together is begun together.
    async fn gather(&self, working: &mut JoinSet<Delivery>, shutdown: &Cancellation) {
        let enough = self.concurrency.div_ceil(SHARE);
        let ended = async {
            while self.concurrency.saturating_sub(working.len()) < enough && working.join_next().await.is_some() {}
        };
        tokio::select! {
            _ = timeout(GATHER, ended) => {}
            _ = shutdown.cancelled() => {}
        }
    }

    /// Sleeps until something may be due. A worker that ends frees nothing that is wanted: there was less due than workers.
    async fn rest(&mut self, wait: Option<Duration>, shutdown: &Cancellation) {
        let due = async {
            match wait {
                Some(wait) => sleep(wait).await,
                None => pending().await,
            }
        };
        tokio::select! {
            // The lookout has a handle on the other end for as long as lanes work.
            _ = self.published.changed() => {}
            () = due => {}
            _ = shutdown.cancelled() => {}
        }
    }

    /// Takes no more; what runs may finish, then it is cut off.
    async fn drain(&self, mut working: JoinSet<Delivery>) {
        self.runner.drain();
        let deadline = Instant::now() + self.drain;
        let all_ended = async { while working.join_next().await.is_some() {} };
        if timeout(deadline.saturating_duration_since(Instant::now()), all_ended).await.is_ok() {
            return;
        }
        self.runner.interrupt();
        let all_ended = async { while working.join_next().await.is_some() {} };
        if timeout(INTERRUPT, all_ended).await.is_err() {
            tracing::warn!(target: "squidmesh", left = working.len(), "workers did not end in time; their leases run out by themselves");
            working.abort_all();
        }
    }

    async fn give_back(&self, claims: Vec<Claim>) {
        if let Err(error) = self.runner.release(claims).await {
            tracing::warn!(target: "squidmesh", %error, "claims could not be given back; their leases run out by themselves");
        }
    }
}
