//! Steps that need no code of the host.

use std::time::Duration;

use crate::definition::{LogLevel, StepKind, whole_ms};

/// A step that the runtime performs by itself. Made by [`wait`], [`log`], [`pause`] and [`approval`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltIn(pub(super) StepKind);

/// Waits so long, durably: no worker is held, and a restart does not begin it again. Millisecond precision.
pub fn wait(duration: Duration) -> BuiltIn {
    BuiltIn(StepKind::Wait { duration: whole_ms(duration) })
}

/// Writes a line to the log.
pub fn log(message: impl Into<String>, level: LogLevel) -> BuiltIn {
    BuiltIn(StepKind::Log { message: message.into(), level })
}

/// Stops the run until somebody lets it go on.
pub fn pause() -> BuiltIn {
    BuiltIn(StepKind::Pause)
}

/// Stops the run until somebody approves (on to the ok transition) or rejects (on to the error transition).
pub fn approval() -> BuiltIn {
    BuiltIn(StepKind::Approval)
}
