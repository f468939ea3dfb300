//! The list of cases, and the macro that makes tests of them.

/// Creates a `#[test]` for every case of the store conformance suite, in a module with the given name.
///
/// `runtime` is a function that runs a future to completion, such as one that calls `block_on` of an async runtime;
/// `fixture` is an expression that creates a [`StoreFixture`](crate::testing::store_suite::StoreFixture), once for
/// each case.
///
/// Both are evaluated on the thread of the case. A case that has not ended within
/// [`CASE_TIMEOUT`](crate::testing::CASE_TIMEOUT) fails with a message that says so.
///
/// ```
/// use std::sync::Arc;
///
/// use squidmesh_core::port::Store;
/// use squidmesh_core::testing::store_suite::StoreFixture;
/// use squidmesh_core::testing::{ManualClock, MemoryStore, block_on};
///
/// struct Memory;
///
/// #[async_trait::async_trait]
/// impl StoreFixture for Memory {
///     async fn fresh(&self) -> (Arc<dyn Store>, Arc<ManualClock>) {
///         let clock = Arc::new(ManualClock::default());
///         (Arc::new(MemoryStore::new(clock.clone())), clock)
///     }
/// }
///
/// squidmesh_core::store_conformance! { mod memory, runtime: block_on, fixture: Memory }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! store_conformance {
    ($(#[$meta:meta])* mod $name:ident, runtime: $runtime:expr, fixture: $fixture:expr $(,)?) => {
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "the expressions may need none of it")]
            use super::*;
            $crate::__store_cases! { ($runtime) ($fixture) }
        }
    };
}

