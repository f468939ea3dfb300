//! A store in memory with one defect in one of its methods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use squidmesh_core::definition::{Definition, Fingerprint, WorkflowName};
use squidmesh_core::dispatch::{IntentKey, Lease};
use squidmesh_core::port::{
    Claim, ClaimBatch, ClaimKeysRequest, ClaimRequest, ClaimResult, Clock, Commit, CommitOutcome, DuePage, DueRequest,
    LeaseState, PruneBatch, PruneRequest, RunHistory, RunPage, Store, StoreError, StoreSession, StrandedRequest,
    Takeover, TriggerRecords,
};
use squidmesh_core::run::RunSnapshot;
use squidmesh_core::schedule::TriggerRecord;
use squidmesh_core::testing::{ManualClock, MemoryStore, StoreInterceptor, sample};
use squidmesh_core::{RunFilter, RunId, RunStatus, Timestamp, hours, ms, secs};

use crate::defect::Defect;

type Answers = Vec<Result<CommitOutcome, StoreError>>;

pub(crate) struct Defective {
    pub(crate) store: MemoryStore,
    pub(crate) defect: Defect,
    clock: Arc<ManualClock>,
    /// Runs as they were when first read, for defects that return stale ones.
    seen: Mutex<BTreeMap<RunId, RunSnapshot>>,
}

impl Defective {
    pub(crate) fn new(defect: Defect, clock: Arc<ManualClock>) -> Self {
        Defective { store: MemoryStore::new(clock.clone()), defect, clock, seen: Mutex::default() }
    }

    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    /// Returns a run as it was when first read.
    pub(crate) fn first_seen(&self, state: RunSnapshot) -> RunSnapshot {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(state.run.id).or_insert(state).clone()
    }

    /// Executes `work` as if it were a millisecond later.
    async fn early<T>(&self, work: impl Future<Output = T>) -> T {
        let now = self.clock.now();
        self.clock.advance(ms(1));
        let result = work.await;
        self.clock.set(now);
        result
    }

    async fn spoil_claim(&self, claim: &mut Claim) -> Result<(), StoreError> {
        match self.defect {
            Defect::ClaimNotHeld | Defect::KeysNotHeld => {
                self.store.release_leases(std::slice::from_ref(&claim.lease), Duration::ZERO).await?;
            }
            Defect::StaleClaim | Defect::StaleKeyClaim => {
                if let Ok(Some(state)) = &mut claim.state {
                    *state = Arc::new(self.first_seen(RunSnapshot::clone(state)));
                }
            }
            Defect::ClaimWithoutRun => claim.state = Ok(None),
            _ => {}
        }
        Ok(())
    }

    /// Returns the lease on an intent, whichever worker holds it, and the time of its expiry.
    async fn lease_on(&self, key: &IntentKey) -> Result<Option<(Lease, Timestamp)>, StoreError> {
        let intents = self.store.history(key.run_id).await?.intents;
        let found = intents.into_iter().find(|intent| intent.key == *key);
        Ok(found.and_then(|intent| Some((Lease { key: intent.key, token: intent.lease? }, intent.available_at))))
    }
}

/// Rounds a span down to whole seconds.
fn rounded(span: Duration) -> Duration {
    secs(span.as_secs())
}

fn has_landed(answer: &Result<CommitOutcome, StoreError>) -> bool {
    matches!(answer, Ok(CommitOutcome::Committed))
}

#[async_trait]
impl StoreInterceptor for Defective {
    async fn load(&self, _: &dyn Store, id: RunId) -> Result<Option<RunSnapshot>, StoreError> {
        let mut state = self.store.load(id).await?;
        if self.has(Defect::StepsTorn) {
            for step in state.iter_mut().flat_map(|state| state.steps.values_mut().skip(1)) {
                step.attempt = 0;
            }
        }
        Ok(if self.has(Defect::StaleLoad) { state.map(|state| self.first_seen(state)) } else { state })
    }

    async fn commit(&self, _: &dyn Store, mut commits: Vec<Commit>) -> Result<Answers, StoreError> {
        for commit in &mut commits {
            self.spoil(commit).await;
        }
        if self.has(Defect::BatchIsAllOrNothing) {
            let transaction = self.store.begin();
            let answers = StoreSession::commit(&transaction, commits).await?;
            if answers.iter().all(has_landed) {
                transaction.commit()?;
            }
            return Ok(answers);
        }
        let mut answers: Answers = Vec::new();
        for commit in commits {
            if self.has(Defect::BatchStopsAtTheFirstRefusal) && !answers.iter().all(has_landed) {
                answers.push(Ok(CommitOutcome::Conflict));
                continue;
            }
            for answer in self.store.commit(vec![commit.clone()]).await? {
                answers.push(match answer {
                    Ok(outcome) => Ok(self.spoil_answer(&commit, outcome).await),
                    Err(error) => Err(error),
                });
            }
        }
        if self.has(Defect::AnswersReversed) {
            answers.reverse();
        }
        Ok(answers)
    }

