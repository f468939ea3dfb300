-- Reads when the next intent becomes due, after a claim that found too few.

WITH first(class, at) AS MATERIALIZED (
    SELECT 0, (
        SELECT available_at
        FROM (
            SELECT queue, fingerprint, available_at
            FROM squidmesh_intents
            WHERE lease IS NOT NULL
                AND typeof(run_id) = 'blob'
                AND length(run_id) = 16
                AND typeof(available_at) = 'integer'
                AND hex(lease) NOT IN (SELECT value FROM json_each(?3))
            ORDER BY available_at
            LIMIT ?4 + 0
        ) AS seen
        WHERE (
            (instr(queue, '"') = 0 AND instr(?1, '"' || queue || '"') > 0
                AND instr(?2, '"' || fingerprint || '"') > 0)
            OR (
                queue IN (SELECT value FROM json_each(?1))
                AND fingerprint IN (SELECT value FROM json_each(?2))
            )
        )
        LIMIT 1
    )
    UNION ALL
    SELECT 1, (
        SELECT available_at
        FROM (
            SELECT queue, fingerprint, available_at
            FROM squidmesh_intents
            WHERE lease IS NULL AND priority = 0 AND available_at >= -9223372036854775807
                AND typeof(run_id) = 'blob' AND length(run_id) = 16 AND typeof(available_at) = 'integer'
            ORDER BY available_at
            LIMIT ?4 + 0
        ) AS seen
        WHERE (
            (instr(queue, '"') = 0 AND instr(?1, '"' || queue || '"') > 0
                AND instr(?2, '"' || fingerprint || '"') > 0)
            OR (
                queue IN (SELECT value FROM json_each(?1))
                AND fingerprint IN (SELECT value FROM json_each(?2))
            )
        )
        LIMIT 1
    )
    UNION ALL
    SELECT 2, (
        SELECT available_at
        FROM (
            SELECT queue, fingerprint, available_at
            FROM squidmesh_intents
            WHERE lease IS NULL AND priority = 1 AND available_at >= -9223372036854775807
                AND typeof(run_id) = 'blob' AND length(run_id) = 16 AND typeof(available_at) = 'integer'
            ORDER BY available_at
            LIMIT ?4 + 0
        ) AS seen
        WHERE (
            (instr(queue, '"') = 0 AND instr(?1, '"' || queue || '"') > 0
                AND instr(?2, '"' || fingerprint || '"') > 0)
            OR (
                queue IN (SELECT value FROM json_each(?1))
                AND fingerprint IN (SELECT value FROM json_each(?2))
            )
        )
        LIMIT 1
    )
    UNION ALL
    SELECT 3, (
        SELECT available_at
        FROM (
            SELECT queue, fingerprint, available_at
            FROM squidmesh_intents
            WHERE lease IS NULL AND priority = 2 AND available_at >= -9223372036854775807
                AND typeof(run_id) = 'blob' AND length(run_id) = 16 AND typeof(available_at) = 'integer'
            ORDER BY available_at
            LIMIT ?4 + 0
        ) AS seen
        WHERE (
            (instr(queue, '"') = 0 AND instr(?1, '"' || queue || '"') > 0
                AND instr(?2, '"' || fingerprint || '"') > 0)
            OR (
                queue IN (SELECT value FROM json_each(?1))
                AND fingerprint IN (SELECT value FROM json_each(?2))
            )
        )
        LIMIT 1
    )
)
SELECT (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)) AS read_at, at IS NOT NULL AS served,
    coalesce(
    at, CASE class WHEN 0 THEN (
        SELECT available_at
        FROM squidmesh_intents
        WHERE lease IS NOT NULL AND typeof(run_id) = 'blob' AND length(run_id) = 16
            AND typeof(available_at) = 'integer'
        ORDER BY available_at
        LIMIT 1 OFFSET ?4 - 1
    ) WHEN 1 THEN (
        SELECT available_at
        FROM squidmesh_intents
        WHERE lease IS NULL AND priority = 0 AND available_at >= -9223372036854775807
            AND typeof(run_id) = 'blob' AND length(run_id) = 16 AND typeof(available_at) = 'integer'
        ORDER BY available_at
        LIMIT 1 OFFSET ?4 - 1
    ) WHEN 2 THEN (
        SELECT available_at
        FROM squidmesh_intents
        WHERE lease IS NULL AND priority = 1 AND available_at >= -9223372036854775807
            AND typeof(run_id) = 'blob' AND length(run_id) = 16 AND typeof(available_at) = 'integer'
        ORDER BY available_at
        LIMIT 1 OFFSET ?4 - 1
    ) WHEN 3 THEN (
        SELECT available_at
        FROM squidmesh_intents
        WHERE lease IS NULL AND priority = 2 AND available_at >= -9223372036854775807
            AND typeof(run_id) = 'blob' AND length(run_id) = 16 AND typeof(available_at) = 'integer'
        ORDER BY available_at
        LIMIT 1 OFFSET ?4 - 1
    ) END
) AS at
FROM first;
