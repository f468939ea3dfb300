//! The durable state of one step of one run.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Attempt, AttemptStatus, Failure, FailureKind, InputSnapshot};
use crate::definition::{Guard, RecoveryPolicy, RecoveryRoute, Target, Transition, TransitionOutcome};
use crate::json::given;
use crate::name::{SignalName, StepName, names};
use crate::time::Timestamp;
use crate::token::LeaseToken;

/// The status of a step of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepStatus {
    /// The step is scheduled: for the first time, or again after a failure.
    Pending,
    /// An attempt is open.
    Running,
    /// The step waits for a person or a signal.
    Paused,
    /// The step completed; its output is part of the run's context.
    Completed,
    /// The step failed permanently.
    Failed,
    /// The step was ended by the cancellation of its run.
    Cancelled,
}

names! {
    StepStatus, "the database and JSON":
    Pending = "pending",
    Running = "running",
    Paused = "paused",
    Completed = "completed",
    Failed = "failed",
    Cancelled = "cancelled",
}

/// The durable state of one step of one run.
///
/// `recovery` is written once, when the step run is created; everything else changes with its status. `input` never
/// changes its meaning, only from a reference to a copy, see [`InputSnapshot`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRun {
    /// The name of the step.
    pub step: StepName,
    /// The status of the step.
    pub status: StepStatus,
    /// The input as it was when the step was scheduled; every attempt receives the same.
    pub input: InputSnapshot,
    /// The recovery policy, as declared when the step was scheduled.
    pub recovery: RecoveryPolicy,
    /// The output, under the key that the step declares; it is merged into the run's context.
    pub output: Option<Arc<Map<String, Value>>>,
    /// The failure of the last attempt.
    pub last_error: Option<Failure>,
    /// The number of the last attempt; 0 before the first.
    pub attempt: u32,
    /// The number of attempts that count against the step's limit.
    pub failures: u32,
    /// The number of attempts in a row whose worker crashed. The last one that was closed as stale is not counted
    /// yet: its worker may still return.
    pub crashes: u32,
    /// The token of the claim under which the open attempt runs.
    pub lease: Option<LeaseToken>,
    /// The position of the step in the order in which the steps of the run completed, or failed and took their
    /// error transition: a counter, not a clock.
    pub sequence: Option<u64>,
    /// The time before which no dependent of the step begins, if the step asked for a delay; only in a dependency
    /// workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successors_at: Option<Timestamp>,
    /// What a paused step waits for, and what follows it.
    pub continuation: Option<PausedContinuation>,
    /// The decision about a paused step.
    pub manual: Option<ManualAction>,
    /// The recovery routes that the step's failures took.
    pub routes: Vec<RecoveryRoute>,
    /// The transition by which the run left the step, if there was a choice. It is chosen once, with the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Transition>,
    /// The state of the step's compensation, once that has begun.
    pub compensation: Option<CompensationRun>,
    /// The time at which the step was first scheduled.
    pub created_at: Timestamp,
    /// The time at which its first attempt began.
    pub started_at: Option<Timestamp>,
    /// The time at which its last attempt began.
    pub attempt_started_at: Option<Timestamp>,
    /// The time at which the step ended.
    pub finished_at: Option<Timestamp>,
}

impl StepRun {
    /// Creates a step run that has just been scheduled.
    pub fn pending(step: StepName, input: InputSnapshot, recovery: RecoveryPolicy, created_at: Timestamp) -> Self {
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
            successors_at: None,
            continuation: None,
            manual: None,
            routes: Vec::new(),
            taken: None,
            compensation: None,
            created_at,
            started_at: None,
            attempt_started_at: None,
            finished_at: None,
        }
    }

    /// Returns the number of the last attempt, and its duration up to its end or `now`; `None` before the first.
    pub(crate) fn tried(&self, now: Timestamp) -> Option<(u32, Duration)> {
        let started = self.attempt_started_at.filter(|_| self.attempt > 0)?;
        let ended = match self.status {
            StepStatus::Running => now,
            _ => self.finished_at.unwrap_or(now),
        };
        Some((self.attempt, ended.since(started)))
    }

    /// Returns the last attempt, if it is open or completed the step. Only then is it part of the step run, and
    /// stored nowhere else; every other attempt is in the history.
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
            // A step that a resumed run received as completed was not attempted in that run.
            started_at: self.attempt_started_at.filter(|_| self.attempt > 0)?,
            finished_at,
        })
    }
}

