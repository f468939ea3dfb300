-- Moves a run, and an intent that is being carried out, to another version.

WITH lock_timeout AS MATERIALIZED (
    SELECT set_config('lock_timeout', '250ms', true)
),
run_changes(run, expected, new_status, new_step, new_error, new_version, new_revision, new_token,
    new_updated_at, new_finished_at, new_failure, new_signals) AS (
    SELECT run, expected, new_status, new_step, NULL::text, new_version, new_revision, new_token,
        new_updated_at, new_finished_at, NULL::text, NULL::text
    FROM (
        VALUES ($1::uuid, $2::bigint, $3::text, $4::text, $5::text, $6::bigint, $7::uuid, $8::bigint,
            $9::bigint)
    ) AS listed(run, expected, new_status, new_step, new_version, new_revision, new_token, new_updated_at,
        new_finished_at)
),
changed_runs AS (
    UPDATE squidmesh_runs
    SET status = new_status, current_step = new_step, last_error = new_error, fingerprint = new_version,
        revision = new_revision, token = new_token, updated_at = new_updated_at,
        finished_at = new_finished_at, failure = new_failure, signals = coalesce(new_signals, signals)
    FROM lock_timeout
    CROSS JOIN run_changes
    CROSS JOIN LATERAL (
        SELECT ctid AS row_ctid
        FROM squidmesh_runs
        WHERE id = run AND revision = expected
        OFFSET 0
    ) AS matched
    WHERE squidmesh_runs.ctid = row_ctid AND revision = expected
    RETURNING id
),
applied AS MATERIALIZED (
    SELECT id
    FROM changed_runs
),
version_users(version, used_by) AS (
    SELECT version, used_by
    FROM (VALUES ($10::text, $11::uuid)) AS listed(version, used_by)
),
new_definitions AS (
    INSERT INTO squidmesh_definitions (fingerprint, workflow, body, created_at)
    SELECT fingerprint, workflow, body, created_at
    FROM (VALUES ($12::text, $13::text, $14::text, $15::bigint)) AS listed(fingerprint, workflow, body,
        created_at)
    WHERE fingerprint IN (SELECT version FROM version_users WHERE used_by IN (SELECT id FROM applied))
    ON CONFLICT DO NOTHING
),
fences(run, name, token) AS (
    SELECT run, name, token
    FROM (VALUES ($16::uuid, $17::text, $18::uuid)) AS listed(run, name, token)
),
held AS MATERIALIZED (
    SELECT run
    FROM fences
    CROSS JOIN LATERAL (
        SELECT lease
        FROM squidmesh_intents
        WHERE run_id = run AND step = name AND lease = token
        FOR UPDATE
    ) AS intent
    WHERE run IN (SELECT id FROM applied)
),
repinned_intents(run, name, new_queue, new_priority, new_version) AS (
    SELECT run, name, new_queue, new_priority, new_version
    FROM (VALUES ($19::uuid, $20::text, $21::text, $22::smallint, $23::text)) AS listed(run, name, new_queue,
        new_priority, new_version)
),
to_repin AS MATERIALIZED (
    SELECT new_queue, new_priority, new_version, row_ctid
    FROM repinned_intents
    CROSS JOIN LATERAL (
        SELECT ctid AS row_ctid
        FROM squidmesh_intents
        WHERE run_id = run AND step = name
        OFFSET 0
    ) AS intent
    WHERE run IN (SELECT id FROM applied)
),
repinned AS (
    UPDATE squidmesh_intents
    SET queue = new_queue, priority = new_priority, fingerprint = new_version
    FROM to_repin
    WHERE squidmesh_intents.ctid = row_ctid
    RETURNING 1
),
new_audit AS (
    INSERT INTO squidmesh_audit (run_id, revision, ordinal, kind, step, actor, comment, metadata, occurred_at)
    SELECT run_id, revision, ordinal, kind, step, actor, comment, metadata, occurred_at
    FROM (
        VALUES ($24::uuid, $25::bigint, $26::bigint, $27::text, $28::text, $29::text, $30::text, $31::text,
            $32::bigint)
    ) AS listed(run_id, revision, ordinal, kind, step, actor, comment, metadata, occurred_at)
    WHERE run_id IN (SELECT id FROM applied)
)
SELECT id, 1 / CASE WHEN (SELECT count(*) FROM held) = (
    SELECT count(*)
    FROM fences
    WHERE run IN (SELECT id FROM applied)
)
    AND (SELECT count(*) FROM repinned) = (SELECT count(*) FROM to_repin) THEN 1 ELSE 0 END AS whole
FROM applied
WHERE EXISTS (SELECT 1 FROM squidmesh_epoch_1) IS NOT NULL;
