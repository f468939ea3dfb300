-- Locks the intents that are held, and extends their leases.

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
    FOR UPDATE SKIP LOCKED
) AS intent;

WITH change(run, name, token) AS (
    SELECT run, name, token
    FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS listed(run, name, token)
)
UPDATE squidmesh_intents
SET available_at = (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) + $4
FROM change
CROSS JOIN LATERAL (
    SELECT ctid AS row_ctid
    FROM squidmesh_intents
    WHERE run_id = run AND step = name AND lease = token
    OFFSET 0
) AS matched
WHERE squidmesh_intents.ctid = row_ctid;
