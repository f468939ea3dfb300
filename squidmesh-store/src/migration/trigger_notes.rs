//! A migration: the notes of a cron trigger, besides its positions.
//!
//! Old rows have none, and processes of the previous version leave the notes of others alone.

use super::statements::Statements;

pub(super) const TRIGGER_NOTES: Statements = Statements {
    name: "m20251129_000004_squidmesh_trigger_notes",
    up: &["ALTER TABLE squidmesh_triggers ADD COLUMN notes TEXT"],
    down: &["ALTER TABLE squidmesh_triggers DROP COLUMN notes"],
    column: Some(("squidmesh_triggers", "notes")),
};
