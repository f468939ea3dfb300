//! A store over maps behind a lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use squidmesh_core::definition::{Definition, Fingerprint, StepName, TriggerName, WorkflowName};
use squidmesh_core::dispatch::{Intent, IntentKey, Lease};
use squidmesh_core::port::{
    Claim, ClaimBatch, ClaimKeysRequest, ClaimRequest, ClaimResult, Clock, Commit, CommitOutcome, DueIntent, DuePage,
    DueRequest, IntentRecord, IntentWrite, LeaseState, LeaseToken, Precondition, RunHistory, RunPage, StepWrite, Store,
    StoreError, StoreSession, StrandedRequest, TriggerRecords,
};
use squidmesh_core::run::{Attempt, AuditEvent, RunSnapshot, RunSummary};
use squidmesh_core::schedule::TriggerRecord;
use squidmesh_core::{RunFilter, RunId, Timestamp};

pub struct TinyStore {
    clock: Arc<dyn Clock>, // decides what is due; a database uses its own
    tables: Mutex<Tables>,
}

impl TinyStore {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        TinyStore { clock, tables: Mutex::default() }
    }
}

#[derive(Default)]
struct Tables {
    runs: BTreeMap<RunId, RunSnapshot>,
    intents: BTreeMap<IntentKey, (Intent, Timestamp)>,
    attempts: BTreeMap<(RunId, StepName, u32), Attempt>,
    audit: Vec<(RunId, AuditEvent)>,
    definitions: BTreeMap<Fingerprint, Arc<Definition>>,
    triggers: BTreeMap<(WorkflowName, TriggerName), TriggerRecord>,
}

impl Tables {
    fn commit(&mut self, commit: Commit, now: Timestamp) -> Result<CommitOutcome, StoreError> {
        let id = commit.run.id;
        let taken = self.runs.values().find(|found| {
            commit.run.idempotency_key.is_some()
                && (&found.run.workflow, &found.run.idempotency_key)
                    == (&commit.run.workflow, &commit.run.idempotency_key)
        });
        match (commit.precondition, self.runs.get(&id)) {
            (Precondition::Absent, None) => {
                if let Some(first) = taken {
                    return Ok(CommitOutcome::KeyTaken(first.run.id));
                }
            }
            (Precondition::Revision(expected), Some(found)) if found.run.revision == expected => {}
            _ => return Ok(CommitOutcome::Conflict),
        }
        for fence in &commit.fences {
            let held = self.intents.get(&fence.key).and_then(|(intent, _)| intent.lease);
            if held != Some(fence.token) {
                return Ok(CommitOutcome::Fenced);
            }
        }
        self.check_created(&commit)?;
        // From here on nothing can fail: all of it is applied.
        let state = self.runs.entry(id).or_insert_with(|| RunSnapshot::new(commit.run.clone(), []));
        state.run = commit.run;
        if let Some(signals) = commit.signals {
            state.signals = signals;
        }
        for write in &commit.steps {
            let step = write.step().clone();
            state.steps.insert(step.step.clone(), step);
        }
        for attempt in commit.attempts {
            self.attempts.insert((id, attempt.step.clone(), attempt.number), attempt);
        }
        for write in commit.intents {
            match write {
                IntentWrite::Add(intent) if self.intents.contains_key(&intent.key) => {}
                IntentWrite::Add(intent) | IntentWrite::Replace(intent) => {
                    let at = now.after(intent.delay);
                    self.intents.insert(intent.key.clone(), (intent, at));
                }
                IntentWrite::Remove(key) => {
                    self.intents.remove(&key);
                }
                IntentWrite::Repin { key, fingerprint, queue, priority } => {
                    if let Some((intent, _)) = self.intents.get_mut(&key) {
                        (intent.fingerprint, intent.queue, intent.priority) = (fingerprint, queue, priority);
                    }
                }
            }
        }
        self.audit.extend(commit.audit.into_iter().map(|event| (id, event)));
        self.definitions.extend(commit.definition.map(|found| (*found.fingerprint(), found)));
        Ok(CommitOutcome::Committed)
    }

    /// What is created must not exist. A database has a primary key for that, and rolls the commit back.
    fn check_created(&self, commit: &Commit) -> Result<(), StoreError> {
        let (id, mut steps, mut attempts) = (commit.run.id, BTreeSet::new(), BTreeSet::new());
        for write in &commit.steps {
            let StepWrite::Create(step) = write else { continue };
            let exists = self.runs.get(&id).is_some_and(|state| state.steps.contains_key(&step.step));
            if exists || !steps.insert(&step.step) {
                return Err(StoreError::Refused { doing: "create a step run", source: "it exists".into() });
            }
        }
        for attempt in &commit.attempts {
            let exists = self.attempts.contains_key(&(id, attempt.step.clone(), attempt.number));
            if exists || !attempts.insert((&attempt.step, attempt.number)) {
                return Err(StoreError::Refused { doing: "create an attempt", source: "it exists".into() });
            }
        }
        Ok(())
    }

