-- Records completed steps, and begins the successor of each for the same worker.

WITH lock_timeout AS MATERIALIZED (
    SELECT set_config('lock_timeout', '250ms', true)
),
run_changes(run, expected, new_status, new_step, new_error, new_version, new_revision, new_token,
    new_updated_at, new_finished_at, new_failure, new_signals) AS (
    SELECT run, expected, new_status, nullif(new_step, ''::text), NULL::text, new_version, new_revision,
        new_token, new_updated_at, nullif(new_finished_at, '-9223372036854775808'::bigint), NULL::text,
        NULL::text
    FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::uuid[],
        $8::bigint[],
        $9::bigint[]) AS listed(run, expected, new_status, new_step, new_version, new_revision, new_token,
        new_updated_at, new_finished_at)
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
new_steps AS (
    INSERT INTO squidmesh_step_runs (run_id, step, status, output, last_error, attempt, failures, crashes,
        lease, sequence, successors_at, resume, manual, routes, taken, compensation, started_at,
        attempt_started_at, finished_at, input_snapshot, recovery, created_at)
    SELECT run_id, step, status, NULL::text, NULL::text, attempt, failures, crashes,
        nullif(lease, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid), NULL::bigint, NULL::bigint, NULL::text,
        NULL::text, NULL::text, NULL::text, NULL::text, nullif(started_at, '-9223372036854775808'::bigint),
        nullif(attempt_started_at, '-9223372036854775808'::bigint), NULL::bigint, input_snapshot, recovery,
        created_at
    FROM unnest($10::uuid[], $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::bigint[],
        $16::uuid[], $17::bigint[], $18::bigint[], $19::text[], $20::text[],
        $21::bigint[]) AS listed(run_id, step, status, attempt, failures, crashes, lease, started_at,
        attempt_started_at, input_snapshot, recovery, created_at)
    WHERE run_id IN (SELECT id FROM applied)
),
step_changes(run, name, new_status, new_output, new_error, new_attempt, new_failures, new_crashes, new_lease,
    new_sequence, new_successors_at, new_resume, new_manual, new_routes, new_taken, new_compensation,
    new_started_at, new_attempt_started_at, new_finished_at, new_input) AS (
    SELECT run, name, new_status, nullif(new_output, ''::text), NULL::text, new_attempt, new_failures,
        new_crashes, nullif(new_lease, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid),
        nullif(new_sequence, '-9223372036854775808'::bigint), NULL::bigint, NULL::text, NULL::text,
        NULL::text, NULL::text, NULL::text, nullif(new_started_at, '-9223372036854775808'::bigint),
        nullif(new_attempt_started_at, '-9223372036854775808'::bigint),
        nullif(new_finished_at, '-9223372036854775808'::bigint), NULL::text
    FROM unnest($22::uuid[], $23::text[], $24::text[], $25::text[], $26::bigint[], $27::bigint[],
        $28::bigint[], $29::uuid[], $30::bigint[], $31::bigint[], $32::bigint[],
        $33::bigint[]) AS listed(run, name, new_status, new_output, new_attempt, new_failures, new_crashes,
        new_lease, new_sequence, new_started_at, new_attempt_started_at, new_finished_at)
),
changed_steps AS (
    UPDATE squidmesh_step_runs
    SET status = new_status, output = new_output, last_error = new_error, attempt = new_attempt,
        failures = new_failures, crashes = new_crashes, lease = new_lease, sequence = new_sequence,
        successors_at = new_successors_at, resume = new_resume, manual = new_manual, routes = new_routes,
        taken = new_taken, compensation = new_compensation, started_at = new_started_at,
        attempt_started_at = new_attempt_started_at, finished_at = new_finished_at,
        input_snapshot = coalesce(new_input, input_snapshot)
    FROM step_changes
    CROSS JOIN LATERAL (
        SELECT ctid AS row_ctid
        FROM squidmesh_step_runs
        WHERE run_id = run AND step = name
        OFFSET 0
    ) AS matched
    WHERE squidmesh_step_runs.ctid = row_ctid AND run IN (SELECT id FROM applied)
    RETURNING 1
),
new_attempts AS (
    INSERT INTO squidmesh_attempts (run_id, step, number, status, error, started_at, finished_at)
    SELECT run_id, step, number, status, nullif(error, ''::text), started_at,
        nullif(finished_at, '-9223372036854775808'::bigint)
    FROM unnest($34::uuid[], $35::text[], $36::bigint[], $37::text[], $38::text[], $39::bigint[],
        $40::bigint[]) AS listed(run_id, step, number, status, error, started_at, finished_at)
    WHERE run_id IN (SELECT id FROM applied)
),
removed_intents(run, name, token) AS (
    SELECT run, name, nullif(token, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
    FROM unnest($41::uuid[], $42::text[], $43::uuid[]) AS listed(run, name, token)
),
matched AS MATERIALIZED (
    SELECT token, lease, row_ctid
    FROM removed_intents
    CROSS JOIN LATERAL (
        SELECT lease, ctid AS row_ctid
        FROM squidmesh_intents
        WHERE run_id = run AND step = name
        OFFSET 0
    ) AS intent
    WHERE run IN (SELECT id FROM applied)
),
deleted AS (
    DELETE FROM squidmesh_intents
    USING matched
    WHERE squidmesh_intents.ctid = row_ctid
    RETURNING 1
),
added_intents(run, name, new_queue, new_priority, new_version, new_token, delay) AS (
    SELECT run, name, new_queue, new_priority, new_version,
        nullif(new_token, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid), delay
    FROM unnest($44::uuid[], $45::text[], $46::text[], $47::smallint[], $48::text[], $49::uuid[],
        $50::bigint[]) AS listed(run, name, new_queue, new_priority, new_version, new_token, delay)
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
SELECT id, 1 / CASE WHEN (SELECT count(*) FROM changed_steps) = (
    SELECT count(*)
    FROM step_changes
    WHERE run IN (SELECT id FROM applied)
)
    AND (SELECT count(*) FROM deleted) = (SELECT count(*) FROM matched)
    AND (SELECT count(*) FROM matched WHERE lease = token) = (
        SELECT count(*)
        FROM removed_intents
        WHERE token IS NOT NULL AND run IN (SELECT id FROM applied)
    ) THEN 1 ELSE 0 END AS whole
FROM applied
WHERE EXISTS (SELECT 1 FROM squidmesh_epoch_1) IS NOT NULL;
