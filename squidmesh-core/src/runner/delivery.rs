//! Delivering a claim on any kind of target.

use super::claim::HeldClaim;
use super::outcome::DeliveryOutcome;
use super::shared::Runner;
use crate::dispatch::DispatchTarget;
use crate::port::Claim;

impl Runner {
    /// Delivers a claim: begins, executes and records, and continues with the successor if it is due at once.
    ///
    /// Dropping the future leaves the claim until its lease expires; nothing committed is undone.
    pub async fn deliver(&self, claim: HeldClaim) -> DeliveryOutcome {
        let HeldClaim { claim: Claim { lease, state }, held, cached } = claim;
        match state {
            Ok(Some(state)) => cached.insert_if_newer(state),
            Ok(None) => {}
            Err(error) => return self.failed(cached.id(), error),
        }
        match lease.key.target {
            DispatchTarget::Step(step) => self.deliver_step(held, step, &cached).await,
            DispatchTarget::Compensation => self.deliver_compensation(held, &cached).await,
        }
    }
}
