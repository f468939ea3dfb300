//! A migration: the identity of the database, by which queues outside it know whose work they carry.

use super::statements::Statements;

pub(super) const IDENTITY: Statements = Statements {
    name: "m20251129_000005_squidmesh_identity",
    up: CREATE,
    down: &["DROP TABLE IF EXISTS squidmesh_identity"],
    column: None,
};

// The table has one row, which is written on the first request.
const CREATE: &[&str] = &["CREATE TABLE IF NOT EXISTS squidmesh_identity (
        place SMALLINT NOT NULL PRIMARY KEY,
        id TEXT NOT NULL
    )"];
