//! The store conformance suite is sharp: a store with a defect fails a case that is there to find it.
#![cfg(feature = "testing")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use squidmesh_core::testing::store_suite::{self, StoreFixture};
use squidmesh_core::testing::{ManualClock, MemoryStore, block_on};
use squidmesh_core::{
    ClaimRequest, Claims, Commit, CommitOutcome, Definition, Due, DueRequest, Fingerprint, History, Intent, IntentKey,
    IntentWrite, Lease, LeaseToken, RunFilter, RunId, RunPage, RunState, SingleClaim, Store, StoreError, StoreSession,
    StrandedRequest, TriggerRecord, TriggerRecords, WorkflowName,
};

/// One way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Defect {
    None,
    FenceIgnored,
    OneFenceIsEnough,
    RevisionIgnored,
    AddReplaces,
    BatchIsAllOrNothing,
    BatchStopsAtTheFirstRefusal,
    LimitIgnored,
    QueuesIgnored,
    OrderReversed,
    NextDueTimeUntold,
    DelayIgnored,
    LostLeaseExtended,
    ReleaseIgnored,
    TriggerRevisionIgnored,
    KeyForgotten,
    DefinitionForgotten,
    StepsTorn,
    AuditReversed,
    AttemptsUnsorted,
    ListOldestFirst,
    ListNeverEnds,
    KnownVersionsStranded,
    PatienceIgnored,
    RepinningReplaces,
    PagesRepeat,
    DueUnordered,
}

struct Defective {
    store: MemoryStore,
    defect: Defect,
}

impl Defective {
    fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    /// What the defect makes of a commit.
    async fn spoil(&self, commit: &mut Commit) {
        if self.has(Defect::FenceIgnored) {
            commit.fences.clear();
        }
        if self.has(Defect::OneFenceIsEnough) {
            commit.fences.truncate(1);
        }
        if self.has(Defect::KeyForgotten) {
            commit.run.idempotency_key = None;
        }
        if self.has(Defect::DefinitionForgotten) {
            commit.definition = None;
        }
        if self.has(Defect::RevisionIgnored)
            && let Ok(Some(state)) = self.store.load(commit.run.id).await
        {
            commit.expected = squidmesh_core::Expected::Revision(state.run.revision);
            commit.run.revision = state.run.revision + 1;
        }
        for write in &mut commit.intents {
            if self.has(Defect::RepinningReplaces)
                && let IntentWrite::Repin { key, fingerprint, queue, priority } = write.clone()
            {
                let (delay, lease) = (Duration::ZERO, None);
                *write = IntentWrite::Replace(Intent { key, fingerprint, queue, priority, delay, lease });
            }
            if let IntentWrite::Add(intent) = write {
                if self.has(Defect::DelayIgnored) && intent.lease.is_none() {
                    intent.delay = Duration::ZERO;
                }
                if self.has(Defect::AddReplaces) {
                    *write = IntentWrite::Replace(intent.clone());
                }
            }
        }
    }
}

type Answers = Vec<Result<CommitOutcome, StoreError>>;

#[async_trait]
impl StoreSession for Defective {
    async fn load(&self, id: RunId) -> Result<Option<RunState>, StoreError> {
        let mut state = self.store.load(id).await?;
        if self.has(Defect::StepsTorn) {
            for step in state.iter_mut().flat_map(|state| state.steps.values_mut().skip(1)) {
                step.attempt = 0;
            }
        }
        Ok(state)
    }

    async fn commit(&self, mut commits: Vec<Commit>) -> Result<Answers, StoreError> {
        for commit in &mut commits {
            self.spoil(commit).await;
        }
        if self.has(Defect::BatchIsAllOrNothing) {
            let transaction = self.store.begin();
            let answers = StoreSession::commit(&transaction, commits).await?;
            if answers.iter().all(|answer| matches!(answer, Ok(CommitOutcome::Committed))) {
                transaction.commit()?;
            }
            return Ok(answers);
        }
        if self.has(Defect::BatchStopsAtTheFirstRefusal) {
            let mut answers: Answers = Vec::new();
            for commit in commits {
                if answers.iter().all(|answer| matches!(answer, Ok(CommitOutcome::Committed))) {
                    answers.extend(self.store.commit(vec![commit]).await?);
                } else {
                    answers.push(Ok(CommitOutcome::Conflict));
                }
            }
            return Ok(answers);
        }
        self.store.commit(commits).await
    }

    async fn find_by_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        self.store.find_by_key(workflow, key).await
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        self.store.definition(fingerprint).await
    }

    async fn history(&self, id: RunId) -> Result<History, StoreError> {
        let mut history = self.store.history(id).await?;
        if self.has(Defect::AuditReversed) {
            history.audit.reverse();
        }
        if self.has(Defect::AttemptsUnsorted) {
            history.attempts.sort_by_key(|attempt| attempt.number.to_string());
        }
        Ok(history)
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        let mut page = self.store.list(filter).await?;
        if self.has(Defect::ListOldestFirst) {
            page.runs.reverse();
        }
        if self.has(Defect::ListNeverEnds) {
            page.next = page.runs.last().map(|run| run.id);
        }
        Ok(page)
    }
}

#[async_trait]
impl Store for Defective {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claims, StoreError> {
        let mut request = request.clone();
        if self.has(Defect::LimitIgnored) {
            request.limit = request.limit.saturating_mul(2);
        }
        if self.has(Defect::QueuesIgnored) {
            request.queues = self.store.intents().into_iter().map(|intent| intent.queue).collect();
        }
        let mut claims = self.store.claim(&request).await?;
        if self.has(Defect::OrderReversed) {
            claims.claims.reverse();
        }
        if self.has(Defect::NextDueTimeUntold) {
            claims.next_in = None;
        }
        Ok(claims)
    }

