//! The live intents and their leases.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::definition::{Fingerprint, Priority};
use crate::dispatch::{Intent, IntentKey, Lease};
use crate::id::RunId;
use crate::name::QueueName;
use crate::port::{
    ClaimRequest, DueIntent, DuePage, DueRequest, IntentRecord, IntentWrite, LeaseToken, StrandedRequest, Takeover,
};
use crate::time::Timestamp;

/// An intent's position in the order of claiming: held intents first, then by priority, then by time, then by the
/// order of arrival.
type ClaimOrder = (i16, Timestamp, u64);

#[derive(Clone, Debug, Default)]
pub(super) struct Intents {
    rows: BTreeMap<IntentKey, Row>,
    order: BTreeMap<ClaimOrder, IntentKey>,
    arrivals: u64,
}

#[derive(Clone, Debug)]
struct Row {
    fingerprint: Fingerprint,
    queue: QueueName,
    priority: Priority,
    available_at: Timestamp,
    lease: Option<LeaseToken>,
    arrival: u64,
}

/// The state of an intent as a claimer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    Absent,
    NotDue,
    Held,
    Due,
}

impl Intents {
    /// Applies an intent write of a commit at `now`. Returns whether it may have made work due that a claim can find.
    pub(super) fn write(&mut self, write: &IntentWrite, now: Timestamp) -> bool {
        match write {
            IntentWrite::Add(intent) if self.rows.contains_key(&intent.key) => false,
            IntentWrite::Add(intent) | IntentWrite::Replace(intent) => {
                self.put(intent, now);
                intent.lease.is_none()
            }
            IntentWrite::Remove(key) => {
                self.take(key);
                false
            }
            IntentWrite::Repin { key, fingerprint, queue, priority } => {
                let Some(mut row) = self.rows.remove(key) else { return false };
                self.order.remove(&row.place());
                (row.fingerprint, row.queue, row.priority) = (*fingerprint, queue.clone(), *priority);
                let unheld = row.lease.is_none();
                self.order.insert(row.place(), key.clone());
                self.rows.insert(key.clone(), row);
                unheld
            }
        }
    }

    /// Returns whether an intent is held under a lease's token, regardless of time: an expired lease stays until it
    /// is taken over.
    pub(super) fn is_held(&self, lease: &Lease) -> bool {
        self.rows.get(&lease.key).is_some_and(|row| row.lease == Some(lease.token))
    }

    /// Claims up to the limit of a request's due intents.
    pub(super) fn claim(&mut self, request: &ClaimRequest, now: Timestamp) -> Vec<Lease> {
        let wanted = Wanted::by(request);
        let due: Vec<IntentKey> = CLASSES
            .into_iter()
            .flat_map(|class| self.order.range((class, FIRST, 0)..=(class, now, u64::MAX)))
            .filter(|(_, key)| {
                self.rows.get(key).is_some_and(|row| wanted.includes(row) && row.yields_to(&request.takeover))
            })
            .map(|(_, key)| key.clone())
            .take(request.limit)
            .collect();
        due.into_iter().map(|key| self.hold(key, request.token, now.after(request.lease))).collect()
    }

    /// Returns how long it takes until the next intent of a request's queues and versions is due.
    pub(super) fn next_in(&self, request: &ClaimRequest, now: Timestamp) -> Option<Duration> {
        let wanted = Wanted::by(request);
        let next = |class| {
            let later = self.order.range((class, now, u64::MAX)..(class + 1, FIRST, 0));
            let claimable = |row: &&Row| wanted.includes(row) && row.yields_to(&request.takeover);
            later.filter_map(|(_, key)| self.rows.get(key)).find(claimable).map(|row| row.available_at)
        };
        CLASSES.into_iter().filter_map(next).min().map(|at| at.since(now))
    }

    /// Returns a page of due intents that are not held, or whose lease has expired.
    pub(super) fn due(&self, request: &DueRequest, now: Timestamp) -> DuePage {
        let wanted = Wanted::of(&request.queues, &request.fingerprints);
        let (due, later): (Vec<_>, Vec<_>) =
            self.rows.iter().filter(|(_, row)| wanted.includes(row)).partition(|(_, row)| row.available_at <= now);
        let mut found: Vec<DueIntent> = due
            .into_iter()
            .filter(|(_, row)| request.since.is_none_or(|since| row.available_at > since))
            .map(|(key, row)| row.due(key))
            .collect();
        found.sort_by(in_claiming_order);
        if let Some(after) = &request.after {
            found.retain(|intent| in_claiming_order(intent, after).is_gt());
        }
        let more = found.len() > request.limit;
        found.truncate(request.limit);
        let next_in = later.into_iter().map(|(_, row)| row.available_at.since(now)).min();
        DuePage::new(found, more, next_in, now)
    }

