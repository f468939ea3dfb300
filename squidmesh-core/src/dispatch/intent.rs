//! Dispatch intents: the store's own record that a target must be delivered.
//!
//! An intent is committed with the state change that caused it and lives until its target is done, so a queue that loses
//! everything loses no work. A delivery holds its intent under a lease.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Fingerprint, LeaseToken, Priority, QueueName, RunId, StepName};

/// What is delivered for a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DispatchTarget {
    /// A step of the run.
    Step(StepName),
    /// The compensation of the failed run.
    Compensation,
}

impl DispatchTarget {
    /// The step, if it is one.
    pub fn step(&self) -> Option<&StepName> {
        match self {
            DispatchTarget::Step(step) => Some(step),
            DispatchTarget::Compensation => None,
        }
    }
}

/// Which intent: a run has at most one for each target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IntentKey {
    /// The run.
    pub run_id: RunId,
    /// What is to be delivered for it.
    pub target: DispatchTarget,
}

impl IntentKey {
    /// The intent for a step of a run.
    pub fn step(run_id: RunId, step: StepName) -> Self {
        IntentKey { run_id, target: DispatchTarget::Step(step) }
    }

    /// The intent for the compensation of a run.
    pub fn compensation(run_id: RunId) -> Self {
        IntentKey { run_id, target: DispatchTarget::Compensation }
    }
}

/// The deterministic id of the job: `run/step`, or `run` alone for a compensation. Announcing a job twice is harmless.
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
    /// Which.
    pub key: IntentKey,
    /// The version of the workflow that can carry it out: only processes that have it may claim the intent.
    pub fingerprint: Fingerprint,
    /// The queue of the step.
    pub queue: QueueName,
    /// The class within the queue.
    pub priority: Priority,
    /// How long after the commit it falls due, by the database's clock; or, with a `lease`, how long the lease lasts.
    pub delay: Duration,
    /// The claim that it is committed under: a worker that goes on with its own successor needs no delivery.
    pub lease: Option<LeaseToken>,
}

/// A claimed intent: the right to carry it out until the lease runs out or is taken over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    /// What is held.
    pub key: IntentKey,
    /// The proof of holding it.
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
