-- Records completed steps, and begins the successor of each for the same worker.

WITH change(run, expected, new_status, new_step, new_error, new_version, new_revision, new_token,
    new_updated_at, new_finished_at, new_failure, new_signals) AS (
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
)
UPDATE squidmesh_runs
SET status = new_status, current_step = new_step, last_error = new_error, fingerprint = new_version,
    revision = new_revision, token = new_token, updated_at = new_updated_at, finished_at = new_finished_at,
    failure = new_failure, signals = coalesce(new_signals, signals)
FROM change
WHERE id = run AND revision = expected AND EXISTS (SELECT 1 FROM squidmesh_epoch_1) IS NOT NULL
RETURNING id;

INSERT INTO squidmesh_step_runs (run_id, step, status, output, last_error, attempt, failures, crashes, lease,
    sequence, successors_at, resume, manual, routes, taken, compensation, started_at, attempt_started_at,
    finished_at, input_snapshot, recovery, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

WITH change(run, name, new_status, new_output, new_error, new_attempt, new_failures, new_crashes, new_lease,
    new_sequence, new_successors_at, new_resume, new_manual, new_routes, new_taken, new_compensation,
    new_started_at, new_attempt_started_at, new_finished_at, new_input) AS (
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
)
UPDATE squidmesh_step_runs
SET status = new_status, output = new_output, last_error = new_error, attempt = new_attempt,
    failures = new_failures, crashes = new_crashes, lease = new_lease, sequence = new_sequence,
    successors_at = new_successors_at, resume = new_resume, manual = new_manual, routes = new_routes,
    taken = new_taken, compensation = new_compensation, started_at = new_started_at,
    attempt_started_at = new_attempt_started_at, finished_at = new_finished_at,
    input_snapshot = coalesce(new_input, input_snapshot)
FROM change
WHERE run_id = run AND step = name;

INSERT INTO squidmesh_attempts (run_id, step, number, status, error, started_at, finished_at)
VALUES (?, ?, ?, ?, ?, ?, ?);

WITH change(run, name, token) AS (
    VALUES (?, ?, ?)
)
DELETE FROM squidmesh_intents
WHERE (run_id, step) IN (SELECT run, name FROM change)
RETURNING run_id, step, lease;

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
