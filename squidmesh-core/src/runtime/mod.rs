//! The runtime: connects the registered workflows to a store and an executor.
//!
//! Commits the decisions of the engine and then emits their events. Knows the ports, never an adapter.

mod actor;
mod adopt;
mod after_commit;
mod awaited;
pub(crate) mod begun_step;
mod bulk;
mod call;
mod command;
pub(crate) mod commit;
mod config;
mod config_error;
pub(crate) mod contact;
mod dispatch_error;
pub(crate) mod handover;
mod inspect;
pub(crate) mod keys;
pub(crate) mod leases;
mod lookup_error;
pub(crate) mod offers;
mod pause_trigger;
mod prune;
pub(crate) mod registry;
mod replay;
mod resume;
pub(crate) mod scope;
mod shared;
pub(crate) mod signal;
pub(crate) mod start;
mod transaction_scope;
mod triggers;
pub(crate) mod urgency;

pub use actor::InvalidActor;
pub use after_commit::AfterCommit;
pub use bulk::{BulkError, BulkOutcome, BulkPage, BulkRun, ReplayRuns, ResumeRuns};
pub use call::CallTimedOut;
pub use command::{CancelRun, CommandError, DecideApproval, UnblockRun};
pub use commit::RunKeptChanging;
pub use config::Config;
pub use config_error::ConfigError;
pub use dispatch_error::DispatchError;
pub use lookup_error::{RunNotFound, UnknownDefinition, UnknownTrigger, UnknownWorkflow};
pub use pause_trigger::PauseTrigger;
pub use prune::PruneRuns;
pub use replay::{ReplayError, ReplayRun};
pub use resume::{ResumeError, ResumeRun};
pub use signal::{SignalAnswer, SignalError, SignalKey, SignalRun};
pub use start::{StartError, StartRun};
pub use transaction_scope::TransactionScope;
pub use triggers::{TriggerError, TriggerStatus};

pub(crate) use begun_step::Handover;
pub(crate) use call::Call;
pub(crate) use commit::DecideError;
pub(crate) use commit::announcement::Announcement;
pub(crate) use commit::retry::{RetryBudget, RetryPolicy};
pub(crate) use commit::run_cache::CachedRun;
pub(crate) use keys::occurrence as occurrence_key;
pub(crate) use leases::Held;
pub(crate) use registry::{Occurs, Scheduled};
pub(crate) use shared::Runtime;
pub(crate) use urgency::Urgency;
