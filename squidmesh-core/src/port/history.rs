//! What a store returns of a run besides its snapshot.

use serde::Serialize;

use crate::definition::Priority;
use crate::dispatch::IntentKey;
use crate::name::QueueName;
use crate::run::{Attempt, AuditEvent, StepRun};
use crate::time::Timestamp;
use crate::token::LeaseToken;

/// The stored data of a run besides its snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunHistory {
    /// The attempts that no step run holds itself, by step and number; see [`RunHistory::attempts_of`].
    pub attempts: Vec<Attempt>,
    /// The audit trail, in order.
    pub audit: Vec<AuditEvent>,
    /// The live intents.
    pub intents: Vec<IntentRecord>,
}

impl RunHistory {
    /// Returns every attempt of a step run, first to last.
    pub fn attempts_of(&self, run: &StepRun) -> Vec<Attempt> {
        let ended = self.attempts.iter().filter(|attempt| attempt.step == run.step);
        ended.cloned().chain(run.last_attempt()).collect()
    }
}

/// A live intent, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IntentRecord {
    /// The intent's key.
    pub key: IntentKey,
    /// The queue it is delivered from.
    pub queue: QueueName,
    /// Its priority within the queue.
    pub priority: Priority,
    /// When it becomes due or, while held, when its lease expires; by the store's clock.
    pub available_at: Timestamp,
    /// The token of the claim that holds it.
    pub lease: Option<LeaseToken>,
}

impl IntentRecord {
    /// Creates a record.
    pub fn new(
        key: IntentKey,
        queue: QueueName,
        priority: Priority,
        available_at: Timestamp,
        lease: Option<LeaseToken>,
    ) -> Self {
        IntentRecord { key, queue, priority, available_at, lease }
    }
}
