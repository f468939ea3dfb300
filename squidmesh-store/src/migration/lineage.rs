//! The second migration: indexes that find runs by the run from which they were resumed or replayed.
//!
//! Few runs have an origin, and it never changes: the indexes have no entry for other runs, and add no cost to
//! their updates.

use super::statements::Statements;

pub(super) const LINEAGE: Statements =
    Statements { name: "m20250901_000002_squidmesh_lineage", up: CREATE, down: DROP, column: None };

const CREATE: &[&str] = &[
    "CREATE INDEX IF NOT EXISTS squidmesh_runs_by_replayed ON squidmesh_runs (replayed_from) WHERE replayed_from IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS squidmesh_runs_by_resumed ON squidmesh_runs (resumed_from) WHERE resumed_from IS NOT NULL",
];

const DROP: &[&str] =
    &["DROP INDEX IF EXISTS squidmesh_runs_by_resumed", "DROP INDEX IF EXISTS squidmesh_runs_by_replayed"];