/// Every case of the suite, by module. A case is written in its module alone: `cargo xtask fix` writes this list, and
/// `cargo xtask lint` rejects one that lacks a case.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_cases {
    ($runtime:tt $fixture:tt) => {
        $crate::__suite_tests! { store_suite $runtime $fixture
            // Written by `cargo xtask fix`, from the functions:
            batch:
                an_empty_batch_has_no_answers
                a_batch_of_a_thousand_starts_lands
                answers_come_in_the_order_of_the_batch
                a_conflict_leaves_the_rest_of_its_batch_alone
                a_fenced_commit_leaves_the_rest_of_its_batch_alone
                an_unwritable_commit_leaves_the_rest_of_its_batch_alone
                of_two_starts_with_one_key_in_a_batch_the_first_wins
                of_two_starts_of_one_run_in_a_batch_the_first_wins
                of_two_commits_on_one_revision_in_a_batch_the_first_wins
                successive_commits_of_one_run_land_in_one_batch
                what_follows_a_refused_commit_of_its_run_is_refused
                a_commit_may_be_fenced_by_a_lease_of_its_batch
                a_hundred_successive_commits_of_one_run_land_in_one_batch;
            claim:
                a_due_intent_is_claimed_with_its_run
                a_claim_carries_the_run_as_it_is_now
                what_was_claimed_is_held_under_the_token_of_its_claim
                an_empty_store_has_nothing_to_claim
                what_is_claimed_is_not_given_to_another
                claiming_changes_nothing_of_the_run
                no_more_than_the_limit_is_claimed
                higher_priorities_are_claimed_first
                what_has_been_due_longest_is_claimed_first
                only_the_queues_asked_for_are_claimed
                only_the_versions_asked_for_are_claimed
                unwanted_work_does_not_stand_in_the_way
                several_intents_of_one_run_are_claimed_together
                work_of_cached_runs_is_claimed_too
                a_compensation_is_claimed_like_a_step
                claiming_one_takes_just_that_one
                claiming_one_that_is_not_there_is_absent
                several_keys_are_claimed_and_answered_in_order
                keys_of_cached_runs_are_claimed_too
                an_intent_that_is_named_twice_is_claimed_once
                five_hundred_are_claimed_by_their_keys
                of_eight_who_claim_the_same_keys_each_is_given_to_one
                of_eight_who_claim_the_same_intent_one_gets_it
                eight_claimers_share_the_work_without_a_double_claim
                claimers_beside_committers_find_everything_once
                ten_thousand_intents_are_claimed_in_order_in_batches;
            commit:
                a_started_run_reads_back_as_it_was_written
                a_run_that_was_never_started_is_none
                starting_a_run_that_exists_is_a_conflict
                the_same_commit_twice_is_a_conflict
                changing_a_run_that_does_not_exist_is_a_conflict
                a_commit_on_an_old_revision_conflicts_and_changes_nothing
                a_commit_on_a_revision_not_yet_reached_is_a_conflict
                of_concurrent_commits_on_one_revision_exactly_one_lands
                of_concurrent_starts_of_one_run_exactly_one_lands
                everything_that_may_change_of_a_run_is_changed
                every_status_of_a_run_reads_back
                a_commit_names_itself_by_its_token
                a_step_run_that_is_created_twice_fails_its_whole_commit
                an_attempt_that_is_created_twice_fails_its_whole_commit
                a_failed_start_leaves_no_trace
                a_commit_writes_all_its_parts_together
                a_commit_of_a_thousand_steps_lands_whole
                the_revision_counts_every_commit;
            definition:
                a_definition_that_no_run_uses_is_none
                a_definition_reads_back_as_it_was
                a_definition_may_be_stored_again
                versions_of_a_workflow_are_kept_side_by_side
                a_commit_that_does_not_land_stores_no_definition
                a_run_may_be_started_on_a_definition_that_is_stored_already
                a_definition_stored_by_many_at_once_is_stored
                a_definition_of_a_thousand_steps_reads_back;
            due:
                a_delayed_intent_is_not_claimed_before_it_is_due
                one_that_is_not_due_is_not_claimed_alone
                a_delay_counts_from_its_commit
                a_delay_of_years_is_kept
                the_next_due_time_is_that_of_the_earliest
                the_next_due_time_of_nothing_is_none
                the_next_due_time_counts_leases_that_run_out
                the_next_due_time_is_for_the_queues_and_versions_asked_for
                one_claim_separates_due_work_from_other_work
                a_due_time_in_the_future_is_shown
                nothing_is_due_in_an_empty_store
                what_is_due_is_looked_at_in_the_order_of_claiming
                what_is_due_is_looked_at_page_by_page
                looking_at_what_is_due_claims_nothing
                what_is_held_is_not_due_until_its_lease_has_run_out
                only_what_fell_due_since_is_looked_at
                only_due_work_of_the_given_queues_and_versions_is_listed
                a_listing_returns_the_time_and_the_next_due_time;
            exact:
                an_intent_is_stored_with_its_due_time
                an_intent_is_claimed_from_its_due_time_on
                an_intent_is_claimed_by_its_key_from_its_due_time_on
                an_intent_is_listed_from_its_due_time_on
                an_intent_is_stranded_from_its_due_time_on
                an_intent_is_stranded_after_exactly_the_given_time
                a_lease_lasts_as_long_as_it_was_asked_for
                a_lease_on_a_key_lasts_as_long_as_it_was_asked_for
                a_lease_of_a_commit_lasts_as_long_as_it_says
                an_extended_lease_lasts_as_long_as_it_was_extended_for
                a_released_intent_is_due_after_exactly_its_delay
                a_claim_says_exactly_when_the_next_is_due
                a_look_says_exactly_when_the_next_is_due
                work_due_since_is_exact_to_the_millisecond
                a_run_is_deleted_when_it_ended_exactly_as_long_ago_as_asked;
            fidelity:
                text_of_every_script_reads_back
                numbers_read_back_exactly
                the_shape_of_json_reads_back
                an_empty_object_reads_back
                a_mebibyte_reads_back
                a_copy_of_an_input_takes_the_place_of_the_reference
                every_field_of_a_step_run_reads_back
                every_status_of_a_step_run_reads_back
                a_failure_reads_back_with_its_details
                a_null_that_was_given_is_not_read_as_nothing
                times_read_back_to_the_millisecond
                names_of_any_letters_read_back;
            history:
                a_run_that_was_never_started_has_an_empty_history
                attempts_come_by_step_and_number
                attempts_of_every_status_read_back
                attempts_are_numbered_without_gaps_under_concurrency
                the_audit_trail_comes_in_order
                every_kind_of_audit_entry_reads_back
                a_history_is_of_one_run_alone;
            intent:
                adding_an_intent_twice_keeps_the_first
                adding_an_intent_that_is_held_leaves_it_held
                adding_an_intent_that_is_delayed_leaves_it_delayed
                a_replaced_intent_is_as_if_it_were_new
                replacing_a_held_intent_takes_it_out_of_its_holders_hands
                a_holder_may_replace_its_own_intent_for_the_next_attempt
                replacing_what_is_not_there_adds_it
                a_removed_intent_is_gone
                removing_what_is_not_there_is_harmless
                an_intent_may_be_added_again_after_it_was_removed
                a_run_has_an_intent_for_each_of_its_targets
                an_intent_committed_under_a_lease_is_in_its_holders_hands
                a_run_may_be_started_with_its_first_step_begun
                an_intent_committed_under_a_lease_survives_its_holder
                a_refused_commit_adds_and_removes_nothing
                intents_show_their_queue_priority_and_holder
                a_repinned_intent_is_for_the_other_version_and_queue
                a_repinned_intent_keeps_its_due_time
                a_repinned_intent_keeps_its_holder
                a_repinned_intent_is_repinned_while_it_is_extended
                repinning_what_is_not_there_is_harmless
                a_run_takes_its_intents_along_to_another_version;
            keys:
                a_second_start_under_a_key_returns_the_first
                a_run_is_found_by_its_key
                a_key_counts_within_its_workflow
                a_key_counts_across_the_versions_of_its_workflow
                runs_without_a_key_do_not_meet
                a_run_keeps_its_key_when_it_changes
                a_key_stays_taken_after_its_run_has_ended
                of_concurrent_starts_under_one_key_exactly_one_lands
                keys_may_be_long_and_of_any_script;
            lease:
                a_lease_that_ran_out_is_claimed_by_another
                a_lease_that_ran_out_does_not_wait_behind_a_backlog
                no_backlog_hides_when_a_lease_runs_out
                one_whose_lease_ran_out_can_be_claimed_alone
                a_commit_under_a_held_lease_lands
                a_lease_holds_while_it_is_extended
                a_lease_is_given_back_while_it_is_extended
                a_stale_fence_is_refused_and_changes_nothing
                a_fence_on_an_intent_that_is_done_is_refused
                a_fence_on_an_intent_that_nobody_claimed_is_refused
                a_fence_proves_one_intent_only
                every_fence_of_a_commit_must_hold
                a_lease_that_ran_out_but_was_not_taken_over_still_counts
                an_expired_lease_that_nobody_took_over_is_extended
                an_outcome_and_a_takeover_never_both_succeed
                an_extended_lease_lasts_longer
                a_lost_lease_is_not_extended
                extending_answers_for_each_lease_in_order
                a_released_intent_is_due_at_once
                a_released_intent_is_due_after_its_delay
                a_released_lease_proves_nothing
                releasing_what_is_not_held_changes_nothing
                many_are_released_at_once;
            list:
                runs_are_listed_newest_first
                an_empty_store_lists_an_empty_page
                a_listed_run_is_its_summary
                a_run_is_listed_while_others_start
                runs_are_listed_by_workflow
                runs_are_listed_by_status
                a_run_is_listed_under_its_latest_status
                runs_are_listed_by_the_time_they_were_started
                filters_are_joined
                pages_show_every_run_once
                the_last_page_says_that_it_is_the_last
                runs_started_meanwhile_do_not_disturb_the_pages
                a_page_has_fifty_runs_by_default_and_at_most_a_thousand;
            load:
                a_run_is_read_as_it_was_committed_last
                a_reader_sees_whole_commits_only
                who_loses_a_race_sees_what_the_winner_wrote
                step_runs_belong_to_their_run_alone
                a_run_without_step_runs_is_read
                claims_of_many_runs_carry_each_its_own_state;
            prune:
                an_ended_run_is_deleted_with_everything_that_is_kept_of_it
                only_old_enough_runs_in_a_given_status_are_deleted
                a_run_for_which_something_is_left_to_be_delivered_is_kept
                what_a_live_run_came_from_is_kept
                runs_that_continue_a_kept_run_are_kept
                a_dry_run_counts_and_deletes_nothing
                a_batch_is_bounded_and_the_next_continues_behind_it
                of_several_who_delete_at_once_each_run_is_counted_by_one;
            signals:
                the_signals_of_a_run_read_back
                a_commit_without_signals_leaves_them_as_they_are
                a_run_may_be_started_with_signals
                a_refused_commit_changes_no_signal;
            stranded:
                an_empty_store_has_nothing_stranded
                what_a_known_version_left_is_not_stranded
                what_has_not_been_due_long_enough_is_not_stranded
                held_work_is_not_stranded_until_its_lease_expires
                every_queue_and_priority_is_looked_through
                a_run_is_stranded_once_however_many_intents_it_has
                looking_for_stranded_runs_claims_nothing
                stranded_runs_come_page_by_page
                one_run_is_asked_about_alone;
            takeover:
                nobody_claims_what_it_executes_itself
                expired_leases_can_be_left_alone
                unheld_work_is_claimed_beside_work_left_alone
                extending_returns_what_the_run_has_become
                extending_nothing_changes_nothing;
            transact:
                what_a_transaction_records_is_stored_when_it_commits
                nothing_of_a_transaction_is_seen_before_it_ends
                a_transaction_sees_what_it_has_written
                a_transaction_that_is_rolled_back_leaves_no_trace
                work_that_is_rolled_back_is_not_recorded
                a_transaction_may_continue_after_a_conflict
                a_stale_fence_is_refused_within_a_transaction
                of_concurrent_transactions_on_one_revision_exactly_one_lands
                transactions_of_many_runs_all_land
                a_transaction_whose_caller_goes_away_is_whole_or_nothing
                a_body_that_panics_leaves_no_trace;
            triggers:
                nothing_is_kept_of_a_trigger_that_nobody_wrote
                a_record_reads_back_as_it_was_written
                a_record_is_written_over_the_revision_before_it_alone
                the_same_record_is_written_once
                of_eight_who_write_the_same_revision_one_succeeds
                records_are_read_for_the_workflows_asked_for
                records_come_with_the_stores_time;
        }
    };
}
