//! The stored record of a cron trigger.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::missed::MissedOccurrences;
use crate::name::{TriggerName, WorkflowName};
use crate::time::Timestamp;

/// The stored record of a cron trigger of a workflow, for all processes and versions together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerRecord {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The trigger.
    pub trigger: TriggerName,
    /// The time at which it was paused; `None` while it fires.
    pub paused_at: Option<Timestamp>,
    /// For each schedule, by its text, the time up to which, inclusive, its occurrences have been processed.
    /// Versions of a workflow may have different schedules, and processes with either may run side by side.
    pub positions: BTreeMap<String, Timestamp>,
    /// Other notes about the trigger.
    pub notes: TriggerNotes,
    /// Counts the changes of this record, starting at 1.
    pub revision: u64,
}

/// Notes about a cron trigger besides its positions. A store saves them as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TriggerNotes {
    /// The actor who last paused or resumed it, if the caller named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The occurrences that were last skipped because they were missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<MissedOccurrences>,
    /// For each schedule, by its text, the position that it had reached by a clock that was ahead. Nothing up to
    /// it counts as missed once the clock reaches it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ahead: BTreeMap<String, Timestamp>,
}

impl TriggerRecord {
    /// Creates an empty record of a trigger.
    pub fn new(workflow: WorkflowName, trigger: TriggerName) -> Self {
        let (positions, notes) = (BTreeMap::new(), TriggerNotes::default());
        TriggerRecord { workflow, trigger, paused_at: None, positions, notes, revision: 0 }
    }
}
