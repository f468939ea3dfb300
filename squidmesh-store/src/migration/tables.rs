//! The first migration: all tables.
//!
//! JSON is text and times are milliseconds in 64 bits on every database. Rows are found by primary key. The
//! intents have two more indexes, by which they are claimed: a waiting intent is in the one, a leased intent in
//! the other.

use super::statements::Statements;

pub(super) const TABLES: Statements =
    Statements { name: "m20250901_000001_squidmesh_tables", up: CREATE, down: DROP, column: None };

const CREATE: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS squidmesh_definitions (
        fingerprint {key} NOT NULL PRIMARY KEY,
        workflow TEXT NOT NULL,
        body TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )",
    "CREATE TABLE IF NOT EXISTS squidmesh_runs (
        id {uuid} NOT NULL PRIMARY KEY,
        workflow {key} NOT NULL,
        fingerprint {key} NOT NULL,
        trigger_name TEXT NOT NULL,
        status TEXT NOT NULL,
        payload TEXT NOT NULL,
        current_step TEXT,
        last_error TEXT,
        replayed_from {uuid},
        resumed_from {uuid},
        intended_at BIGINT,
        idempotency_key {key},
        revision BIGINT NOT NULL,
        token {uuid} NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        finished_at BIGINT
    ){warm}",
    "CREATE UNIQUE INDEX IF NOT EXISTS squidmesh_runs_by_key ON squidmesh_runs (workflow, idempotency_key)
        WHERE idempotency_key IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS squidmesh_step_runs (
        run_id {uuid} NOT NULL,
        step {key} NOT NULL,
        status TEXT NOT NULL,
        input TEXT NOT NULL,
        recovery TEXT NOT NULL,
        output TEXT,
        last_error TEXT,
        attempt BIGINT NOT NULL,
        failures BIGINT NOT NULL,
        crashes BIGINT NOT NULL,
        lease {uuid},
        sequence BIGINT,
        resume TEXT,
        manual TEXT,
        routes TEXT,
        compensation TEXT,
        created_at BIGINT NOT NULL,
        started_at BIGINT,
        attempt_started_at BIGINT,
        finished_at BIGINT,
        PRIMARY KEY (run_id, step)
    ){warm}",
    "CREATE TABLE IF NOT EXISTS squidmesh_attempts (
        run_id {uuid} NOT NULL,
        step {key} NOT NULL,
        number BIGINT NOT NULL,
        status TEXT NOT NULL,
        error TEXT,
        started_at BIGINT NOT NULL,
        finished_at BIGINT,
        PRIMARY KEY (run_id, step, number)
    ){warm}",
    // The step is empty for the compensation of a run. A row is due at available_at; while it is leased, that is
    // the time when the lease expires.
    "CREATE TABLE IF NOT EXISTS squidmesh_intents (
        run_id {uuid} NOT NULL,
        step {key} NOT NULL,
        queue {key} NOT NULL,
        priority SMALLINT NOT NULL,
        fingerprint {key} NOT NULL,
        available_at BIGINT NOT NULL,
        lease {uuid},
        PRIMARY KEY (run_id, step)
    ){without rowid}{hot}",
    "CREATE INDEX IF NOT EXISTS squidmesh_intents_by_due ON squidmesh_intents (queue, priority, available_at)
        WHERE lease IS NULL",
    "CREATE INDEX IF NOT EXISTS squidmesh_intents_by_lease ON squidmesh_intents (queue, available_at)
        WHERE lease IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS squidmesh_audit (
        run_id {uuid} NOT NULL,
        revision BIGINT NOT NULL,
        ordinal BIGINT NOT NULL,
        kind TEXT NOT NULL,
        step TEXT,
        actor TEXT,
        comment TEXT,
        metadata TEXT,
        occurred_at BIGINT NOT NULL,
        PRIMARY KEY (run_id, revision, ordinal)
    )",
    "CREATE TABLE IF NOT EXISTS squidmesh_triggers (
        workflow {key} NOT NULL,
        trigger_name {key} NOT NULL,
        paused_at BIGINT,
        positions TEXT NOT NULL,
        revision BIGINT NOT NULL,
        PRIMARY KEY (workflow, trigger_name)
    )",
];

const DROP: &[&str] = &[
    "DROP TABLE IF EXISTS squidmesh_triggers",
    "DROP TABLE IF EXISTS squidmesh_audit",
    "DROP TABLE IF EXISTS squidmesh_intents",
    "DROP TABLE IF EXISTS squidmesh_attempts",
    "DROP TABLE IF EXISTS squidmesh_step_runs",
    "DROP TABLE IF EXISTS squidmesh_runs",
    "DROP TABLE IF EXISTS squidmesh_definitions",
];