    async fn find_by_idempotency_key(
        &self,
        _: &dyn Store,
        workflow: &WorkflowName,
        key: &str,
    ) -> Result<Option<RunId>, StoreError> {
        let runs = self.runs().await?.runs;
        let other = runs.iter().find(|run| match (self.defect, &run.idempotency_key) {
            (Defect::KeysOfOtherWorkflows, Some(found)) => found == key,
            (Defect::KeysWithoutCase, Some(found)) => run.workflow == *workflow && found.eq_ignore_ascii_case(key),
            _ => false,
        });
        Ok(self.store.find_by_idempotency_key(workflow, key).await?.or(other.map(|run| run.id)))
    }

    async fn definition(&self, _: &dyn Store, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        let found = self.store.definition(fingerprint).await?;
        Ok(found.or_else(|| self.has(Defect::AnyDefinition).then(|| (*sample::definition()).clone())))
    }

    async fn history(&self, _: &dyn Store, id: RunId) -> Result<RunHistory, StoreError> {
        let mut history = self.store.history(id).await?;
        match self.defect {
            Defect::AuditReversed => history.audit.reverse(),
            Defect::AttemptsUnsorted => history.attempts.sort_by_key(|attempt| attempt.number.to_string()),
            Defect::HoldersHidden => history.intents.iter_mut().for_each(|intent| intent.lease = None),
            Defect::DueTimesTruncated => {
                for intent in &mut history.intents {
                    intent.available_at = Timestamp::from_millis(intent.available_at.as_millis() / 1_000 * 1_000);
                }
            }
            _ => {}
        }
        Ok(history)
    }

    async fn list(&self, _: &dyn Store, filter: &RunFilter) -> Result<RunPage, StoreError> {
        let mut filter = filter.clone();
        match self.defect {
            Defect::ListRepeats => filter.after = None,
            Defect::ListLimitIgnored => filter = filter.limit(1_000),
            Defect::StatusesIgnored => filter.statuses.clear(),
            Defect::FirstStatusOnly => filter.statuses.truncate(1),
            Defect::WorkflowIgnored => filter.workflow = None,
            Defect::FromExclusive => filter.created_from = filter.created_from.map(|from| from.after(ms(1))),
            Defect::BeforeInclusive => filter.created_before = filter.created_before.map(|before| before.after(ms(1))),
            _ => {}
        }
        let mut page = self.store.list(&filter).await?;
        match self.defect {
            Defect::ListOldestFirst => page.runs.reverse(),
            Defect::ListNeverEnds => page.next = page.runs.last().map(|run| run.id),
            _ => {}
        }
        Ok(page)
    }

    async fn claim(&self, _: &dyn Store, request: &ClaimRequest) -> Result<ClaimBatch, StoreError> {
        let mut asked = request.clone();
        match self.defect {
            Defect::LimitIgnored => asked.limit = asked.limit.saturating_mul(2),
            Defect::QueuesIgnored => {
                asked.queues = self.store.intents().into_iter().map(|intent| intent.queue).collect();
            }
            Defect::VersionsIgnored => asked.fingerprints = self.versions().await?,
            Defect::OwnLeasesClaimed if asked.takeover != Takeover::Nothing => asked.takeover = Takeover::default(),
            Defect::ExpiredLeasesTaken if asked.takeover == Takeover::Nothing => asked.takeover = Takeover::default(),
            Defect::LeaseEndsEarly => asked.lease -= ms(1),
            Defect::LeaseFixed => asked.lease = hours(1),
            Defect::ClaimHeldUnderAnotherToken => asked.token = sample::lease_token(77_777),
            _ => {}
        }
        let mut claims = match self.defect {
            Defect::ClaimEarly => {
                asked.lease -= ms(1);
                let mut claims = self.early(self.store.claim(&asked)).await?;
                claims.next_in = claims.next_in.map(|next| next + ms(1));
                claims
            }
            Defect::ExpiredLeasesLast => {
                let free = self.store.claim(&asked.clone().takeover(Takeover::Nothing)).await?;
                asked.limit -= free.claims.len();
                let mut claims = self.store.claim(&asked).await?;
                claims.claims.splice(..0, free.claims);
                claims
            }
            _ => self.store.claim(&asked).await?,
        };
        match self.defect {
            Defect::OrderReversed => claims.claims.reverse(),
            Defect::NextDueTimeMissing => claims.next_in = None,
            Defect::NextDueTimeRounded => claims.next_in = claims.next_in.map(rounded),
            _ => {}
        }
        for claim in &mut claims.claims {
            if !matches!(self.defect, Defect::KeysNotHeld | Defect::StaleKeyClaim) {
                self.spoil_claim(claim).await?;
            }
            claim.lease.token = request.token;
        }
        Ok(claims)
    }

