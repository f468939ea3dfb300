-- Claims the intents that have been due longest, class by class.

WITH class_0 AS MATERIALIZED (
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
),
class_1 AS MATERIALIZED (
    SELECT run_id, step, 1 AS due_class, due_at, 0 AS is_end
    FROM (
        SELECT run_id, step, queue, fingerprint, available_at AS due_at
        FROM squidmesh_intents
        WHERE lease IS NULL
            AND priority = 0
            AND available_at >= -9223372036854775807
            AND typeof(run_id) = 'blob'
            AND length(run_id) = 16
            AND typeof(available_at) = 'integer'
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
),
class_2 AS MATERIALIZED (
    SELECT run_id, step, 2 AS due_class, due_at, 0 AS is_end
    FROM (
        SELECT run_id, step, queue, fingerprint, available_at AS due_at
        FROM squidmesh_intents
        WHERE lease IS NULL
            AND priority = 1
            AND available_at >= -9223372036854775807
            AND typeof(run_id) = 'blob'
            AND length(run_id) = 16
            AND typeof(available_at) = 'integer'
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
),
class_3 AS MATERIALIZED (
    SELECT run_id, step, 3 AS due_class, due_at, 0 AS is_end
    FROM (
        SELECT run_id, step, queue, fingerprint, available_at AS due_at
        FROM squidmesh_intents
        WHERE lease IS NULL
            AND priority = 2
            AND available_at >= -9223372036854775807
            AND typeof(run_id) = 'blob'
            AND length(run_id) = 16
            AND typeof(available_at) = 'integer'
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
),
ends(end_class, end_at) AS MATERIALIZED (
    SELECT 0, CASE WHEN (SELECT count(*) FROM class_0) < ?4 THEN (
        SELECT available_at
        FROM squidmesh_intents
        WHERE lease IS NOT NULL
            AND typeof(run_id) = 'blob'
            AND length(run_id) = 16
            AND typeof(available_at) = 'integer'
            AND available_at <= (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER))
        ORDER BY available_at
        LIMIT 1 OFFSET ?5 + 0
    ) END
    UNION ALL
    SELECT 1, CASE WHEN (SELECT count(*) FROM class_1) < ?4 THEN (
        SELECT available_at
        FROM squidmesh_intents
        WHERE lease IS NULL
            AND priority = 0
            AND available_at >= -9223372036854775807
            AND typeof(run_id) = 'blob'
            AND length(run_id) = 16
            AND typeof(available_at) = 'integer'
            AND available_at <= (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER))
        ORDER BY available_at
        LIMIT 1 OFFSET ?5 + 0
    ) END
    UNION ALL
    SELECT 2, CASE WHEN (SELECT count(*) FROM class_2) < ?4 THEN (
        SELECT available_at
        FROM squidmesh_intents
        WHERE lease IS NULL
            AND priority = 1
            AND available_at >= -9223372036854775807
            AND typeof(run_id) = 'blob'
            AND length(run_id) = 16
            AND typeof(available_at) = 'integer'
            AND available_at <= (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER))
        ORDER BY available_at
        LIMIT 1 OFFSET ?5 + 0
    ) END
    UNION ALL
    SELECT 3, CASE WHEN (SELECT count(*) FROM class_3) < ?4 THEN (
        SELECT available_at
        FROM squidmesh_intents
        WHERE lease IS NULL
            AND priority = 2
            AND available_at >= -9223372036854775807
            AND typeof(run_id) = 'blob'
            AND length(run_id) = 16
            AND typeof(available_at) = 'integer'
            AND available_at <= (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER))
        ORDER BY available_at
        LIMIT 1 OFFSET ?5 + 0
    ) END
)
SELECT run_id, step, ?6 AS lease
FROM (
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
    UNION ALL
    SELECT NULL, NULL, end_class, end_at, 1
    FROM ends
    WHERE end_at IS NOT NULL
)
ORDER BY due_class, due_at, is_end
LIMIT ?4 + 0;

WITH change(run, name) AS (
    VALUES (?, ?)
)
UPDATE squidmesh_intents
SET lease = ?, available_at = (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)) + ?
FROM change
WHERE run_id = run AND step = name AND EXISTS (SELECT 1 FROM squidmesh_epoch_1) IS NOT NULL;
