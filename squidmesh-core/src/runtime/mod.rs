//! The runtime: ties the registered workflows to a store and an executor.
//!
//! Here decisions of the engine are committed and, after that, told. It knows the ports, never an adapter.

mod adopt;
mod builder;
mod bulk;
mod command;
mod config;
mod decide;
mod hot;
mod inspect;
mod joined;
mod prune;
mod registry;
mod replay;
mod resume;
mod shared;
mod squidmesh;
mod start;
mod telemetry;
mod triggers;

pub use builder::{ConfigError, SquidmeshBuilder};
pub use bulk::{Bulk, BulkError, BulkOutcome, BulkRun, ReplayRuns, ResumeRuns};
pub use command::{CancelRun, CommandError, Decide, Unblock};
pub use config::Config;
pub use inspect::{RunDetails, StepState, StepView};
pub use joined::{AfterCommit, Joined};
pub use prune::PruneRuns;
pub use replay::{ReplayError, ReplayRun};
pub use resume::{ResumeError, ResumeRun};
pub use squidmesh::Squidmesh;
pub use start::{StartError, StartRun};
pub use telemetry::TracingSink;
pub use triggers::{TriggerError, TriggerStatus};

pub(crate) use decide::{Announcement, DecideError, Patience, Persistence};
pub(crate) use hot::HotRun;
pub(crate) use registry::Scheduled;
pub(crate) use shared::Runtime;
