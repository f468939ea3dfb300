-- Lists runs by workflow and status, when few of the newest ones match.

WITH RECURSIVE workflows(workflow_name) AS (
    SELECT ?5
),
head AS MATERIALIZED (
    SELECT workflow_name, value AS head_status, (
        SELECT id
        FROM squidmesh_runs
        WHERE true AND typeof(id) = 'blob' AND length(id) = 16 AND workflow = workflow_name AND status = value
            AND id >= ?3 AND id < ?4
        ORDER BY id DESC
        LIMIT 1
    ) AS head_id
    FROM workflows
    CROSS JOIN json_each(?1)
    WHERE workflow_name IS NOT NULL
),
first AS MATERIALIZED (
    SELECT *
    FROM head
    WHERE head_id IS NOT NULL
    ORDER BY head_id DESC
    LIMIT ?2 + 0
),
matched(matched_id) AS MATERIALIZED (
    SELECT run.id
    FROM first
    CROSS JOIN squidmesh_runs AS run
    WHERE run.id IN (
        SELECT id
        FROM squidmesh_runs
        WHERE true AND typeof(id) = 'blob' AND length(id) = 16 AND created_at >= ?6 AND created_at < ?7
            AND workflow = workflow_name AND status = head_status AND id >= ?3 AND id < ?4
        ORDER BY id DESC
        LIMIT ?2 + 0
    )
    ORDER BY id DESC
    LIMIT ?2 + 0
)
SELECT id, workflow, fingerprint, trigger_name, status, current_step, failure, CASE WHEN failure IS NULL
    THEN last_error END AS last_error, replayed_from, resumed_from, intended_at, idempotency_key, revision,
    created_at, updated_at, finished_at
FROM matched
CROSS JOIN squidmesh_runs
WHERE id = matched_id
ORDER BY id DESC;
