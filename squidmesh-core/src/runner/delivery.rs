//! Carrying out a claim, whatever it is on.

use std::time::Duration;

use super::Runner;
use crate::runtime::DecideError;
use crate::{Claim, DispatchTarget, InvalidTransition, Lease, Run, RunId, SkipReason, StepName, StoreError};

/// What came of a delivery. Whatever it is, the queue is done with the message.
#[derive(Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// It was carried out, and so were the successors that the same worker went on with.
    Done {
        /// How many steps or compensation callbacks were carried out, failed ones included.
        steps: usize,
    },
    /// It was a no-op.
    Skipped(SkipReason),
    /// The store or the stored run did not let it be carried out. The intent is delivered again once its lease has run out.
    Failed(StoreError),
}

impl Runner {
    /// Carries out a claim: prepares, executes and records, and goes on with the successor if it is due at once.
    ///
    /// Dropping the future leaves the claim to its lease; nothing committed is undone.
    pub async fn deliver(&self, claim: Claim) -> Delivery {
        let Claim { lease, state } = claim;
        let run_id = lease.key.run_id;
        let state = match state {
            Ok(state) => state,
            Err(error) => return self.failed(run_id, error),
        };
        match lease.key.target.clone() {
            DispatchTarget::Step(step) => self.deliver_step(lease, step, state).await,
            DispatchTarget::Compensation => self.deliver_compensation(lease, state).await,
        }
    }

    /// Lets go of a claim on a run that was adopted by a version that is not registered here.
    pub(super) async fn leave(&self, lease: &Lease, run: &Run, step: Option<&StepName>) -> Delivery {
        match self.runtime.store.release(std::slice::from_ref(lease), Duration::ZERO).await {
            Ok(()) => {
                self.runtime.store.tell_of_work();
                self.skipped(run, step, SkipReason::UnknownDefinition)
            }
            Err(error) => self.failed(run.id, error),
        }
    }

    /// What a decision that could not be taken means for the delivery.
    pub(super) fn undecided(
        &self,
        run: &Run,
        step: Option<&StepName>,
        error: DecideError<InvalidTransition>,
    ) -> Delivery {
        match error {
            DecideError::Fenced(_) => self.skipped(run, step, SkipReason::LeaseLost),
            DecideError::NotFound(_) => self.skipped(run, step, SkipReason::NoIntent),
            DecideError::UnknownDefinition(_) => self.skipped(run, step, SkipReason::UnknownDefinition),
            DecideError::KeyTaken(id) | DecideError::Conflict(id) => {
                let source = "the run kept changing while its step was carried out".into();
                self.failed(id, StoreError::Unavailable { doing: "deciding about a run", source })
            }
            DecideError::Refused(error) => {
                self.failed(run.id, StoreError::Corrupt { what: format!("run {}", run.id), reason: error.to_string() })
            }
            DecideError::Store(error) => self.failed(run.id, error),
        }
    }

    fn failed(&self, run_id: RunId, error: StoreError) -> Delivery {
        tracing::error!(target: "squidmesh", %run_id, %error, "a delivery failed; it is tried again after its lease");
        Delivery::Failed(error)
    }
}
