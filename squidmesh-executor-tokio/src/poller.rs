//! Polls the store for work that other processes committed, for all lanes together.
//!
//! The store notifies of it if it can. An occasional poll finds the work without a notification, such as that of a
//! process that died. Lanes wake by themselves for the commits of this process and for known due times.

use std::time::Duration;

use squidmesh_core::Runner;
use squidmesh_core::port::cage::{Caged, Panic};
use squidmesh_core::workflow::Cancellation;
use tokio::sync::watch;
use tokio::time::sleep;

/// The factor by which the poll interval grows while the store notifies of work.
const LISTENING_FACTOR: u32 = 5;

pub(crate) struct Poller {
    /// Serves the queues of all lanes.
    pub(crate) runner: Runner,
    pub(crate) interval: Duration,
    /// Wakes the lanes.
    pub(crate) lanes: watch::Sender<u64>,
}

impl Poller {
    /// Polls until `shutdown`.
    pub(crate) async fn run(self, shutdown: Cancellation) -> Result<(), Panic> {
        Caged::new(Box::pin(self.poll(&shutdown))).await
    }

    async fn poll(&self, shutdown: &Cancellation) {
        let mut due_in = None;
        while !shutdown.is_cancelled() {
            let poll =
                if self.runner.is_listening() { self.interval.saturating_mul(LISTENING_FACTOR) } else { self.interval };
            tokio::select! {
                () = self.runner.work_notified() => {
                    self.wake();
                    continue;
                }
                () = sleep(due_in.map_or(poll, |due| poll.min(due))) => {}
                _ = shutdown.cancelled() => return,
            }
            due_in = self.check().await;
        }
    }

    /// Wakes the lanes if anything is due, and returns how long until something is.
    async fn check(&self) -> Option<Duration> {
        match self.runner.list_due(None, None, 1).await {
            Ok(due) => {
                if !due.intents.is_empty() {
                    self.wake();
                }
                due.next_in.map(|next| next.saturating_add(Duration::from_millis(1)))
            }
            Err(error) => {
                tracing::warn!(target: "squidmesh", %error, "cannot list due work; retrying after the poll interval");
                None
            }
        }
    }

    fn wake(&self) {
        self.lanes.send_modify(|count| *count = count.wrapping_add(1));
    }
}
