//! One attempt of a step run.

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::name::{StepName, names};
use crate::time::Timestamp;

/// The status of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttemptStatus {
    /// The handler runs, or its worker died and this was not noticed yet.
    Running,
    /// It succeeded.
    Completed,
    /// It failed.
    Failed,
    /// It was interrupted by an orderly shutdown and does not count.
    Interrupted,
}

names! {
    AttemptStatus, "the database and JSON":
    Running = "running",
    Completed = "completed",
    Failed = "failed",
    Interrupted = "interrupted",
}

/// One attempt of one step of one run. Attempts of a step are numbered 1, 2, … without gaps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The step that was attempted.
    pub step: StepName,
    /// The number of the attempt, starting at 1.
    pub number: u32,
    /// The status of the attempt.
    pub status: AttemptStatus,
    /// The failure, if it failed.
    pub error: Option<Failure>,
    /// The time at which it began.
    pub started_at: Timestamp,
    /// The time at which it ended, if it has.
    pub finished_at: Option<Timestamp>,
}

impl Attempt {
    /// Creates an attempt that begins now.
    pub fn begin(step: StepName, number: u32, now: Timestamp) -> Self {
        Attempt { step, number, status: AttemptStatus::Running, error: None, started_at: now, finished_at: None }
    }
}
