-- Starts runs under idempotency keys, with their first steps claimed.

INSERT INTO squidmesh_runs (id, workflow, fingerprint, trigger_name, status, payload, current_step,
    last_error, replayed_from, resumed_from, intended_at, idempotency_key, revision, token, created_at,
    updated_at, finished_at, failure, signals)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
RETURNING id, CASE WHEN NOT EXISTS (
    SELECT 1
    FROM squidmesh_definitions AS stored
    WHERE stored.fingerprint = squidmesh_runs.fingerprint
) THEN fingerprint END AS missing, EXISTS (SELECT 1 FROM squidmesh_epoch_1) IS NOT NULL AS current;

INSERT INTO squidmesh_definitions (fingerprint, workflow, body, created_at)
VALUES (?, ?, ?, ?)
ON CONFLICT DO NOTHING;

INSERT INTO squidmesh_step_runs (run_id, step, status, output, last_error, attempt, failures, crashes, lease,
    sequence, successors_at, resume, manual, routes, taken, compensation, started_at, attempt_started_at,
    finished_at, input_snapshot, recovery, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

WITH change(run, name, new_queue, new_priority, new_version, new_token, delay) AS (
    VALUES (?, ?, ?, ?, ?, ?, ?)
)
INSERT INTO squidmesh_intents (run_id, step, queue, priority, fingerprint, lease, available_at)
SELECT run, name, new_queue, new_priority, new_version, new_token, delay + (
    SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)
)
FROM change
WHERE true
ON CONFLICT DO NOTHING;
