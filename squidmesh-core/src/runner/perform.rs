//! The way in for payloads from a queue.

use super::schedule::occur;
use super::{Delivery, Runner};
use crate::{
    DeliveryPayload, InvalidPayload, RunId, SingleClaim, SkipReason, StartError, StoreError, TriggerName, WorkflowName,
};

/// Why a payload was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PerformError {
    /// It is no payload: park it where an operator sees it. An unknown version is to be left for a newer process.
    #[error(transparent)]
    InvalidPayload(#[from] InvalidPayload),
    /// The occurrence of a cron trigger could not be started.
    #[error("the run of an occurrence of trigger {trigger} of workflow {workflow} was not started")]
    Cron {
        /// The workflow.
        workflow: WorkflowName,
        /// The trigger.
        trigger: TriggerName,
        /// Why.
        #[source]
        source: Box<StartError>,
    },
    /// The store failed: deliver it again later.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Runner {
    /// Carries out a payload as it came from a queue. Duplicate, stale and late deliveries are no-ops.
    ///
    /// Dropping the future leaves the claim to its lease; nothing committed is undone.
    ///
    /// # Errors
    /// [`PerformError`]; nothing was touched.
    pub async fn perform(&self, payload: &[u8]) -> Result<Delivery, PerformError> {
        let payload = DeliveryPayload::parse(payload)?;
        match payload.intent() {
            Some(key) => self.perform_intent(key.run_id, &key).await,
            None => self.perform_cron(payload).await,
        }
    }

    async fn perform_intent(&self, run_id: RunId, key: &crate::IntentKey) -> Result<Delivery, PerformError> {
        let Some(state) = self.runtime.store.load(run_id).await? else {
            return Ok(Delivery::Skipped(SkipReason::NoIntent));
        };
        let step = key.target.step();
        let known = self.runtime.registry.version(&state.run.fingerprint).is_some();
        if !known && !self.runtime.adopt_if_stranded(&state.run).await? {
            return Ok(self.skipped(&state.run, step, SkipReason::UnknownDefinition));
        }
        let token = self.runtime.entropy.lease_token();
        let claims = self.runtime.store.claim_keys(std::slice::from_ref(key), token, self.runtime.config.lease).await?;
        Ok(match claims.into_iter().next().map_or(Err(SkipReason::NoIntent), SingleClaim::claimed) {
            Ok(claim) => self.deliver(*claim).await,
            Err(reason) => self.skipped(&state.run, step, reason),
        })
    }

    /// An occurrence that a scheduler of the host's own delivers. It is the same one that this runtime would have fired itself:
    /// whoever comes first starts its run.
    async fn perform_cron(&self, payload: DeliveryPayload) -> Result<Delivery, PerformError> {
        let DeliveryPayload::Cron { workflow, trigger, intended_at } = payload else {
            return Ok(Delivery::Skipped(SkipReason::NoIntent));
        };
        let registered = self.runtime.registry.newest(workflow.as_str());
        if registered.is_none_or(|found| found.definition().trigger(trigger.as_str()).is_none()) {
            return Ok(Delivery::Skipped(SkipReason::UnknownDefinition));
        }
        let kept = self.runtime.store.triggers(std::slice::from_ref(&workflow)).await?;
        if kept.of(workflow.as_str(), trigger.as_str()).is_some_and(|record| record.paused_at.is_some()) {
            return Ok(Delivery::Skipped(SkipReason::TriggerPaused));
        }
        match occur(&self.runtime, &workflow, &trigger, intended_at).await {
            Ok(_) => Ok(Delivery::Done { steps: 0 }),
            Err(StartError::Store(error)) => Err(error.into()),
            Err(error) => Err(PerformError::Cron { workflow, trigger, source: Box::new(error) }),
        }
    }
}
