//! Cron triggers, for operators: their list, their next occurrences, and pausing them.
//!
//! Knows the stored records of triggers. Never starts a run: the [runner](crate::Runner) does.

use serde::Serialize;

use super::actor::InvalidActor;
use super::keys::occurrence as occurrence_key;
use super::lookup_error::{UnknownTrigger, UnknownWorkflow, declared_trigger};
use super::registry::Scheduled;
use super::{Call, RetryBudget, RetryPolicy, Runtime};
use crate::chain::debug_as_text;
use crate::definition::MissedPolicy;
use crate::name::{TriggerName, WorkflowName};
use crate::port::{StoreError, TriggerRecords};
use crate::schedule::{MissedOccurrences, TriggerRecord, advance, plan};
use crate::time::Timestamp;

/// The maximum number of tries for a change that conflicts with others.
const MAX_CONFLICTS: usize = 100;
/// The maximum number of occurrences to look up because a clock that was ahead may have started them.
const STARTED_AHEAD: usize = 1_000;
/// The maximum number of occurrences to return at once.
const MOST: usize = 10_000;

/// The reasons why a call about a cron trigger failed. Nothing was changed, except that after
/// [`StoreError::OutcomeUnknown`] the change may have been applied, or may yet be.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TriggerError {
    /// No workflow of this name is registered in this process.
    #[error(transparent)]
    UnknownWorkflow(#[from] UnknownWorkflow),
    /// The newest version of the workflow has no such trigger.
    #[error(transparent)]
    UnknownTrigger(#[from] UnknownTrigger),
    /// The trigger has no schedule: only the host starts its runs.
    #[error("trigger {trigger} of workflow {workflow} is manual: it has no schedule")]
    NotCron {
        /// The workflow.
        workflow: WorkflowName,
        /// The trigger.
        trigger: TriggerName,
    },
    /// The trigger kept changing while the call was retried.
    #[error("trigger {trigger} of workflow {workflow} kept changing; try again")]
    Conflict {
        /// The workflow.
        workflow: WorkflowName,
        /// The trigger.
        trigger: TriggerName,
    },
    /// The actor cannot be stored.
    #[error(transparent)]
    Actor(#[from] InvalidActor),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

debug_as_text!(TriggerError);

/// The state of a cron trigger of a registered workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TriggerStatus {
    /// The name of the workflow.
    pub workflow: WorkflowName,
    /// The name of the trigger.
    pub trigger: TriggerName,
    /// The cron expression and the time zone, as in `0 3 * * * Europe/Berlin`.
    pub schedule: String,
    /// The policy for missed occurrences.
    pub missed: MissedPolicy,
    /// When the trigger was paused; `None` while it fires.
    pub paused_at: Option<Timestamp>,
    /// The actor who paused it, or who resumed it last, if one was named.
    pub actor: Option<String>,
    /// The time up to which, inclusive, its occurrences have been handled. `None` if no process has checked it yet:
    /// nothing fires for the time before the first check. A position ahead of the store's clock, which went back
    /// then, is ignored.
    pub position: Option<Timestamp>,
    /// The next occurrence to fire, which may be due already. `None` while the trigger is paused, or if it never
    /// fires again.
    pub next: Option<Timestamp>,
    /// The missed occurrences that were skipped last.
    pub missed_occurrences: Option<MissedOccurrences>,
    /// The reason why the stored record cannot be read, if it cannot: the trigger does not fire.
    pub unreadable: Option<String>,
}

impl Runtime {
    /// Returns the status of every cron trigger of the newest versions, by name.
    pub(crate) async fn triggers(&self) -> Result<Vec<TriggerStatus>, TriggerError> {
        if self.schedules.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.trigger_records().await?;
        let mut all = Vec::with_capacity(self.schedules.len());
        for scheduled in &self.schedules {
            all.push(match found.of(scheduled.workflow.as_str(), scheduled.trigger.as_str()) {
                Ok(record) => self.status(scheduled, record, found.now).await?,
                Err(error) => TriggerStatus { next: None, ..unread(scheduled, Some(error.to_string())) },
            });
        }
        Ok(all)
    }

    /// Returns the stored records of every cron trigger of the newest versions.
    pub(crate) async fn trigger_records(&self) -> Result<TriggerRecords, StoreError> {
        let mut workflows: Vec<_> = self.schedules.iter().map(|scheduled| scheduled.workflow.clone()).collect();
        workflows.dedup();
        self.store.triggers(&workflows).await
    }

    /// Returns the status of a trigger.
    async fn status(
        &self,
        scheduled: &Scheduled,
        record: Option<&TriggerRecord>,
        now: Timestamp,
    ) -> Result<TriggerStatus, StoreError> {
        let mut status = unread(scheduled, None);
        let looked = plan(&scheduled.schedule, scheduled.missed, record, now, 1);
        status.next = looked.due.first().copied().or(looked.next);
        let Some(record) = record else { return Ok(status) };
        status.paused_at = record.paused_at;
        status.actor.clone_from(&record.notes.actor);
        status.position = record.positions.get(&status.schedule).copied();
        status.missed_occurrences.clone_from(&record.notes.missed);
        if let Some(ahead) = looked.ahead.or(record.notes.ahead.get(&status.schedule).copied()) {
            status.next = self.not_started(scheduled, status.next, ahead).await?;
        }
        Ok(status)
    }

    /// Returns the first occurrence, beginning with `first`, that a clock that was ahead has not started already.
    async fn not_started(
        &self,
        scheduled: &Scheduled,
        first: Option<Timestamp>,
        ahead: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut next = first;
        for _ in 0..STARTED_AHEAD {
            let Some(time) = next.filter(|time| *time <= ahead) else { break };
            let key = occurrence_key(&scheduled.trigger, time);
            if self.store.find_by_idempotency_key(&scheduled.workflow, &key).await?.is_none() {
                break;
            }
            next = scheduled.schedule.after(time);
        }
        Ok(next)
    }

    /// Returns the next occurrences of a trigger, whether it is paused or not.
    pub(crate) async fn next_occurrences(
        &self,
        workflow: &str,
        trigger: &str,
        count: usize,
    ) -> Result<Vec<Timestamp>, TriggerError> {
        let scheduled = self.scheduled(workflow, trigger)?;
        let now = self.store.triggers(std::slice::from_ref(&scheduled.workflow)).await?.now;
        Ok(scheduled.schedule.upcoming(now).take(count.min(MOST)).collect())
    }

    /// Pauses or resumes a trigger.
    pub(super) async fn set_paused(
        &self,
        workflow: &str,
        trigger: &str,
        paused: bool,
        actor: Option<String>,
        call: &Call,
    ) -> Result<TriggerStatus, TriggerError> {
        let scheduled = self.scheduled(workflow, trigger)?;
        self.check_actor(actor.as_deref())?;
        let mut budget = RetryBudget::new(RetryPolicy::fail_fast(call));
        let mut lost: Option<StoreError> = None;
        for _ in 0..MAX_CONFLICTS {
            let found = self.store.triggers(std::slice::from_ref(&scheduled.workflow)).await;
            let found = match (found, &lost) {
                (Ok(found), _) => found,
                (Err(error), Some(lost)) if error.is_transient() => {
                    budget.wait_for_answer(&*self.clock, lost).await?;
                    continue;
                }
                (Err(error), _) => return Err(lost.unwrap_or(error).into()),
            };
            let now = found.now;
            let mut record = scheduled.record(found.of(workflow, trigger)?);
            if record.paused_at.is_some() == paused && record.revision > 0 {
                return Ok(self.status(scheduled, Some(&record), now).await?);
            }
            record.paused_at = paused.then_some(now);
            record.notes.actor.clone_from(&actor);
            if !paused {
                advance(&mut record, &scheduled.schedule, now, now);
            }
            record.revision += 1;
            call.record_sent();
            match self.store.compare_and_set_trigger(&record).await {
                Ok(true) => {
                    let doing = if paused { "paused" } else { "resumed" };
                    tracing::info!(target: "squidmesh", %workflow, %trigger, "a cron trigger was {doing}");
                    self.trigger_changed.notify(usize::MAX);
                    return Ok(self.status(scheduled, Some(&record), now).await?);
                }
                Ok(false) => call.record_answer(),
                // The record may have been written: read it again. If it has the wanted state, the call succeeds.
                Err(source @ (StoreError::Unavailable { .. } | StoreError::OutcomeUnknown { .. })) => {
                    let unknown = StoreError::OutcomeUnknown { source: source.into() };
                    call.record_error(&unknown);
                    budget.wait_for_answer(&*self.clock, &unknown).await?;
                    lost = Some(unknown);
                }
                Err(error) => return Err(lost.unwrap_or(error).into()),
            }
        }
        if let Some(lost) = lost {
            return Err(lost.into());
        }
        let (workflow, trigger) = (scheduled.workflow.clone(), scheduled.trigger.clone());
        Err(TriggerError::Conflict { workflow, trigger })
    }

    /// Returns a cron trigger of the newest version of a workflow.
    fn scheduled(&self, workflow: &str, trigger: &str) -> Result<&Scheduled, TriggerError> {
        let definition = self.registry.registered(workflow)?.definition();
        let declared = declared_trigger(definition, trigger)?;
        let mut schedules = self.schedules.iter();
        schedules.find(|found| found.workflow == *definition.name() && found.trigger == *declared.name()).ok_or_else(
            || TriggerError::NotCron { workflow: definition.name().clone(), trigger: declared.name().clone() },
        )
    }
}

/// Returns the part of a trigger's status that its declaration determines.
fn unread(scheduled: &Scheduled, unreadable: Option<String>) -> TriggerStatus {
    TriggerStatus {
        workflow: scheduled.workflow.clone(),
        trigger: scheduled.trigger.clone(),
        schedule: scheduled.schedule.to_string(),
        missed: scheduled.missed,
        paused_at: None,
        actor: None,
        position: None,
        next: None,
        missed_occurrences: None,
        unreadable,
    }
}