    async fn claim_keys(&self, _: &dyn Store, request: &ClaimKeysRequest) -> Result<Vec<ClaimResult>, StoreError> {
        let (keys, token) = (&request.keys, request.token);
        let mut request = request.clone();
        match self.defect {
            Defect::OwnKeysClaimed => request.takeover = Takeover::default(),
            Defect::KeyLeaseEndsEarly | Defect::KeysClaimedEarly => request.lease -= ms(1),
            Defect::ClaimKeysIgnoreLease => request.lease = hours(1),
            Defect::KeysHeldUnderAnotherToken => request.token = sample::lease_token(77_777),
            _ => {}
        }
        let mut answers = match self.defect {
            Defect::KeysClaimedEarly => self.early(self.store.claim_keys(&request)).await?,
            _ => self.store.claim_keys(&request).await?,
        };
        for answer in &mut answers {
            match (self.defect, &mut *answer) {
                (Defect::NotDueIsHeld, ClaimResult::NotDue) | (Defect::AbsentIsHeld, ClaimResult::Absent) => {
                    *answer = ClaimResult::Held;
                }
                (defect, ClaimResult::Claimed(claim)) => {
                    if matches!(defect, Defect::KeysNotHeld | Defect::StaleKeyClaim) {
                        self.spoil_claim(claim).await?;
                    }
                    claim.lease.token = token;
                }
                _ => {}
            }
        }
        if self.has(Defect::KeyGivenTwiceClaimedTwice) {
            let mut given = BTreeSet::new();
            for (key, answer) in keys.iter().zip(&mut answers) {
                if !given.insert(key) {
                    let lease = Lease { key: key.clone(), token };
                    *answer = ClaimResult::Claimed(Box::new(Claim { lease, state: Ok(None) }));
                }
            }
        }
        if self.has(Defect::KeysAnsweredInReverse) {
            answers.reverse();
        }
        Ok(answers)
    }

    async fn list_due(&self, _: &dyn Store, request: &DueRequest) -> Result<DuePage, StoreError> {
        let mut request = request.clone();
        let a_millisecond_earlier = |time: Timestamp| Timestamp::from_millis(time.as_millis() - 1);
        match self.defect {
            Defect::PagesRepeat => request.after = None,
            Defect::SinceIgnored => request.since = None,
            Defect::SinceInclusive => request.since = request.since.map(a_millisecond_earlier),
            _ => {}
        }
        if self.has(Defect::ListedEarly) {
            let mut due = self.early(self.store.list_due(&request)).await?;
            due.now = a_millisecond_earlier(due.now);
            due.next_in = due.next_in.map(|next| next + ms(1));
            return Ok(due);
        }
        let mut due = self.store.list_due(&request).await?;
        match self.defect {
            Defect::DueUnordered => due.intents.reverse(),
            Defect::NoMorePages => due.more = false,
            Defect::LookIsLate => due.now = due.now.after(ms(1)),
            Defect::ListedNextDueTimeRounded => due.next_in = due.next_in.map(rounded),
            Defect::LeaseExpiredMissing => due.intents.iter_mut().for_each(|intent| intent.lease_expired = false),
            Defect::LookClaims => {
                let keys: Vec<IntentKey> = due.intents.iter().map(|intent| intent.key.clone()).collect();
                let request = ClaimKeysRequest::new(keys, sample::lease_token(77_777), hours(1));
                self.store.claim_keys(&request).await?;
            }
            _ => {}
        }
        Ok(due)
    }

