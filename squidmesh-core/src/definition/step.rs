//! One step of a definition: what it does, what it is given, and how its failures and effects are treated.
//!
//! Data only; must never know the handler that runs a step.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::deadline::Deadline;
use super::duration::{millis, optional_millis};
use super::retry::Retry;
use crate::name::{QueueName, StepName};

/// A declared step. Options at their defaults are not serialised, so that a new option does not change the fingerprint of a
/// workflow that does not use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StepDefinition {
    /// The name, unique in the workflow.
    pub name: StepName,
    /// What the step does.
    pub kind: StepKind,
    /// Which part of payload and context the step is given.
    #[serde(skip_serializing_if = "is_default")]
    pub input: InputMapping,
    /// The key of the context to put the output under; without it the output's own keys are merged into the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// How often and when a failed attempt is repeated.
    #[serde(skip_serializing_if = "is_default")]
    pub retry: Retry,
    /// How long one attempt may take.
    #[serde(rename = "timeout_ms", with = "optional_millis", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long an approval waits for its decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// The steps that must have completed before this one starts, in the order in which they were named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepName>,
    /// What may be undone or repeated once the step has completed.
    #[serde(skip_serializing_if = "is_default")]
    pub recovery: RecoveryPolicy,
    /// How often and when a failed compensation callback is repeated; without it one failure is final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensation_retry: Option<Retry>,
    /// Whether the handler works in the database transaction in which its outcome is recorded.
    #[serde(skip_serializing_if = "is_default")]
    pub transactional: bool,
    /// The queue that delivers the step.
    #[serde(skip_serializing_if = "is_default")]
    pub queue: QueueName,
    /// The step's rank among others that are due.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: Priority,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepKind {
    /// Runs the handler that the workflow was built with.
    Handler,
    /// Waits, durably: no worker is held.
    Wait {
        /// How long, with millisecond precision.
        #[serde(rename = "duration_ms", with = "millis")]
        duration: Duration,
    },
    /// Writes a line to the log.
    Log {
        /// The line.
        message: String,
        /// Its level.
        level: LogLevel,
    },
    /// Stops the run until somebody lets it go on.
    Pause,
    /// Stops the run until somebody approves or rejects.
    Approval,
}

impl StepKind {
    /// The kind in one word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Wait { .. } => "wait",
            Self::Log { .. } => "log",
            Self::Pause => "pause",
            Self::Approval => "approval",
        }
    }
}

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The level of a log step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// For finding faults.
    Debug,
    /// For the record.
    #[default]
    Info,
    /// Deserves a look.
    Warn,
    /// Something is wrong.
    Error,
}

/// Which part of payload and context a step is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InputMapping {
    /// The payload with the context merged over it.
    #[default]
    Everything,
    /// Only these of its keys; those that are missing are left out.
    Keys(Vec<String>),
    /// A new object: each key with the value that is found by following the path, one key (or, in a list, index) a segment.
    Paths(BTreeMap<String, Vec<String>>),
}

/// What may be undone or repeated once a step has completed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RecoveryPolicy {
    /// The effect cannot be taken back and must not happen twice; blocks a replay.
    pub irreversible: bool,
    /// The effect can be made good; a step of which this is untrue blocks a replay.
    pub compensatable: bool,
    /// A compensation handler makes it good when the run fails later.
    pub compensated_by_handler: bool,
}

impl RecoveryPolicy {
    /// The policy of a step whose effect cannot be taken back.
    pub const IRREVERSIBLE: Self = Self { irreversible: true, compensatable: false, compensated_by_handler: false };
}

impl Default for RecoveryPolicy {
    fn default() -> Self {
        Self { irreversible: false, compensatable: true, compensated_by_handler: false }
    }
}

/// A step's rank among others that are due in the same queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before the others.
    High,
    /// In the order of becoming due.
    #[default]
    Normal,
    /// After the others.
    Low,
}

impl Priority {
    /// The rank as a number, as stores sort by it: 0 for high, 1 for normal, 2 for low.
    pub const fn as_i16(self) -> i16 {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }
}
