//! Dispatch intents: the store's own record that a target must be delivered.
//!
//! An intent is committed with the state change that caused it and exists until its target is done, so a queue
//! that loses everything loses no work. A delivery holds its intent under a lease.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::definition::{Fingerprint, Priority};
use crate::id::RunId;
use crate::name::{QueueName, StepName};
use crate::port::LeaseToken;

/// The target of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DispatchTarget {
    /// A step of the run.
    Step(StepName),
    /// The compensation of the failed run.
    Compensation,
}

impl DispatchTarget {
    /// Returns the step, if the target is one.
    pub fn step(&self) -> Option<&StepName> {
        match self {
            DispatchTarget::Step(step) => Some(step),
            DispatchTarget::Compensation => None,
        }
    }
}

/// Identifies an intent: a run has at most one for each target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IntentKey {
    /// The id of the run.
    pub run_id: RunId,
    /// The target to deliver.
    pub target: DispatchTarget,
}

impl IntentKey {
    /// Returns the key of the intent for a step of a run.
    pub fn step(run_id: RunId, step: StepName) -> Self {
        IntentKey { run_id, target: DispatchTarget::Step(step) }
    }

    /// Returns the key of the intent for the compensation of a run.
    pub fn compensation(run_id: RunId) -> Self {
        IntentKey { run_id, target: DispatchTarget::Compensation }
    }
}

/// Formats the deterministic id of the job: `run/step`, or `run` alone for a compensation. Announcing a job twice
/// is harmless.
impl fmt::Display for IntentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            DispatchTarget::Step(step) => write!(f, "{}/{step}", self.run_id),
            DispatchTarget::Compensation => write!(f, "{}", self.run_id),
        }
    }
}

/// A target that must be delivered, as it is committed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The key of the intent.
    pub key: IntentKey,
    /// The version of the workflow that can execute it: only processes that have it registered may claim the
    /// intent.
    pub fingerprint: Fingerprint,
    /// The queue of the step.
    pub queue: QueueName,
    /// The priority within the queue.
    pub priority: Priority,
    /// How long after the commit it becomes due, by the database's clock; or, with a `lease`, how long the lease
    /// lasts.
    pub delay: Duration,
    /// The claim under which it is committed: a worker that continues with its own successor needs no delivery.
    pub lease: Option<LeaseToken>,
}

/// A claimed intent: the right to execute it until the lease expires or is taken over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    /// The key of the claimed intent.
    pub key: IntentKey,
    /// The token that proves the claim.
    pub token: LeaseToken,
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_job_id_names_the_run_and_the_step() {
        let run_id = RunId::from_uuid(Uuid::nil());
        let step = StepName::new("reserve").unwrap();
        assert_eq!(IntentKey::step(run_id, step).to_string(), format!("{}/reserve", Uuid::nil()));
        assert_eq!(IntentKey::compensation(run_id).to_string(), Uuid::nil().to_string());
    }
}
