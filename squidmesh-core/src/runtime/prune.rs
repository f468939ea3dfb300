//! Retention: deletes ended runs in small batches, or only counts them.

use std::sync::Arc;
use std::time::Duration;

use super::awaited::awaited;
use super::call::Timer;
use super::{Call, Runtime};
use crate::port::{PruneRequest, StoreError};
use crate::run::RunStatus;

/// The maximum number of runs in one batch.
const BATCH: usize = 100;
/// The longest time between two checks of the workers for runs to delete.
const MAX_PAUSE: Duration = Duration::from_secs(600);

/// The deletion of ended runs. Created by [`Squidmesh::prune_runs`](crate::Squidmesh::prune_runs).
#[must_use = "nothing is deleted before this is awaited"]
pub struct PruneRuns {
    runtime: Arc<Runtime>,
    request: PruneRequest,
    most: usize,
    timeout: Option<Duration>,
}

impl PruneRuns {
    pub(crate) fn new(runtime: Arc<Runtime>, older_than: Duration) -> Self {
        let request = PruneRequest::new(older_than, Vec::new(), BATCH);
        PruneRuns { runtime, request, most: usize::MAX, timeout: None }
    }

    /// Restricts the deletion to runs that ended in this status; may be called for several statuses. By default, all
    /// ended runs are deleted.
    pub fn status(mut self, status: RunStatus) -> Self {
        self.request.statuses.push(status);
        self
    }

    /// Sets the maximum number of runs to delete; the rest is left for another call.
    pub fn at_most(mut self, runs: usize) -> Self {
        self.most = runs;
        self
    }

    /// Sets the timeout of the call as a whole: runs that were not deleted by then are left for another call. Without
    /// it, each batch of a hundred runs has [`Config::call_timeout`](crate::Config::call_timeout), and the number of
    /// batches is unlimited.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Only counts the runs that would be deleted.
    pub fn dry_run(mut self) -> Self {
        self.request.dry_run = true;
        self
    }

    async fn prune(mut self) -> Result<usize, StoreError> {
        if self.request.statuses.is_empty() {
            self.request.statuses = RunStatus::ALL.into_iter().filter(|status| status.is_terminal()).collect();
        }
        let mut runs = 0;
        let ended = self.batches(&mut runs).await;
        let dry_run = self.request.dry_run;
        tracing::info!(target: "squidmesh", runs, dry_run, complete = ended.is_ok(), "ended runs were pruned");
        ended.map(|()| runs)
    }

    async fn batches(&mut self, runs: &mut usize) -> Result<(), StoreError> {
        let clock = self.runtime.clock.clone();
        let timeout = self.timeout.unwrap_or(self.runtime.config.call_timeout);
        let mut timer = Timer::new(&*clock, timeout);
        while *runs < self.most {
            if self.timeout.is_none() {
                timer = Timer::new(&*clock, timeout);
            } else if timer.is_over().await {
                break;
            }
            self.request.limit = BATCH.min(self.most - *runs);
            let call = Call::new(timeout);
            if !self.request.dry_run {
                call.record_sent();
            }
            let pruned = call.bound_by(&mut timer, "pruning runs", self.runtime.store.prune(&self.request)).await?;
            *runs += pruned.runs;
            self.request.after = pruned.next;
            if pruned.next.is_none() {
                break;
            }
        }
        Ok(())
    }
}

impl Runtime {
    /// Deletes ended runs once their retention is over, for as long as this is polled.
    pub(crate) async fn run_retention(self: &Arc<Self>) {
        let Some(retention) = self.config.retention else { return };
        loop {
            self.clock.sleep(MAX_PAUSE.min(retention)).await;
            if let Err(error) = PruneRuns::new(self.clone(), retention).await {
                tracing::warn!(target: "squidmesh", %error, "ended runs could not be pruned; retried at the next check");
            }
        }
    }
}

awaited!(PruneRuns, prune -> Result<usize, StoreError>);
