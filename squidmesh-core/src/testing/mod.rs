//! What tests need: adapters in memory, a clock that moves only when a test moves it, and the conformance suites of
//! the ports.
//!
//! Everything here keeps the contracts of the ports to the letter and reports a caller that does not. Nothing here is
//! meant for production: it stores everything in memory and favours plainness over speed.
//!
//! - A host's test swaps its adapters for [`MemoryStore`] and [`MemoryExecutor`] and moves a [`ManualClock`].
//! - An [`InterceptedStore`] watches, delays, fails or changes single calls of any store. A [`MockStore`] has no store
//!   behind it: it answers what the test expects of each call.
//! - An implementer of a store calls [`store_conformance!`](crate::store_conformance), one of an executor
//!   [`executor_conformance!`](crate::executor_conformance).

mod block_on;
mod clock;
mod context;
mod entropy;
mod executor;
mod intercepted_store;
mod limit;
mod memory;
mod mock_store;
mod sink;
mod suite_tests;

#[doc(hidden)]
pub mod engine;
pub mod executor_suite;
#[doc(hidden)]
pub mod json;
pub mod sample;
pub mod store_suite;

pub use block_on::{block_on, spawn_thread};
pub use clock::ManualClock;
pub use context::step_context;
pub use entropy::SeededEntropy;
pub use executor::{DrainError, MemoryExecutor};
pub use intercepted_store::{InterceptedStore, StoreInterceptor};
pub use limit::{CASE_TIMEOUT, run_case};
pub use memory::{ContractBreach, Fault, InjectedFault, MemoryStore, MemoryTransaction};
pub use mock_store::MockStore;
pub use sink::RecordingSink;

#[doc(inline)]
pub use crate::port::{MockClock, MockEventSink, MockExecutor};
