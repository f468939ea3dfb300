//! The conformance suite of the store port: what every store must do, whatever it is made of.
//!
//! One call of [`store_conformance!`](crate::store_conformance) makes a `#[test]` of every case. The cases know the port
//! alone; they never know which store they are given.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "these are tests: a case that cannot go on has failed, and its name is its documentation"
)]

pub mod batch;
pub mod claim;
pub mod commit;
pub mod definition;
pub mod due;
pub mod fidelity;
pub mod history;
pub mod intent;
pub mod keys;
pub mod lease;
pub mod list;
pub mod load;
pub mod prune;
pub mod stranded;
pub mod transact;
pub mod triggers;

mod cases;
mod setup;

pub(crate) use setup::take_turns;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::ManualClock;
use crate::Store;

/// How the suite gets at a store. The implementer's whole part.
#[async_trait]
pub trait StoreFixture: Send + Sync {
    /// A store with nothing in it, and the clock by which it judges what is due and which lease has run out. Each case asks
    /// once. The cases leave room for a clock that runs besides being moved: a minute of real time spoils nothing.
    async fn fresh(&self) -> (Arc<dyn Store>, Arc<ManualClock>);

    /// Starts `work` beside the rest of a case; the future that is returned ends with it, and panics if it panicked.
    ///
    /// By default the parts of a case take turns on one task. A store that allows real concurrency should be shown some:
    /// spawn the work on a runtime with several threads, or on a thread of its own.
    fn spawn(&self, work: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        work
    }
}
