//! Every scenario of the runtime, written once and run over every store and executor.
//!
//! A [`Backend`] is an empty store; a [`World`] is a runtime on it, with workers that run when a scenario starts them.
//! The scenarios know neither which store nor which executor they are given.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    reason = "these are tests: what cannot continue has failed, and names are documentation"
)]

pub mod child;
pub mod cluster;
pub mod crash;
pub mod crash_matrix;
pub mod ledger;
pub mod over_redis;
pub mod sample_workflows;
pub mod scenario;

mod backend;
mod call_counter;
mod crossing;
mod database;
#[cfg(doctest)]
pub mod documents;
mod flaky_executor;
mod gate;
mod journal;
mod log;
mod redis_server;
mod suite;
mod test_redis;
pub mod world;

pub use backend::Backend;
pub use call_counter::{CallCounter, Calls};
pub use crossing::Crossing;
pub use database::TestDatabase;
pub use flaky_executor::{Behavior, FlakyExecutor};
pub use gate::Gate;
pub use journal::{Call, Journal};
pub use log::Log;

pub use redis_server::{RedisAddress, RedisServer, free_port};
pub use suite::block_on;
pub use test_redis::TestRedis;
pub use world::World;
