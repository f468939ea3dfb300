//! The durable facts of a run, as plain data: what the engine decides on and the store keeps.
//!
//! Knows the terms of a run's life cycle. Knows nothing of how they are stored, decided or delivered.

mod attempt;
mod audit;
mod failure;
mod failure_kind;
mod input;
mod input_snapshot;
mod signal;
mod state;
mod status;
mod step_run;
mod summary;

pub use attempt::{Attempt, AttemptStatus};
pub use audit::{AuditEvent, AuditKind};
pub use failure::Failure;
pub use failure_kind::FailureKind;
pub use input_snapshot::InputSnapshot;
pub use signal::ReceivedSignal;
pub use state::{Run, RunSnapshot};
pub use status::{InvalidTransition, PastDecision, RunStatus};
pub use step_run::{CompensationRun, CompensationStatus, ManualAction, PausedContinuation, StepRun, StepStatus};
pub use summary::{FailureSummary, RunSummary};

pub use crate::id::{InvalidRunId, RunId};
pub use crate::time::{InvalidTimestamp, Timestamp};

pub(crate) use status::past_decision_text;
