//! The entry for messages from a queue.

use std::sync::Arc;

use super::outcome::{DeliveryOutcome, tried};
use super::schedule::occur;
use super::shared::Runner;
use crate::chain::debug_as_text;
use crate::dispatch::{DeliveryMessage, IntentKey, InvalidMessage};
use crate::event::IgnoreReason;
use crate::name::{TriggerName, WorkflowName};
use crate::port::StoreError;
use crate::run::{Run, RunSnapshot};
use crate::runtime::{Occurs, StartError};
use crate::schedule::{LATE, TriggerEvent, TriggerEventKind};

/// The reasons why a message was not executed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PerformError {
    /// The message is invalid: park it where an operator sees it. Leave an unknown version for a newer process.
    #[error(transparent)]
    InvalidMessage(#[from] InvalidMessage),
    /// The message is an occurrence of a workflow or trigger that this process does not have, such as during a
    /// rolling deploy. Leave it for a process that has it, or park it where an operator sees it; never discard it.
    #[error(
        "no version of workflow {workflow} that is registered here has a trigger {trigger}: leave the occurrence for a process that has it"
    )]
    UnknownTrigger {
        /// The workflow.
        workflow: WorkflowName,
        /// The trigger.
        trigger: TriggerName,
    },
    /// The run of a cron trigger's occurrence could not be started.
    #[error("the run of an occurrence of trigger {trigger} of workflow {workflow} was not started")]
    Cron {
        /// The workflow.
        workflow: WorkflowName,
        /// The trigger.
        trigger: TriggerName,
        /// Why the run was not started.
        #[source]
        source: Box<StartError>,
    },
    /// The store failed: deliver the message again later.
    #[error(transparent)]
    Store(#[from] StoreError),
}

debug_as_text!(PerformError);

impl Runner {
    /// Executes a message as it came from a queue. Duplicate, stale and late deliveries change nothing.
    ///
    /// Dropping the future leaves the claim until its lease expires; nothing committed is undone.
    ///
    /// # Errors
    /// [`PerformError`]: no step was executed. Delivering the message again is safe.
    pub async fn perform(&self, payload: &[u8]) -> Result<DeliveryOutcome, PerformError> {
        let payload = DeliveryMessage::parse(payload)?;
        match payload.intent() {
            Some(key) => self.perform_intent(&key).await,
            None => self.perform_cron(payload).await,
        }
    }

    async fn perform_intent(&self, key: &IntentKey) -> Result<DeliveryOutcome, PerformError> {
        let (step, now) = (key.target.step(), self.runtime.clock.now());
        let is_known = |run: &Run| self.runtime.registry.version(&run.fingerprint).is_some();
        let see = |state: &RunSnapshot| (state.run.clone(), tried(state, step, now));
        // Cached from here on, so that a wide run is not loaded again for its claim.
        let cached = self.runtime.run_cache.run(key.run_id);
        // The cached run may miss that the run was adopted meanwhile.
        let seen = cached.read(self.runtime.turn_timeout(), see).await.filter(|(run, _)| is_known(run));
        let (run, tried) = match seen {
            Some(seen) => seen,
            None => {
                let Some(state) = self.runtime.store.load(key.run_id).await? else {
                    return Ok(DeliveryOutcome::Ignored(IgnoreReason::NoIntent));
                };
                let seen = see(&state);
                cached.insert_if_newer(Arc::new(state));
                seen
            }
        };
        if !is_known(&run) && !self.runtime.adopt_if_stranded(&run).await? {
            return Ok(self.ignore(&run, step, tried, IgnoreReason::UnknownDefinition));
        }
        self.urgency.forget();
        let claims = self.try_claim_keys(std::slice::from_ref(key)).await?;
        Ok(match claims.into_iter().next().unwrap_or(Err(IgnoreReason::NoIntent)) {
            Ok(claim) => self.deliver(claim).await,
            Err(reason) => self.ignore(&run, step, tried, reason),
        })
    }

    /// Handles an occurrence that the host's own scheduler delivers. This runtime would fire the same occurrence
    /// itself: the first of the two to come starts its run.
    async fn perform_cron(&self, payload: DeliveryMessage) -> Result<DeliveryOutcome, PerformError> {
        let DeliveryMessage::Cron { workflow, trigger, intended_at } = payload else {
            return Ok(DeliveryOutcome::Ignored(IgnoreReason::NoIntent));
        };
        let known = self.runtime.registry.occurs(&workflow, &trigger, intended_at);
        if known == Occurs::Never {
            return Err(InvalidMessage::NoOccurrence { workflow, trigger, intended_at }.into());
        }
        if known == Occurs::ByHand {
            return Err(InvalidMessage::ManualTrigger { workflow, trigger }.into());
        }
        let kept = self.runtime.store.triggers(std::slice::from_ref(&workflow)).await?;
        if known == Occurs::Unknown {
            let kind = TriggerEventKind::UnknownOccurrence { intended_at };
            self.runtime.announce_trigger(&TriggerEvent::new(workflow.clone(), trigger.clone(), kept.now, kind));
            return Err(PerformError::UnknownTrigger { workflow, trigger });
        }
        let record = kept.of(workflow.as_str(), trigger.as_str())?;
        if record.is_some_and(|record| record.paused_at.is_some()) {
            return Ok(DeliveryOutcome::Ignored(IgnoreReason::TriggerPaused));
        }
        if intended_at > kept.now.after(LATE) {
            return Ok(DeliveryOutcome::Ignored(IgnoreReason::NotDue));
        }
        match occur(&self.runtime, &workflow, &trigger, intended_at).await {
            Ok(_) => Ok(DeliveryOutcome::Done { steps: 0 }),
            Err(StartError::Store(error)) => Err(error.into()),
            Err(error) => Err(PerformError::Cron { workflow, trigger, source: Box::new(error) }),
        }
    }
}
