-- Claims the intents that have been due longest, class by class.

WITH remaining_0 AS (
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
remaining_1 AS MATERIALIZED (
    SELECT remaining - (SELECT count(*) FROM class_0) AS remaining
    FROM remaining_0
),
none_hidden_1 AS MATERIALIZED (
    SELECT NOT EXISTS (
        SELECT 1
        FROM squidmesh_intents
        WHERE lease IS NOT NULL
            AND available_at <= (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
        ORDER BY available_at
        OFFSET $5
    ) AS holds
),
class_1 AS MATERIALIZED (
    SELECT row_ctid AS due_ctid, 1 AS due_class, due_at
    FROM (
        SELECT ctid AS row_ctid, queue, fingerprint, available_at AS due_at
        FROM squidmesh_intents
        WHERE lease IS NULL
            AND priority = 0
            AND available_at >= -9223372036854775807
            AND available_at <= (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
        ORDER BY available_at
        LIMIT $5
    ) AS seen
    CROSS JOIN LATERAL (
        SELECT 1
        FROM squidmesh_intents
        WHERE ctid = row_ctid
            AND lease IS NULL
            AND priority = 0
            AND available_at >= -9223372036854775807
            AND (SELECT holds FROM none_hidden_1)
            AND available_at = due_at
        FOR UPDATE SKIP LOCKED
    ) AS locked
    WHERE (queue = ANY($1) AND fingerprint = ANY($2))
    ORDER BY due_at
    LIMIT (SELECT remaining FROM remaining_1)
),
remaining_2 AS MATERIALIZED (
    SELECT remaining - (SELECT count(*) FROM class_1) AS remaining
    FROM remaining_1
),
none_hidden_2 AS MATERIALIZED (
    SELECT NOT EXISTS (
        SELECT 1
        FROM squidmesh_intents
        WHERE lease IS NULL
            AND priority = 0
            AND available_at >= -9223372036854775807
            AND available_at <= (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
        ORDER BY available_at
        OFFSET $5
    )
        AND (SELECT holds FROM none_hidden_1) AS holds
),
class_2 AS MATERIALIZED (
    SELECT row_ctid AS due_ctid, 2 AS due_class, due_at
    FROM (
        SELECT ctid AS row_ctid, queue, fingerprint, available_at AS due_at
        FROM squidmesh_intents
        WHERE lease IS NULL
            AND priority = 1
            AND available_at >= -9223372036854775807
            AND available_at <= (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
        ORDER BY available_at
        LIMIT $5
    ) AS seen
    CROSS JOIN LATERAL (
        SELECT 1
        FROM squidmesh_intents
        WHERE ctid = row_ctid
            AND lease IS NULL
            AND priority = 1
            AND available_at >= -9223372036854775807
            AND (SELECT holds FROM none_hidden_2)
            AND available_at = due_at
        FOR UPDATE SKIP LOCKED
    ) AS locked
    WHERE (queue = ANY($1) AND fingerprint = ANY($2))
    ORDER BY due_at
    LIMIT (SELECT remaining FROM remaining_2)
),
remaining_3 AS MATERIALIZED (
    SELECT remaining - (SELECT count(*) FROM class_2) AS remaining
    FROM remaining_2
),
none_hidden_3 AS MATERIALIZED (
    SELECT NOT EXISTS (
        SELECT 1
        FROM squidmesh_intents
        WHERE lease IS NULL
            AND priority = 1
            AND available_at >= -9223372036854775807
            AND available_at <= (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
        ORDER BY available_at
        OFFSET $5
    )
        AND (SELECT holds FROM none_hidden_2) AS holds
),
class_3 AS MATERIALIZED (
    SELECT row_ctid AS due_ctid, 3 AS due_class, due_at
    FROM (
        SELECT ctid AS row_ctid, queue, fingerprint, available_at AS due_at
        FROM squidmesh_intents
        WHERE lease IS NULL
            AND priority = 2
            AND available_at >= -9223372036854775807
            AND available_at <= (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
        ORDER BY available_at
        LIMIT $5
    ) AS seen
    CROSS JOIN LATERAL (
        SELECT 1
        FROM squidmesh_intents
        WHERE ctid = row_ctid
            AND lease IS NULL
            AND priority = 2
            AND available_at >= -9223372036854775807
            AND (SELECT holds FROM none_hidden_3)
            AND available_at = due_at
        FOR UPDATE SKIP LOCKED
    ) AS locked
    WHERE (queue = ANY($1) AND fingerprint = ANY($2))
    ORDER BY due_at
    LIMIT (SELECT remaining FROM remaining_3)
),
due AS MATERIALIZED (
    SELECT *
    FROM class_0
    UNION ALL
    SELECT *
    FROM class_1
    UNION ALL
    SELECT *
    FROM class_2
    UNION ALL
    SELECT *
    FROM class_3
)
UPDATE squidmesh_intents
SET lease = $6, available_at = (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) + $7
FROM due
WHERE squidmesh_intents.ctid = due_ctid AND EXISTS (SELECT 1 FROM squidmesh_epoch_1) IS NOT NULL
RETURNING run_id, step, lease, due_class, due_at;
