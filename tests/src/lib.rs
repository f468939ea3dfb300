//! Every scenario of the runtime, written once and run over every store and executor.
//!
//! A [`Ground`] is a store with nothing in it; a [`World`] is a runtime on it, with workers that run when a scenario says so.
//! The scenarios know neither which store nor which executor they are given.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    reason = "these are tests: what cannot go on has failed, and names are documentation"
)]

pub mod cells;
pub mod cluster;
pub mod crash;
pub mod ledger;
pub mod over_redis;
pub mod scenario;
pub mod shapes;

mod counting;
mod crossing;
mod database;
#[cfg(doctest)]
pub mod documents;
mod gate;
mod ground;
mod journal;
mod log;
mod moody;
mod redis_server;
mod suite;
mod test_redis;
pub mod world;

pub use counting::{Calls, Counting};
pub use crossing::Crossing;
pub use database::TestDatabase;
pub use gate::Gate;
pub use ground::Ground;
pub use journal::{Call, Journal};
pub use log::Log;
pub use moody::{Mood, Moody};

pub use redis_server::{RedisAddress, RedisServer, free_port};
pub use suite::block_on;
pub use test_redis::TestRedis;
pub use world::World;
