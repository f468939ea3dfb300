-- Starts runs under idempotency keys, with their first steps claimed.

WITH lock_timeout AS MATERIALIZED (
    SELECT set_config('lock_timeout', '250ms', true)
),
started_runs AS (
    INSERT INTO squidmesh_runs (id, workflow, fingerprint, trigger_name, status, payload, current_step,
        last_error, replayed_from, resumed_from, intended_at, idempotency_key, revision, token, created_at,
        updated_at, finished_at, failure, signals)
    SELECT id, workflow, fingerprint, trigger_name, status, payload, nullif(current_step, ''::text),
        NULL::text, NULL::uuid, NULL::uuid, NULL::bigint, CASE WHEN idempotency_key <> ''
        THEN substr(idempotency_key, 2) END, revision, token, created_at, updated_at, NULL::bigint,
        NULL::text, NULL::text
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::text[], $9::bigint[], $10::uuid[], $11::bigint[],
        $12::bigint[]) AS listed(id, workflow, fingerprint, trigger_name, status, payload, current_step,
        idempotency_key, revision, token, created_at, updated_at)
    CROSS JOIN lock_timeout
    ON CONFLICT DO NOTHING
    RETURNING id
),
applied AS MATERIALIZED (
    SELECT id
    FROM started_runs
),
version_users(version, used_by) AS (
    SELECT version, used_by
    FROM unnest($13::text[], $14::uuid[]) AS listed(version, used_by)
),
new_definitions AS (
    INSERT INTO squidmesh_definitions (fingerprint, workflow, body, created_at)
    SELECT fingerprint, workflow, body, created_at
    FROM unnest($15::text[], $16::text[], $17::text[], $18::bigint[]) AS listed(fingerprint, workflow, body,
        created_at)
    WHERE fingerprint IN (SELECT version FROM version_users WHERE used_by IN (SELECT id FROM applied))
    ON CONFLICT DO NOTHING
),
new_steps AS (
    INSERT INTO squidmesh_step_runs (run_id, step, status, output, last_error, attempt, failures, crashes,
        lease, sequence, successors_at, resume, manual, routes, taken, compensation, started_at,
        attempt_started_at, finished_at, input_snapshot, recovery, created_at)
    SELECT run_id, step, status, NULL::text, NULL::text, attempt, failures, crashes,
        nullif(lease, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid), NULL::bigint, NULL::bigint, NULL::text,
        NULL::text, NULL::text, NULL::text, NULL::text, nullif(started_at, '-9223372036854775808'::bigint),
        nullif(attempt_started_at, '-9223372036854775808'::bigint), NULL::bigint, input_snapshot, recovery,
        created_at
    FROM unnest($19::uuid[], $20::text[], $21::text[], $22::bigint[], $23::bigint[], $24::bigint[],
        $25::uuid[], $26::bigint[], $27::bigint[], $28::text[], $29::text[],
        $30::bigint[]) AS listed(run_id, step, status, attempt, failures, crashes, lease, started_at,
        attempt_started_at, input_snapshot, recovery, created_at)
    WHERE run_id IN (SELECT id FROM applied)
),
added_intents(run, name, new_queue, new_priority, new_version, new_token, delay) AS (
    SELECT run, name, new_queue, new_priority, new_version,
        nullif(new_token, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid), delay
    FROM unnest($31::uuid[], $32::text[], $33::text[], $34::smallint[], $35::text[], $36::uuid[],
        $37::bigint[]) AS listed(run, name, new_queue, new_priority, new_version, new_token, delay)
),
put_added_intents AS (
    INSERT INTO squidmesh_intents (run_id, step, queue, priority, fingerprint, lease, available_at)
    SELECT run, name, new_queue, new_priority, new_version, new_token, delay + (
        SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
    )
    FROM added_intents
    WHERE run IN (SELECT id FROM applied)
    ON CONFLICT DO NOTHING
)
SELECT id
FROM applied
WHERE EXISTS (SELECT 1 FROM squidmesh_epoch_1) IS NOT NULL;
