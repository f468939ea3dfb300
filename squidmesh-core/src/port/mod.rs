//! The ports: what the core asks of the world outside. Adapters implement them; nothing here names a driver.

mod claim;
mod clock;
mod commit;
mod due;
mod entropy;
mod event_sink;
pub mod executor;
mod listing;
mod prune;
mod shared_store;
pub mod store;
pub mod transaction;

pub use claim::{Claim, ClaimRequest, Claims, SingleClaim, StrandedRequest};
pub use clock::Clock;
pub use commit::{Commit, CommitOutcome, Expected, IntentWrite, StepWrite};
pub use due::{Due, DueIntent, DueRequest};
pub use entropy::{Entropy, RandomEntropy};
pub use event_sink::EventSink;
pub use executor::{Executor, ExecutorError};
pub use listing::{RunFilter, RunPage};
pub use prune::{PruneRequest, Pruned};
pub use store::{History, IntentRecord, Store, StoreError, StoreSession};
pub use transaction::{Transacted, TransactionBody, TransactionEnd, TransactionType};
#[cfg(feature = "testing")]
pub use {clock::MockClock, event_sink::MockEventSink, executor::MockExecutor, store::MockStore};
