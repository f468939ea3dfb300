//! The live intents, and who holds them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::{
    ClaimRequest, Due, DueIntent, DueRequest, Fingerprint, Intent, IntentKey, IntentRecord, IntentWrite, Lease,
    LeaseToken, Priority, QueueName, RunId, StrandedRequest, Timestamp,
};

/// Where an intent stands in the order of claiming: those that are held first, then by priority; then by time, then by the order
/// of arrival.
type Place = (i16, Timestamp, u64);

#[derive(Clone, Debug, Default)]
pub(super) struct Intents {
    rows: BTreeMap<IntentKey, Row>,
    order: BTreeMap<Place, IntentKey>,
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

/// Where an intent is, as seen by somebody who wants to claim it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    Absent,
    NotDue,
    Held,
    Due,
}

impl Intents {
    /// Writes what a commit at `now` says of an intent. Whether somebody may find work due because of it is the answer.
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

    /// Whether an intent is held under a lease's token. Time has no say: a lease that ran out stays until it is taken over.
    pub(super) fn is_held(&self, lease: &Lease) -> bool {
        self.rows.get(&lease.key).is_some_and(|row| row.lease == Some(lease.token))
    }

    /// Takes up to the limit of a request's due intents.
    pub(super) fn claim(&mut self, request: &ClaimRequest, now: Timestamp) -> Vec<Lease> {
        let wanted = Wanted::by(request);
        let due: Vec<IntentKey> = CLASSES
            .into_iter()
            .flat_map(|class| self.order.range((class, FIRST, 0)..=(class, now, u64::MAX)))
            .filter(|(_, key)| self.rows.get(key).is_some_and(|row| wanted.includes(row)))
            .map(|(_, key)| key.clone())
            .take(request.limit)
            .collect();
        due.into_iter().map(|key| self.hold(key, request.token, now.after(request.lease))).collect()
    }

    /// How long until the next intent of a request's queues and versions is due.
    pub(super) fn next_in(&self, request: &ClaimRequest, now: Timestamp) -> Option<Duration> {
        let wanted = Wanted::by(request);
        let next = |class| {
            let later = self.order.range((class, now, u64::MAX)..(class + 1, FIRST, 0));
            later.filter_map(|(_, key)| self.rows.get(key)).find(|row| wanted.includes(row)).map(|row| row.available_at)
        };
        CLASSES.into_iter().filter_map(next).min().map(|at| at.since(now))
    }

    /// A page of what is due, and unheld or held no longer.
    pub(super) fn due(&self, request: &DueRequest, now: Timestamp) -> Due {
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
        Due::new(found, more, next_in, now)
    }

    /// The runs whose work lies, of versions that a request does not know.
    pub(super) fn stranded(&self, request: &StrandedRequest, now: Timestamp) -> Vec<RunId> {
        let lies =
            |row: &Row| row.available_at.after(request.due_for) <= now && !request.known.contains(&row.fingerprint);
        let mut runs: Vec<RunId> = self
            .rows
            .iter()
            .filter(|(key, row)| {
                request.run.is_none_or(|run| key.run_id == run)
                    && request.after.is_none_or(|after| key.run_id > after)
                    && lies(row)
            })
            .map(|(key, _)| key.run_id)
            .collect();
        runs.dedup();
        runs.truncate(request.limit);
        runs
    }

    pub(super) fn availability(&self, key: &IntentKey, now: Timestamp) -> Availability {
        match self.rows.get(key) {
            None => Availability::Absent,
            Some(row) if row.available_at <= now => Availability::Due,
            Some(row) if row.lease.is_some() => Availability::Held,
            Some(_) => Availability::NotDue,
        }
    }

    /// Puts an intent into somebody's hands until `until`.
    pub(super) fn hold(&mut self, key: IntentKey, token: LeaseToken, until: Timestamp) -> Lease {
        self.change(&key, Some(token), until);
        Lease { key, token }
    }

    /// Holds an intent longer, if it is held. Whether it was is the answer.
    pub(super) fn extend(&mut self, lease: &Lease, until: Timestamp) -> bool {
        let held = self.is_held(lease);
        if held {
            self.change(&lease.key, Some(lease.token), until);
        }
        held
    }

    /// Lets go of an intent, if it is held. Whether it was is the answer.
    pub(super) fn release(&mut self, lease: &Lease, due: Timestamp) -> bool {
        let held = self.is_held(lease);
        if held {
            self.change(&lease.key, None, due);
        }
        held
    }

    /// The live intents of a run, or of all.
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

/// What is held goes first once its lease has run out; then come the priorities.
const HELD: i16 = Priority::High.as_i16() - 1;
const CLASSES: [i16; 4] = [HELD, Priority::High.as_i16(), Priority::Normal.as_i16(), Priority::Low.as_i16()];
const FIRST: Timestamp = Timestamp::from_millis(i64::MIN);

impl Row {
    fn place(&self) -> Place {
        let class = if self.lease.is_some() { HELD } else { self.priority.as_i16() };
        (class, self.available_at, self.arrival)
    }

    fn due(&self, key: &IntentKey) -> DueIntent {
        let (queue, run_out) = (self.queue.clone(), self.lease.is_some());
        DueIntent::new(key.clone(), self.fingerprint, queue, self.priority, self.available_at, run_out)
    }
}

fn in_claiming_order(one: &DueIntent, other: &DueIntent) -> Ordering {
    one.place().cmp(&other.place()).then_with(|| one.key.cmp(&other.key))
}

/// What a request asks for, ready to be looked up many times.
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
