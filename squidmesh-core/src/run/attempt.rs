//! One try of a step run.

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::{StepName, Timestamp};

/// How one try went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttemptStatus {
    /// The handler runs, or its worker died and nobody has noticed yet.
    Running,
    /// It succeeded.
    Completed,
    /// It failed.
    Failed,
    /// It was cut off by an orderly shutdown and does not count.
    Interrupted,
}

impl AttemptStatus {
    /// The name in the database and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            AttemptStatus::Running => "running",
            AttemptStatus::Completed => "completed",
            AttemptStatus::Failed => "failed",
            AttemptStatus::Interrupted => "interrupted",
        }
    }

    /// The status of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [AttemptStatus::Running, AttemptStatus::Completed, AttemptStatus::Failed, AttemptStatus::Interrupted]
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

/// One try of one step of one run. Attempts of a step are numbered 1, 2, … without gaps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The step that was tried.
    pub step: StepName,
    /// The number of the try, from 1.
    pub number: u32,
    /// How it went.
    pub status: AttemptStatus,
    /// Why it failed, if it did.
    pub error: Option<Failure>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended, if it has.
    pub finished_at: Option<Timestamp>,
}

impl Attempt {
    /// An attempt that begins now.
    pub fn begin(step: StepName, number: u32, now: Timestamp) -> Self {
        Attempt { step, number, status: AttemptStatus::Running, error: None, started_at: now, finished_at: None }
    }
}
