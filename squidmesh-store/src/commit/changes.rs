//! The changes that commits make to existing rows, as SQL that serves both databases.
//!
//! Names that begin with `new_` are columns of the lists in [`rows`](crate::rows).

/// Updates a run.
pub(crate) const CHANGE_RUN: &str = "UPDATE squidmesh_runs SET status = new_status, current_step = new_step, \
    last_error = new_error, fingerprint = new_version, revision = new_revision, token = new_token, \
    updated_at = new_updated_at, finished_at = new_finished_at, failure = new_failure, \
    signals = coalesce(new_signals, signals)";

/// Updates a step run.
pub(crate) const CHANGE_STEP_RUN: &str = "UPDATE squidmesh_step_runs SET status = new_status, output = new_output, \
    last_error = new_error, attempt = new_attempt, failures = new_failures, crashes = new_crashes, lease = new_lease, \
    sequence = new_sequence, successors_at = new_successors_at, resume = new_resume, manual = new_manual, \
    routes = new_routes, taken = new_taken, compensation = new_compensation, started_at = new_started_at, \
    attempt_started_at = new_attempt_started_at, finished_at = new_finished_at, \
    input_snapshot = coalesce(new_input, input_snapshot)";

/// The values for each row of [`NEW_INTENT`](crate::rows::NEW_INTENT); the current time follows.
pub(crate) const PUT_INTENT: &str = "run, name, new_queue, new_priority, new_version, new_token, delay + ";

/// The action when an intent replaces another.
pub(crate) const REPLACE_INTENT: &str = "(run_id, step) DO UPDATE SET queue = excluded.queue, \
    priority = excluded.priority, fingerprint = excluded.fingerprint, lease = excluded.lease, \
    available_at = excluded.available_at";

/// Updates the intents that another version takes over.
pub(crate) const REPIN_INTENT: &str =
    "UPDATE squidmesh_intents SET queue = new_queue, priority = new_priority, fingerprint = new_version";
