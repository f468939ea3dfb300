-- Claims the given intents, if they are due.

WITH change(run, name) AS (
    VALUES (?, ?)
)
UPDATE squidmesh_intents
SET lease = ?, available_at = (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)) + ?
FROM change
WHERE run_id = run
    AND step = name
    AND available_at <= (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER))
    AND (lease IS NULL OR hex(lease) NOT IN (SELECT value FROM json_each(?)))
    AND EXISTS (SELECT 1 FROM squidmesh_epoch_1) IS NOT NULL
RETURNING run_id, step, lease;
