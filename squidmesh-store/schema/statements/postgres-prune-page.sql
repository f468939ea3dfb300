-- Reads which of the next runs may be deleted, and how many rows they have.

WITH run AS MATERIALIZED (
    SELECT id, status, resumed_from, created_at, finished_at
    FROM squidmesh_runs
    WHERE true
    ORDER BY id
    LIMIT $1
)
SELECT id, CASE
    WHEN run.created_at <= (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) - $2
    THEN 1 ELSE 0 END AS is_old, CASE WHEN (
    run.status IN ($3, $4)
    AND run.finished_at IS NOT NULL
    AND run.finished_at <= (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) - $5
    AND (SELECT 1 FROM squidmesh_intents WHERE run_id = run.id LIMIT 1) IS NULL
    AND (
        SELECT 1
        FROM squidmesh_runs AS younger
        WHERE younger.replayed_from = run.id AND younger.finished_at IS NULL
        LIMIT 1
    ) IS NULL
    AND (
        SELECT 1
        FROM squidmesh_runs AS younger
        WHERE younger.resumed_from = run.id AND younger.finished_at IS NULL
        LIMIT 1
    ) IS NULL
    AND (
        run.resumed_from IS NULL
        OR (
            SELECT 1
            FROM squidmesh_runs AS older
            WHERE older.id = run.resumed_from
            LIMIT 1
        ) IS NULL
    )
) THEN (SELECT count(*) FROM squidmesh_step_runs WHERE run_id = run.id) + (
    SELECT count(*)
    FROM squidmesh_attempts
    WHERE run_id = run.id
) + (SELECT count(*) FROM squidmesh_audit WHERE run_id = run.id) END AS row_count
FROM run
ORDER BY id;
