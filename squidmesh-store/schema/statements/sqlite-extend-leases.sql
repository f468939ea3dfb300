-- Locks the intents that are held, and extends their leases.

WITH change(run, name, token) AS (
    VALUES (?, ?, ?)
)
SELECT run_id, step, lease
FROM change
CROSS JOIN squidmesh_intents
WHERE run_id = run AND step = name AND lease = token;

WITH change(run, name, token) AS (
    VALUES (?, ?, ?)
)
UPDATE squidmesh_intents
SET available_at = (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)) + ?
FROM change
WHERE run_id = run AND step = name AND lease = token;
