//! The runner: the only entry for what an executor delivers.
//!
//! Claims, begins, executes and records. Begin and record are decisions of the engine, each committed before what
//! follows it. Also fires due cron triggers. Knows no queue and no async runtime; the executor provides both.
//!
//! In the order of a delivery: `claim` (or `perform`, for a message of a queue; or `offer`, for a step that was begun
//! already), `delivery`, `step`, `execute`, `record`, `outcome`. None of the files calls one before it; all of them
//! know the runner in `shared`.

mod bounded;
mod claim;
mod compensation;
mod delivery;
mod execute;
mod heartbeat;
mod late;
mod offer;
mod outcome;
mod perform;
mod record;
mod relay;
mod schedule;
mod shared;
mod step;
mod stranded;
mod stranded_pass;
mod transaction;

pub use claim::{HeldClaim, HeldClaims};
pub use offer::{BegunStep, WorkerOffer};
pub use outcome::DeliveryOutcome;
pub use perform::PerformError;
pub use relay::Route;
pub use schedule::FireSummary;
pub use shared::Runner;