    /// Returns the runs with stranded work, of versions that a request does not know.
    pub(super) fn stranded(&self, request: &StrandedRequest, now: Timestamp) -> Vec<RunId> {
        let is_stranded =
            |row: &Row| row.available_at.after(request.due_for) <= now && !request.known.contains(&row.fingerprint);
        let mut runs: Vec<RunId> = self
            .rows
            .iter()
            .filter(|(key, row)| {
                request.run.is_none_or(|run| key.run_id == run)
                    && request.after.is_none_or(|after| key.run_id > after)
                    && is_stranded(row)
            })
            .map(|(key, _)| key.run_id)
            .collect();
        runs.dedup();
        runs.truncate(request.limit);
        runs
    }

    pub(super) fn availability(&self, key: &IntentKey, takeover: &Takeover, now: Timestamp) -> Availability {
        match self.rows.get(key) {
            None => Availability::Absent,
            Some(row) if row.available_at <= now && row.yields_to(takeover) => Availability::Due,
            Some(row) if row.lease.is_some() => Availability::Held,
            Some(_) => Availability::NotDue,
        }
    }

    /// Leases an intent until `until`.
    pub(super) fn hold(&mut self, key: IntentKey, token: LeaseToken, until: Timestamp) -> Lease {
        self.change(&key, Some(token), until);
        Lease { key, token }
    }

    /// Extends the lease of an intent, if it is held. Returns whether it was.
    pub(super) fn extend(&mut self, lease: &Lease, until: Timestamp) -> bool {
        let held = self.is_held(lease);
        if held {
            self.change(&lease.key, Some(lease.token), until);
        }
        held
    }

    /// Releases an intent, if it is held. Returns whether it was.
    pub(super) fn release(&mut self, lease: &Lease, due: Timestamp) -> bool {
        let held = self.is_held(lease);
        if held {
            self.change(&lease.key, None, due);
        }
        held
    }

    /// Returns the live intents of a run, or of all runs.
    pub(super) fn records(&self, run: Option<RunId>) -> Vec<IntentRecord> {
        let of_run = self.rows.iter().filter(|(key, _)| run.is_none_or(|run| key.run_id == run));
        of_run
            .map(|(key, row)| {
                IntentRecord::new(key.clone(), row.queue.clone(), row.priority, row.available_at, row.lease)
            })
            .collect()
    }

    fn put(&mut self, intent: &Intent, now: Timestamp) {
        self.take(&intent.key);
        self.arrivals += 1;
        let row = Row {
            fingerprint: intent.fingerprint,
            queue: intent.queue.clone(),
            priority: intent.priority,
            available_at: now.after(intent.delay),
            lease: intent.lease,
            arrival: self.arrivals,
        };
        self.order.insert(row.place(), intent.key.clone());
        self.rows.insert(intent.key.clone(), row);
    }

    fn take(&mut self, key: &IntentKey) {
        if let Some(row) = self.rows.remove(key) {
            self.order.remove(&row.place());
        }
    }

    fn change(&mut self, key: &IntentKey, lease: Option<LeaseToken>, available_at: Timestamp) {
        if let Some(row) = self.rows.get_mut(key) {
            self.order.remove(&row.place());
            row.lease = lease;
            row.available_at = available_at;
            self.order.insert(row.place(), key.clone());
        }
    }
}

/// Held intents come first once their lease has expired; the priorities follow.
const HELD: i16 = Priority::High.as_i16() - 1;
const CLASSES: [i16; 4] = [HELD, Priority::High.as_i16(), Priority::Normal.as_i16(), Priority::Low.as_i16()];
const FIRST: Timestamp = Timestamp::from_millis(i64::MIN);

impl Row {
    fn place(&self) -> ClaimOrder {
        let class = if self.lease.is_some() { HELD } else { self.priority.as_i16() };
        (class, self.available_at, self.arrival)
    }

    /// Returns whether a claim may take the intent once it is due.
    fn yields_to(&self, takeover: &Takeover) -> bool {
        self.lease.is_none_or(|token| takeover.allows(token))
    }

    fn due(&self, key: &IntentKey) -> DueIntent {
        let (queue, lease_expired) = (self.queue.clone(), self.lease.is_some());
        DueIntent::new(key.clone(), self.fingerprint, queue, self.priority, self.available_at, lease_expired)
    }
}

fn in_claiming_order(one: &DueIntent, other: &DueIntent) -> Ordering {
    one.claim_order().cmp(&other.claim_order()).then_with(|| one.key.cmp(&other.key))
}

/// The queues and versions of a request, ready to be looked up many times.
struct Wanted<'a> {
    queues: BTreeSet<&'a QueueName>,
    fingerprints: BTreeSet<&'a Fingerprint>,
}

impl<'a> Wanted<'a> {
    fn by(request: &'a ClaimRequest) -> Self {
        Wanted::of(&request.queues, &request.fingerprints)
    }

    fn of(queues: &'a [QueueName], fingerprints: &'a [Fingerprint]) -> Self {
        Wanted { queues: queues.iter().collect(), fingerprints: fingerprints.iter().collect() }
    }

    fn includes(&self, row: &Row) -> bool {
        self.queues.contains(&row.queue) && self.fingerprints.contains(&row.fingerprint)
    }
}
