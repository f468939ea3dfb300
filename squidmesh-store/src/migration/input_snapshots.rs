//! A migration: step runs store their input by reference, which earlier versions cannot read.
//!
//! Processes of earlier versions may be running, and must stop rather than read falsely. The column has a new name, so
//! that they can neither read a run nor write a step; what they claim is left to others when its lease expires. Later
//! versions stop by the [schema epoch](crate::epoch), which begins here.

use super::statements::Statements;

pub(super) const INPUT_SNAPSHOTS: Statements = Statements {
    name: "m20251201_000002_squidmesh_input_snapshots_breaking",
    up: &[
        "CREATE TABLE IF NOT EXISTS squidmesh_epoch_1 (unused SMALLINT NOT NULL PRIMARY KEY)",
        "ALTER TABLE squidmesh_step_runs RENAME COLUMN input TO input_snapshot",
    ],
    down: &[
        "DROP TABLE IF EXISTS squidmesh_epoch_1",
        "ALTER TABLE squidmesh_step_runs RENAME COLUMN input_snapshot TO input",
    ],
    column: Some(("squidmesh_step_runs", "input_snapshot")),
};
