//! A migration: the transition by which a run left a step, where there was a choice.
//!
//! Few steps have several ways on: the column is NULL for the others, and in no index.

use super::statements::Statements;

pub(super) const TAKEN_TRANSITIONS: Statements = Statements {
    name: "m20251201_000003_squidmesh_taken_transitions",
    up: &["ALTER TABLE squidmesh_step_runs ADD COLUMN taken TEXT"],
    down: &["ALTER TABLE squidmesh_step_runs DROP COLUMN taken"],
    column: Some(("squidmesh_step_runs", "taken")),
};
