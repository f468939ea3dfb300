-- Loads a run with its step runs.

SELECT 0 AS part, id, workflow, fingerprint, trigger_name, status, payload, current_step, last_error,
    replayed_from, resumed_from, intended_at, idempotency_key, revision, token, created_at, updated_at,
    finished_at, failure, signals, NULL AS run_id, NULL AS step, NULL AS output, NULL AS attempt,
    NULL AS failures, NULL AS crashes, NULL AS lease, NULL AS sequence, NULL AS successors_at, NULL AS resume,
    NULL AS manual, NULL AS routes, NULL AS taken, NULL AS compensation, NULL AS started_at,
    NULL AS attempt_started_at, NULL AS input_snapshot, NULL AS recovery
FROM squidmesh_runs
WHERE id IN (?)
UNION ALL
SELECT 1 AS part, NULL AS id, NULL AS workflow, NULL AS fingerprint, NULL AS trigger_name, status,
    NULL AS payload, NULL AS current_step, last_error, NULL AS replayed_from, NULL AS resumed_from,
    NULL AS intended_at, NULL AS idempotency_key, NULL AS revision, NULL AS token, created_at,
    NULL AS updated_at, finished_at, NULL AS failure, NULL AS signals, run_id, step, output, attempt,
    failures, crashes, lease, sequence, successors_at, resume, manual, routes, taken, compensation,
    started_at, attempt_started_at, input_snapshot, recovery
FROM squidmesh_step_runs
WHERE run_id IN (?);
