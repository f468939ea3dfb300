//! A migration: the signals that a run has received.
//!
//! A list on the row of the run, which is always read and changed with it: it is short, because both the signals that
//! no step has taken and the steps that take one are limited. The column is NULL for runs that have received none, and
//! a commit that does not change it writes nothing of it.

use super::statements::Statements;

pub(super) const SIGNALS: Statements = Statements {
    name: "m20251202_000001_squidmesh_signals",
    up: &["ALTER TABLE squidmesh_runs ADD COLUMN signals TEXT"],
    down: &["ALTER TABLE squidmesh_runs DROP COLUMN signals"],
    column: Some(("squidmesh_runs", "signals")),
};
