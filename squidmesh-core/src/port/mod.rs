//! The ports: what the core asks of the world outside. Adapters implement them; nothing here names a driver.

mod clock;
mod entropy;
mod event_sink;
pub mod executor;
mod shared_store;
pub mod store;
pub mod transaction;

pub use clock::Clock;
pub use entropy::{Entropy, RandomEntropy};
pub use event_sink::EventSink;
pub use executor::{Executor, ExecutorError};
pub use store::{
    AttemptWrite, Claim, ClaimRequest, Claims, Commit, CommitOutcome, Expected, History, IntentRecord, IntentWrite,
    RunFilter, RunPage, SingleClaim, StepWrite, Store, StoreError, StoreSession, StrandedRequest,
};
pub use transaction::{Transacted, TransactionBody, TransactionEnd, TransactionType};
#[cfg(feature = "testing")]
pub use {clock::MockClock, event_sink::MockEventSink, executor::MockExecutor, store::MockStore};
