-- Reads when the next intent becomes due, after a claim that found too few.

(
    SELECT (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS read_at, at, served
    FROM (
        SELECT available_at AS at, (queue = ANY($1) AND fingerprint = ANY($2)) AS served,
            row_number() OVER () AS row_index
        FROM (
            SELECT queue, fingerprint, available_at
            FROM squidmesh_intents
            WHERE lease IS NOT NULL AND lease <> ALL($3)
            ORDER BY available_at
            LIMIT $4
        ) AS seen
    ) AS numbered
    WHERE served OR row_index = $4
    LIMIT 1
)
UNION ALL (
    SELECT (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS read_at, at, served
    FROM (
        SELECT available_at AS at, (queue = ANY($1) AND fingerprint = ANY($2)) AS served,
            row_number() OVER () AS row_index
        FROM (
            SELECT queue, fingerprint, available_at
            FROM squidmesh_intents
            WHERE lease IS NULL AND priority = 0 AND available_at >= -9223372036854775807
            ORDER BY available_at
            LIMIT $4
        ) AS seen
    ) AS numbered
    WHERE served OR row_index = $4
    LIMIT 1
)
UNION ALL (
    SELECT (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS read_at, at, served
    FROM (
        SELECT available_at AS at, (queue = ANY($1) AND fingerprint = ANY($2)) AS served,
            row_number() OVER () AS row_index
        FROM (
            SELECT queue, fingerprint, available_at
            FROM squidmesh_intents
            WHERE lease IS NULL AND priority = 1 AND available_at >= -9223372036854775807
            ORDER BY available_at
            LIMIT $4
        ) AS seen
    ) AS numbered
    WHERE served OR row_index = $4
    LIMIT 1
)
UNION ALL (
    SELECT (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS read_at, at, served
    FROM (
        SELECT available_at AS at, (queue = ANY($1) AND fingerprint = ANY($2)) AS served,
            row_number() OVER () AS row_index
        FROM (
            SELECT queue, fingerprint, available_at
            FROM squidmesh_intents
            WHERE lease IS NULL AND priority = 2 AND available_at >= -9223372036854775807
            ORDER BY available_at
            LIMIT $4
        ) AS seen
    ) AS numbered
    WHERE served OR row_index = $4
    LIMIT 1
);
