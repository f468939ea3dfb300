-- Lists runs by workflow and status, when few of the newest ones match.

WITH RECURSIVE workflows(workflow_name) AS (
    SELECT $5::text COLLATE "C"
),
head AS MATERIALIZED (
    SELECT workflow_name, value AS head_status, (
        SELECT id
        FROM squidmesh_runs
        WHERE true AND (workflow, status, id) >= (workflow_name, value, $3)
            AND (workflow, status, id) < (workflow_name, value, $4)
        ORDER BY workflow DESC, status DESC, id DESC
        LIMIT 1
    ) AS head_id
    FROM workflows
    CROSS JOIN unnest($1::text[]) AS listed(value)
    WHERE workflow_name IS NOT NULL
),
first AS MATERIALIZED (
    SELECT *
    FROM head
    WHERE head_id IS NOT NULL
    ORDER BY head_id DESC
    LIMIT $2 + 0
),
matched(matched_id) AS MATERIALIZED (
    SELECT id
    FROM first
    CROSS JOIN LATERAL (
        SELECT id
        FROM squidmesh_runs
        WHERE true AND created_at >= $6 AND created_at < $7
            AND (workflow, status, id) >= (workflow_name, head_status, $3)
            AND (workflow, status, id) < (workflow_name, head_status, $4)
        ORDER BY workflow DESC, status DESC, id DESC
        LIMIT $2 + 0
    ) AS newest
    ORDER BY id DESC
    LIMIT $2 + 0
)
SELECT id, workflow, fingerprint, trigger_name, status, current_step, failure, CASE WHEN failure IS NULL
    THEN last_error END AS last_error, replayed_from, resumed_from, intended_at, idempotency_key, revision,
    created_at, updated_at, finished_at
FROM matched
CROSS JOIN LATERAL (SELECT * FROM squidmesh_runs WHERE id = matched_id OFFSET 0) AS run
ORDER BY id DESC;
