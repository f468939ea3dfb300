//! Workers on many machines, woken through Redis Streams.
//!
//! The store's committed intents are the source of truth; an entry in Redis only announces that work is due. A
//! lost announcement is repeated from the store, a duplicate one is a no-op, and Redis may lose all its data. The
//! executor knows the runner, tokio and Redis; it knows no store and no database.
//!
//! Requires Redis 7 or newer, or Valkey. On a cluster, it uses one slot: all keys have the prefix as their hash
//! tag.

#![cfg_attr(docsrs, feature(doc_cfg))] // docs.rs shows the feature that an item needs

mod announce;
mod clock;
mod connection;
mod dead_letter;
mod drain;
mod entry;
mod error;
mod executor;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod heartbeat;
mod keys;
mod lane;
mod outage_log;
mod probe;
mod reader;
mod script;
mod server;
mod settler;
mod sweep;
mod sweep_triggers;
#[cfg(test)]
mod tests;
mod used;

pub use clock::SystemClock;
pub use dead_letter::DeadLetter;
pub use error::RedisExecutorError;
pub use executor::RedisExecutor;
