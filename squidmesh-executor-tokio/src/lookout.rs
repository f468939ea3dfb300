//! Looks out for work that other processes committed, for all lanes together.
//!
//! The store tells of it if it can; a look now and then finds what was not told, such as what a process left that died. Lanes wake
//! by themselves for what this process commits and for what they know to fall due.

use std::time::Duration;

use squidmesh_core::{Cancellation, Runner};
use tokio::sync::watch;
use tokio::time::sleep;

/// How many times as long the next look may wait while the store tells of work.
const TOLD: u32 = 5;

pub(crate) struct Lookout {
    /// Serves the queues of all lanes.
    pub(crate) runner: Runner,
    pub(crate) poll: Duration,
    /// Wakes the lanes.
    pub(crate) lanes: watch::Sender<u64>,
}

impl Lookout {
    /// Looks out until `shutdown`.
    pub(crate) async fn run(self, shutdown: Cancellation) {
        let mut due_in = None;
        while !shutdown.is_cancelled() {
            let poll = if self.runner.hears_of_work() { self.poll.saturating_mul(TOLD) } else { self.poll };
            tokio::select! {
                () = self.runner.work_committed() => {
                    self.wake();
                    continue;
                }
                () = sleep(due_in.map_or(poll, |due| poll.min(due))) => {}
                _ = shutdown.cancelled() => return,
            }
            due_in = self.look().await;
        }
    }

    /// Wakes the lanes if anything is due, and tells how long until something is.
    async fn look(&self) -> Option<Duration> {
        match self.runner.due(None, None, 1).await {
            Ok(due) => {
                if !due.intents.is_empty() {
                    self.wake();
                }
                due.next_in.map(|next| next.saturating_add(Duration::from_millis(1)))
            }
            Err(error) => {
                tracing::warn!(target: "squidmesh", %error, "the store could not be searched for due work; tried again after the poll interval");
                None
            }
        }
    }

    fn wake(&self) {
        self.lanes.send_modify(|count| *count = count.wrapping_add(1));
    }
}
