//! Retention: which ended runs a store deletes, and how many it did.
//!
//! Knows what makes a run deletable; never how it is found.

use std::time::Duration;

use crate::{RunId, RunStatus};

/// Which ended runs to delete, a batch at a time.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PruneRequest {
    /// Only runs that ended so long ago or longer, by the store's clock.
    pub older_than: Duration,
    /// Only runs in one of these statuses. A status in which runs have not ended matches none.
    pub statuses: Vec<RunStatus>,
    /// Only runs behind this one, in the order of their ids: the `next` of the batch before.
    pub after: Option<RunId>,
    /// At most so many runs in the batch.
    pub limit: usize,
    /// Only counts them.
    pub dry_run: bool,
}

impl PruneRequest {
    /// A request for up to `limit` runs in one of these statuses that ended `older_than` ago or longer.
    pub fn new(older_than: Duration, statuses: Vec<RunStatus>, limit: usize) -> Self {
        PruneRequest { older_than, statuses, after: None, limit, dry_run: false }
    }

    /// The batch behind this run.
    #[must_use]
    pub fn after(mut self, run: Option<RunId>) -> Self {
        self.after = run;
        self
    }

    /// Only counts.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// How many runs were deleted, or would be.
    pub runs: usize,
    /// Where to go on; `None` at the end.
    pub next: Option<RunId>,
}

impl Pruned {
    /// So many runs, and where to go on.
    pub fn new(runs: usize, next: Option<RunId>) -> Self {
        Pruned { runs, next }
    }
}
