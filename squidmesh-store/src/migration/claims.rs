//! A migration: the indexes by which claims walk due intents regardless of queue and version, and find the first
//! intent of a queue and version.
//!
//! Leased intents are in one narrow index, which each step writes. Waiting intents are in two, to which a run is
//! written when it is started or waits. A condition that every time satisfies keeps planners from walking the
//! first of these for a queue.

use super::statements::Statements;

pub(super) const CLAIM_INDEXES: Statements =
    Statements { name: "m20251129_000002_squidmesh_claims", up: UP, down: DOWN, column: None };

const UP: &[&str] = &[
    "CREATE INDEX IF NOT EXISTS squidmesh_intents_waiting ON squidmesh_intents (priority, available_at)
        WHERE lease IS NULL AND available_at >= -9223372036854775807",
    "CREATE INDEX IF NOT EXISTS squidmesh_intents_lines ON squidmesh_intents (queue, fingerprint, priority, available_at)
        WHERE lease IS NULL",
    "CREATE INDEX IF NOT EXISTS squidmesh_intents_held ON squidmesh_intents (available_at) WHERE lease IS NOT NULL",
    "DROP INDEX IF EXISTS squidmesh_intents_by_due",
    "DROP INDEX IF EXISTS squidmesh_intents_by_lease",
];

const DOWN: &[&str] = &[
    "CREATE INDEX IF NOT EXISTS squidmesh_intents_by_due ON squidmesh_intents (queue, priority, available_at)
        WHERE lease IS NULL",
    "CREATE INDEX IF NOT EXISTS squidmesh_intents_by_lease ON squidmesh_intents (queue, available_at)
        WHERE lease IS NOT NULL",
    "DROP INDEX IF EXISTS squidmesh_intents_held",
    "DROP INDEX IF EXISTS squidmesh_intents_lines",
    "DROP INDEX IF EXISTS squidmesh_intents_waiting",
];
