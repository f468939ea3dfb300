-- Lists runs whose work only versions that this process does not have can execute.

WITH RECURSIVE queue(queue_name) AS (
    SELECT min(queue)
    FROM squidmesh_intents
    WHERE lease IS NULL
    UNION ALL
    SELECT (
        SELECT min(queue)
        FROM squidmesh_intents
        WHERE lease IS NULL AND queue > queue_name
    )
    FROM queue
    WHERE queue_name IS NOT NULL
),
version(version_queue, version_name) AS (
    SELECT queue_name, (
        SELECT min(fingerprint)
        FROM squidmesh_intents
        WHERE lease IS NULL AND queue = queue_name
    )
    FROM queue
    WHERE queue_name IS NOT NULL
    UNION ALL
    SELECT version_queue, (
        SELECT min(fingerprint)
        FROM squidmesh_intents
        WHERE lease IS NULL AND queue = version_queue AND fingerprint > version_name
    )
    FROM version
    WHERE version_name IS NOT NULL
),
priorities(listed_priority) AS (
    VALUES (0), (1), (2)
)
SELECT DISTINCT run_id
FROM (
    SELECT run_id
    FROM version
    CROSS JOIN priorities
    CROSS JOIN squidmesh_intents
    WHERE version_name <> ALL($1)
        AND lease IS NULL
        AND queue = version_queue
        AND fingerprint = version_name
        AND priority = listed_priority
        AND available_at <= (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) - $2
    UNION ALL
    SELECT run_id
    FROM squidmesh_intents
    WHERE lease IS NOT NULL
        AND fingerprint <> ALL($1)
        AND available_at <= (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) - $3
) AS stranded
ORDER BY run_id
LIMIT $4;
