//! The edges of a transition workflow.
//!
//! Several edges may leave a step on one outcome: those with a guard, in the order of declaration, and one without. Data
//! only; must never know the state of a run.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::condition::Condition;
use crate::name::StepName;

/// A transition: where a run continues when a step ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Transition {
    /// The step that the transition leaves.
    pub from: StepName,
    /// The outcome on which it is taken.
    pub on: TransitionOutcome,
    /// What the transition needs besides. Without a guard, it is the way otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// The target that follows.
    pub to: Target,
    /// The purpose of an error transition, if declared; it is recorded in the failed step's history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryRoute>,
}

impl Transition {
    /// Creates a transition without a guard.
    pub(crate) fn plain(from: StepName, on: TransitionOutcome, to: Target) -> Self {
        Transition { from, on, guard: None, to, recovery: None }
    }
}

/// What a transition needs to be taken, besides the outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Guard {
    /// The condition holds once the step has completed.
    If(Condition),
    /// The failure is of this kind.
    Kind(String),
    /// The handler chose the route with this name.
    Route(String),
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::If(condition) => write!(f, "if {condition}"),
            Self::Kind(kind) => write!(f, "kind {kind}"),
            Self::Route(route) => write!(f, "route {route}"),
        }
    }
}

/// The outcome of a step, as far as transitions distinguish outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransitionOutcome {
    /// The step completed or was approved.
    Ok,
    /// The step failed permanently or was rejected.
    Error,
}

impl fmt::Display for TransitionOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Error => "error",
        })
    }
}

/// The target of a transition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Another step.
    Step(StepName),
    /// Completes the run.
    Complete,
    /// Fails the run.
    Fail,
}

impl Target {
    /// Returns the step, if the target is one; `None` for the end of the run.
    pub fn step(&self) -> Option<&StepName> {
        match self {
            Target::Step(step) => Some(step),
            Target::Complete | Target::Fail => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Step(step) => write!(f, "{step}"),
            Target::Complete => f.write_str("completed"),
            Target::Fail => f.write_str("failed"),
        }
    }
}

/// The purpose of an error transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryRoute {
    /// It leads to steps that compensate the completed work.
    Compensation,
    /// It leads to steps that undo the completed work.
    Undo,
}

impl fmt::Display for RecoveryRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compensation => "compensation",
            Self::Undo => "undo",
        })
    }
}
