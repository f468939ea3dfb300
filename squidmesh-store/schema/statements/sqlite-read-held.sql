-- Reads which intents are held, as last committed.

WITH change(run, name, token) AS (
    VALUES (?, ?, ?)
)
SELECT run_id, step, lease
FROM change
CROSS JOIN squidmesh_intents
WHERE run_id = run AND step = name AND lease = token;