/// What a paused step waits for, and what follows it. It is resolved when the step pauses: a later version of the
/// workflow does not change it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PausedContinuation {
    /// The signal that the step waits for; `None` if it waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<SignalName>,
    /// The target when the step is unblocked or approved, or its signal has come.
    pub ok: Target,
    /// The target when the step is rejected, or fails; `None` for a pause, and for a wait whose failure fails the run.
    pub error: Option<Target>,
    /// The target when the deadline passes in vain; `None` if there is no deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<Target>,
    /// Whether the deadline has that target for itself, and does not take an error transition.
    #[serde(default, skip_serializing_if = "is_false")]
    pub own_deadline: bool,
    /// The transitions of the step that have a guard, in the order of declaration: they come before `ok` and `error`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guarded: Vec<Transition>,
    /// The key under which the step's output is stored.
    pub output_key: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl PausedContinuation {
    /// Returns the targets that an approval or unblocking may lead to, independent of what is said.
    pub(crate) fn targets_on_ok(&self) -> impl Iterator<Item = &Target> {
        let guarded = self.guarded.iter().filter(|transition| transition.on == TransitionOutcome::Ok);
        guarded.map(|transition| &transition.to).chain([&self.ok])
    }

    /// Returns the target that a rejection leads to; `None` for a pause.
    pub(crate) fn target_on_rejection(&self) -> Option<&Target> {
        let error = self.error.as_ref()?;
        let is_for_it = |transition: &&Transition| matches!(&transition.guard, Some(Guard::Kind(kind)) if FailureKind::REJECTED == kind.as_str());
        Some(self.guarded.iter().find(is_for_it).map_or(error, |transition| &transition.to))
    }
}

/// The decision about a paused step, by a person or by the passing of a deadline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManualAction {
    /// The decision: `unblocked`, `approved`, `rejected`, or `expired` if none was made in time.
    pub decision: String,
    /// The person who decided.
    pub actor: Option<String>,
    /// The comment of that person.
    pub comment: Option<String>,
    /// The metadata of that person.
    pub metadata: Option<Map<String, Value>>,
    /// The time of the decision.
    pub at: Timestamp,
}

/// The status of a compensation callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CompensationStatus {
    /// The callback failed and waits for its next attempt.
    Pending,
    /// The callback runs.
    Running,
    /// The callback succeeded.
    Completed,
    /// The callback failed permanently; the remaining callbacks were still run.
    Failed,
}

/// The record of a step's compensation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompensationRun {
    /// The status of the callback.
    pub status: CompensationStatus,
    /// The output of the callback: `null` if it returned nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub output: Option<Value>,
    /// The failure of the last attempt.
    pub error: Option<Failure>,
    /// The number of attempts that were begun.
    pub attempt: u32,
    /// The number of attempts that failed.
    #[serde(default)]
    pub failures: u32,
    /// The number of attempts in a row whose worker crashed.
    #[serde(default)]
    pub crashes: u32,
    /// The token of the claim under which the callback runs.
    pub lease: Option<LeaseToken>,
    /// The time at which the first attempt began.
    pub started_at: Timestamp,
    /// The time at which the last attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_started_at: Option<Timestamp>,
    /// The time at which the callback ended.
    pub finished_at: Option<Timestamp>,
}

impl CompensationRun {
    /// Creates the record of a callback whose first attempt is about to begin.
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
            attempt_started_at: None,
            finished_at: None,
        }
    }
}
