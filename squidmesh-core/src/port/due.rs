//! Due work, as a relay asks for it: looked at, not claimed.
//!
//! Knows which intents are wanted and in which order they come; never what is done with them.

use std::cmp::Reverse;
use std::time::Duration;

use crate::{Fingerprint, IntentKey, Priority, QueueName, Timestamp};

/// Which due intents to look for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DueRequest {
    /// In these queues.
    pub queues: Vec<QueueName>,
    /// Only for these versions of workflows.
    pub fingerprints: Vec<Fingerprint>,
    /// Only those that fell due after this time, by the store's clock; all of them without one.
    pub since: Option<Timestamp>,
    /// Only those that come after this one: the last of the page before.
    pub after: Option<DueIntent>,
    /// At most so many.
    pub limit: usize,
}

impl DueRequest {
    /// A request for the first `limit` due intents of these queues and versions.
    pub fn new(queues: Vec<QueueName>, fingerprints: Vec<Fingerprint>, limit: usize) -> Self {
        DueRequest { queues, fingerprints, since: None, after: None, limit }
    }

    /// Only what fell due after this time, by the store's clock.
    #[must_use]
    pub fn since(mut self, since: Option<Timestamp>) -> Self {
        self.since = since;
        self
    }

    /// The page after this intent.
    #[must_use]
    pub fn after(mut self, after: Option<DueIntent>) -> Self {
        self.after = after;
        self
    }
}

/// An intent that is due, and which nobody holds any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DueIntent {
    /// Which.
    pub key: IntentKey,
    /// The version that can carry it out.
    pub fingerprint: Fingerprint,
    /// Its queue.
    pub queue: QueueName,
    /// Its class within the queue.
    pub priority: Priority,
    /// When it fell due, or when the lease on it ran out; by the store's clock.
    pub available_at: Timestamp,
    /// Whether it was held under a lease that has run out: it has waited already and goes before all others.
    pub run_out: bool,
}

impl DueIntent {
    /// A due intent.
    pub fn new(
        key: IntentKey,
        fingerprint: Fingerprint,
        queue: QueueName,
        priority: Priority,
        available_at: Timestamp,
        run_out: bool,
    ) -> Self {
        DueIntent { key, fingerprint, queue, priority, available_at, run_out }
    }

    /// Its place in the order of claiming; intents of one place come in an order of the store's own.
    pub fn place(&self) -> (Reverse<bool>, Option<Priority>, Timestamp) {
        (Reverse(self.run_out), (!self.run_out).then_some(self.priority), self.available_at)
    }
}

/// What is due.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Due {
    /// The due intents, in the order in which they would be claimed.
    pub intents: Vec<DueIntent>,
    /// Whether there are more behind them: ask for those after the last.
    pub more: bool,
    /// How long until the next intent of these queues and versions falls due, or a lease on one runs out. `None` if there is none.
    pub next_in: Option<Duration>,
    /// The time of the look, by the store's clock.
    pub now: Timestamp,
}

impl Due {
    /// An answer as of `now`.
    pub fn new(intents: Vec<DueIntent>, more: bool, next_in: Option<Duration>, now: Timestamp) -> Self {
        Due { intents, more, next_in, now }
    }
}
