//! Events about cron triggers: facts that concern no run.

use super::missed::{MissedOccurrences, MissedPolicy};
use crate::name::{TriggerName, WorkflowName};
use crate::time::Timestamp;

/// An event about a cron trigger. Emitted once for a deployment, by the process that recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TriggerEvent {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The trigger.
    pub trigger: TriggerName,
    /// The time at which it was noticed, by the store's clock.
    pub at: Timestamp,
    /// The kind of the event.
    pub kind: TriggerEventKind,
}

impl TriggerEvent {
    /// Creates an event about a trigger.
    pub fn new(workflow: WorkflowName, trigger: TriggerName, at: Timestamp, kind: TriggerEventKind) -> Self {
        TriggerEvent { workflow, trigger, at, kind }
    }
}

/// The kind of a trigger event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TriggerEventKind {
    /// Occurrences were missed, and the trigger's policy starts no run for them.
    OccurrencesMissed {
        /// The missed occurrences.
        missed: MissedOccurrences,
        /// The policy of the trigger.
        policy: MissedPolicy,
    },
    /// The trigger was processed up to a time ahead of the store's clock: the clock was ahead before, or is
    /// behind now. The schedule follows the current clock.
    ClockWentBack {
        /// The time up to which the trigger was processed.
        position: Timestamp,
    },
    /// An occurrence was delivered of a workflow or trigger that is not registered in this process. It is left
    /// for a process that registered it.
    UnknownOccurrence {
        /// The intended time of the occurrence.
        intended_at: Timestamp,
    },
}

impl TriggerEventKind {
    /// Returns the name of the event, as in logs.
    pub fn name(&self) -> &'static str {
        match self {
            TriggerEventKind::OccurrencesMissed { .. } => "trigger.occurrences_missed",
            TriggerEventKind::ClockWentBack { .. } => "trigger.clock_went_back",
            TriggerEventKind::UnknownOccurrence { .. } => "trigger.unknown_occurrence",
        }
    }
}
