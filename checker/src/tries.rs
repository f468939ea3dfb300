//! The attempts of compensation callbacks, and how a change of a callback's record ends one.

use squidmesh_core::Timestamp;
use squidmesh_core::run::{CompensationRun, CompensationStatus, FailureKind};

/// One attempt of a callback, with times from one clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Try {
    /// The number of the attempt.
    pub attempt: u32,
    /// The time at which it began.
    pub began: Timestamp,
    /// When and how it ended, if it has.
    pub ended: Option<(Timestamp, End)>,
}

/// How an attempt of a callback ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It succeeded.
    Completed,
    /// It failed, in this way.
    Failed(FailureKind),
    /// Its worker was shut down.
    Interrupted,
    /// Another worker took it over.
    Lost,
}

/// Returns how a change of a callback's record ends its open attempt, if it does.
pub fn end(old: &CompensationRun, new: &CompensationRun) -> Option<End> {
    if old.status != CompensationStatus::Running {
        return None;
    }
    let kind = || new.error.as_ref().map_or_else(|| "".into(), |error| error.kind.clone());
    match new.status {
        CompensationStatus::Running => (new.attempt > old.attempt).then_some(End::Lost),
        CompensationStatus::Completed => Some(End::Completed),
        CompensationStatus::Failed if kind() == FailureKind::POISON_STEP => Some(End::Lost),
        CompensationStatus::Failed => Some(End::Failed(kind())),
        CompensationStatus::Pending if new.failures > old.failures => Some(End::Failed(kind())),
        _ => Some(End::Interrupted),
    }
}
