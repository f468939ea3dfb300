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
        let hot = self.runtime.hot.run(lease.key.run_id);
        match state {
            Ok(Some(state)) => hot.offer(state),
            Ok(None) => {}
            Err(error) => return self.failed(hot.id(), error),
        }
        match lease.key.target.clone() {
            DispatchTarget::Step(step) => self.deliver_step(lease, step, &hot).await,
            DispatchTarget::Compensation => self.deliver_compensation(lease, &hot).await,
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

    /// What a decision that could not be taken means for the delivery. `run` is what was seen of the run last, if anything was.
    pub(super) async fn undecided(
        &self,
        id: RunId,
        run: Option<&Run>,
        step: Option<&StepName>,
        error: DecideError<InvalidTransition>,
    ) -> Delivery {
        let reason = match error {
            DecideError::Fenced(_) => SkipReason::LeaseLost,
            DecideError::NotFound(_) => SkipReason::NoIntent,
            DecideError::UnknownDefinition(_) => SkipReason::UnknownDefinition,
            DecideError::KeyTaken(id) | DecideError::Conflict(id) => {
                let source = "the run kept changing while its step was carried out".into();
                return self.failed(id, StoreError::Unavailable { doing: "deciding about a run", source });
            }
            DecideError::Refused(error) => {
                let reason = error.to_string();
                return self.failed(id, StoreError::Corrupt { what: format!("run {id}"), reason });
            }
            DecideError::Store(error) => return self.failed(id, error),
        };
        if let Some(run) = run {
            return self.skipped(run, step, reason);
        }
        // An event names more than an id does.
        match self.runtime.store.load(id).await {
            Ok(Some(found)) => self.skipped(&found.run, step, reason),
            _ => Delivery::Skipped(reason),
        }
    }

    fn failed(&self, run_id: RunId, error: StoreError) -> Delivery {
        tracing::error!(target: "squidmesh", %run_id, %error, "a delivery failed; it is tried again after its lease");
        Delivery::Failed(error)
    }
}