    fn take(&mut self, key: &IntentKey, token: LeaseToken, until: Timestamp) -> Option<Claim> {
        let (intent, available_at) = self.intents.get_mut(key)?;
        (intent.lease, *available_at) = (Some(token), until);
        let state = self.runs.get(&key.run_id).cloned()?;
        Some(Claim { lease: Lease { key: key.clone(), token }, state: Ok(Some(Arc::new(state))) })
    }
}

#[async_trait]
impl StoreSession for TinyStore {
    async fn load(&self, id: RunId) -> Result<Option<RunSnapshot>, StoreError> {
        Ok(self.tables.lock().unwrap().runs.get(&id).cloned())
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Result<CommitOutcome, StoreError>>, StoreError> {
        let (mut tables, now) = (self.tables.lock().unwrap(), self.clock.now());
        Ok(commits.into_iter().map(|commit| tables.commit(commit, now)).collect())
    }

    async fn find_by_idempotency_key(&self, workflow: &WorkflowName, key: &str) -> Result<Option<RunId>, StoreError> {
        let tables = self.tables.lock().unwrap();
        let mut runs = tables.runs.values().map(|found| &found.run);
        let found = runs.find(|run| run.workflow == *workflow && run.idempotency_key.as_deref() == Some(key));
        Ok(found.map(|run| run.id))
    }

    async fn definition(&self, fingerprint: &Fingerprint) -> Result<Option<Definition>, StoreError> {
        Ok(self.tables.lock().unwrap().definitions.get(fingerprint).map(|found| (**found).clone()))
    }

    async fn history(&self, id: RunId) -> Result<RunHistory, StoreError> {
        let tables = self.tables.lock().unwrap();
        let attempts = tables.attempts.iter().filter(|((run, ..), _)| *run == id).map(|(_, attempt)| attempt.clone());
        let audit = tables.audit.iter().filter(|(run, _)| *run == id).map(|(_, event)| event.clone());
        let intents = tables.intents.values().filter(|(intent, _)| intent.key.run_id == id).map(|(intent, at)| {
            IntentRecord::new(intent.key.clone(), intent.queue.clone(), intent.priority, *at, intent.lease)
        });
        Ok(RunHistory { attempts: attempts.collect(), audit: audit.collect(), intents: intents.collect() })
    }

    async fn list(&self, filter: &RunFilter) -> Result<RunPage, StoreError> {
        let tables = self.tables.lock().unwrap();
        let matching = tables.runs.values().rev().map(|found| &found.run).filter(|run| {
            filter.workflow.as_ref().is_none_or(|workflow| run.workflow == *workflow)
                && (filter.statuses.is_empty() || filter.statuses.contains(&run.status))
                && filter.created_from.is_none_or(|from| run.created_at >= from)
                && filter.created_before.is_none_or(|before| run.created_at < before)
                && filter.after.is_none_or(|after| run.id < after)
        });
        let mut runs: Vec<_> = matching.take(filter.page_size() + 1).map(RunSummary::from).collect();
        let more = runs.len() > filter.page_size();
        runs.truncate(filter.page_size());
        let next = runs.last().filter(|_| more).map(|run| run.id);
        Ok(RunPage { runs, next })
    }
}

#[async_trait]
impl Store for TinyStore {
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimBatch, StoreError> {
        let (mut tables, now) = (self.tables.lock().unwrap(), self.clock.now());
        let wanted = |intent: &Intent| {
            request.queues.contains(&intent.queue)
                && request.fingerprints.contains(&intent.fingerprint)
                && intent.lease.is_none_or(|token| request.takeover.allows(token))
        };
        let due = tables.intents.values().filter(|(intent, at)| wanted(intent) && *at <= now);
        // Leases that have expired go first.
        let mut due: Vec<_> =
            due.map(|(intent, at)| (intent.lease.is_none(), intent.priority, *at, intent.key.clone())).collect();
        due.sort();
        due.truncate(request.limit);
        let until = now.after(request.lease);
        let claims: Vec<_> = due.iter().filter_map(|(.., key)| tables.take(key, request.token, until)).collect();
        // The leases of these claims count as well: they may expire.
        let later = tables.intents.values().filter(|(intent, at)| wanted(intent) && *at > now);
        let next_in = later.map(|(_, at)| at.since(now)).min().filter(|_| claims.len() < request.limit);
        Ok(ClaimBatch { claims, next_in })
    }

