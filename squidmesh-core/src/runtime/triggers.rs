//! Cron triggers, for operators: what there is, when it fires next, and a pause.
//!
//! Knows what is kept of triggers. Never starts a run: the [runner](crate::Runner) does.

use serde::Serialize;

use super::Runtime;
use super::registry::Scheduled;
use crate::schedule::advance;
use crate::{MissedPolicy, StoreError, Timestamp, TriggerName, TriggerRecord, TriggerRecords, WorkflowName};

/// How often a change is tried that others get in the way of.
const CONFLICTS: usize = 100;
/// The most occurrences that are told at once.
const MOST: usize = 10_000;

/// Why nothing was done about a cron trigger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TriggerError {
    /// No workflow of this name is registered in this process.
    #[error("no workflow {workflow:?} is registered; registered are: {}", list(.registered))]
    UnknownWorkflow {
        /// As asked for.
        workflow: String,
        /// What there is.
        registered: Vec<WorkflowName>,
    },
    /// The newest version of the workflow has no such trigger.
    #[error("workflow {workflow} has no trigger {trigger:?}; it has: {}", list(.triggers))]
    UnknownTrigger {
        /// The workflow.
        workflow: WorkflowName,
        /// As asked for.
        trigger: String,
        /// What there is.
        triggers: Vec<TriggerName>,
    },
    /// The trigger has no schedule: only the host pulls it.
    #[error("trigger {trigger} of workflow {workflow} is manual: it has no schedule")]
    NotCron {
        /// The workflow.
        workflow: WorkflowName,
        /// The trigger.
        trigger: TriggerName,
    },
    /// Others kept changing the trigger; the call was given up after many tries.
    #[error("trigger {trigger} of workflow {workflow} kept changing; try again")]
    Conflict {
        /// The workflow.
        workflow: WorkflowName,
        /// The trigger.
        trigger: TriggerName,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list<T: ToString>(names: &[T]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A cron trigger of a registered workflow, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TriggerStatus {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The trigger.
    pub trigger: TriggerName,
    /// The expression and the time zone, as in `0 3 * * * Europe/Berlin`.
    pub schedule: String,
    /// What happens to occurrences that were missed.
    pub missed: MissedPolicy,
    /// When it was paused; `None` while it fires.
    pub paused_at: Option<Timestamp>,
    /// Up to which time, inclusive, its occurrences have been dealt with; `None` if no process has looked at it yet, and so
    /// nothing fires for the time before.
    pub position: Option<Timestamp>,
    /// When it fires next, after the time of the store's clock; `None` while it is paused.
    pub next: Option<Timestamp>,
}

impl Runtime {
    /// How every cron trigger of the newest versions stands, by name.
    pub(super) async fn triggers(&self) -> Result<Vec<TriggerStatus>, TriggerError> {
        let mut workflows: Vec<WorkflowName> = self.schedules.iter().map(|found| found.workflow.clone()).collect();
        workflows.dedup();
        if workflows.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.store.triggers(&workflows).await?;
        Ok(self.schedules.iter().map(|scheduled| status(scheduled, &found)).collect())
    }

    /// The next occurrences of a trigger, whether it is paused or not.
    pub(super) async fn next_occurrences(
        &self,
        workflow: &str,
        trigger: &str,
        count: usize,
    ) -> Result<Vec<Timestamp>, TriggerError> {
        let scheduled = self.scheduled(workflow, trigger)?;
        let now = self.store.triggers(std::slice::from_ref(&scheduled.workflow)).await?.now;
        Ok(scheduled.schedule.upcoming(now).take(count.min(MOST)).collect())
    }

    /// Stops a trigger from firing, or lets it fire again.
    pub(super) async fn set_paused(
        &self,
        workflow: &str,
        trigger: &str,
        paused: bool,
    ) -> Result<TriggerStatus, TriggerError> {
        let scheduled = self.scheduled(workflow, trigger)?;
        for _ in 0..CONFLICTS {
            let mut found = self.store.triggers(std::slice::from_ref(&scheduled.workflow)).await?;
            let now = found.now;
            let stored = found.of(workflow, trigger).cloned();
            let mut record =
                stored.unwrap_or_else(|| TriggerRecord::new(scheduled.workflow.clone(), scheduled.trigger.clone()));
            if record.paused_at.is_some() == paused && record.revision > 0 {
                return Ok(status(scheduled, &found));
            }
            record.paused_at = paused.then_some(now);
            if !paused {
                advance(&mut record, &scheduled.schedule, now);
            }
            record.revision += 1;
            if self.store.put_trigger(&record).await? {
                let doing = if paused { "paused" } else { "resumed" };
                tracing::info!(target: "squidmesh", %workflow, %trigger, "a cron trigger was {doing}");
                self.trigger_changed.notify(usize::MAX);
                found.records = vec![record];
                return Ok(status(scheduled, &found));
            }
        }
        let (workflow, trigger) = (scheduled.workflow.clone(), scheduled.trigger.clone());
        Err(TriggerError::Conflict { workflow, trigger })
    }

    /// A cron trigger of the newest version of a workflow.
    fn scheduled(&self, workflow: &str, trigger: &str) -> Result<&Scheduled, TriggerError> {
        let registered = self.registry.newest(workflow).ok_or_else(|| TriggerError::UnknownWorkflow {
            workflow: workflow.to_owned(),
            registered: self.registry.names(),
        })?;
        let definition = registered.definition();
        let declared = definition.trigger(trigger).ok_or_else(|| TriggerError::UnknownTrigger {
            workflow: definition.name().clone(),
            trigger: trigger.to_owned(),
            triggers: definition.triggers().iter().map(|trigger| trigger.name().clone()).collect(),
        })?;
        let mut schedules = self.schedules.iter();
        schedules.find(|found| found.workflow == *definition.name() && found.trigger == *declared.name()).ok_or_else(
            || TriggerError::NotCron { workflow: definition.name().clone(), trigger: declared.name().clone() },
        )
    }
}

fn status(scheduled: &Scheduled, found: &TriggerRecords) -> TriggerStatus {
    let record = found.of(scheduled.workflow.as_str(), scheduled.trigger.as_str());
    let (schedule, paused_at) = (scheduled.schedule.to_string(), record.and_then(|record| record.paused_at));
    TriggerStatus {
        workflow: scheduled.workflow.clone(),
        trigger: scheduled.trigger.clone(),
        missed: scheduled.missed,
        paused_at,
        position: record.and_then(|record| record.positions.get(&schedule).copied()),
        next: if paused_at.is_some() { None } else { scheduled.schedule.after(found.now) },
        schedule,
    }
}
