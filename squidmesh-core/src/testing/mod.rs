//! What tests need: adapters in memory, time that moves only when told, and the conformance suites of the ports.
//!
//! Everything here keeps the contracts of the ports to the letter and says so when a caller does not. Nothing here is meant
//! to carry real work: it lives in memory and favours plainness over speed.
//!
//! - A host's test swaps its adapters for [`MemoryStore`] and [`MemoryExecutor`] and moves a [`ManualClock`].
//! - An implementer of a store calls [`store_conformance!`](crate::store_conformance), one of an executor
//!   [`executor_conformance!`](crate::executor_conformance).

mod block_on;
mod clock;
mod entropy;
mod executor;
mod memory;
mod sink;

pub mod executor_suite;
pub mod sample;
pub mod store_suite;

pub use block_on::{block_on, spawn_thread};
pub use clock::ManualClock;
pub use entropy::SeededEntropy;
pub use executor::{DrainError, MemoryExecutor};
pub use memory::{ContractBreach, Fault, InjectedFault, MemoryStore, MemoryTransaction};
pub use sink::RecordingSink;
