-- Claims the given intents, if they are due.

WITH change(run, name) AS (
    SELECT run, name
    FROM unnest($1::uuid[], $2::text[]) AS listed(run, name)
)
UPDATE squidmesh_intents
SET lease = $3, available_at = (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) + $4
FROM change
CROSS JOIN LATERAL (
    SELECT ctid AS row_ctid
    FROM squidmesh_intents
    WHERE run_id = run
        AND step = name
        AND available_at <= (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
        AND (lease IS NULL OR lease <> ALL($5))
    FOR UPDATE SKIP LOCKED
) AS intent
WHERE squidmesh_intents.ctid = row_ctid AND EXISTS (SELECT 1 FROM squidmesh_epoch_1) IS NOT NULL
RETURNING run_id, step, lease;
