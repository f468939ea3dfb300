//! How long an approval waits for its decision.
//!
//! Data only; must never know the clock.

use std::time::Duration;

use serde::Serialize;

use super::duration::millis;
use super::transition::Target;

/// The deadline of an approval, and what follows when it passes without a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Deadline {
    /// How long the approval waits after the run has paused, with millisecond precision.
    #[serde(rename = "after_ms", with = "millis")]
    pub after: Duration,
    /// The target that follows when the deadline passes; without one, the error transition is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Target>,
}