    async fn extend_leases(
        &self,
        _: &dyn Store,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Vec<LeaseState>, StoreError> {
        match self.defect {
            Defect::ExtendIgnored => return Ok(vec![LeaseState::Held(Some(RunStatus::Pending)); leases.len()]),
            Defect::ExtendedLeaseEndsEarly => return self.store.extend_leases(leases, lease - ms(1)).await,
            Defect::ExpiredLeaseLost => {
                let mut states = Vec::new();
                for held in leases {
                    let expired = self.lease_on(&held.key).await?.is_some_and(|(_, end)| end <= self.clock.now());
                    let state =
                        self.store.extend_leases(std::slice::from_ref(held), if expired { ms(0) } else { lease });
                    let state = state.await?;
                    states.extend(if expired { vec![LeaseState::Lost] } else { state });
                }
                return Ok(states);
            }
            _ => {}
        }
        let mut states = self.store.extend_leases(leases, lease).await?;
        for state in &mut states {
            match self.defect {
                Defect::LostLeaseExtended => *state = LeaseState::Held(None),
                Defect::RunStatusStale if state.is_held() => *state = LeaseState::Held(Some(RunStatus::Pending)),
                Defect::RunStatusMissing if state.is_held() => *state = LeaseState::Held(None),
                _ => {}
            }
        }
        if self.has(Defect::ExtendReversed) {
            states.reverse();
        }
        Ok(states)
    }

    async fn release_leases(&self, _: &dyn Store, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
        match self.defect {
            Defect::ReleaseIgnored => Ok(()),
            Defect::ReleaseDelayIgnored => self.store.release_leases(leases, Duration::ZERO).await,
            Defect::ReleasedEarly => self.store.release_leases(leases, delay.saturating_sub(ms(1))).await,
            Defect::AnyLeaseReleased => {
                for lease in leases {
                    let held = self.lease_on(&lease.key).await?.map(|(held, _)| held);
                    self.store.release_leases(held.as_slice(), delay).await?;
                }
                Ok(())
            }
            _ => self.store.release_leases(leases, delay).await,
        }
    }

    async fn triggers(&self, _: &dyn Store, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
        let asked = if self.has(Defect::TriggersOfOneWorkflow) { 1 } else { workflows.len() };
        let mut found = self.store.triggers(workflows.get(..asked).unwrap_or(workflows)).await?;
        if self.has(Defect::TriggerTimeOff) {
            found.now = found.now.after(hours(1));
        }
        Ok(found)
    }

    async fn compare_and_set_trigger(&self, _: &dyn Store, record: &TriggerRecord) -> Result<bool, StoreError> {
        let stored = self.store.triggers(std::slice::from_ref(&record.workflow)).await?.records;
        let stored = stored.iter().find(|stored| stored.trigger == record.trigger);
        let mut record = record.clone();
        match self.defect {
            Defect::TriggerRevisionIgnored => record.revision = stored.map_or(record.revision, |it| it.revision + 1),
            Defect::SameRecordTwice if stored == Some(&record) => return Ok(true),
            Defect::TriggerNotWritten => return Ok(true),
            Defect::TriggerNotesForgotten => record.notes = Default::default(),
            _ => {}
        }
        self.store.compare_and_set_trigger(&record).await
    }

    async fn stranded(&self, _: &dyn Store, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
        let mut request = request.clone();
        match self.defect {
            Defect::KnownVersionsStranded => request.known.clear(),
            Defect::PatienceIgnored => request.due_for = Duration::ZERO,
            Defect::StrandedLimitIgnored => request.limit += 1,
            Defect::StrandedRepeat => request.after = None,
            Defect::OneRunIgnored => request.run = None,
            Defect::StrandedEarly => return self.early(self.store.stranded(&request)).await,
            _ => {}
        }
        let mut runs = self.store.stranded(&request).await?;
        if self.has(Defect::StrandedReversed) {
            runs.reverse();
        }
        Ok(runs)
    }

    async fn prune(&self, _: &dyn Store, request: &PruneRequest) -> Result<PruneBatch, StoreError> {
        let mut request = request.clone();
        match self.defect {
            Defect::PruneEarly => request.older_than = Duration::ZERO,
            Defect::PruneAMillisecondEarly => return self.early(self.store.prune(&request)).await,
            Defect::PruneStatusesIgnored => {
                request.statuses = vec![RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled];
            }
            Defect::DryRunDeletes => request.dry_run = false,
            Defect::PruneLimitIgnored => request.limit += 1,
            Defect::PruneRepeats => request.after = None,
            _ => {}
        }
        self.store.prune(&request).await
    }
}
