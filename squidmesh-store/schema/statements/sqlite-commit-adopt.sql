-- Moves a run, and an intent that is being carried out, to another version.

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

INSERT INTO squidmesh_definitions (fingerprint, workflow, body, created_at)
VALUES (?, ?, ?, ?)
ON CONFLICT DO NOTHING;

WITH change(run, name, token) AS (
    VALUES (?, ?, ?)
)
SELECT run_id, step, lease
FROM change
CROSS JOIN squidmesh_intents
WHERE run_id = run AND step = name AND lease = token;

WITH change(run, name, new_queue, new_priority, new_version) AS (
    VALUES (?, ?, ?, ?, ?)
)
UPDATE squidmesh_intents
SET queue = new_queue, priority = new_priority, fingerprint = new_version
FROM change
WHERE run_id = run AND step = name;

INSERT INTO squidmesh_audit (run_id, revision, ordinal, kind, step, actor, comment, metadata, occurred_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);
