-- Reads which intents are held, as last committed.

WITH change(run, name, token) AS (
    SELECT run, name, token
    FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS listed(run, name, token)
)
SELECT run_id, step, lease
FROM change
CROSS JOIN LATERAL (
    SELECT run_id, step, lease
    FROM squidmesh_intents
    WHERE run_id = run AND step = name AND lease = token
) AS intent;
