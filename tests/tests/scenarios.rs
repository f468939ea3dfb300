//! Every scenario, on every store.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    reason = "these are tests: what cannot go on has failed, and names are documentation"
)]

squidmesh_tests::scenarios! {
    start:
        a_run_goes_through_its_steps_in_order,
        a_started_run_and_its_dispatch_are_stored_before_any_work,
        a_trigger_is_named_where_there_are_several,
        a_payload_that_does_not_fit_starts_nothing,
        defaults_are_resolved_when_the_run_starts,
        a_typed_payload_is_checked_against_its_type,
        a_key_starts_one_run,
        many_starts_with_one_key_at_once_start_one_run,
        an_unknown_run_is_not_found;
    data:
        outputs_go_over_the_payload_and_over_earlier_outputs,
        an_input_mapping_picks_and_renames,
        dependencies_are_merged_in_the_order_of_declaration,
        an_output_that_is_no_object_needs_a_key,
        an_output_beyond_the_limits_is_a_recorded_failure,
        an_input_that_does_not_fit_the_handler_is_terminal,
        what_is_stored_reads_back_exactly;
    retry:
        a_failed_step_is_retried_until_it_succeeds,
        used_up_attempts_fail_the_run_with_the_last_error,
        a_terminal_failure_is_not_retried,
        an_error_may_say_when_to_try_again,
        a_panic_is_a_failed_attempt,
        a_panic_before_the_first_await_is_a_failed_attempt_too,
        a_step_that_takes_too_long_is_told_so_and_tried_again,
        a_failure_beyond_the_limits_is_recorded_all_the_same;
    route:
        an_error_transition_is_followed_when_the_attempts_are_used_up,
        an_error_may_lead_to_completion,
        a_step_that_leads_nowhere_fails_the_run_and_stays_completed;
    join:
        a_diamond_runs_both_sides_and_joins_once,
        all_roots_start_at_once,
        a_retrying_sibling_does_not_stop_the_others,
        a_terminal_failure_fails_the_run_and_the_join_never_starts,
        a_failed_run_starts_none_of_its_waiting_siblings,
        completed_steps_of_a_failed_run_are_compensated_in_reverse;
    timing:
        a_wait_holds_the_run_for_its_time,
        a_wait_that_begins_a_workflow_is_kept_too,
        a_wait_outlives_the_process_that_began_it,
        a_log_step_passes,
        a_step_may_put_its_successor_off,
        work_that_is_due_overtakes_work_that_waits;
    dispatch:
        targets_are_dispatched_once_and_in_order,
        scheduling_twice_dispatches_once,
        scheduling_at_once_from_many_places_dispatches_once,
        an_unknown_step_fails_the_whole_call,
        no_targets_dispatch_nothing,
        a_delayed_dispatch_is_delivered_later,
        a_transition_run_has_its_current_step_dispatched,
        runs_that_schedule_no_work_are_refused,
        a_refusal_rolls_everything_back,
        the_callers_unit_of_work_carries_a_dispatch,
        a_start_whose_first_step_is_refused_leaves_no_run,
        a_refused_successor_fails_the_run_and_keeps_the_output;
    executor:
        a_run_goes_on_whatever_the_executors_mood,
        work_that_was_never_announced_is_found,
        work_that_another_process_started_is_found,
        a_shutdown_loses_nothing_and_burns_no_attempt;
    deliver:
        four_deliveries_at_once_are_one_execution,
        a_late_delivery_is_a_no_op_with_a_reason,
        an_early_delivery_waits_for_its_time,
        a_delivery_for_an_unknown_run_is_a_no_op,
        a_delivery_without_an_executor_carries_a_run_all_the_way,
        a_malformed_payload_touches_nothing;
    cancel:
        a_pending_run_is_cancelled_at_once,
        a_running_step_is_awaited_and_nothing_follows_it,
        a_run_that_waits_to_retry_is_cancelled_at_once,
        a_waiting_run_is_cancelled_at_once,
        a_paused_run_is_cancelled_and_its_attempt_closed,
        a_run_that_has_ended_cannot_be_cancelled,
        what_an_actor_gives_has_limits,
        with_siblings_running_the_last_of_them_ends_the_run,
        a_cancellation_outlasts_a_worker_that_died;
    manual:
        an_approval_waits_and_takes_the_way_of_the_verdict,
        a_pause_goes_on_when_somebody_lets_it,
        a_decision_needs_an_actor_and_a_paused_run;
    events:
        a_run_tells_its_life_in_order,
        nothing_is_told_before_it_is_stored,
        a_sink_that_panics_harms_no_run,
        a_refused_command_tells_nothing,
        no_event_carries_what_a_run_was_given;
    inspect:
        an_inspection_shows_every_declared_step,
        a_process_without_the_code_can_look_and_cancel,
        runs_are_listed_newest_first_and_page_by_page;
    version:
        a_run_stays_on_the_version_that_it_was_started_with,
        a_version_that_is_not_here_is_left_for_a_process_that_has_it,
        the_same_version_cannot_be_registered_twice;
    lease:
        a_dead_workers_step_goes_on_elsewhere,
        a_step_that_kills_its_workers_is_poison,
        a_worker_that_lost_its_lease_cannot_record,
        a_slow_step_is_not_taken_away_while_its_worker_lives,
        a_worker_that_is_shut_down_gives_its_step_back;
    host:
        a_run_and_the_hosts_row_are_committed_together,
        a_run_and_the_hosts_row_vanish_together,
        several_commands_take_part_in_one_transaction,
        a_host_that_forgets_to_say_so_loses_only_the_events;
    transactional:
        the_handlers_writes_and_the_steps_completion_commit_together,
        the_successors_dispatch_is_in_the_same_commit,
        an_error_rolls_the_writes_back_and_the_failed_attempt_is_recorded,
        a_terminal_error_fails_the_run_and_leaves_no_row,
        a_panic_or_a_timeout_rolls_the_writes_back,
        an_output_that_cannot_be_kept_rolls_the_writes_back,
        a_worker_that_is_shut_down_rolls_back_and_burns_no_attempt,
        a_worker_that_lost_its_lease_rolls_its_writes_back,
        a_sibling_that_ends_meanwhile_is_no_conflict,
        a_transaction_that_was_spoiled_from_within_is_a_failed_attempt,
        a_store_without_the_right_transactions_is_refused_when_the_runtime_is_built;
    wide:
        hundreds_of_siblings_join_once;
}

/// A scenario that is written and not run proves nothing.
#[test]
fn every_scenario_is_run() {
    let listed = include_str!("scenarios.rs");
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scenario");
    let mut written = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for line in source.lines().filter_map(|line| line.strip_prefix("pub async fn ")) {
            let name = line.split('(').next().unwrap();
            let listed = listed.lines().any(|line| line.trim().trim_end_matches([',', ';']) == name);
            assert!(listed, "{name} is not in the list above");
            written += 1;
        }
    }
    assert!(written > 80, "only {written} scenarios were found");
}
