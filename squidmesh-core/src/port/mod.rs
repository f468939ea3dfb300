//! The ports: what the core needs from the outside. Adapters implement them; nothing here names a driver.

pub mod cage;
mod claim;
mod clock;
mod due;
mod entropy;
mod error;
mod event_sink;
pub mod executor;
mod history;
mod identity;
mod lanes;
mod lease;
mod listing;
mod prune;
mod session;
mod shared_store;
pub mod store;
pub mod transaction;
mod triggers;

pub use claim::{Claim, ClaimBatch, ClaimKeysRequest, ClaimRequest, ClaimResult, StrandedRequest};
pub use clock::Clock;
pub use due::{DueIntent, DuePage, DueRequest};
pub use entropy::{Entropy, RandomEntropy};
pub use error::StoreError;
pub use event_sink::EventSink;
pub use executor::{Executor, ExecutorError, InvalidSetting};
pub use history::{IntentRecord, RunHistory};
pub use identity::DatabaseIdentity;
pub use lanes::Lanes;
pub use lease::{Heartbeats, LeaseState, Takeover};
pub use listing::{RunFilter, RunPage};
pub use prune::{PruneBatch, PruneRequest};
pub use session::StoreSession;
pub use store::Store;
pub use transaction::{TransactionBody, TransactionEnd, TransactionOutcome, TransactionType};
pub use triggers::{TriggerRecords, UnreadableTrigger};

pub use crate::chain::fmt_with_causes;
pub use crate::commit::{Commit, CommitOutcome, IntentWrite, Precondition, StepWrite};
pub use crate::token::{CommitToken, LeaseToken};
#[cfg(feature = "testing")]
#[doc(hidden)] // documented in `testing`
pub use {clock::MockClock, event_sink::MockEventSink, executor::MockExecutor};
