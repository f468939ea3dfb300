//! A migration: indexes that find runs by workflow and status, and by the time of their start.
//!
//! The id of a run begins with that time, so only the few runs whose ids differ need an index by it.

use super::statements::Statements;

pub(super) const LIST_INDEXES: Statements =
    Statements { name: "m20251129_000003_squidmesh_lists", up: CREATE, down: DROP, column: None };

const CREATE: &[&str] = &[
    "CREATE INDEX IF NOT EXISTS squidmesh_runs_by_status ON squidmesh_runs (workflow, status, id)",
    "CREATE INDEX IF NOT EXISTS squidmesh_runs_odd ON squidmesh_runs (created_at) WHERE {odd}",
];

const DROP: &[&str] = &["DROP INDEX IF EXISTS squidmesh_runs_odd", "DROP INDEX IF EXISTS squidmesh_runs_by_status"];
