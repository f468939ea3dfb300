//! The edges of a transition workflow.
//!
//! Data only; must never know the state of a run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::StepName;

/// Where a run goes when a step ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Transition {
    /// The step that ends.
    pub from: StepName,
    /// How it ends.
    pub on: TransitionOutcome,
    /// What follows.
    pub to: Target,
    /// What an error transition is for, if it says so; recorded in the failed step's history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryRoute>,
}

/// How a step ended, as far as transitions tell outcomes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransitionOutcome {
    /// It completed, or was approved.
    Ok,
    /// It failed for good, or was rejected.
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

/// What follows a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Another step.
    Step(StepName),
    /// Nothing: the run has completed.
    Complete,
}

/// What an error transition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryRoute {
    /// It leads to steps that make good what was done.
    Compensation,
    /// It leads to steps that undo what was done.
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
