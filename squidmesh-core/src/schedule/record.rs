//! What is kept of a cron trigger.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, TriggerName, WorkflowName};

/// What is kept of a cron trigger of a workflow, for all processes and versions together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerRecord {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The trigger.
    pub trigger: TriggerName,
    /// When it was paused; `None` while it fires.
    pub paused_at: Option<Timestamp>,
    /// Up to which time, inclusive, the occurrences of a schedule have been dealt with, by the text of the schedule. Versions of a
    /// workflow may have different schedules, and processes with either may run side by side.
    pub positions: BTreeMap<String, Timestamp>,
    /// Counts the changes of this record, from 1.
    pub revision: u64,
}

impl TriggerRecord {
    /// The record of a trigger of which nothing is known.
    pub fn new(workflow: WorkflowName, trigger: TriggerName) -> Self {
        TriggerRecord { workflow, trigger, paused_at: None, positions: BTreeMap::new(), revision: 0 }
    }
}

/// What is kept of cron triggers, and the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerRecords {
    /// The time by the store's clock.
    pub now: Timestamp,
    /// What is kept; nothing of triggers that nobody has looked at yet.
    pub records: Vec<TriggerRecord>,
}

impl TriggerRecords {
    /// Records, read at a time.
    pub fn new(now: Timestamp, records: Vec<TriggerRecord>) -> Self {
        TriggerRecords { now, records }
    }

    /// What is kept of a trigger.
    pub fn of(&self, workflow: &str, trigger: &str) -> Option<&TriggerRecord> {
        self.records.iter().find(|record| record.workflow.as_str() == workflow && record.trigger.as_str() == trigger)
    }
}
