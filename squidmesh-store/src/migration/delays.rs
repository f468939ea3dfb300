//! A migration: the time before which the steps that depend on a completed one do not start.
//!
//! Few steps ask for a delay: the column is NULL for the others, and in no index.

use super::statements::Statements;

pub(super) const DELAYS: Statements = Statements {
    name: "m20251129_000001_squidmesh_delays",
    up: &["ALTER TABLE squidmesh_step_runs ADD COLUMN successors_at BIGINT"],
    down: &["ALTER TABLE squidmesh_step_runs DROP COLUMN successors_at"],
    column: Some(("squidmesh_step_runs", "successors_at")),
};
