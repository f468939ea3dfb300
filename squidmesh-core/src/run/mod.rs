//! The durable facts of a run, as plain data: what the engine decides on and the store keeps.
//!
//! Knows the words of a run's life. Knows nothing of how they are stored, decided or delivered.

mod attempt;
mod audit;
mod failure;
mod state;
mod status;
mod step_run;

pub use attempt::{Attempt, AttemptStatus};
pub use audit::{AuditEvent, AuditKind};
pub use failure::Failure;
pub use state::{Run, RunState};
pub use status::{InvalidTransition, RunStatus};
pub use step_run::{CompensationRun, CompensationStatus, ManualAction, Resume, StepRun, StepStatus};
