//! One step of a definition: its kind, its input, and how its failures and effects are handled.
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

/// A declared step. Options at their defaults are not serialised, so that a new option does not change the
/// fingerprint of a workflow that does not use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StepDefinition {
    /// The name of the step, unique in the workflow.
    pub name: StepName,
    /// What the step does.
    pub kind: StepKind,
    /// The part of payload and context that the step receives.
    #[serde(skip_serializing_if = "is_default")]
    pub input: InputMapping,
    /// The key of the context that stores the output; without it the output's own keys are merged into the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The retry policy of failed attempts.
    #[serde(skip_serializing_if = "is_default")]
    pub retry: Retry,
    /// The maximum duration of one attempt.
    #[serde(rename = "timeout_ms", with = "optional_millis", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// The deadline of an approval, or of a wait for a signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// The dependencies of the step, in the order in which they were named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepName>,
    /// Whether the step can be undone or repeated once it has completed.
    #[serde(skip_serializing_if = "is_default")]
    pub recovery: RecoveryPolicy,
    /// The retry policy of the compensation; without it one failure is final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensation_retry: Option<Retry>,
    /// Whether the handler works in the database transaction that records its outcome.
    #[serde(skip_serializing_if = "is_default")]
    pub transactional: bool,
    /// The queue that delivers the step.
    #[serde(skip_serializing_if = "is_default")]
    pub queue: QueueName,
    /// The priority of the step among other due steps.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: Priority,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The kind of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepKind {
    /// Runs the handler that the workflow was built with.
    Handler,
    /// Waits durably: no worker is held.
    Wait {
        /// The duration of the wait, with millisecond precision.
        #[serde(rename = "duration_ms", with = "millis")]
        duration: Duration,
    },
    /// Writes a line to the log.
    Log {
        /// The message of the line.
        message: String,
        /// The level of the line.
        level: LogLevel,
    },
    /// Pauses the run until a person unblocks it.
    Pause,
    /// Pauses the run until a person approves or rejects.
    Approval,
    /// Waits for a signal, durably: no worker is held.
    WaitFor {
        /// The name of the signal, which the workflow declares.
        signal: String,
    },
}

impl StepKind {
    /// Returns the kind in one word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Wait { .. } => "wait",
            Self::Log { .. } => "log",
            Self::Pause => "pause",
            Self::Approval => "approval",
            Self::WaitFor { .. } => "wait_for",
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
    /// Details for debugging.
    Debug,
    /// Normal information. The default.
    #[default]
    Info,
    /// Something that deserves attention.
    Warn,
    /// An error.
    Error,
}

/// The part of payload and context that a step receives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InputMapping {
    /// The payload with the context merged over it.
    #[default]
    Everything,
    /// Only these keys of payload and context; missing ones are left out.
    Keys(Vec<String>),
    /// A new object: each key with the value at its path. A segment of a path is a key, or an index in a list.
    Paths(BTreeMap<String, Vec<String>>),
}

/// Whether a step can be undone or repeated once it has completed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RecoveryPolicy {
    /// Whether the effect cannot be undone and must not happen twice. If `true`, it blocks a replay.
    pub irreversible: bool,
    /// Whether the effect can be undone. If `false`, it blocks a replay.
    pub compensatable: bool,
    /// Whether a compensation handler undoes the effect if the run fails later.
    pub compensated_by_handler: bool,
}

impl RecoveryPolicy {
    /// The policy of a step whose effect cannot be undone.
    pub const IRREVERSIBLE: Self = Self { irreversible: true, compensatable: false, compensated_by_handler: false };
}

impl Default for RecoveryPolicy {
    fn default() -> Self {
        Self { irreversible: false, compensatable: true, compensated_by_handler: false }
    }
}

/// The priority of a step among other due steps of the same queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Delivered before the others.
    High,
    /// Delivered in the order of becoming due. The default.
    #[default]
    Normal,
    /// Delivered after the others.
    Low,
}

impl Priority {
    /// Returns the priority as a number, by which stores sort: 0 for high, 1 for normal, 2 for low.
    pub const fn as_i16(self) -> i16 {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }
}
