//! The statuses of a run and the transitions between them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::json::truncate_text;
use crate::name::{StepName, names};
use crate::time::Timestamp;

/// The status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunStatus {
    /// The run is accepted and dispatched; no step has begun.
    Pending,
    /// A step has begun.
    Running,
    /// A failed step waits for its next attempt.
    Retrying,
    /// The run waits for a person.
    Paused,
    /// The run failed. Final.
    Failed,
    /// The run completed. Final.
    Completed,
    /// A cancellation is committed, and a running step has not ended yet.
    Cancelling,
    /// The run was cancelled. Final.
    Cancelled,
}

names! {
    RunStatus, "events, the database and JSON":
    Pending = "pending",
    Running = "running",
    Retrying = "retrying",
    Paused = "paused",
    Failed = "failed",
    Completed = "completed",
    Cancelling = "cancelling",
    Cancelled = "cancelled",
}

impl RunStatus {
    /// Returns whether the status is final.
    pub const fn is_terminal(self) -> bool {
        matches!(self, RunStatus::Failed | RunStatus::Completed | RunStatus::Cancelled)
    }

    /// Returns whether a run in this status may schedule work.
    pub const fn may_schedule(self) -> bool {
        matches!(self, RunStatus::Pending | RunStatus::Running | RunStatus::Retrying)
    }

    /// Checks the transition from this status to `to`.
    ///
    /// # Errors
    /// [`InvalidTransition`] unless the life cycle has that transition. Staying in a status is not a transition.
    pub const fn transition(self, to: RunStatus) -> Result<RunStatus, InvalidTransition> {
        use RunStatus::{Cancelled, Cancelling, Completed, Failed, Paused, Pending, Retrying, Running};
        let legal = match self {
            Pending => matches!(to, Running | Failed | Cancelled),
            Running => matches!(to, Retrying | Paused | Failed | Completed | Cancelling),
            Retrying => matches!(to, Running | Failed | Cancelling),
            Paused => matches!(to, Running | Failed | Completed | Cancelled),
            Cancelling => matches!(to, Cancelled | Failed),
            Failed | Completed | Cancelled => false,
        };
        if legal { Ok(to) } else { Err(InvalidTransition { from: self, to, decided: None }) }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error of a text that names no status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a status")]
pub struct UnknownStatus;

impl FromStr for RunStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        RunStatus::from_name(text).ok_or(UnknownStatus)
    }
}

/// A transition that the life cycle of a run does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", transition_text(*.from, *.to, .decided))]
pub struct InvalidTransition {
    /// The status of the run.
    pub from: RunStatus,
    /// The requested status.
    pub to: RunStatus,
    /// The decision that was made before, if a decision was requested.
    pub decided: Option<Box<PastDecision>>,
}

/// A decision that was made about a waiting step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastDecision {
    /// The step that was decided about.
    pub step: StepName,
    /// The decision: `approved`, `rejected`, `unblocked` or `expired`.
    pub decision: String,
    /// The person who decided; `None` if none was named or the deadline passed.
    pub actor: Option<String>,
    /// The time of the decision.
    pub at: Timestamp,
}

/// Returns the whole text: of a decision that was made before, first that. Only a decision of a person lets a run
/// continue.
fn transition_text(from: RunStatus, to: RunStatus, decided: &Option<Box<PastDecision>>) -> String {
    let cannot = format!("a {from} run cannot become {to}");
    match decided {
        Some(decided) => format!("{}: {cannot}", decided.text()),
        None if to == RunStatus::Running && !from.is_terminal() => {
            format!("{cannot}: no step of it waits for a person yet, if one ever does")
        }
        None => cannot,
    }
}

impl PastDecision {
    /// Returns the decision as a clause.
    fn text(&self) -> String {
        let PastDecision { step, decision, at, actor } = self;
        let by = actor.as_ref().map(|actor| format!(" by {}", truncate_text(actor.clone(), 100))).unwrap_or_default();
        format!("step {step} was {decision}{by} at {at}")
    }
}

/// Returns the earlier decision as the end of a sentence.
pub(crate) fn past_decision_text(decided: &Option<Box<PastDecision>>) -> String {
    decided.as_ref().map_or_else(String::new, |decided| format!(": {}", decided.text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use RunStatus::*;

    #[test]
    fn only_the_moves_of_the_life_cycle_are_legal() {
        let legal = [
            (Pending, vec![Running, Failed, Cancelled]),
            (Running, vec![Retrying, Paused, Failed, Completed, Cancelling]),
            (Retrying, vec![Running, Failed, Cancelling]),
            (Paused, vec![Running, Failed, Completed, Cancelled]),
            (Cancelling, vec![Cancelled, Failed]),
            (Failed, vec![]),
            (Completed, vec![]),
            (Cancelled, vec![]),
        ];
        for (from, targets) in legal {
            for to in RunStatus::ALL {
                let expected =
                    if targets.contains(&to) { Ok(to) } else { Err(InvalidTransition { from, to, decided: None }) };
                assert_eq!(from.transition(to), expected);
            }
        }
    }

    #[test]
    fn every_status_reads_back_from_its_name() {
        for status in RunStatus::ALL {
            assert_eq!(status.to_string().parse(), Ok(status));
        }
        assert_eq!("done".parse::<RunStatus>(), Err(UnknownStatus));
    }
}
