//! A migration: the summary of a run's failure, so that lists read neither details nor payloads.
//!
//! Runs that failed before have none, and lists read the whole failure of those. It also marks the version from which on a
//! step run may store its input by reference: an older process would find such a row unreadable, so it does not start.

use super::statements::Statements;

pub(super) const SUMMARIES: Statements = Statements {
    name: "m20251201_000001_squidmesh_summaries_breaking",
    up: &["ALTER TABLE squidmesh_runs ADD COLUMN failure TEXT"],
    down: &["ALTER TABLE squidmesh_runs DROP COLUMN failure"],
    column: Some(("squidmesh_runs", "failure")),
};
