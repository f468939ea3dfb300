//! Retention: which ended runs a store deletes, and how many it deleted.
//!
//! Knows what makes a run deletable; never how it is found.

use std::time::Duration;

use crate::id::RunId;
use crate::run::RunStatus;

/// Selects the ended runs to delete, one batch at a time.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PruneRequest {
    /// How long ago a run must have ended, by the store's clock.
    pub older_than: Duration,
    /// The statuses to delete. The status of an unfinished run matches none.
    pub statuses: Vec<RunStatus>,
    /// If set, only runs with ids after this one: the `next` of the previous batch.
    pub after: Option<RunId>,
    /// The maximum number of runs in the batch.
    pub limit: usize,
    /// Whether to count the runs without deleting them.
    pub dry_run: bool,
}

impl PruneRequest {
    /// Creates a request for up to `limit` runs in one of these statuses that ended at least `older_than` ago.
    pub fn new(older_than: Duration, statuses: Vec<RunStatus>, limit: usize) -> Self {
        PruneRequest { older_than, statuses, after: None, limit, dry_run: false }
    }

    /// Continues after this run.
    #[must_use]
    pub fn after(mut self, run: Option<RunId>) -> Self {
        self.after = run;
        self
    }

    /// Sets whether to count the runs without deleting them.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}

/// The result of deleting a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneBatch {
    /// The number of runs deleted, or that a dry run would delete.
    pub runs: usize,
    /// Where to continue; `None` at the end.
    pub next: Option<RunId>,
}

impl PruneBatch {
    /// Creates a result.
    pub fn new(runs: usize, next: Option<RunId>) -> Self {
        PruneBatch { runs, next }
    }
}
