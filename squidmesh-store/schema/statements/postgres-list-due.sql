-- Lists due intents in claim order, without claiming them.

WITH clock AS MATERIALIZED (
    SELECT (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS read_at
),
page AS MATERIALIZED (
    SELECT *
    FROM (
        SELECT *
        FROM (
            SELECT 0 AS class, run_id, step, queue, priority, fingerprint, available_at
            FROM squidmesh_intents
            WHERE lease IS NOT NULL
                AND available_at <= (SELECT read_at FROM clock)
                AND (queue = ANY($1) AND fingerprint = ANY($2))
            ORDER BY available_at, run_id, step
            LIMIT $3
        ) AS class_0
        UNION ALL
        SELECT *
        FROM (
            SELECT 1 AS class, run_id, step, queue, priority, fingerprint, available_at
            FROM squidmesh_intents
            WHERE lease IS NULL
                AND priority = 0
                AND available_at >= -9223372036854775807
                AND available_at <= (SELECT read_at FROM clock)
                AND (queue = ANY($1) AND fingerprint = ANY($2))
            ORDER BY available_at, run_id, step
            LIMIT $3
        ) AS class_1
        UNION ALL
        SELECT *
        FROM (
            SELECT 2 AS class, run_id, step, queue, priority, fingerprint, available_at
            FROM squidmesh_intents
            WHERE lease IS NULL
                AND priority = 1
                AND available_at >= -9223372036854775807
                AND available_at <= (SELECT read_at FROM clock)
                AND (queue = ANY($1) AND fingerprint = ANY($2))
            ORDER BY available_at, run_id, step
            LIMIT $3
        ) AS class_2
        UNION ALL
        SELECT *
        FROM (
            SELECT 3 AS class, run_id, step, queue, priority, fingerprint, available_at
            FROM squidmesh_intents
            WHERE lease IS NULL
                AND priority = 2
                AND available_at >= -9223372036854775807
                AND available_at <= (SELECT read_at FROM clock)
                AND (queue = ANY($1) AND fingerprint = ANY($2))
            ORDER BY available_at, run_id, step
            LIMIT $3
        ) AS class_3
    ) AS classes
    LIMIT $3
)
SELECT read_at, (
    SELECT min(next_at)
    FROM (
        SELECT coalesce(
            (
                SELECT available_at
                FROM (
                    SELECT queue, fingerprint, available_at
                    FROM squidmesh_intents
                    WHERE lease IS NOT NULL AND available_at > (SELECT read_at FROM clock)
                    ORDER BY available_at
                    LIMIT $4 + 0
                ) AS seen
                WHERE (queue = ANY($1) AND fingerprint = ANY($2))
                ORDER BY available_at
                LIMIT 1
            ), (
                SELECT available_at
                FROM squidmesh_intents
                WHERE lease IS NOT NULL AND available_at > (SELECT read_at FROM clock)
                ORDER BY available_at
                LIMIT 1 OFFSET $4 - 1
            )
        ) AS next_at
        UNION ALL
        SELECT coalesce(
            (
                SELECT available_at
                FROM (
                    SELECT queue, fingerprint, available_at
                    FROM squidmesh_intents
                    WHERE lease IS NULL
                        AND priority = 0
                        AND available_at >= -9223372036854775807
                        AND available_at > (SELECT read_at FROM clock)
                    ORDER BY available_at
                    LIMIT $4 + 0
                ) AS seen
                WHERE (queue = ANY($1) AND fingerprint = ANY($2))
                ORDER BY available_at
                LIMIT 1
            ), (
                SELECT available_at
                FROM squidmesh_intents
                WHERE lease IS NULL
                    AND priority = 0
                    AND available_at >= -9223372036854775807
                    AND available_at > (SELECT read_at FROM clock)
                ORDER BY available_at
                LIMIT 1 OFFSET $4 - 1
            )
        ) AS next_at
        UNION ALL
        SELECT coalesce(
            (
                SELECT available_at
                FROM (
                    SELECT queue, fingerprint, available_at
                    FROM squidmesh_intents
                    WHERE lease IS NULL
                        AND priority = 1
                        AND available_at >= -9223372036854775807
                        AND available_at > (SELECT read_at FROM clock)
                    ORDER BY available_at
                    LIMIT $4 + 0
                ) AS seen
                WHERE (queue = ANY($1) AND fingerprint = ANY($2))
                ORDER BY available_at
                LIMIT 1
            ), (
                SELECT available_at
                FROM squidmesh_intents
                WHERE lease IS NULL
                    AND priority = 1
                    AND available_at >= -9223372036854775807
                    AND available_at > (SELECT read_at FROM clock)
                ORDER BY available_at
                LIMIT 1 OFFSET $4 - 1
            )
        ) AS next_at
        UNION ALL
        SELECT coalesce(
            (
                SELECT available_at
                FROM (
                    SELECT queue, fingerprint, available_at
                    FROM squidmesh_intents
                    WHERE lease IS NULL
                        AND priority = 2
                        AND available_at >= -9223372036854775807
                        AND available_at > (SELECT read_at FROM clock)
                    ORDER BY available_at
                    LIMIT $4 + 0
                ) AS seen
                WHERE (queue = ANY($1) AND fingerprint = ANY($2))
                ORDER BY available_at
                LIMIT 1
            ), (
                SELECT available_at
                FROM squidmesh_intents
                WHERE lease IS NULL
                    AND priority = 2
                    AND available_at >= -9223372036854775807
                    AND available_at > (SELECT read_at FROM clock)
                ORDER BY available_at
                LIMIT 1 OFFSET $4 - 1
            )
        ) AS next_at
    ) AS later
) AS next_at, page.*
FROM clock
LEFT JOIN page
ON 1 = 1
ORDER BY class, available_at, run_id, step;