    async fn claim_keys(&self, request: &ClaimKeysRequest) -> Result<Vec<ClaimResult>, StoreError> {
        let (mut tables, now) = (self.tables.lock().unwrap(), self.clock.now());
        let mut claim = |key: &IntentKey| match tables.intents.get(key) {
            None => ClaimResult::Absent,
            Some((intent, at)) if *at > now && intent.lease.is_some() => ClaimResult::Held,
            Some((_, at)) if *at > now => ClaimResult::NotDue,
            Some((intent, _)) if intent.lease.is_some_and(|token| !request.takeover.allows(token)) => ClaimResult::Held,
            Some(_) => match tables.take(key, request.token, now.after(request.lease)) {
                Some(claim) => ClaimResult::Claimed(Box::new(claim)),
                None => ClaimResult::Absent,
            },
        };
        Ok(request.keys.iter().map(&mut claim).collect())
    }

    async fn list_due(&self, request: &DueRequest) -> Result<DuePage, StoreError> {
        let (tables, now) = (self.tables.lock().unwrap(), self.clock.now());
        let wanted = tables.intents.values().filter(|(intent, _)| {
            request.queues.contains(&intent.queue) && request.fingerprints.contains(&intent.fingerprint)
        });
        let all = wanted.map(|(intent, at)| {
            let (key, queue) = (intent.key.clone(), intent.queue.clone());
            DueIntent::new(key, intent.fingerprint, queue, intent.priority, *at, intent.lease.is_some())
        });
        let (due, later): (Vec<_>, Vec<_>) = all.partition(|intent| intent.available_at <= now);
        let place = |intent: &DueIntent| (intent.claim_order(), intent.key.clone());
        let mut due: Vec<_> = due
            .into_iter()
            .filter(|intent| request.since.is_none_or(|since| intent.available_at > since))
            .filter(|intent| request.after.as_ref().is_none_or(|after| place(intent) > place(after)))
            .collect();
        due.sort_by_key(place);
        let more = due.len() > request.limit;
        due.truncate(request.limit);
        let next_in = later.iter().map(|intent| intent.available_at.since(now)).min();
        Ok(DuePage::new(due, more, next_in, now))
    }

    async fn extend_leases(&self, leases: &[Lease], lease: Duration) -> Result<Vec<LeaseState>, StoreError> {
        let (mut tables, now) = (self.tables.lock().unwrap(), self.clock.now());
        let mut extend = |held: &Lease| {
            let status = tables.runs.get(&held.key.run_id).map(|found| found.run.status);
            match tables.intents.get_mut(&held.key) {
                Some((intent, at)) if intent.lease == Some(held.token) => {
                    *at = now.after(lease);
                    LeaseState::Held(status)
                }
                _ => LeaseState::Lost,
            }
        };
        Ok(leases.iter().map(&mut extend).collect())
    }

    async fn release_leases(&self, leases: &[Lease], delay: Duration) -> Result<(), StoreError> {
        let (mut tables, now) = (self.tables.lock().unwrap(), self.clock.now());
        for held in leases {
            if let Some((intent, at)) = tables.intents.get_mut(&held.key)
                && intent.lease == Some(held.token)
            {
                (intent.lease, *at) = (None, now.after(delay));
            }
        }
        Ok(())
    }

    async fn triggers(&self, workflows: &[WorkflowName]) -> Result<TriggerRecords, StoreError> {
        let tables = self.tables.lock().unwrap();
        let wanted = tables.triggers.values().filter(|record| workflows.contains(&record.workflow));
        Ok(TriggerRecords::new(self.clock.now(), wanted.cloned().collect()))
    }

    async fn compare_and_set_trigger(&self, record: &TriggerRecord) -> Result<bool, StoreError> {
        let (mut tables, key) = (self.tables.lock().unwrap(), (record.workflow.clone(), record.trigger.clone()));
        let stored = tables.triggers.get(&key).map_or(0, |stored| stored.revision);
        let follows = record.revision == stored + 1;
        if follows {
            tables.triggers.insert(key, record.clone());
        }
        Ok(follows)
    }

    async fn stranded(&self, request: &StrandedRequest) -> Result<Vec<RunId>, StoreError> {
        let (tables, now) = (self.tables.lock().unwrap(), self.clock.now());
        let stranded = tables
            .intents
            .values()
            .filter(|(intent, at)| at.after(request.due_for) <= now && !request.known.contains(&intent.fingerprint));
        let mut runs: Vec<RunId> = stranded
            .map(|(intent, _)| intent.key.run_id)
            .filter(|id| request.run.is_none_or(|run| *id == run) && request.after.is_none_or(|after| *id > after))
            .collect();
        runs.dedup(); // the keys of intents are sorted by run
        runs.truncate(request.limit);
        Ok(runs)
    }

    async fn work_notified(&self) {
        std::future::pending().await // no other process writes here
    }
}
