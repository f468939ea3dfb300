//! Retention: deletes ended runs in small batches, or only counts them.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::Runtime;
use crate::{PruneRequest, RunStatus, StoreError};

/// The most runs in one batch.
const BATCH: usize = 100;

/// The deletion of ended runs. Made by [`Squidmesh::prune_runs`](crate::Squidmesh::prune_runs).
#[must_use = "nothing is deleted before this is awaited"]
pub struct PruneRuns {
    runtime: Arc<Runtime>,
    request: PruneRequest,
    most: usize,
}

impl PruneRuns {
    pub(super) fn new(runtime: Arc<Runtime>, older_than: Duration) -> Self {
        PruneRuns { runtime, request: PruneRequest::new(older_than, Vec::new(), BATCH), most: usize::MAX }
    }

    /// Only runs that ended in this status, or in another that is named besides. With none named, all that have ended.
    pub fn status(mut self, status: RunStatus) -> Self {
        self.request.statuses.push(status);
        self
    }

    /// Deletes so many at most, and leaves the rest for another time.
    pub fn at_most(mut self, runs: usize) -> Self {
        self.most = runs;
        self
    }

    /// Only counts what would be deleted.
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
        while *runs < self.most {
            self.request.limit = BATCH.min(self.most - *runs);
            let pruned = self.runtime.store.prune(&self.request).await?;
            *runs += pruned.runs;
            self.request.after = pruned.next;
            if pruned.next.is_none() {
                break;
            }
        }
        Ok(())
    }
}

impl IntoFuture for PruneRuns {
    type Output = Result<usize, StoreError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.prune())
    }
}
