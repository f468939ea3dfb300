-- Reads which of the locked runs may still be deleted.

SELECT id
FROM squidmesh_runs AS run
WHERE id IN (?)
    AND (
        run.status IN (?, ?)
        AND run.finished_at IS NOT NULL
        AND run.finished_at <= (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)) - ?
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
    );
