//! How long an approval waits for its decision.
//!
//! Data only; must never know the clock.

use std::time::Duration;

use serde::Serialize;

use super::duration::millis;
use super::transition::Target;

/// How long an approval waits for its decision, and what follows when there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Deadline {
    /// How long, from when the run has paused, with millisecond precision.
    #[serde(rename = "after_ms", with = "millis")]
    pub after: Duration,
    /// What follows then; without it the error transition is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Target>,
}
