//! How a delivery ends: the outcome for the queue, and the event of one that changed nothing.

use std::time::Duration;

use super::shared::Runner;
use crate::dispatch::Lease;
use crate::event::{Event, EventKind, IgnoreReason};
use crate::id::RunId;
use crate::name::StepName;
use crate::port::StoreError;
use crate::run::{InvalidTransition, Run, RunSnapshot};
use crate::runtime::{Announcement, DecideError, RunKeptChanging};
use crate::time::Timestamp;

/// The result of a delivery. With any of them, the queue can discard the message.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeliveryOutcome {
    /// The target was executed, along with the successors that the same worker continued with.
    Done {
        /// The number of executed steps or compensation callbacks, including failed ones.
        steps: usize,
    },
    /// No step was executed. The delivery may have removed its intent, advanced past a completed step, or ended a
    /// cancelled run.
    Ignored(IgnoreReason),
    /// The store or the stored run prevented the execution. The intent is delivered again once its lease has expired.
    Failed(StoreError),
}

/// The number of a step's last attempt, and how long it took or has taken so far.
pub(super) type Tried = Option<(u32, Duration)>;

/// Returns the last attempt of a step of a run.
pub(super) fn tried(state: &RunSnapshot, step: Option<&StepName>, now: Timestamp) -> Tried {
    state.steps.get(step?)?.tried(now)
}

impl Runner {
    /// Emits that a delivery was ignored, with the step's last attempt if it is known.
    pub(super) fn ignore(
        &self,
        run: &Run,
        step: Option<&StepName>,
        tried: Tried,
        reason: IgnoreReason,
    ) -> DeliveryOutcome {
        let (attempt, duration) = tried.unzip();
        let kind = EventKind::DeliveryIgnored { step: step.cloned(), attempt, duration, reason };
        let events = vec![Event::new(run, self.runtime.clock.now(), kind)];
        self.runtime.announce(&Announcement { events, intents: Vec::new() });
        DeliveryOutcome::Ignored(reason)
    }

    /// Releases a claim on a run that was adopted by a version that is not registered here.
    pub(super) async fn release_unregistered(
        &self,
        lease: &Lease,
        run: &Run,
        step: Option<&StepName>,
    ) -> DeliveryOutcome {
        match self.runtime.store.release_leases(std::slice::from_ref(lease), Duration::ZERO).await {
            Ok(()) => {
                self.runtime.store.notify_work();
                self.ignore(run, step, None, IgnoreReason::UnknownDefinition)
            }
            Err(error) => self.failed(run.id, error),
        }
    }

    /// Maps a failed decision to a delivery outcome. `run` and `attempt` are the last known state of the run, if any.
    pub(super) async fn outcome_of(
        &self,
        id: RunId,
        run: Option<&Run>,
        step: Option<&StepName>,
        attempt: Tried,
        error: DecideError<InvalidTransition>,
    ) -> DeliveryOutcome {
        let reason = match error {
            DecideError::Fenced(_) => IgnoreReason::LeaseLost,
            DecideError::NotFound(_) => IgnoreReason::NoIntent,
            DecideError::UnknownDefinition(_) => IgnoreReason::UnknownDefinition,
            DecideError::KeyTaken(id) | DecideError::Conflict(RunKeptChanging { run: id }) => {
                let source = "the run kept changing while its step was executed".into();
                return self.failed(id, StoreError::Unavailable { doing: "deciding about a run", source });
            }
            DecideError::Refused(error) => {
                let reason = error.to_string();
                return self.failed(id, StoreError::Corrupt { what: format!("run {id}"), reason });
            }
            DecideError::Store(error) => return self.failed(id, error),
        };
        if let Some(run) = run {
            return self.ignore(run, step, attempt, reason);
        }
        // An event carries more than the run's id.
        match self.runtime.store.load(id).await {
            Ok(Some(found)) => {
                let tried = tried(&found, step, self.runtime.clock.now());
                self.ignore(&found.run, step, tried, reason)
            }
            _ => DeliveryOutcome::Ignored(reason),
        }
    }

    pub(super) fn failed(&self, run_id: RunId, error: StoreError) -> DeliveryOutcome {
        tracing::error!(target: "squidmesh", %run_id, %error, "a delivery failed; the intent is delivered again once its lease expires");
        DeliveryOutcome::Failed(error)
    }
}
