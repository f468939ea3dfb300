//! Lists of runs: a filter, and a page of results.
//!
//! Knows what runs can be filtered by; never how they are found.

use serde::Serialize;

use crate::id::RunId;
use crate::name::WorkflowName;
use crate::run::{RunStatus, RunSummary};
use crate::time::Timestamp;

/// Selects the runs to list.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RunFilter {
    /// If set, only runs of this workflow.
    pub workflow: Option<WorkflowName>,
    /// Only runs in one of these statuses; empty means any.
    pub statuses: Vec<RunStatus>,
    /// If set, only runs started at this time or later.
    pub created_from: Option<Timestamp>,
    /// If set, only runs started before this time.
    pub created_before: Option<Timestamp>,
    /// If set, only runs older than this one: the `next` of the previous page.
    pub after: Option<RunId>,
    /// The maximum number of runs on a page; 0 means 50. Never more than 1,000.
    pub limit: usize,
}

impl RunFilter {
    /// Creates a filter that matches every run.
    pub fn new() -> Self {
        RunFilter::default()
    }

    /// Restricts the filter to this workflow.
    #[must_use]
    pub fn workflow(mut self, workflow: WorkflowName) -> Self {
        self.workflow = Some(workflow);
        self
    }

    /// Adds a status to match.
    #[must_use]
    pub fn status(mut self, status: RunStatus) -> Self {
        // No duplicates: the list never grows beyond the number of statuses.
        if !self.statuses.contains(&status) {
            self.statuses.push(status);
        }
        self
    }

    /// Restricts the filter to runs started in this half-open span of time.
    #[must_use]
    pub fn created_between(mut self, from: Timestamp, before: Timestamp) -> Self {
        self.created_from = Some(from);
        self.created_before = Some(before);
        self
    }

    /// Continues after the run with this id.
    #[must_use]
    pub fn after(mut self, run: RunId) -> Self {
        self.after = Some(run);
        self
    }

    /// Sets the maximum number of runs on a page.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Returns the effective page size.
    pub fn page_size(&self) -> usize {
        match self.limit {
            0 => 50,
            limit => limit.min(1_000),
        }
    }
}

/// A page of runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunPage {
    /// The runs, newest first.
    pub runs: Vec<RunSummary>,
    /// The value for [`RunFilter::after`] that continues with the next page; `None` at the end.
    pub next: Option<RunId>,
}
