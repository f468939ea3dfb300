-- Claims due intents behind the heads of queues, when work of others is in front.

WITH RECURSIVE queue(queue_name, queue_version) AS (
    SELECT value, (
        SELECT min(fingerprint)
        FROM squidmesh_intents
        WHERE lease IS NULL AND queue = value
    )
    FROM unnest($1::text[]) AS listed(value)
    UNION ALL
    SELECT queue_name, (
        SELECT min(fingerprint)
        FROM squidmesh_intents
        WHERE lease IS NULL AND queue = queue_name AND fingerprint > queue_version
    )
    FROM queue
    WHERE queue_version IS NOT NULL
),
classes(head_class) AS (
    VALUES (1), (2), (3)
),
head AS MATERIALIZED (
    SELECT queue_name, queue_version, head_class, (
        SELECT min(available_at)
        FROM squidmesh_intents
        WHERE lease IS NULL AND queue = queue_name AND fingerprint = queue_version
            AND priority = head_class - 1
    ) AS head_at
    FROM queue
    CROSS JOIN classes
    WHERE queue_version = ANY($2)
),
first AS MATERIALIZED (
    SELECT *
    FROM head
    WHERE head_at <= (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
    ORDER BY head_class, head_at
    LIMIT $4 + 0
),
remaining_0 AS (
    SELECT $4::bigint AS remaining
),
class_0 AS MATERIALIZED (
    SELECT row_ctid AS due_ctid, 0 AS due_class, due_at
    FROM (
        SELECT ctid AS row_ctid, queue, fingerprint, available_at AS due_at
        FROM squidmesh_intents
        WHERE lease IS NOT NULL
            AND lease <> ALL($3)
            AND available_at <= (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
        ORDER BY available_at
        LIMIT $5
    ) AS seen
    CROSS JOIN LATERAL (
        SELECT 1
        FROM squidmesh_intents
        WHERE ctid = row_ctid AND lease IS NOT NULL AND available_at = due_at
        FOR UPDATE SKIP LOCKED
    ) AS locked
    WHERE (queue = ANY($1) AND fingerprint = ANY($2))
    ORDER BY due_at
    LIMIT (SELECT remaining FROM remaining_0)
),
waiting AS MATERIALIZED (
    SELECT row_ctid AS due_ctid, head_class AS due_class, due_at
    FROM (
        SELECT row_ctid, head_class, due_at
        FROM first
        CROSS JOIN LATERAL (
            SELECT ctid AS row_ctid, available_at AS due_at
            FROM squidmesh_intents
            WHERE lease IS NULL
                AND queue = queue_name
                AND fingerprint = queue_version
                AND priority = head_class - 1
                AND available_at <= (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
            ORDER BY available_at
            LIMIT $6
        ) AS intent
        ORDER BY head_class, due_at
        LIMIT $6
    ) AS seen
    CROSS JOIN LATERAL (
        SELECT 1
        FROM squidmesh_intents
        WHERE ctid = row_ctid AND lease IS NULL AND available_at = due_at
        FOR UPDATE SKIP LOCKED
    ) AS locked
    ORDER BY due_class, due_at
    LIMIT (SELECT remaining - (SELECT count(*) FROM class_0) FROM remaining_0)
),
due AS MATERIALIZED (
    SELECT *
    FROM class_0
    UNION ALL
    SELECT *
    FROM waiting
)
UPDATE squidmesh_intents
SET lease = $7, available_at = (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) + $8
FROM due
WHERE squidmesh_intents.ctid = due_ctid AND EXISTS (SELECT 1 FROM squidmesh_epoch_1) IS NOT NULL
RETURNING run_id, step, lease, due_class, due_at;
