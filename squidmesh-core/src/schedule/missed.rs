//! Occurrences that were missed: the policy for them, and what is recorded of them.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The policy for occurrences of a schedule that were missed while nothing ran. An occurrence was missed if no
/// process checked within a minute of it. The policy is part of the workflow's fingerprint, like the expression:
/// changing it makes another version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedPolicy {
    /// Skips them; the next occurrence fires at its time.
    #[default]
    Skip,
    /// Starts one run for all of them; its intended time is that of the last.
    Once,
    /// Starts a run for each, the earliest first. After a long outage there may be many: they are started in
    /// batches.
    All,
}

/// Occurrences of a cron trigger that were missed, for example while no process ran, and for which no run was
/// started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MissedOccurrences {
    /// The number of occurrences. 10,000 stands for 10,000 or more.
    pub count: u64,
    /// The first missed occurrence.
    pub first: Timestamp,
    /// The last missed occurrence.
    pub last: Timestamp,
    /// The time at which they were skipped, by the store's clock.
    pub noticed_at: Timestamp,
}
