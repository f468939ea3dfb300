//! The conformance suite of the store port: what every store must do, however it is built.
//!
//! One call of [`store_conformance!`](crate::store_conformance) creates a `#[test]` for every case. The cases know
//! only the port, never which store they are given.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "these are tests: a case that cannot continue has failed, and its name is its documentation"
)]

pub mod batch;
pub mod claim;
pub mod commit;
pub mod definition;
pub mod due;
pub mod exact;
pub mod fidelity;
pub mod history;
pub mod intent;
pub mod keys;
pub mod lease;
pub mod list;
pub mod load;
pub mod prune;
pub mod signals;
pub mod stranded;
pub mod takeover;
pub mod transact;
pub mod triggers;

mod cases;
mod setup;

pub(crate) use setup::take_turns;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::ManualClock;
use crate::port::Store;

/// Gives the suite access to a store. This is all that an implementer writes.
#[async_trait]
pub trait StoreFixture: Send + Sync {
    /// Returns an empty store, and the clock by which it judges due times and leases. Each case calls it once. The
    /// cases leave room for a clock that also runs by itself: a minute of real time spoils nothing.
    async fn fresh(&self) -> (Arc<dyn Store>, Arc<ManualClock>);

    /// Starts `work` beside the rest of a case; the returned future completes with it, and panics if it panicked.
    ///
    /// By default the parts of a case take turns on one task. A store that allows real concurrency should be exposed
    /// to it: spawn the work on a runtime with several threads, or on its own thread.
    fn spawn(&self, work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        work
    }
}
