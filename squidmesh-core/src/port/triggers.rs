//! The records of cron triggers as a store returns them.

use super::error::StoreError;
use crate::schedule::TriggerRecord;
use crate::time::Timestamp;

/// The stored records of cron triggers, and the time.
#[derive(Debug)]
pub struct TriggerRecords {
    /// The time by the store's clock.
    pub now: Timestamp,
    /// The records. Triggers that no process has checked yet have none.
    pub records: Vec<TriggerRecord>,
    /// The records that cannot be read.
    pub unreadable: Vec<UnreadableTrigger>,
}

/// A record of a cron trigger that cannot be read. It stops that trigger, and no other.
#[derive(Debug)]
pub struct UnreadableTrigger {
    /// The workflow.
    pub workflow: String,
    /// The trigger; `None` if its name cannot be read either: it may be any trigger of the workflow.
    pub trigger: Option<String>,
    /// The error, [`StoreError::Corrupt`].
    pub error: StoreError,
}

impl TriggerRecords {
    /// Creates records that were read at a time and are all readable.
    pub fn new(now: Timestamp, records: Vec<TriggerRecord>) -> Self {
        TriggerRecords { now, records, unreadable: Vec::new() }
    }

    /// Returns the record of a trigger, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the record cannot be read.
    pub fn of(&self, workflow: &str, trigger: &str) -> Result<Option<&TriggerRecord>, StoreError> {
        let mut records = self.records.iter();
        let found = records.find(|record| record.workflow.as_str() == workflow && record.trigger.as_str() == trigger);
        if found.is_some() {
            return Ok(found);
        }
        let is_of_it = |lost: &&UnreadableTrigger| {
            lost.workflow == workflow && lost.trigger.as_ref().is_none_or(|name| name == trigger)
        };
        self.unreadable.iter().find(is_of_it).map_or(Ok(None), |lost| Err(lost.error.copy()))
    }
}
