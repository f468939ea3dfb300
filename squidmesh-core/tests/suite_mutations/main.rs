//! The store conformance suite is sharp: a store with a defect fails a case made to find it.
#![cfg(feature = "testing")]

mod commits;
mod defect;
mod defective;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use squidmesh_core::port::Store;
use squidmesh_core::testing::store_suite::{self, StoreFixture};
use squidmesh_core::testing::{InterceptedStore, ManualClock, block_on, run_case};

use self::defect::Defect;
use self::defective::Defective;

#[async_trait]
impl StoreFixture for Defect {
    async fn fresh(&self) -> (Arc<dyn Store>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        let defective = Defective::new(*self, clock.clone());
        (Arc::new(InterceptedStore::new(defective.store.clone(), defective)), clock)
    }
}

/// The time limit of a case in memory.
const LIMIT: Duration = Duration::from_secs(60);

type Case = for<'a> fn(&'a dyn StoreFixture) -> BoxFuture<'a, ()>;

macro_rules! cases {
    ($($defect:ident is found by $module:ident::$case:ident,)*) => {
        [$((Defect::$defect, stringify!($case), (|fixture| Box::pin(store_suite::$module::$case(fixture))) as Case)),*]
    };
}

#[test]
fn every_defect_is_found_by_the_case_that_looks_for_it() {
    let cases = cases![
        FenceIgnored is found by lease::a_stale_fence_is_refused_and_changes_nothing,
        OneFenceIsEnough is found by lease::every_fence_of_a_commit_must_hold,
        FenceIgnored is found by batch::a_fenced_commit_leaves_the_rest_of_its_batch_alone,
        RevisionIgnored is found by commit::a_commit_on_an_old_revision_conflicts_and_changes_nothing,
        RevisionIgnored is found by load::who_loses_a_race_sees_what_the_winner_wrote,
        AddReplaces is found by intent::adding_an_intent_twice_keeps_the_first,
        AddReplaces is found by intent::adding_an_intent_that_is_held_leaves_it_held,
        BatchIsAllOrNothing is found by batch::a_conflict_leaves_the_rest_of_its_batch_alone,
        BatchIsAllOrNothing is found by batch::an_unwritable_commit_leaves_the_rest_of_its_batch_alone,
        BatchStopsAtTheFirstRefusal is found by batch::answers_come_in_the_order_of_the_batch,
        LimitIgnored is found by claim::no_more_than_the_limit_is_claimed,
        QueuesIgnored is found by claim::only_the_queues_asked_for_are_claimed,
        OrderReversed is found by claim::higher_priorities_are_claimed_first,
        OrderReversed is found by claim::what_has_been_due_longest_is_claimed_first,
        OrderReversed is found by claim::ten_thousand_intents_are_claimed_in_order_in_batches,
        NextDueTimeMissing is found by due::the_next_due_time_is_that_of_the_earliest,
        NextDueTimeMissing is found by due::the_next_due_time_counts_leases_that_run_out,
        DelayIgnored is found by due::a_delayed_intent_is_not_claimed_before_it_is_due,
        DelayIgnored is found by due::a_delay_counts_from_its_commit,
        LostLeaseExtended is found by lease::a_lost_lease_is_not_extended,
        LostLeaseExtended is found by lease::extending_answers_for_each_lease_in_order,
        ReleaseIgnored is found by lease::a_released_intent_is_due_at_once,
        TriggerRevisionIgnored is found by triggers::a_record_is_written_over_the_revision_before_it_alone,
        TriggerRevisionIgnored is found by triggers::of_eight_who_write_the_same_revision_one_succeeds,
        KeyForgotten is found by keys::a_second_start_under_a_key_returns_the_first,
        KeyForgotten is found by keys::of_concurrent_starts_under_one_key_exactly_one_lands,
        DefinitionForgotten is found by definition::a_definition_reads_back_as_it_was,
        StepsTorn is found by load::a_reader_sees_whole_commits_only,
        AuditReversed is found by history::the_audit_trail_comes_in_order,
        AttemptsUnsorted is found by history::attempts_come_by_step_and_number,
        ListOldestFirst is found by list::runs_are_listed_newest_first,
        KnownVersionsStranded is found by stranded::what_a_known_version_left_is_not_stranded,
        PatienceIgnored is found by stranded::what_has_not_been_due_long_enough_is_not_stranded,
        RepinningReplaces is found by intent::a_repinned_intent_keeps_its_due_time,
        RepinningReplaces is found by intent::a_repinned_intent_keeps_its_holder,
        RepinningReplaces is found by intent::repinning_what_is_not_there_is_harmless,
        PagesRepeat is found by due::what_is_due_is_looked_at_page_by_page,
        DueUnordered is found by due::what_is_due_is_looked_at_in_the_order_of_claiming,
        OwnLeasesClaimed is found by takeover::nobody_claims_what_it_executes_itself,
        OwnKeysClaimed is found by takeover::nobody_claims_what_it_executes_itself,
        ExpiredLeasesTaken is found by takeover::expired_leases_can_be_left_alone,
        OwnKeysClaimed is found by takeover::expired_leases_can_be_left_alone,
        RunStatusMissing is found by takeover::extending_returns_what_the_run_has_become,
        ListNeverEnds is found by list::the_last_page_says_that_it_is_the_last,
        DueEarly is found by exact::an_intent_is_stored_with_its_due_time,
        DueLate is found by exact::an_intent_is_stored_with_its_due_time,
        DueTimesTruncated is found by exact::an_intent_is_stored_with_its_due_time,
        CommittedLeaseEndsEarly is found by exact::a_lease_of_a_commit_lasts_as_long_as_it_says,
        CommittedLeaseForgotten is found by intent::an_intent_committed_under_a_lease_is_in_its_holders_hands,
        RepinningIgnored is found by intent::a_repinned_intent_is_for_the_other_version_and_queue,
        ReplaceAdds is found by intent::a_replaced_intent_is_as_if_it_were_new,
        RemoveIgnored is found by intent::a_removed_intent_is_gone,
        PriorityForgotten is found by intent::intents_show_their_queue_priority_and_holder,
        QueueForgotten is found by claim::only_the_queues_asked_for_are_claimed,
        AuditForgotten is found by history::the_audit_trail_comes_in_order,
        AttemptsForgotten is found by history::attempts_come_by_step_and_number,
        TokenForgotten is found by commit::a_commit_names_itself_by_its_token,
        SameCommitTwice is found by commit::the_same_commit_twice_is_a_conflict,
        ConflictIsFenced is found by commit::a_commit_on_an_old_revision_conflicts_and_changes_nothing,
        FencedIsConflict is found by lease::a_stale_fence_is_refused_and_changes_nothing,
        KeyTakenIsConflict is found by keys::a_second_start_under_a_key_returns_the_first,
        KeyTakenNamesTheNewRun is found by keys::a_second_start_under_a_key_returns_the_first,
        AnswersReversed is found by batch::answers_come_in_the_order_of_the_batch,
        StaleLoad is found by load::a_run_is_read_as_it_was_committed_last,
        KeysOfOtherWorkflows is found by keys::a_run_is_found_by_its_key,
        KeysWithoutCase is found by keys::a_run_is_found_by_its_key,
        AnyDefinition is found by definition::a_definition_that_no_run_uses_is_none,
        HoldersHidden is found by claim::what_was_claimed_is_held_under_the_token_of_its_claim,
        ListRepeats is found by list::pages_show_every_run_once,
        ListLimitIgnored is found by list::pages_show_every_run_once,
        StatusesIgnored is found by list::runs_are_listed_by_status,
        FirstStatusOnly is found by list::runs_are_listed_by_status,
        WorkflowIgnored is found by list::runs_are_listed_by_workflow,
        FromExclusive is found by list::runs_are_listed_by_the_time_they_were_started,
        BeforeInclusive is found by list::runs_are_listed_by_the_time_they_were_started,
        VersionsIgnored is found by claim::only_the_versions_asked_for_are_claimed,
        ExpiredLeasesLast is found by lease::a_lease_that_ran_out_does_not_wait_behind_a_backlog,
        NextDueTimeRounded is found by exact::a_claim_says_exactly_when_the_next_is_due,
        ClaimEarly is found by exact::an_intent_is_claimed_from_its_due_time_on,
        ClaimEarly is found by exact::a_lease_of_a_commit_lasts_as_long_as_it_says,
        LeaseEndsEarly is found by exact::a_lease_lasts_as_long_as_it_was_asked_for,
        LeaseFixed is found by exact::a_lease_lasts_as_long_as_it_was_asked_for,
        ClaimNotHeld is found by claim::what_was_claimed_is_held_under_the_token_of_its_claim,
        ClaimHeldUnderAnotherToken is found by claim::what_was_claimed_is_held_under_the_token_of_its_claim,
        StaleClaim is found by claim::a_claim_carries_the_run_as_it_is_now,
        ClaimWithoutRun is found by claim::a_due_intent_is_claimed_with_its_run,
        KeysClaimedEarly is found by exact::an_intent_is_claimed_by_its_key_from_its_due_time_on,
        KeyLeaseEndsEarly is found by exact::a_lease_on_a_key_lasts_as_long_as_it_was_asked_for,
        ClaimKeysIgnoreLease is found by exact::a_lease_on_a_key_lasts_as_long_as_it_was_asked_for,
        KeysNotHeld is found by claim::what_was_claimed_is_held_under_the_token_of_its_claim,
        KeysHeldUnderAnotherToken is found by claim::what_was_claimed_is_held_under_the_token_of_its_claim,
        StaleKeyClaim is found by claim::a_claim_carries_the_run_as_it_is_now,
        KeysAnsweredInReverse is found by claim::several_keys_are_claimed_and_answered_in_order,
        KeyGivenTwiceClaimedTwice is found by claim::an_intent_that_is_named_twice_is_claimed_once,
        NotDueIsHeld is found by due::one_that_is_not_due_is_not_claimed_alone,
        AbsentIsHeld is found by claim::claiming_one_that_is_not_there_is_absent,
        ListedEarly is found by exact::an_intent_is_listed_from_its_due_time_on,
        ListedNextDueTimeRounded is found by exact::a_look_says_exactly_when_the_next_is_due,
        SinceInclusive is found by exact::work_due_since_is_exact_to_the_millisecond,
        SinceIgnored is found by due::only_what_fell_due_since_is_looked_at,
        NoMorePages is found by due::what_is_due_is_looked_at_page_by_page,
        LeaseExpiredMissing is found by due::what_is_held_is_not_due_until_its_lease_has_run_out,
        LookIsLate is found by exact::a_look_says_exactly_when_the_next_is_due,
        LookClaims is found by due::looking_at_what_is_due_claims_nothing,
        RunStatusStale is found by takeover::extending_returns_what_the_run_has_become,
        ExtendIgnored is found by lease::an_extended_lease_lasts_longer,
        ExtendedLeaseEndsEarly is found by exact::an_extended_lease_lasts_as_long_as_it_was_extended_for,
        ExpiredLeaseLost is found by lease::an_expired_lease_that_nobody_took_over_is_extended,
        ExtendReversed is found by lease::extending_answers_for_each_lease_in_order,
        ReleaseDelayIgnored is found by lease::a_released_intent_is_due_after_its_delay,
        ReleasedEarly is found by exact::a_released_intent_is_due_after_exactly_its_delay,
        AnyLeaseReleased is found by lease::releasing_what_is_not_held_changes_nothing,
        SameRecordTwice is found by triggers::the_same_record_is_written_once,
        TriggerNotWritten is found by triggers::a_record_reads_back_as_it_was_written,
        TriggerNotesForgotten is found by triggers::a_record_reads_back_as_it_was_written,
        TriggersOfOneWorkflow is found by triggers::records_are_read_for_the_workflows_asked_for,
        TriggerTimeOff is found by triggers::records_come_with_the_stores_time,
        StrandedEarly is found by exact::an_intent_is_stranded_from_its_due_time_on,
        StrandedEarly is found by exact::an_intent_is_stranded_after_exactly_the_given_time,
        StrandedReversed is found by stranded::every_queue_and_priority_is_looked_through,
        StrandedLimitIgnored is found by stranded::stranded_runs_come_page_by_page,
        StrandedRepeat is found by stranded::stranded_runs_come_page_by_page,
        OneRunIgnored is found by stranded::one_run_is_asked_about_alone,
        PruneEarly is found by prune::only_old_enough_runs_in_a_given_status_are_deleted,
        PruneAMillisecondEarly is found by exact::a_run_is_deleted_when_it_ended_exactly_as_long_ago_as_asked,
        PruneStatusesIgnored is found by prune::only_old_enough_runs_in_a_given_status_are_deleted,
        DryRunDeletes is found by prune::a_dry_run_counts_and_deletes_nothing,
        PruneLimitIgnored is found by prune::a_batch_is_bounded_and_the_next_continues_behind_it,
        PruneRepeats is found by prune::a_batch_is_bounded_and_the_next_continues_behind_it,
    ];
    let (mut sound, mut wrong) = (BTreeSet::new(), Vec::new());
    for (defect, name, case) in cases {
        if sound.insert(name) && outcome(Defect::None, case) != Outcome::Passes {
            wrong.push(format!("{name} fails without a defect"));
        }
        match outcome(defect, case) {
            Outcome::Fails => {}
            Outcome::Passes => wrong.push(format!("{name} does not find {defect:?}")),
            Outcome::Hangs => wrong.push(format!("{name} hangs over {defect:?}")),
        }
    }
    for defect in Defect::ALL {
        if *defect != Defect::None && !cases.iter().any(|(found, ..)| found == defect) {
            wrong.push(format!("no case looks for {defect:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[derive(PartialEq)]
enum Outcome {
    Passes,
    Fails,
    /// The case fails as well, but only by its time limit. A case that finds a defect must report it at once.
    Hangs,
}

fn outcome(defect: Defect, case: Case) -> Outcome {
    let begun = Instant::now();
    match catch_unwind(AssertUnwindSafe(|| run_case(LIMIT, move || block_on(case(&defect))))) {
        Ok(()) => Outcome::Passes,
        Err(_) if begun.elapsed() < LIMIT => Outcome::Fails,
        Err(_) => Outcome::Hangs,
    }
}
