//! Lists of runs: which are wanted, and a page of them.
//!
//! Knows what runs can be told apart by; never how they are found.

use crate::{Run, RunId, RunStatus, Timestamp, WorkflowName};

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RunFilter {
    /// Only of this workflow.
    pub workflow: Option<WorkflowName>,
    /// Only in one of these statuses; empty means any.
    pub statuses: Vec<RunStatus>,
    /// Only started at this time or later.
    pub created_from: Option<Timestamp>,
    /// Only started before this time.
    pub created_before: Option<Timestamp>,
    /// Only older than this run: the `next` of the page before.
    pub after: Option<RunId>,
    /// At most so many on a page; 0 means 50. Never more than 1,000.
    pub limit: usize,
}

impl RunFilter {
    /// Every run.
    pub fn new() -> Self {
        RunFilter::default()
    }

    /// Only of this workflow.
    #[must_use]
    pub fn workflow(mut self, workflow: WorkflowName) -> Self {
        self.workflow = Some(workflow);
        self
    }

    /// Also in this status.
    #[must_use]
    pub fn status(mut self, status: RunStatus) -> Self {
        self.statuses.push(status);
        self
    }

    /// Only started in this half-open span of time.
    #[must_use]
    pub fn created_between(mut self, from: Timestamp, before: Timestamp) -> Self {
        self.created_from = Some(from);
        self.created_before = Some(before);
        self
    }

    /// The page after the run with this id.
    #[must_use]
    pub fn after(mut self, run: RunId) -> Self {
        self.after = Some(run);
        self
    }

    /// At most `limit` runs.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The size of the page that this filter means.
    pub fn page_size(&self) -> usize {
        match self.limit {
            0 => 50,
            limit => limit.min(1_000),
        }
    }
}

/// A page of runs.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPage {
    /// The runs, newest first.
    pub runs: Vec<Run>,
    /// What to pass to [`RunFilter::after`] for the next page; `None` at the end.
    pub next: Option<RunId>,
}

impl RunPage {
    /// A page.
    pub fn new(runs: Vec<Run>, next: Option<RunId>) -> Self {
        RunPage { runs, next }
    }
}
