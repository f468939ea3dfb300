-- Lists the matching runs among the newest ones.

SELECT *
FROM (
    SELECT id, workflow, fingerprint, trigger_name, status, current_step, failure, CASE WHEN failure IS NULL
        THEN last_error END AS last_error, replayed_from, resumed_from, intended_at, idempotency_key,
        revision, created_at, updated_at, finished_at
    FROM squidmesh_runs
    WHERE true AND id >= $1 AND id < $2 AND created_at >= $3 AND created_at < $4
    ORDER BY id DESC
    LIMIT $5
) AS newest
WHERE true AND workflow = $6 AND status IN ($7)
ORDER BY id DESC
LIMIT $8;
