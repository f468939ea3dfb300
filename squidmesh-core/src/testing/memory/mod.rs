//! A store in memory that keeps the store port's contract to the letter.
//!
//! Knows the contract and checks that its callers keep their part of it too. Knows nothing of what a workflow means.

mod breach;
mod commit;
mod fault;
mod intents;
mod prune;
mod rows;
mod store;
mod transaction;

pub use breach::ContractBreach;
pub use fault::{Fault, InjectedFault};
pub use store::MemoryStore;
pub use transaction::MemoryTransaction;
