//! Due work, as a relay lists it: without claiming.
//!
//! Knows which intents are wanted and their order; never how they are executed.

use std::cmp::Reverse;
use std::time::Duration;

use crate::definition::{Fingerprint, Priority};
use crate::dispatch::IntentKey;
use crate::name::QueueName;
use crate::time::Timestamp;

/// Selects the due intents to list.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DueRequest {
    /// The queues to list.
    pub queues: Vec<QueueName>,
    /// The workflow versions to list.
    pub fingerprints: Vec<Fingerprint>,
    /// If set, only intents that became due after this time, by the store's clock.
    pub since: Option<Timestamp>,
    /// If set, only intents after this one: the last of the previous page.
    pub after: Option<DueIntent>,
    /// The maximum number of intents to list.
    pub limit: usize,
}

impl DueRequest {
    /// Creates a request for the first `limit` due intents of these queues and versions.
    pub fn new(queues: Vec<QueueName>, fingerprints: Vec<Fingerprint>, limit: usize) -> Self {
        DueRequest { queues, fingerprints, since: None, after: None, limit }
    }

    /// Restricts the request to intents that became due after this time, by the store's clock.
    #[must_use]
    pub fn since(mut self, since: Option<Timestamp>) -> Self {
        self.since = since;
        self
    }

    /// Continues after this intent.
    #[must_use]
    pub fn after(mut self, after: Option<DueIntent>) -> Self {
        self.after = after;
        self
    }
}

/// An intent that is due and not held under a live lease.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DueIntent {
    /// The intent's key.
    pub key: IntentKey,
    /// The version that can execute it.
    pub fingerprint: Fingerprint,
    /// The queue it is delivered from.
    pub queue: QueueName,
    /// Its priority within the queue.
    pub priority: Priority,
    /// When it became due, or when its lease expired; by the store's clock.
    pub available_at: Timestamp,
    /// Whether its lease expired: it has waited already and comes before all others.
    pub lease_expired: bool,
}

impl DueIntent {
    /// Creates a due intent.
    pub fn new(
        key: IntentKey,
        fingerprint: Fingerprint,
        queue: QueueName,
        priority: Priority,
        available_at: Timestamp,
        lease_expired: bool,
    ) -> Self {
        DueIntent { key, fingerprint, queue, priority, available_at, lease_expired }
    }

    /// Returns its position in the order of claiming; the store orders intents of equal position.
    pub fn claim_order(&self) -> (Reverse<bool>, Option<Priority>, Timestamp) {
        (Reverse(self.lease_expired), (!self.lease_expired).then_some(self.priority), self.available_at)
    }
}

/// A page of due intents.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DuePage {
    /// The due intents, in the order in which they would be claimed.
    pub intents: Vec<DueIntent>,
    /// Whether there are more: list those after the last.
    pub more: bool,
    /// How long until the next intent of these queues and versions becomes due, or until a lease on one expires.
    /// `None` if there is none.
    pub next_in: Option<Duration>,
    /// When the page was read, by the store's clock.
    pub now: Timestamp,
}

impl DuePage {
    /// Creates a page as of `now`.
    pub fn new(intents: Vec<DueIntent>, more: bool, next_in: Option<Duration>, now: Timestamp) -> Self {
        DuePage { intents, more, next_in, now }
    }
}
