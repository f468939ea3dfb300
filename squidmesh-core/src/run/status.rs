//! The statuses of a run and the only moves between them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a run is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunStatus {
    /// Accepted and dispatched; no step has begun.
    Pending,
    /// A step has begun.
    Running,
    /// A failed step waits for its next attempt.
    Retrying,
    /// Waits for a person.
    Paused,
    /// Ended in failure. Final.
    Failed,
    /// Ended well. Final.
    Completed,
    /// A cancellation is committed; a step that runs is awaited.
    Cancelling,
    /// Ended by cancellation. Final.
    Cancelled,
}

impl RunStatus {
    /// Every status, in the order of a run's life.
    pub const ALL: [RunStatus; 8] = [
        RunStatus::Pending,
        RunStatus::Running,
        RunStatus::Retrying,
        RunStatus::Paused,
        RunStatus::Failed,
        RunStatus::Completed,
        RunStatus::Cancelling,
        RunStatus::Cancelled,
    ];

    /// Whether nothing can follow.
    pub const fn is_terminal(self) -> bool {
        matches!(self, RunStatus::Failed | RunStatus::Completed | RunStatus::Cancelled)
    }

    /// Whether a run in this status may schedule work.
    pub const fn may_schedule(self) -> bool {
        matches!(self, RunStatus::Pending | RunStatus::Running | RunStatus::Retrying)
    }

    /// Checks the move from this status to `to`.
    ///
    /// # Errors
    /// [`InvalidTransition`] unless the life cycle has that move. Staying in a status is not a move.
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
        if legal { Ok(to) } else { Err(InvalidTransition { from: self, to }) }
    }

    /// The name in events, the database and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            RunStatus::Pending => "pending",
            RunStatus::Running => "running",
            RunStatus::Retrying => "retrying",
            RunStatus::Paused => "paused",
            RunStatus::Failed => "failed",
            RunStatus::Completed => "completed",
            RunStatus::Cancelling => "cancelling",
            RunStatus::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a status")]
pub struct UnknownStatus;

impl FromStr for RunStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        RunStatus::ALL.into_iter().find(|status| status.as_str() == text).ok_or(UnknownStatus)
    }
}

/// A move that the life cycle of a run does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {from} run cannot become {to}")]
pub struct InvalidTransition {
    /// The status the run is in.
    pub from: RunStatus,
    /// The status that was asked for.
    pub to: RunStatus,
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
                let expected = if targets.contains(&to) { Ok(to) } else { Err(InvalidTransition { from, to }) };
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