    async fn claim_keys(
        &self,
        keys: &[IntentKey],
        token: LeaseToken,
        lease: Duration,
    ) -> Result<Vec<SingleClaim>, StoreError> {
        self.store.claim_keys(keys, token, lease).await
    }

    async fn due(&self, request: &DueRequest) -> Result<Due, StoreError> {
        let mut request = request.clone();
        if self.has(Defect::PagesRepeat) {
            request.after = None;
        }
        let mut due = self.store.due(&request).await?;
        if self.has(Defect::DueUnordered) {
            due.intents.reverse();
        }
        Ok(due)
    }

    async fn extend(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        let held = self.store.extend(leases, lease).await?;
        Ok(if self.has(Defect::LostLeaseExtended) { vec![true; held.len()] } else { held })
    }

    async fn release(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
        if self.has(Defect::ReleaseIgnored) { Ok(()) } else { self.store.release(leases, delay).await }
    }

    async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
        self.store.triggers(workflows).await
    }

    async fn put_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError> {
        let blind = self.has(Defect::TriggerRevisionIgnored);
        let stored =
            if blind { self.store.triggers(std::slice::from_ref(&record.workflow)).await?.records } else { Vec::new() };
        let mut record = record.clone();
        if let Some(stored) = stored.iter().find(|stored| stored.trigger == record.trigger) {
            record.revision = stored.revision + 1;
        }
        self.store.put_trigger(&record).await
    }

    async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
        let mut request = request.clone();
        if self.has(Defect::KnownVersionsStranded) {
            request.known.clear();
        }
        if self.has(Defect::PatienceIgnored) {
            request.due_for = Duration::ZERO;
        }
        self.store.stranded(&request).await
    }

    async fn work_committed(&self) {
        self.store.work_committed().await;
    }
}

#[async_trait]
impl StoreFixture for Defect {
    async fn fresh(&self) -> (Arc<dyn Store>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (Arc::new(Defective { store: MemoryStore::new(clock.clone()), defect: *self }), clock)
    }
}

type Case = for<'a> fn(&'a dyn StoreFixture) -> BoxFuture<'a, ()>;

macro_rules! cases {
    ($($defect:ident is found by $module:ident::$case:ident,)*) => {
        [$((Defect::$defect, stringify!($case), (|fixture| Box::pin(store_suite::$module::$case(fixture))) as Case)),*]
    };
}

#[test]
fn every_defect_is_found_by_the_case_that_looks_for_it() {
    for (defect, name, case) in cases![
        FenceIgnored is found by lease::a_stale_fence_is_refused_and_changes_nothing,
        OneFenceIsEnough is found by lease::every_fence_of_a_commit_must_hold,
        FenceIgnored is found by batch::a_fenced_commit_leaves_the_rest_of_its_batch_alone,
        RevisionIgnored is found by commit::a_commit_on_an_old_revision_is_a_conflict_and_changes_nothing,
        RevisionIgnored is found by load::who_loses_a_race_sees_what_the_winner_wrote,
        AddReplaces is found by intent::adding_an_intent_twice_keeps_the_first,
        AddReplaces is found by intent::adding_an_intent_that_is_held_leaves_it_held,
        BatchIsAllOrNothing is found by batch::a_conflict_leaves_the_rest_of_its_batch_alone,
        BatchIsAllOrNothing is found by batch::a_commit_that_cannot_be_written_leaves_the_rest_of_its_batch_alone,
        BatchStopsAtTheFirstRefusal is found by batch::answers_come_in_the_order_of_the_batch,
        LimitIgnored is found by claim::no_more_than_the_limit_is_claimed,
        QueuesIgnored is found by claim::only_the_queues_asked_for_are_claimed,
        OrderReversed is found by claim::higher_priorities_are_claimed_first,
        OrderReversed is found by claim::what_has_been_due_longest_is_claimed_first,
        OrderReversed is found by claim::ten_thousand_intents_are_claimed_in_order_in_batches,
        NextDueTimeUntold is found by due::the_next_due_time_is_that_of_the_earliest,
        NextDueTimeUntold is found by due::the_next_due_time_counts_leases_that_run_out,
        DelayIgnored is found by due::a_delayed_intent_is_not_claimed_before_it_is_due,
        DelayIgnored is found by due::a_delay_counts_from_its_commit,
        LostLeaseExtended is found by lease::a_lost_lease_is_not_extended,
        LostLeaseExtended is found by lease::extending_answers_for_each_lease_in_order,
        ReleaseIgnored is found by lease::a_released_intent_is_due_at_once,
        TriggerRevisionIgnored is found by triggers::a_record_is_written_over_the_revision_before_it_alone,
        TriggerRevisionIgnored is found by triggers::of_eight_who_write_the_same_revision_one_succeeds,
        KeyForgotten is found by keys::a_second_start_under_a_key_is_told_of_the_first,
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
        ListNeverEnds is found by list::the_last_page_says_that_it_is_the_last,
    ] {
        let passes = |defect: Defect| catch_unwind(AssertUnwindSafe(|| block_on(case(&defect)))).is_ok();
        assert!(passes(Defect::None), "{name} fails without a defect");
        assert!(!passes(defect), "{name} does not find {defect:?}");
    }
}
