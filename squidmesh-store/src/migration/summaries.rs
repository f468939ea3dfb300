//! A migration: the summary of a run's failure, so that lists read neither details nor payloads.
//!
//! Runs that failed before have none, and lists read the whole failure of those.

use super::statements::Statements;

pub(super) const SUMMARIES: Statements = Statements {
    name: "m20251201_000001_squidmesh_summaries",
    up: &["ALTER TABLE squidmesh_runs ADD COLUMN failure TEXT"],
    down: &["ALTER TABLE squidmesh_runs DROP COLUMN failure"],
    column: Some(("squidmesh_runs", "failure")),
};
