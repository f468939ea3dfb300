-- Lists the matching runs among the newest ones.

SELECT *
FROM (
    SELECT id, workflow, fingerprint, trigger_name, status, current_step, failure, CASE WHEN failure IS NULL
        THEN last_error END AS last_error, replayed_from, resumed_from, intended_at, idempotency_key,
        revision, created_at, updated_at, finished_at
    FROM squidmesh_runs
    WHERE true AND typeof(id) = 'blob' AND length(id) = 16 AND id >= ? AND id < ? AND created_at >= ?
        AND created_at < ?
    ORDER BY id DESC
    LIMIT ? + 0
) AS newest
WHERE true AND workflow = ? AND status IN (?)
LIMIT ? + 0;
