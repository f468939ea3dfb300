//! The durable state of one step of one run.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Attempt, AttemptStatus, Failure};
use crate::json::given;
use crate::{LeaseToken, RecoveryPolicy, RecoveryRoute, StepName, Target, Timestamp};

/// Where a step of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepStatus {
    /// Scheduled: first time, or again after a failure.
    Pending,
    /// An attempt is open.
    Running,
    /// Waits for a person.
    Paused,
    /// Done; its output is part of the run's context.
    Completed,
    /// Failed for good.
    Failed,
    /// Ended by the cancellation of its run.
    Cancelled,
}

impl StepStatus {
    /// Every status.
    pub const ALL: [StepStatus; 6] = [
        StepStatus::Pending,
        StepStatus::Running,
        StepStatus::Paused,
        StepStatus::Completed,
        StepStatus::Failed,
        StepStatus::Cancelled,
    ];

    /// The name in the database and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            StepStatus::Pending => "pending",
            StepStatus::Running => "running",
            StepStatus::Paused => "paused",
            StepStatus::Completed => "completed",
            StepStatus::Failed => "failed",
            StepStatus::Cancelled => "cancelled",
        }
    }

    /// The status of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        StepStatus::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// The durable state of one step of one run.
///
/// `input` and `recovery` are written once, when the step run is created; everything else moves with its status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRun {
    /// The step.
    pub step: StepName,
    /// Where it is.
    pub status: StepStatus,
    /// The input as it was when the step was scheduled; every attempt gets the same.
    pub input: Arc<Map<String, Value>>,
    /// What may be undone of it, as declared when it was scheduled.
    pub recovery: RecoveryPolicy,
    /// The output, under the key that the step declares; merged into the run's context.
    pub output: Option<Arc<Map<String, Value>>>,
    /// The last attempt's failure.
    pub last_error: Option<Failure>,
    /// The number of the last attempt; 0 before the first.
    pub attempt: u32,
    /// How many attempts count against the step's limit.
    pub failures: u32,
    /// How many attempts in a row ended with their worker.
    pub crashes: u32,
    /// The claim under which the open attempt runs.
    pub lease: Option<LeaseToken>,
    /// Its place in the order in which the steps of the run completed: a counter, not a clock.
    pub sequence: Option<u64>,
    /// What goes on when a person lets it.
    pub resume: Option<Resume>,
    /// What a person did.
    pub manual: Option<ManualAction>,
    /// The recovery routes that its failures took.
    pub routes: Vec<RecoveryRoute>,
    /// The state of its compensation, once that has begun.
    pub compensation: Option<CompensationRun>,
    /// When it was scheduled first.
    pub created_at: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When its last attempt began.
    pub attempt_started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl StepRun {
    /// A step run that has just been scheduled.
    pub fn pending(
        step: StepName,
        input: Arc<Map<String, Value>>,
        recovery: RecoveryPolicy,
        created_at: Timestamp,
    ) -> Self {
        StepRun {
            step,
            status: StepStatus::Pending,
            input,
            recovery,
            output: None,
            last_error: None,
            attempt: 0,
            failures: 0,
            crashes: 0,
            lease: None,
            sequence: None,
            resume: None,
            manual: None,
            routes: Vec::new(),
            compensation: None,
            created_at,
            started_at: None,
            attempt_started_at: None,
            finished_at: None,
        }
    }
}

impl StepRun {
    /// The last attempt, while it is open and if it completed the step. It is part of the step run then, and nowhere else; every
    /// other attempt is in the history.
    pub fn last_attempt(&self) -> Option<Attempt> {
        let (status, finished_at) = match self.status {
            StepStatus::Running | StepStatus::Paused => (AttemptStatus::Running, None),
            StepStatus::Completed => (AttemptStatus::Completed, self.finished_at),
            StepStatus::Pending | StepStatus::Failed | StepStatus::Cancelled => return None,
        };
        Some(Attempt {
            step: self.step.clone(),
            number: self.attempt,
            status,
            error: None,
            // What a resumed run was given as done was not tried by it.
            started_at: self.attempt_started_at.filter(|_| self.attempt > 0)?,
            finished_at,
        })
    }
}

/// Where a paused step goes on, resolved when it paused: a later version of the workflow does not change it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resume {
    /// What follows when the step is resumed or approved.
    pub ok: Target,
    /// What follows when it is rejected; `None` for a pause.
    pub error: Option<Target>,
    /// What follows when the deadline passes without a decision; `None` if there is no deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<Target>,
    /// The key under which the step's output goes.
    pub output_key: Option<String>,
}

/// What a person, or the passing of a deadline, did to a paused step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManualAction {
    /// `resumed`, `approved`, `rejected`, or `expired` when nobody did anything in time.
    pub decision: String,
    /// Who.
    pub actor: Option<String>,
    /// What they said.
    pub comment: Option<String>,
    /// What else they gave.
    pub metadata: Option<Map<String, Value>>,
    /// When.
    pub at: Timestamp,
}

/// Where a compensation callback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CompensationStatus {
    /// It failed, and waits for its next attempt.
    Pending,
    /// The callback runs.
    Running,
    /// It succeeded.
    Completed,
    /// It failed; the remaining callbacks went on.
    Failed,
}

/// The record of one step's compensation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompensationRun {
    /// Where the callback is.
    pub status: CompensationStatus,
    /// What it returned: `null` if that was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub output: Option<Value>,
    /// Why it failed, the last time if it is repeated.
    pub error: Option<Failure>,
    /// How many times it was begun.
    pub attempt: u32,
    /// How many of its attempts failed.
    #[serde(default)]
    pub failures: u32,
    /// How many attempts in a row ended with their worker.
    #[serde(default)]
    pub crashes: u32,
    /// The claim under which it runs.
    pub lease: Option<LeaseToken>,
    /// When it was first begun.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl CompensationRun {
    /// A callback that is about to be begun for the first time.
    pub fn pending(started_at: Timestamp) -> Self {
        CompensationRun {
            status: CompensationStatus::Pending,
            output: None,
            error: None,
            attempt: 0,
            failures: 0,
            crashes: 0,
            lease: None,
            started_at,
            finished_at: None,
        }
    }
}
