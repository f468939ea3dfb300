//! Workers on many machines, woken through Redis Streams.
//!
//! The store's committed intents are the truth; what is in Redis only says "this is due, take it". An announcement that is lost is
//! made again from the store, one that is made twice is a no-op, and Redis as a whole may lose everything. It knows the runner, tokio
//! and Redis; it knows no store and no database.
//!
//! Redis 7 or newer, or Valkey. A cluster is used in one slot: all keys have the prefix as their hash tag.

mod announce;
mod clock;
mod dead_letter;
mod drain;
mod entry;
mod error;
mod executor;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod keys;
mod lane;
mod link;
mod reader;
mod script;
mod server;
mod signals;
mod sweep;
#[cfg(test)]
mod tests;
mod trouble;

pub use clock::SystemClock;
pub use dead_letter::DeadLetter;
pub use error::RedisExecutorError;
pub use executor::RedisExecutor;
