-- Claims due intents behind the heads of queues, when work of others is in front.

WITH RECURSIVE queue(queue_name, queue_version) AS (
    SELECT value, (
        SELECT min(fingerprint)
        FROM squidmesh_intents
        WHERE lease IS NULL AND queue = value
    )
    FROM json_each(?1)
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
            AND priority = head_class - 1 AND typeof(run_id) = 'blob' AND length(run_id) = 16
            AND typeof(available_at) = 'integer'
    ) AS head_at
    FROM queue
    CROSS JOIN classes
    WHERE queue_version IN (SELECT value FROM json_each(?2))
),
first AS MATERIALIZED (
    SELECT *
    FROM head
    WHERE head_at <= (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER))
    ORDER BY head_class, head_at
    LIMIT ?4 + 0
)
SELECT run_id, step, ?6 AS lease
FROM (
    SELECT *
    FROM (
        SELECT run_id, step, 0 AS due_class, due_at, 0 AS is_end
        FROM (
            SELECT run_id, step, queue, fingerprint, available_at AS due_at
            FROM squidmesh_intents
            WHERE lease IS NOT NULL
                AND typeof(run_id) = 'blob'
                AND length(run_id) = 16
                AND typeof(available_at) = 'integer'
                AND hex(lease) NOT IN (SELECT value FROM json_each(?3))
                AND available_at <= (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER))
            ORDER BY available_at
            LIMIT ?5 + 0
        )
        WHERE (
            (instr(queue, '"') = 0 AND instr(?1, '"' || queue || '"') > 0
                AND instr(?2, '"' || fingerprint || '"') > 0)
            OR (
                queue IN (SELECT value FROM json_each(?1))
                AND fingerprint IN (SELECT value FROM json_each(?2))
            )
        )
        LIMIT ?4 + 0
    )
    UNION ALL
    SELECT *
    FROM (
        SELECT intent.run_id, intent.step, head_class, intent.available_at, 0
        FROM first
        CROSS JOIN squidmesh_intents AS intent
        WHERE (intent.run_id, intent.step) IN (
            SELECT run_id, step
            FROM squidmesh_intents
            WHERE lease IS NULL
                AND queue = queue_name
                AND fingerprint = queue_version
                AND priority = head_class - 1
                AND typeof(run_id) = 'blob'
                AND length(run_id) = 16
                AND typeof(available_at) = 'integer'
                AND available_at <= (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER))
            ORDER BY available_at
            LIMIT ?4 + 0
        )
    )
)
ORDER BY due_class, due_at
LIMIT ?4 + 0;

WITH change(run, name) AS (
    VALUES (?, ?)
)
UPDATE squidmesh_intents
SET lease = ?, available_at = (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)) + ?
FROM change
WHERE run_id = run AND step = name AND EXISTS (SELECT 1 FROM squidmesh_epoch_1) IS NOT NULL;
